//! One resilient HTTP call, as tower layers, from a request to the instance that answers it.
//!
//! The same stack serves the gateway, the listeners of services and the SDK. Owns [`Body`], the hop and its
//! typed [`Context`]. Knows nothing of manifests, listeners, processes or storage.
//!
//! Map: [`Directory`] says who can be called and keeps each service's and instance's state over changes;
//! [`Client`] holds what one worker owns (upstream connections, timer, record ring) and makes calls.

mod answer;
mod balance;
mod body;
mod budget;
mod client;
mod connect;
mod context;
mod counters;
mod deadline;
mod directory;
mod endpoint;
mod error;
mod exchange;
mod hop;
mod ledger;
mod local;
mod names;
mod park;
mod policy;
mod pool;
mod random;
mod record;
mod retry;
mod stack;
#[cfg(test)]
mod testing;
mod timer;
mod trace;
mod transport;
mod upload;
mod upstream;
mod watch;

pub use answer::Form;
pub use body::{Body, BoxError};
pub use client::{Client, ClientConfig};
pub use context::{Context, Deadline, Principal, RequestId};
pub use counters::{Counters, Histogram};
pub use directory::Directory;
pub use error::CallError;
pub use local::LocalService;
pub use policy::Policy;
pub use trace::TraceContext;
pub use upstream::Upstream;

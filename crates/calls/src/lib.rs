//! One resilient HTTP call, as tower layers, from a request to the instance that answers it.
//!
//! The same stack serves the gateway, the listeners of services and the SDK. Owns [`Body`], the hop and its
//! typed [`Context`]. Knows nothing of manifests, listeners, processes or storage.
//!
//! Map: [`Directory`] says who can be called and keeps each service's and instance's state over changes;
//! [`Client`] holds what one worker owns (upstream connections, timer, record ring) and makes calls.

mod body;
mod client;
mod context;
mod directory;
mod error;

pub use body::{Body, BoxError};
pub use client::{Client, ClientConfig};
pub use context::{Context, Deadline, Principal, RequestId, TraceContext};
pub use directory::{Directory, LocalService, Policy, Upstream};
pub use error::CallError;

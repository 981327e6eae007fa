//! One resilient HTTP call, as tower layers, from a request to the instance that answers it.
//!
//! The same stack serves the gateway, the listeners of services and the SDK. Owns [`Body`], the hop and its
//! typed [`Context`]. Knows nothing of manifests, listeners, processes or storage.
//!
//! Map: [`Directory`] says who can be called and keeps each service's and instance's state over changes;
//! [`Client`] holds what one worker owns (upstream connections, timer, record ring) and makes calls; `stack`
//! is the way of a call, a layer a line, and each layer is the file of its name.
//!
//! # Time
//! [`Policy::timeout`] and the caller's own deadline cover a call with its retries, its parking, the head of its
//! answer and, if that states its length, its body; [`Policy::attempt_timeout`] covers one attempt in the same
//! way. An answer of unknown length may stream for ever, and ends when no frame passes in either direction for
//! [`Policy::idle_timeout`]. A request body of unknown length may take longer than the limits as long as it
//! progresses in this sense; the limits then begin at its end. Nothing fires early or more than 10 ms late.
//!
//! # Trying again
//! A call of which nothing was sent is tried again whatever its method, for at most
//! [`Policy::connect_timeout`], of which one attempt uses no more than half of what is left if there is another
//! instance. Anything else is tried again only if it is idempotent (GET, HEAD, OPTIONS, PUT,
//! DELETE, TRACE, or an `Idempotency-Key`), after a broken connection, an attempt that timed out, a 502, 503 or
//! 504 or a gRPC `UNAVAILABLE` without a message, up to [`Policy::attempts`], and as long as no more than 64 KiB of
//! its body went out. `Retry-After` and gRPC's pushback are obeyed if the call has the time. Each retry comes out of
//! the service's budget, [`Policy::retry_budget`].
//!
//! # Calls at once
//! [`Policy::concurrency`] limits the calls of this process to a service, [`Policy::share`] those of one lane, which
//! adds up to a bulkhead; a call counts until its answer's body ended, and once however often it is tried. Those
//! beyond it wait in a bounded queue or are refused, the ones that matter least first ([`Policy::priority`]).
//!
//! # Instances and services that fail
//! Each attempt is judged once: what is a failure is said in the module `outcome`. An instance with too many is
//! taken out of use ([`Policy::ejection`]), a service with too many is not called for a while
//! ([`Policy::breaker`]); both are tried again by single requests. An instance that hangs fails by the time limit
//! of an attempt, which by default is that of the call: set [`Policy::attempt_timeout`] where that is too long to
//! wait, or hedge.
//!
//! # Asking twice, and standing in
//! With [`Policy::hedge`] a read that takes long is asked of another instance too, out of the retry budget; the first
//! good answer counts. With [`Policy::fallback`] a fixed answer, or the last good one to the same request, stands in
//! for no answer and for a 500, 502, 503 or 504; the header `madang-fallback` and the record say so, and all that
//! counts failures counts it.

mod answer;
mod balance;
mod body;
mod breaker;
mod budget;
mod changes;
mod client;
mod connect;
mod context;
mod counters;
mod deadline;
mod directory;
mod early;
mod ejection;
mod elsewhere;
mod endpoint;
mod error;
mod exchange;
mod fallback;
mod fault;
mod fields;
mod gate;
mod gradient;
mod grpc;
mod hedge;
mod hop;
mod lane;
mod last_good;
mod ledger;
mod limit;
mod limiter;
mod local;
mod names;
mod outcome;
mod park;
mod pool;
mod random;
mod record;
mod renewal;
mod retry;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod stack;
mod tally;
#[cfg(test)]
mod testing;
mod timer;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
mod trace;
mod transport;
mod tunnel;
mod upload;
mod upstream;
mod watch;

pub use answer::Form;
pub use body::{Body, BoxError};
pub use changes::Changes;
pub use client::{Calling, Client, ClientConfig};
pub use context::{Context, Deadline, Principal, RequestId};
pub use counters::{Counters, Histogram};
pub use directory::{Directory, Leaving};
pub use elsewhere::Elsewhere;
pub use error::CallError;
pub use fault::Killer;
pub use grpc::{grpc_message, grpc_timeout};
pub use lane::{Lane, Origin};
pub use local::LocalService;
pub use madang_model::Policy;
pub use renewal::Renewal;
#[cfg(feature = "tls")]
pub use tls::{Trust, TrustError};
pub use trace::{TraceContext, new_span_id};
pub use tunnel::Tunnel;
pub use upload::TooLarge;
pub use upstream::Upstream;

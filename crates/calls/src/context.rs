//! What travels with a request: from the outside request through every call made on its behalf.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use madang_model::ServiceName;
use tokio::time::Instant;

/// The id of a request from outside, the same over all calls made on its behalf: 1 to 64 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(pub HeaderValue);

/// A position in a distributed trace (W3C Trace Context, level 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The id of the whole trace; never zero.
    pub trace_id: u128,
    /// The span that is current here; never zero.
    pub span_id: u64,
    /// The span that caused it, in the process before; absent at the root.
    pub parent_id: Option<u64>,
    /// The flags; bit 0 says sampled.
    pub flags: u8,
    /// What tracing vendors add, unchanged.
    pub state: Option<HeaderValue>,
}

/// When an answer is due; monotonic, and of this process only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// Due after this time from now.
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// The time left; zero once it is past.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Who the request is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The subject.
    pub subject: String,
}

/// What travels with a request; kept in its extensions.
#[derive(Debug, Clone)]
pub struct Context {
    /// The id of the request from outside.
    pub request_id: RequestId,
    /// The position in the trace.
    pub trace: TraceContext,
    /// The route's template.
    pub route: Option<Arc<str>>,
    /// The service that calls; absent for a request from outside.
    pub caller: Option<ServiceName>,
    /// Who it is made for.
    pub principal: Option<Arc<Principal>>,
    /// When the answer is due.
    pub deadline: Option<Deadline>,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The client's key for an effect that must happen once.
    pub idempotency_key: Option<HeaderValue>,
}

//! The headers that carry a call's context from process to process.
//!
//! Every name that starts with [`PREFIX`] is Madang's own: the gateway removes those that come from outside.

/// The start of every header name of Madang's own.
pub const PREFIX: &str = "madang-";
/// The service that the request is for; chooses among the services of a unit.
pub const SERVICE: &str = "madang-service";
/// The service that made the call.
pub const CALLER: &str = "madang-caller";
/// The time left for the answer, in whole milliseconds.
pub const TIMEOUT: &str = "madang-timeout";
/// The number of this attempt, from 2; the first says nothing of it.
pub const ATTEMPT: &str = "madang-attempt";
/// In an answer: the fault that gave it in place of the service.
pub const FAULT: &str = "madang-fault";
/// Who the request is made for, as the gateway signed it: see [`crate::principal`].
pub const PRINCIPAL: &str = "madang-principal";
/// How much the request matters: `best-effort` or `critical`; a normal one says nothing of it.
pub const PRIORITY: &str = "madang-priority";
/// In an answer: what it stands in for a failure as, `static` or `last-good`.
pub const FALLBACK: &str = "madang-fallback";
/// That this is a copy of a request, whose answer nobody sees.
pub const MIRROR: &str = "madang-mirror";
/// The id of the request from outside; the same over all calls made on its behalf.
pub const REQUEST_ID: &str = "x-request-id";
/// W3C Trace Context: the caller's span.
pub const TRACEPARENT: &str = "traceparent";
/// W3C Trace Context: what tracing vendors add; passed on unchanged.
pub const TRACESTATE: &str = "tracestate";
/// The client's key for an effect that must happen once (draft-ietf-httpapi-idempotency-key-header-07).
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

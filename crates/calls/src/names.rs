//! The names of headers as values, so that looking one up need not parse it.

use http::HeaderName;
use madang_wire::headers;

pub(crate) const SERVICE: HeaderName = HeaderName::from_static(headers::SERVICE);
pub(crate) const CALLER: HeaderName = HeaderName::from_static(headers::CALLER);
pub(crate) const TIMEOUT: HeaderName = HeaderName::from_static(headers::TIMEOUT);
pub(crate) const ATTEMPT: HeaderName = HeaderName::from_static(headers::ATTEMPT);
pub(crate) const PRINCIPAL: HeaderName = HeaderName::from_static(headers::PRINCIPAL);
pub(crate) const PRIORITY: HeaderName = HeaderName::from_static(headers::PRIORITY);
pub(crate) const FALLBACK: HeaderName = HeaderName::from_static(headers::FALLBACK);
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static(headers::REQUEST_ID);
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static(headers::TRACEPARENT);
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static(headers::TRACESTATE);
pub(crate) const FAULT: HeaderName = HeaderName::from_static(headers::FAULT);
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static(headers::IDEMPOTENCY_KEY);

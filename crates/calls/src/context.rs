//! What travels with a request: from the outside request through every call made on its behalf.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use madang_model::{ServiceName, policy::Priority};
use madang_wire::headers;
use tokio::time::Instant;

use crate::{
    TraceContext,
    grpc::grpc_timeout,
    names::{ATTEMPT, CALLER, IDEMPOTENCY_KEY, PRINCIPAL, PRIORITY, REQUEST_ID, TIMEOUT},
    random::id,
    trace::ascii,
};

/// The id of a request from outside, the same over all calls made on its behalf: 1 to 64 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(pub HeaderValue);

/// When an answer is due; monotonic, and of this process only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Instant);

/// Who the request is made for, as the gateway signed it: opaque to whoever hands it on. Whoever goes by it verifies it.
#[derive(Clone, PartialEq, Eq)]
pub struct Principal(HeaderValue);

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
    pub principal: Option<Principal>,
    /// When the answer is due.
    pub deadline: Option<Deadline>,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// How much the request matters, and what is called on its behalf.
    pub priority: Priority,
    /// The client's key for an effect that must happen once.
    pub idempotency_key: Option<HeaderValue>,
}

// === impl RequestId ===

impl RequestId {
    /// A new, random one: 80 bits, as 16 digits of base 32 (RFC 4648, section 7, in lower case). Few, because each
    /// costs time in every message; as many as keep the ids of a month apart.
    pub fn random() -> Self {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
        let mut bits: u128 = id();
        let text = [(); 16].map(|()| {
            let digit = DIGITS[bits as usize % 32];
            bits >>= 5;
            digit
        });
        // It will be shared by the call, its record and the answer, so that it is made to be shared at once.
        let value = HeaderValue::from_maybe_shared(Bytes::from_owner(text));
        Self(value.expect("digits are a header value"))
    }

    /// The id that a request carries, if it is valid.
    fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let given = headers.get(REQUEST_ID)?.as_bytes();
        let valid = (1..=64).contains(&given.len()) && given.iter().all(u8::is_ascii_graphic);
        // Copied, because the value as received keeps the whole buffer that it was read into.
        valid.then(|| Self(ascii(given)))
    }
}

// === impl Principal ===

/// The longest that is handed on, in bytes.
const PRINCIPAL_BYTES: usize = 8 * 1024;

impl Principal {
    /// Of what was signed, as [`madang_wire::principal`] says; nothing if it cannot be that.
    pub fn new(signed: HeaderValue) -> Option<Self> {
        let text = signed.as_bytes();
        let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let part = |part: &[u8]| !part.is_empty() && part.iter().all(digit);
        let parts = text.len() <= PRINCIPAL_BYTES && text.split(|byte| *byte == b'.').count() == 3;
        (parts && text.split(|byte| *byte == b'.').all(part)).then_some(Self(signed))
    }

    /// What was signed, and by whom.
    pub fn signed(&self) -> &HeaderValue {
        &self.0
    }

    fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all(PRINCIPAL).iter();
        let only = given.next().filter(|_| given.next().is_none())?;
        Self::new(only.clone())
    }
}

// Whoever reads a log must not be able to speak for somebody.
impl std::fmt::Debug for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Principal(…)")
    }
}

// === impl Deadline ===

impl Deadline {
    /// Due after this time from now.
    pub fn after(time: Duration) -> Self {
        Self(later(Instant::now(), time))
    }

    /// When a request is due by what its caller says: Madang's own header, or gRPC's; the sooner of both.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let own = headers.get(TIMEOUT).and_then(|value| value.to_str().ok()?.parse().ok());
        own.map(Duration::from_millis).into_iter().chain(grpc_timeout(headers)).min().map(Self::after)
    }

    /// The time left; zero once it is past.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// No deadline is further off.
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// A time later by this much, or by a day if that is more.
pub(crate) fn later(start: Instant, time: Duration) -> Instant {
    start + time.min(DAY)
}

// === impl Context ===

impl Default for Context {
    fn default() -> Self {
        Self::root()
    }
}

impl Context {
    /// The context of work that no request caused: a new request id and a new trace.
    pub fn root() -> Self {
        Self {
            request_id: RequestId::random(),
            trace: TraceContext::root(),
            route: None,
            caller: None,
            principal: None,
            deadline: None,
            attempt: 1,
            priority: Priority::Normal,
            idempotency_key: None,
        }
    }

    /// The context of a request that arrived with these headers.
    ///
    /// From outside (`trusted` is false) only a valid request id, a valid trace context and the client's
    /// idempotency key are taken; whatever Madang's own headers say is not. From inside, the caller, the principal, the
    /// attempt, the priority and the time left are taken too.
    pub fn from_headers(headers: &HeaderMap, trusted: bool) -> Self {
        // Most requests from outside say nothing of it: one look over the names costs less than finding none.
        if !trusted && !headers.keys().any(is_from_outside) {
            return Self::root();
        }
        let context = Self {
            request_id: RequestId::from_headers(headers).unwrap_or_else(RequestId::random),
            trace: TraceContext::from_headers(headers).unwrap_or_else(TraceContext::root),
            route: None,
            caller: None,
            principal: None,
            deadline: None,
            attempt: 1,
            priority: Priority::Normal,
            idempotency_key: headers.get(IDEMPOTENCY_KEY).cloned(),
        };
        if !trusted {
            return context;
        }
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            caller: text(CALLER).and_then(|name| name.parse().ok()),
            principal: Principal::from_headers(headers),
            deadline: Deadline::from_headers(headers),
            priority: text(PRIORITY).map(Priority::from_label).unwrap_or_default(),
            attempt: text(ATTEMPT).and_then(|number| number.parse().ok()).unwrap_or(1),
            ..context
        }
    }
}

/// Whether a field of a context is taken from outside.
fn is_from_outside(name: &HeaderName) -> bool {
    matches!(name.as_str(), headers::REQUEST_ID | headers::TRACEPARENT | headers::IDEMPOTENCY_KEY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn outside_takes_only_ids_and_the_key() {
        let given = headers(&[
            ("x-request-id", "from-client"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("idempotency-key", "\"k\""),
            ("madang-timeout", "10"),
            ("madang-caller", "orders"),
            ("madang-attempt", "7"),
            ("madang-priority", "best-effort"),
            ("madang-principal", "e30.e30.c2ln"),
        ]);
        let outside = Context::from_headers(&given, false);
        assert_eq!(outside.request_id.0, "from-client");
        assert_eq!(outside.trace.trace_id, 0x0af7651916cd43dd8448eb211c80319c);
        assert_eq!(outside.idempotency_key.as_ref().unwrap(), "\"k\"");
        assert_eq!((outside.caller.as_ref(), outside.deadline, outside.attempt), (None, None, 1));
        assert_eq!((outside.priority, outside.principal), (Priority::Normal, None));

        let inside = Context::from_headers(&given, true);
        assert_eq!(inside.caller.unwrap().as_str(), "orders");
        assert_eq!(inside.deadline.unwrap().remaining(), Duration::from_millis(10));
        assert_eq!((inside.attempt, inside.priority), (7, Priority::BestEffort));
        let principal = inside.principal.unwrap();
        assert_eq!(principal.signed(), "e30.e30.c2ln");
        assert!(!format!("{principal:?}").contains("e30"), "no log has it");
    }

    #[test]
    fn what_cannot_be_a_principal_is_none() {
        let long = format!("a.{}.c", "b".repeat(8192));
        for bad in ["", "admin", "a.b", "a.b.c.d", "a..c", "a.b.c=", "a.b c.d", &long] {
            let context = Context::from_headers(&headers(&[("madang-principal", bad)]), true);
            assert_eq!(context.principal, None, "{bad}");
        }
        let two = headers(&[("madang-principal", "a.b.c")]);
        let mut given = two.clone();
        given.append("madang-principal", HeaderValue::from_static("d.e.f"));
        assert_eq!(Context::from_headers(&given, true).principal, None, "nobody is two");
    }

    #[test]
    fn a_bad_request_id_is_replaced() {
        for bad in ["", " ", "two words", "é", &"x".repeat(65)] {
            let mut given = HeaderMap::new();
            given.insert("x-request-id", HeaderValue::from_bytes(bad.as_bytes()).unwrap());
            let context = Context::from_headers(&given, false);
            assert_eq!(context.request_id.0.len(), 16, "{bad}");
        }
        let kept = Context::from_headers(&headers(&[("x-request-id", &"x".repeat(64))]), true);
        assert_eq!(kept.request_id.0.len(), 64);
    }

    #[test]
    fn nonsense_from_inside_is_no_deadline_and_a_huge_one_is_a_day() {
        assert_eq!(Context::from_headers(&headers(&[("madang-timeout", "soon")]), true).deadline, None);
        let huge = headers(&[("madang-timeout", "18446744073709551615")]);
        let left = Context::from_headers(&huge, true).deadline.unwrap().remaining();
        assert!(left <= Duration::from_secs(86_400));
    }
}

//! What is kept of a span, and what a request record is as one.

use std::sync::{Arc, LazyLock};

use madang_wire::{Hop, RequestRecord, SpanId, TraceId, metrics::GATEWAY, trace::SpanDetails};
use serde_json::{Map, Value};

use super::seen::Seen;

/// In whose place the gateway's spans are.
static OUTSIDE: LazyLock<Arc<str>> = LazyLock::new(|| GATEWAY.into());

/// A span, ready to be written. Times are in microseconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    pub(crate) trace: TraceId,
    pub(crate) id: SpanId,
    pub(crate) parent: Option<SpanId>,
    pub(crate) service: Arc<str>,
    pub(crate) peer: Option<Arc<str>>,
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) start: u64,
    pub(crate) duration: u64,
    pub(crate) error: bool,
    pub(crate) attributes: Attributes,
    /// Whose it is and what else it told, if a service did.
    pub(crate) told: Option<Box<Told>>,
}

/// What else is known of a span.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Attributes {
    /// By a hop.
    Seen(Box<Seen>),
    /// By a service.
    Told(Map<String, Value>),
}

/// What only a service tells of a span.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    pub(crate) instance: Option<Arc<str>>,
    pub(crate) release: Option<Arc<str>>,
    pub(crate) details: SpanDetails,
    /// The attributes of whoever told it, as a JSON document that all its spans share.
    pub(crate) resource: Arc<str>,
}

/// What waits to be written: most of what hops saw is never written, so that it becomes a span only then.
#[expect(
    clippy::large_enum_variant,
    reason = "most that waits is of hops, and a box for each would cost more"
)]
pub(super) enum Waiting {
    Hop(RequestRecord),
    /// With its units; see [`super::queue`].
    Span(Box<Span>, usize),
}

/// The units of a span that takes so many bytes.
pub(super) fn units(bytes: usize) -> usize {
    (bytes / 1024).max(1)
}

impl Waiting {
    pub(super) fn units(&self) -> usize {
        match self {
            Self::Hop(_) => 1,
            Self::Span(_, units) => *units,
        }
    }
}

impl Attributes {
    /// As they are shown.
    pub(crate) fn shown(self) -> Map<String, Value> {
        match self {
            Self::Seen(seen) => seen.attributes(),
            Self::Told(told) => told,
        }
    }

    /// As they are kept.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Seen(seen) => seen.text(),
            Self::Told(told) => serde_json::to_string(told).unwrap_or_default(),
        }
    }
}

impl From<Waiting> for Span {
    fn from(waiting: Waiting) -> Self {
        match waiting {
            Waiting::Hop(record) => record.into(),
            Waiting::Span(span, _) => *span,
        }
    }
}

/// The span of a hop: of kind `server` where the request came from outside, and otherwise the caller's, `client`.
impl From<RequestRecord> for Span {
    fn from(record: RequestRecord) -> Self {
        let place = record.route.as_ref().or(record.service.as_ref());
        let name = match place {
            Some(place) => format!("{} {place}", record.method),
            None => record.method.to_string(),
        };
        let (outside, error) = (record.hop == Hop::Gateway, record.failed());
        Self {
            trace: record.trace_id,
            id: record.span_id,
            parent: record.parent_span_id,
            service: match record.caller {
                _ if outside => OUTSIDE.clone(),
                Some(caller) => caller,
                None => "unknown".into(),
            },
            peer: record.service,
            name,
            kind: if outside { "server" } else { "client" },
            start: record.at.saturating_mul(1000).saturating_add(record.at_us.into()),
            duration: record.duration_us,
            error,
            attributes: Attributes::Seen(Box::new(Seen {
                method: record.method,
                route: record.route,
                status: record.status,
                grpc_status: record.grpc_status,
                instance: record.instance,
                release: record.release,
                hop: record.hop,
                request_id: record.request_id.to_str().ok().map(str::to_owned),
                code: record.code,
                fault: record.fault,
                fallback: record.fallback,
                attempts: record.attempts,
                upstream_us: record.upstream_us,
                parked_us: record.parked_us,
                cache: record.cache,
            })),
            told: None,
        }
    }
}

//! What is kept of a span, and what a request record is as one.

use std::sync::Arc;

use madang_wire::{Fallback, Hop, RequestRecord, SpanId, TraceId, trace::SpanDetails};
use serde_json::{Map, Value};

/// A span, ready to be written. Times are in microseconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    pub(crate) trace: TraceId,
    pub(crate) id: SpanId,
    pub(crate) parent: Option<SpanId>,
    pub(crate) service: Arc<str>,
    pub(crate) peer: Option<Arc<str>>,
    /// The id of the request from outside.
    pub(crate) request: Option<String>,
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) start: u64,
    pub(crate) duration: u64,
    pub(crate) error: bool,
    pub(crate) attributes: Map<String, Value>,
    /// Whose it is and what else it told, if a service did.
    pub(crate) told: Option<Box<Told>>,
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
        let outside = record.hop == Hop::Gateway;
        Self {
            trace: record.trace_id,
            id: record.span_id,
            parent: record.parent_span_id,
            service: if outside {
                "gateway".into()
            } else {
                record.caller.clone().unwrap_or("unknown".into())
            },
            peer: record.service.clone(),
            request: record.request_id.to_str().ok().map(str::to_owned),
            name,
            kind: if outside { "server" } else { "client" },
            start: record.at.saturating_mul(1000).saturating_add(record.at_us.into()),
            duration: record.duration_us,
            error: record.failed(),
            attributes: attributes(&record),
            told: None,
        }
    }
}

fn attributes(record: &RequestRecord) -> Map<String, Value> {
    let hop = match record.hop {
        Hop::Gateway => "gateway",
        Hop::Door => "door",
        Hop::Sdk => "sdk",
    };
    let fallback = record.fallback.map(|fallback| match fallback {
        Fallback::Static => "static",
        Fallback::LastGood => "last-good",
    });
    let text = |text: Option<&str>| text.map(Value::from);
    let waited = |time: u64| (time > 0).then(|| Value::from(time));
    [
        ("http.request.method", text(Some(&record.method))),
        ("http.route", text(record.route.as_deref())),
        ("http.response.status_code", (record.status > 0).then(|| record.status.into())),
        ("rpc.grpc.status_code", record.grpc_status.map(Value::from)),
        ("service.instance.id", text(record.instance.as_deref())),
        ("madang.release", text(record.release.as_deref())),
        ("madang.hop", text(Some(hop))),
        ("madang.request_id", text(record.request_id.to_str().ok())),
        ("madang.code", text(record.code.as_deref())),
        ("madang.fault", text(record.fault.as_deref())),
        ("madang.fallback", text(fallback)),
        ("madang.attempts", Some(record.attempts.into())),
        ("madang.upstream_us", waited(record.upstream_us)),
        ("madang.parked_us", waited(record.parked_us)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}

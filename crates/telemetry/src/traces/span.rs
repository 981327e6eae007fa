//! What is kept of a span, and what a request record is as one.

use std::sync::Arc;

use madang_wire::{Fallback, Hop, RequestRecord, SpanId, TraceId};
use serde_json::{Map, Value};

/// A span, ready to be written. Times are in microseconds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    pub(super) trace: TraceId,
    pub(super) id: SpanId,
    pub(super) parent: Option<SpanId>,
    pub(super) service: Arc<str>,
    pub(super) peer: Option<Arc<str>>,
    /// The id of the request from outside.
    pub(super) request: Option<String>,
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) start: u64,
    pub(super) duration: u64,
    pub(super) error: bool,
    pub(super) attributes: Map<String, Value>,
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

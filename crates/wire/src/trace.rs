//! Traces as the admin API tells of them: `GET /v1/traces` and `GET /v1/traces/{id}`.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{SpanId, TraceId};

/// The traces that were asked for, and what is known to be missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TraceList {
    /// The traces, newest first.
    pub traces: Vec<TraceSummary>,
    /// What was not kept since the node started.
    pub not_kept: NotKept,
}

/// Spans that were not kept since the node started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct NotKept {
    /// Neither failed nor slow, nor of a trace with such a span: beyond the number that is kept each second.
    pub sampled: u64,
    /// Failed or slow, but more than there was room for before they could be written.
    pub overflow: u64,
    /// Could not be written.
    pub unwritten: u64,
    /// Requests that left no record, so that no span was made of them.
    #[serde(default)]
    pub unrecorded: u64,
}

/// What the spans of one trace add up to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TraceSummary {
    /// The trace's id: 32 hexadecimal digits.
    #[schema(value_type = String)]
    pub trace_id: TraceId,
    /// When its first span began, in microseconds since 1970.
    pub start_us: u64,
    /// From there to the end of its last span, in microseconds.
    pub duration_us: u64,
    /// The name of its first span.
    pub name: String,
    /// The service of its first span; `gateway` for a request from outside.
    pub service: String,
    /// How many spans it has.
    pub spans: u64,
    /// How many of them failed.
    pub errors: u64,
}

/// One trace: `GET /v1/traces/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TraceView {
    /// The trace's id: 32 hexadecimal digits.
    #[schema(value_type = String)]
    pub trace_id: TraceId,
    /// Its spans in the order in which they began.
    pub spans: Vec<SpanView>,
    /// Whether it has more spans than are shown.
    pub cut: bool,
}

/// One span of a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SpanView {
    /// The span's id: 16 hexadecimal digits.
    #[schema(value_type = String)]
    pub span_id: SpanId,
    /// The span that caused it, which may not have been kept.
    #[schema(value_type = Option<String>)]
    pub parent_span_id: Option<SpanId>,
    /// The service that it happened in; `gateway` for a request from outside.
    pub service: String,
    /// The service that was called.
    pub peer: Option<String>,
    /// Its name: the method and the route's template.
    pub name: String,
    /// `server`, `client`, `internal`, `producer` or `consumer`.
    pub kind: String,
    /// When it began, in microseconds since 1970.
    pub start_us: u64,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// Whether it failed.
    pub error: bool,
    /// What else is known of it, under the names of OpenTelemetry's conventions or under `madang.`.
    #[schema(value_type = Object)]
    pub attributes: serde_json::Map<String, serde_json::Value>,
    /// The instance that it happened in, if that told of it; what hops saw has the one that was called among the
    /// attributes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The release of that instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// What else that instance told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<SpanDetails>,
    /// What else that instance told of itself.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[schema(value_type = Object)]
    pub resource: serde_json::Map<String, serde_json::Value>,
}

/// What a service tells of a span beyond what each has.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct SpanDetails {
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Which part of the program told of it: the name of a library and its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// What tracing vendors add to the trace (W3C Trace Context, `tracestate`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_state: Option<String>,
    /// What happened meanwhile, exceptions among it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<SpanEvent>,
    /// The spans of other traces, or of this one, that have to do with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<SpanLink>,
    /// How many attributes, events and links there were besides: the service left them out, or there were too many.
    #[serde(skip_serializing_if = "is_zero")]
    pub dropped: u64,
}

/// Something that happened during a span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SpanEvent {
    /// When, in microseconds since 1970.
    pub at_us: u64,
    /// What: `exception` for one.
    pub name: String,
    /// What is known of it.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[schema(value_type = Object)]
    pub attributes: serde_json::Map<String, serde_json::Value>,
}

/// Another span that has to do with one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SpanLink {
    /// Its trace's id.
    #[schema(value_type = String)]
    pub trace_id: TraceId,
    /// Its id.
    #[schema(value_type = String)]
    pub span_id: SpanId,
    /// What it has to do with it.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[schema(value_type = Object)]
    pub attributes: serde_json::Map<String, serde_json::Value>,
}

// === impl TraceView ===

impl TraceView {
    /// The beginning and the end of it, in microseconds since 1970; 0 if it has no spans.
    pub fn bounds(&self) -> (u64, u64) {
        let start = self.spans.iter().map(|span| span.start_us).min().unwrap_or(0);
        let ends = self.spans.iter().map(|span| span.start_us.saturating_add(span.duration_us));
        (start, ends.max().unwrap_or(start))
    }

    /// Each span after the one that caused it, with its depth; one whose cause is not known stands for itself.
    pub fn in_order(&self) -> Vec<(usize, &SpanView)> {
        let known: HashSet<SpanId> = self.spans.iter().map(|span| span.span_id).collect();
        let mut below: BTreeMap<Option<u64>, Vec<&SpanView>> = BTreeMap::new();
        for span in self.spans.iter().rev() {
            let parent =
                span.parent_span_id.filter(|parent| known.contains(parent) && *parent != span.span_id);
            below.entry(parent.map(|parent| parent.0)).or_default().push(span);
        }
        let mut order = Vec::new();
        let mut waiting: Vec<(usize, &SpanView)> =
            below.remove(&None).unwrap_or_default().into_iter().map(|span| (0, span)).collect();
        loop {
            while let Some((depth, span)) = waiting.pop() {
                order.push((depth, span));
                // Taken out, so that spans that claim to cause each other come once.
                let caused = below.remove(&Some(span.span_id.0)).unwrap_or_default();
                waiting.extend(caused.into_iter().map(|span| (depth + 1, span)));
            }
            // What is left can be reached from no beginning: each causes another.
            let Some((_, circle)) = below.pop_first() else { return order };
            waiting.extend(circle.into_iter().map(|span| (0, span)));
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(spans: &[(u64, Option<u64>)]) -> TraceView {
        let span = |&(id, parent): &(u64, Option<u64>)| SpanView {
            span_id: SpanId(id),
            parent_span_id: parent.map(SpanId),
            service: "orders".to_owned(),
            peer: None,
            name: "GET".to_owned(),
            kind: "server".to_owned(),
            start_us: 1000 + id,
            duration_us: 10 * id,
            error: false,
            attributes: Default::default(),
            instance: None,
            release: None,
            details: None,
            resource: Default::default(),
        };
        TraceView { trace_id: TraceId(7), spans: spans.iter().map(span).collect(), cut: false }
    }

    fn order(trace: &TraceView) -> Vec<(usize, u64)> {
        trace.in_order().into_iter().map(|(depth, span)| (depth, span.span_id.0)).collect()
    }

    #[test]
    fn spans_come_after_their_cause() {
        let trace = trace(&[(1, None), (2, Some(1)), (4, Some(2)), (3, Some(1)), (5, Some(99))]);
        assert_eq!(order(&trace), [(0, 1), (1, 2), (2, 4), (1, 3), (0, 5)]);
        assert_eq!(trace.bounds(), (1001, 1055));
    }

    #[test]
    fn whatever_spans_claim_each_comes_once() {
        let order = order(&trace(&[(1, Some(2)), (2, Some(1)), (3, Some(3)), (4, Some(1))]));
        let distinct: HashSet<u64> = order.iter().map(|(_, id)| *id).collect();
        assert_eq!((order.len(), distinct.len()), (4, 4), "{order:?}");
    }
}

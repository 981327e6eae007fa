//! What the node knows to be missing in its telemetry, by kind and reason. Everyone who tells of it reads it here: the
//! admin API, Prometheus, and through these the command line and the dashboard.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use madang_wire::{
    metrics::MetricsDropped,
    telemetry::{Missing, MissingKind, TelemetryView},
    trace::NotKept,
};

use crate::node::Shared;

/// What is missing in telemetry since the node started, and why.
#[utoipa::path(get, path = "/v1/telemetry", responses((status = 200, body = TelemetryView)))]
pub(crate) async fn telemetry(State(node): State<Arc<Shared>>) -> Json<TelemetryView> {
    node.drain_records();
    let forward = node.forward.as_ref().map(|forward| forward.view());
    Json(TelemetryView { since: node.started_at, missing: node.missing(), forward })
}

impl Shared {
    /// Each kind by reason, also those of which nothing is missing.
    pub(crate) fn missing(&self) -> Vec<Missing> {
        let mut lines: BTreeMap<String, u64> =
            self.system.borrow().units.keys().map(|unit| (unit.to_string(), 0)).collect();
        lines.extend(self.logs.too_many());
        let forward = self.forward.as_ref().map(|forward| forward.view());
        let mut all = of_stores(&self.metrics_dropped(), &self.not_kept(), self.annotations.lost());
        let why = "more than are kept of an instance each second; those of its output are still in its file";
        all.extend(lines.into_iter().map(|(unit, count)| Missing {
            unit: Some(unit),
            ..missing(MissingKind::Lines, "budget", count, why)
        }));
        if let Some(view) = forward {
            let why = "the back end took them too slowly, and the oldest made room";
            all.push(missing(MissingKind::Forwarded, "overflow", view.dropped, why));
            let why = "the back end refused them, or did not take them in five minutes";
            all.push(missing(MissingKind::Forwarded, "refused", view.refused, why));
        }
        all
    }

    /// The spans that are not kept, and the requests of which no span was made.
    pub(crate) fn not_kept(&self) -> NotKept {
        NotKept { unrecorded: self.metrics_dropped().records, ..self.traces.not_kept() }
    }
}

fn of_stores(metrics: &MetricsDropped, spans: &NotKept, events: u64) -> Vec<Missing> {
    use MissingKind::{Events, External, Points, Requests, Seconds, Spans};
    let MetricsDropped { records, other, unwritten, seconds, external_series, external_points } = *metrics;
    let NotKept { sampled, overflow, unwritten: spans_unwritten, unrecorded: _ } = *spans;
    vec![
        missing(
            Requests,
            "ring",
            records,
            "more than could be held until they were read: they have no record",
        ),
        missing(Requests, "series", other, "of too many series: counted under \"other\""),
        missing(Points, "unwritten", unwritten, "could not be written"),
        missing(Seconds, "memory", seconds, "of the last ten minutes, more than is kept by the second"),
        missing(External, "series", external_series, "more series than are kept of a service"),
        missing(External, "points", external_points, "could not be understood, or are of such series"),
        missing(Spans, "sampled", sampled, "neither failed nor slow, and outside of the sample"),
        missing(Spans, "overflow", overflow, "failed or slow, but more than could be held"),
        missing(Spans, "unwritten", spans_unwritten, "could not be written"),
        missing(Events, "overflow", events, "more than could be held until they were written"),
    ]
}

fn missing(kind: MissingKind, reason: &str, count: u64, why: &str) -> Missing {
    Missing { kind, reason: reason.to_owned(), unit: None, count, why: why.to_owned() }
}

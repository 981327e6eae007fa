//! What is measured, family by family, in the form that somebody asks for: as text, or as points of OTLP.

use madang_wire::otlp::metrics::v1::Metric;

use super::{
    points::Points,
    text::{Exposition, Text},
};

/// What the values of a family are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// All that is measured, in one form.
pub(super) enum Writer {
    /// For Prometheus.
    Text(Text),
    /// For a back end that speaks OTLP.
    Points(Points),
}

/// A family in it, to which samples are added.
pub(super) struct Family<'a> {
    writer: &'a mut Writer,
    name: &'a str,
    kind: Kind,
}

/// A call by its trace: how long it took in seconds, and when it ended in milliseconds since 1970.
pub(super) struct Exemplar {
    pub(super) trace: madang_wire::TraceId,
    pub(super) value: f64,
    pub(super) at: u64,
}

/// Labels, each with its value.
pub(super) type Labels<'a> = [(&'a str, &'a str)];

/// A histogram: the bounds of its buckets, how many are in each (the last has no bound), their sum, and an exemplar for
/// some of them.
pub(super) struct Histogram<'a> {
    pub(super) bounds: &'a [f64],
    pub(super) counts: &'a [u64],
    pub(super) sum: f64,
    pub(super) exemplars: &'a [Option<Exemplar>],
}

// === impl Writer ===

impl Writer {
    /// As text.
    pub(super) fn text(exposition: Exposition) -> Self {
        Self::Text(Text::new(exposition))
    }

    /// As points of this moment, of what is counted since another; both in milliseconds since 1970.
    pub(super) fn points(since: u64, at: u64) -> Self {
        Self::Points(Points::new(since, at))
    }

    /// Begins a family; the name of a counter is without `_total`.
    pub(super) fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &str) -> Family<'a> {
        match self {
            Self::Text(text) => text.head(name, kind, help),
            Self::Points(points) => points.begin(name, kind, help),
        }
        Family { writer: self, name, kind }
    }

    /// The text, if it is one.
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text.end(),
            Self::Points(_) => String::new(),
        }
    }

    /// The points, if it is those.
    pub(super) fn into_metrics(self) -> Vec<Metric> {
        match self {
            Self::Text(_) => Vec::new(),
            Self::Points(points) => points.end(),
        }
    }
}

// === impl Family ===

impl Family<'_> {
    pub(super) fn add(&mut self, labels: &Labels<'_>, value: f64) {
        match self.writer {
            Writer::Text(text) => text.number(self.name, self.kind, labels, value),
            Writer::Points(points) => points.number(labels, value),
        }
    }

    pub(super) fn histogram(&mut self, labels: &Labels<'_>, histogram: &Histogram<'_>) {
        match self.writer {
            Writer::Text(text) => text.histogram(self.name, labels, histogram),
            Writer::Points(points) => points.histogram(labels, histogram),
        }
    }
}

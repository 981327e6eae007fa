//! What is sent at once: the items of one signal, as the bytes of its message.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use madang_wire::otlp::{
    Message,
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    metrics::v1::{Metric, metric::Data},
};

use super::Item;
use crate::otlp::Signal;

/// About how large an export becomes, in bytes before it is packed: what every back end takes.
pub(super) const LARGEST: usize = 1 << 20;

/// An export, ready to be sent.
pub(super) struct Export {
    pub(super) signal: Signal,
    /// How many spans, records or data points it has.
    pub(super) count: u64,
    pub(super) packed: Vec<u8>,
}

// === impl Export ===

impl Export {
    /// Of items that are all of one signal.
    pub(super) fn of(items: Vec<Item>) -> Self {
        let signal = items.first().map_or(Signal::Traces, Item::signal);
        let count = items.iter().map(Item::count).sum();
        let mut spans = ExportTraceServiceRequest::default();
        let mut logs = ExportLogsServiceRequest::default();
        let mut metrics = ExportMetricsServiceRequest::default();
        for item in items {
            match item {
                Item::Spans(of) => spans.resource_spans.push(of),
                Item::Logs(of) => logs.resource_logs.push(of),
                Item::Metrics(of) => metrics.resource_metrics.push(of),
            }
        }
        let message = match signal {
            Signal::Traces => spans.encode_to_vec(),
            Signal::Logs => logs.encode_to_vec(),
            Signal::Metrics => metrics.encode_to_vec(),
        };
        Self { signal, count, packed: gzip(&message) }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    // Into memory nothing fails; if it did, what is there is no gzip, and the back end says so.
    let _ = writer.write_all(bytes);
    writer.finish().unwrap_or_default()
}

// === impl Item ===

impl Item {
    /// How many bytes it takes in an export.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Spans(of) => of.encoded_len(),
            Self::Logs(of) => of.encoded_len(),
            Self::Metrics(of) => of.encoded_len(),
        }
    }

    /// How many spans, records or data points it has.
    pub(super) fn count(&self) -> u64 {
        let count: usize = match self {
            Self::Spans(of) => of.scope_spans.iter().map(|scope| scope.spans.len()).sum(),
            Self::Logs(of) => of.scope_logs.iter().map(|scope| scope.log_records.len()).sum(),
            Self::Metrics(of) => of.scope_metrics.iter().flat_map(|scope| &scope.metrics).map(points).sum(),
        };
        count as u64
    }
}

/// How many data points a metric has.
fn points(metric: &Metric) -> usize {
    match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        Some(Data::Summary(summary)) => summary.data_points.len(),
        None => 0,
    }
}

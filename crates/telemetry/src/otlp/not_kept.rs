//! What is read and has no store: whoever sends it is told.

use madang_wire::otlp::{
    collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest},
    metrics::v1::{Metric, metric::Data},
};

use super::Partial;

pub(super) fn logs(export: &ExportLogsServiceRequest) -> Partial {
    let scopes = export.resource_logs.iter().flat_map(|of| &of.scope_logs);
    none_of(scopes.map(|scope| scope.log_records.len()).sum(), "log records that come by OTLP are not kept")
}

pub(super) fn metrics(export: &ExportMetricsServiceRequest) -> Partial {
    let scopes = export.resource_metrics.iter().flat_map(|of| &of.scope_metrics);
    none_of(
        scopes.flat_map(|scope| &scope.metrics).map(points).sum(),
        "metrics that come by OTLP are not kept",
    )
}

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

fn none_of(count: usize, why: &str) -> Partial {
    let mut partial = Partial::default();
    if count > 0 {
        partial.reject(count as u64, || why.to_owned());
    }
    partial
}

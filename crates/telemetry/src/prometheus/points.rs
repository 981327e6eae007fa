//! What is measured, as points of OTLP: all that is counted as a whole since the node started.

use madang_wire::otlp::{
    attribute,
    common::v1::KeyValue,
    metrics::v1::{
        AggregationTemporality, Exemplar, Gauge, Histogram as Sent, HistogramDataPoint, Metric,
        NumberDataPoint, Sum, exemplar, metric::Data, number_data_point,
    },
};

use super::writer::{Histogram, Kind, Labels};

/// The metrics so far.
pub(super) struct Points {
    /// Since when it is counted, and when it was read, in nanoseconds since 1970.
    times: (u64, u64),
    metrics: Vec<Metric>,
}

// === impl Points ===

impl Points {
    /// Both in milliseconds since 1970.
    pub(super) fn new(since: u64, at: u64) -> Self {
        let nanos = |millis: u64| millis.saturating_mul(1_000_000);
        Self { times: (nanos(since), nanos(at)), metrics: Vec::new() }
    }

    pub(super) fn begin(&mut self, name: &str, kind: Kind, help: &str) {
        let cumulative = AggregationTemporality::Cumulative.into();
        let data = match kind {
            Kind::Counter => Data::Sum(Sum {
                aggregation_temporality: cumulative,
                is_monotonic: true,
                ..Default::default()
            }),
            Kind::Gauge => Data::Gauge(Gauge::default()),
            Kind::Histogram => {
                Data::Histogram(Sent { aggregation_temporality: cumulative, ..Default::default() })
            }
        };
        let (name, description) = (name.to_owned(), help.to_owned());
        self.metrics.push(Metric { name, description, data: Some(data), ..Default::default() });
    }

    pub(super) fn number(&mut self, labels: &Labels<'_>, value: f64) {
        let (since, at) = self.times;
        let mut point = NumberDataPoint {
            attributes: attributes(labels),
            time_unix_nano: at,
            value: Some(number_data_point::Value::AsDouble(value)),
            ..Default::default()
        };
        match self.metrics.last_mut().and_then(|metric| metric.data.as_mut()) {
            Some(Data::Sum(sum)) => {
                point.start_time_unix_nano = since;
                sum.data_points.push(point);
            }
            Some(Data::Gauge(gauge)) => gauge.data_points.push(point),
            _ => {}
        }
    }

    pub(super) fn histogram(&mut self, labels: &Labels<'_>, histogram: &Histogram<'_>) {
        let Some(Data::Histogram(sent)) = self.metrics.last_mut().and_then(|metric| metric.data.as_mut())
        else {
            return;
        };
        let exemplars = histogram.exemplars.iter().flatten().map(|one| Exemplar {
            time_unix_nano: one.at.saturating_mul(1_000_000),
            trace_id: one.trace.0.to_be_bytes().to_vec(),
            value: Some(exemplar::Value::AsDouble(one.value)),
            ..Default::default()
        });
        sent.data_points.push(HistogramDataPoint {
            attributes: attributes(labels),
            start_time_unix_nano: self.times.0,
            time_unix_nano: self.times.1,
            count: histogram.counts.iter().sum(),
            sum: Some(histogram.sum),
            bucket_counts: histogram.counts.to_vec(),
            explicit_bounds: histogram.bounds.to_vec(),
            exemplars: exemplars.collect(),
            ..Default::default()
        });
    }

    /// What has points.
    pub(super) fn end(mut self) -> Vec<Metric> {
        self.metrics.retain(|metric| match &metric.data {
            Some(Data::Sum(sum)) => !sum.data_points.is_empty(),
            Some(Data::Gauge(gauge)) => !gauge.data_points.is_empty(),
            Some(Data::Histogram(histogram)) => !histogram.data_points.is_empty(),
            _ => false,
        });
        self.metrics
    }
}

fn attributes(labels: &Labels<'_>) -> Vec<KeyValue> {
    labels.iter().map(|(name, value)| attribute(name, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus::writer::Writer;

    #[test]
    fn each_kind_is_a_point_of_its_kind() {
        let mut writer = Writer::points(1, 5);
        writer.family("jobs", Kind::Counter, "Jobs").add(&[("queue", "a")], 3.0);
        writer.family("level", Kind::Gauge, "How high").add(&[], 0.5);
        writer.family("none", Kind::Gauge, "Nothing");
        let histogram = Histogram { bounds: &[0.5], counts: &[2, 1], sum: 4.5, exemplars: &[] };
        writer.family("wait_seconds", Kind::Histogram, "How long").histogram(&[], &histogram);
        let metrics = writer.into_metrics();
        assert_eq!(
            metrics.iter().map(|metric| &*metric.name).collect::<Vec<_>>(),
            ["jobs", "level", "wait_seconds"]
        );
        let Some(Data::Sum(jobs)) = &metrics[0].data else { panic!("a sum") };
        assert_eq!((jobs.is_monotonic, jobs.aggregation_temporality), (true, 2));
        let point = &jobs.data_points[0];
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (1_000_000, 5_000_000));
        assert_eq!(point.value, Some(number_data_point::Value::AsDouble(3.0)));
        assert_eq!(madang_wire::otlp::text(&point.attributes, "queue"), Some("a"));
        let Some(Data::Histogram(wait)) = &metrics[2].data else { panic!("a histogram") };
        let point = &wait.data_points[0];
        assert_eq!(
            (point.count, &*point.bucket_counts, &*point.explicit_bounds),
            (3, &[2, 1][..], &[0.5][..])
        );
    }
}

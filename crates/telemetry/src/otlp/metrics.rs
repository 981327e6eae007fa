//! What is kept of metrics: a point of each series, with whose it is.

use std::collections::BTreeMap;

use madang_wire::otlp::{
    common::v1::KeyValue,
    metrics::v1::{
        AggregationTemporality, DataPointFlags, ExponentialHistogramDataPoint, HistogramDataPoint, Metric,
        NumberDataPoint, ResourceMetrics, SummaryDataPoint, metric::Data, number_data_point,
    },
    to_json,
};
use serde_json::Value;

use super::{sender::Origin, value};
use crate::{Exponential, PushedMetric, PushedValue};

/// The longest value of an attribute, in bytes.
const LONGEST: usize = 200;

/// Adds the points of one resource.
pub(super) fn read(origin: &Origin, given: ResourceMetrics, pushed: &mut Vec<PushedMetric>) {
    for metric in given.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
        let Metric { name, description, unit, data, .. } = metric;
        let mut add = |suffix: &str, attributes, value| {
            pushed.push(PushedMetric {
                name: format!("{name}{suffix}"),
                description: description.clone(),
                unit: unit.clone(),
                attributes,
                value,
            });
        };
        match data {
            None => {}
            Some(Data::Gauge(gauge)) => {
                for point in gauge.data_points {
                    if let Some((attributes, value)) = number(origin, point) {
                        add("", attributes, PushedValue::Gauge(value));
                    }
                }
            }
            Some(Data::Sum(sum)) => {
                let (monotonic, delta) = (sum.is_monotonic, is_delta(sum.aggregation_temporality));
                for point in sum.data_points {
                    if let Some((attributes, value)) = number(origin, point) {
                        add("", attributes, PushedValue::Sum { value, monotonic, delta });
                    }
                }
            }
            Some(Data::Histogram(histogram)) => {
                let delta = is_delta(histogram.aggregation_temporality);
                for point in histogram.data_points.into_iter().filter(|point| is_there(point.flags)) {
                    let HistogramDataPoint { attributes, explicit_bounds, bucket_counts, count, sum, .. } =
                        point;
                    let (bounds, counts, sum) = (explicit_bounds, bucket_counts, sum.unwrap_or_default());
                    add(
                        "",
                        named(origin, attributes),
                        PushedValue::Histogram { bounds, counts, count, sum, delta },
                    );
                }
            }
            Some(Data::ExponentialHistogram(histogram)) => {
                let delta = is_delta(histogram.aggregation_temporality);
                for point in histogram.data_points.into_iter().filter(|point| is_there(point.flags)) {
                    let (count, sum) = (point.count, point.sum.unwrap_or_default());
                    let attributes = named(origin, point.attributes.clone());
                    let buckets = exponential(point);
                    add("", attributes, PushedValue::Exponential { buckets, count, sum, delta });
                }
            }
            // An older kind, of which nothing but what was made of it is left: shown as what it says.
            Some(Data::Summary(summary)) => {
                for point in summary.data_points.into_iter().filter(|point| is_there(point.flags)) {
                    let SummaryDataPoint { attributes, count, sum, quantile_values, .. } = point;
                    let attributes = named(origin, attributes);
                    for of in quantile_values {
                        let mut attributes = attributes.clone();
                        attributes.insert("quantile".to_owned(), of.quantile.to_string());
                        add("", attributes, PushedValue::Gauge(of.value));
                    }
                    let total = |value| PushedValue::Sum { value, monotonic: true, delta: false };
                    add(".count", attributes.clone(), total(count as f64));
                    add(".sum", attributes, total(sum));
                }
            }
        }
    }
}

fn number(origin: &Origin, point: NumberDataPoint) -> Option<(BTreeMap<String, String>, f64)> {
    let value = match point.value.filter(|_| is_there(point.flags))? {
        number_data_point::Value::AsDouble(value) => value,
        number_data_point::Value::AsInt(value) => value as f64,
    };
    Some((named(origin, point.attributes), value))
}

/// Values below zero are not told apart from zero.
fn exponential(point: ExponentialHistogramDataPoint) -> Exponential {
    let negative: u64 = point.negative.iter().flat_map(|buckets| &buckets.bucket_counts).sum();
    let positive = point.positive.unwrap_or_default();
    Exponential {
        scale: point.scale,
        zero: point.zero_count.saturating_add(negative),
        offset: positive.offset,
        counts: positive.bucket_counts,
    }
}

/// The attributes as text, and the instance, since each counts for itself.
fn named(origin: &Origin, attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value| match to_json(value) {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let mut named: BTreeMap<String, String> = attributes
        .into_iter()
        .map(|attribute| {
            let mut value = text(attribute.value);
            value::cut(&mut value, LONGEST);
            (attribute.key, value)
        })
        .collect();
    if let Some(instance) = &origin.instance {
        named.insert("instance".to_owned(), instance.to_string());
    }
    named
}

/// Whether a point has a value: some only say that there is none.
fn is_there(flags: u32) -> bool {
    flags & DataPointFlags::NoRecordedValueMask as u32 == 0
}

fn is_delta(temporality: i32) -> bool {
    temporality == AggregationTemporality::Delta as i32
}

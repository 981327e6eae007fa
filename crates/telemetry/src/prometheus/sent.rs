//! What services measure themselves, under names and labels that Prometheus allows.
//!
//! Source: OpenTelemetry's specification of compatibility with Prometheus: units are written out at the end of a name,
//! and what is no letter, digit or underscore becomes an underscore.

use std::collections::BTreeMap;

use madang_wire::metrics::{ExternalKind, ExternalMetric, ExternalSeries};

use super::writer::{Histogram, Kind, Writer};

/// Names of ours, which a service may not take.
const OURS: &str = "madang_";

pub(super) fn write(writer: &mut Writer, metrics: &[ExternalMetric]) {
    let mut families: BTreeMap<String, Vec<&ExternalMetric>> = BTreeMap::new();
    for metric in metrics {
        let name = name(metric);
        let all = families.entry(name.clone()).or_default();
        match all.first() {
            // Of one name there is one kind: what another service calls the same is told under its own.
            Some(first) if first.kind != metric.kind => {
                let own = format!("{}_{name}", allowed(&metric.service));
                families.entry(own).or_default().push(metric);
            }
            _ => all.push(metric),
        }
    }
    // Two names may differ in nothing but what `_total` or `_bucket` is added to: the first keeps it.
    for (name, metrics) in &families {
        let kind = match metrics[0].kind {
            ExternalKind::Gauge | ExternalKind::Sum => Kind::Gauge,
            ExternalKind::Counter => Kind::Counter,
            ExternalKind::Histogram => Kind::Histogram,
        };
        let mut family = writer.family(name, kind, &metrics[0].description);
        let mut told: Vec<Vec<(String, String)>> = Vec::new();
        for metric in metrics {
            for series in &metric.series {
                let labels = labels(&metric.service, series);
                // Attributes that differ only in what is not allowed would be one series twice.
                if told.contains(&labels) {
                    continue;
                }
                let given: Vec<_> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
                if kind == Kind::Histogram {
                    let counts: Vec<u64> = series.buckets.iter().map(|bucket| bucket.count).collect();
                    let bounds: Vec<f64> = series.buckets.iter().filter_map(|bucket| bucket.le).collect();
                    let (bounds, sum) = (&*bounds, series.value);
                    let histogram = Histogram { bounds, counts: &counts, sum, exemplars: &[] };
                    family.histogram(&given, &histogram);
                } else {
                    family.add(&given, series.value);
                }
                told.push(labels);
            }
        }
    }
}

fn labels(service: &str, series: &ExternalSeries) -> Vec<(String, String)> {
    let mut labels = vec![("service".to_owned(), service.to_owned())];
    for (name, value) in &series.attributes {
        let name = allowed(name);
        let taken = ["service", "le", "job", "instance"].contains(&&*name)
            || labels.iter().any(|(known, _)| *known == name);
        labels.push((if taken { format!("attribute_{name}") } else { name }, value.clone()));
    }
    labels
}

fn name(metric: &ExternalMetric) -> String {
    let mut name = allowed(&metric.name);
    if name.starts_with(OURS) {
        name = format!("sent_{name}");
    }
    let unit = match &*metric.unit {
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "%" => "percent",
        "1" if metric.kind == ExternalKind::Gauge => "ratio",
        _ => "",
    };
    let base = name.strip_suffix("_total").unwrap_or(&name);
    let base = if metric.kind == ExternalKind::Counter { base } else { &name };
    match unit {
        "" => base.to_owned(),
        unit if base.ends_with(unit) => base.to_owned(),
        unit => format!("{base}_{unit}"),
    }
}

/// Letters, digits and underscores, not a digit first.
fn allowed(text: &str) -> String {
    let mut name: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || name.starts_with("__") {
        name.insert_str(0, "x_");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        external::{External, PushedMetric, PushedValue},
        prometheus::text::Exposition,
    };

    fn pushed(name: &str, unit: &str, attributes: &[(&str, &str)], value: PushedValue) -> PushedMetric {
        let attributes =
            attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        PushedMetric { name: name.into(), description: "d".into(), unit: unit.into(), attributes, value }
    }

    #[test]
    fn names_labels_and_kinds_are_what_prometheus_allows() {
        let external = External::default();
        let counter = |value| PushedValue::Sum { value, monotonic: true, delta: false };
        external.push(
            "orders",
            vec![
                pushed(
                    "http.server.duration",
                    "s",
                    &[("le", "x"), ("http.route", "/a")],
                    PushedValue::Gauge(0.5),
                ),
                pushed("jobs.total", "{job}", &[], counter(3.0)),
                pushed("madang_requests", "", &[], counter(9.0)),
            ],
            0,
        );
        external.push("users", vec![pushed("jobs", "", &[], PushedValue::Gauge(7.0))], 0);
        let mut writer = Writer::text(Exposition::Text);
        write(&mut writer, &external.list(None, None, false));
        let written = writer.into_text();
        for line in [
            r#"http_server_duration_seconds{service="orders",http_route="/a",attribute_le="x"} 0.5"#,
            r#"jobs_total{service="orders"} 3"#,
            r#"users_jobs{service="users"} 7"#,
            r#"sent_madang_requests_total{service="orders"} 9"#,
        ] {
            assert!(written.lines().any(|found| found == line), "{line} in {written}");
        }
    }
}

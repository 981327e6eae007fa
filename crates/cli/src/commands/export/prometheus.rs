//! What Prometheus reads: where to scrape, and when to raise an alarm.

use std::fmt::Write;

use madang_model::System;

use super::name;

/// Where metrics are told if the manifest does not say; the port that OpenTelemetry's exporters use.
pub const DEFAULT: &str = "127.0.0.1:9464";

/// The share of calls that may fail: what the alerts on errors take as their objective.
const BUDGET: f64 = 0.001;

/// An alert.
struct Alert {
    name: &'static str,
    expr: String,
    lasts: &'static str,
    severity: &'static str,
    summary: &'static str,
    /// What to look at first.
    next: &'static str,
}

/// `prometheus.yml` and the rules that it names.
pub fn files(system: &System) -> Vec<(&'static str, String)> {
    vec![("prometheus.yml", scrape(system)), ("madang-alerts.yml", rules(system))]
}

fn scrape(system: &System) -> String {
    let address = system.telemetry.metrics.map_or(DEFAULT.to_owned(), |address| address.to_string());
    format!(
        "# Started with --enable-feature=exemplar-storage, Prometheus keeps a trace for each range of latencies.
global:
  scrape_interval: 5s
  evaluation_interval: 5s
rule_files:
  - madang-alerts.yml
scrape_configs:
  - job_name: madang
    static_configs:
      - targets: [\"{address}\"]
        labels:
          system: \"{}\"
",
        name(system)
    )
}

fn rules(system: &System) -> String {
    let mut text = format!("groups:\n  - name: madang-{}-ratios\n    rules:\n", name(system));
    for window in ["5m", "30m", "1h", "6h"] {
        let _ = write!(
            text,
            "      # The share of the calls to a service that failed.
      - record: madang:calls_failed:ratio_rate{window}
        expr: |
          sum by (system, callee) (rate(madang_calls_total{{failed=\"true\"}}[{window}]))
          / sum by (system, callee) (rate(madang_calls_total[{window}]))
"
        );
    }
    let _ = write!(text, "  - name: madang-{}-alerts\n    rules:\n", name(system));
    for Alert { name, expr, lasts, severity, summary, next } in alerts() {
        let _ = write!(
            text,
            "      - alert: {name}
        expr: |
          {}
        for: {lasts}
        labels:
          severity: {severity}
        annotations:
          summary: \"{summary}\"
          next: \"{next}\"
",
            expr.replace('\n', "\n          ")
        );
    }
    text
}

/// Burn rates over two windows as in the Site Reliability Workbook, chapter 5.
fn alerts() -> Vec<Alert> {
    let burns = |rate: f64, long: &str, short: &str| {
        let most = rate * BUDGET;
        format!(
            "madang:calls_failed:ratio_rate{long} > {most}\nand madang:calls_failed:ratio_rate{short} > {most}"
        )
    };
    let traces = "madang traces --error --service {{ $labels.callee }}";
    vec![
        Alert {
            name: "MadangErrorsBurnFast",
            expr: burns(14.4, "1h", "5m"),
            lasts: "2m",
            severity: "page",
            summary: "{{ $value | humanizePercentage }} of the calls to {{ $labels.callee }} fail: the errors of a month in two days",
            next: traces,
        },
        Alert {
            name: "MadangErrorsBurnSlowly",
            expr: burns(6.0, "6h", "30m"),
            lasts: "15m",
            severity: "ticket",
            summary: "{{ $value | humanizePercentage }} of the calls to {{ $labels.callee }} fail: the errors of a month in five days",
            next: traces,
        },
        Alert {
            name: "MadangSlow",
            expr: "histogram_quantile(0.99, sum by (system, callee, le) (rate(madang_call_duration_seconds_bucket[5m]))) > 1".into(),
            lasts: "10m",
            severity: "ticket",
            summary: "one in a hundred calls to {{ $labels.callee }} takes longer than {{ $value | humanizeDuration }}",
            next: "madang traces --slow 1s --service {{ $labels.callee }}",
        },
        Alert {
            name: "MadangNoReadyInstance",
            expr: "madang_service_ready_instances == 0".into(),
            lasts: "1m",
            severity: "page",
            summary: "no instance of {{ $labels.service }} is in rotation",
            next: "madang logs {{ $labels.service }}",
        },
        Alert {
            name: "MadangUnitRestarts",
            expr: "increase(madang_unit_restarts_total[15m]) > 3".into(),
            lasts: "0m",
            severity: "ticket",
            summary: "{{ $labels.unit }} exits again and again",
            next: "madang logs {{ $labels.unit }}",
        },
        Alert {
            name: "MadangBreakerOpen",
            expr: "madang_service_breaker == 2".into(),
            lasts: "1m",
            severity: "page",
            summary: "calls to {{ $labels.service }} are refused, because it fails",
            next: "madang describe {{ $labels.service }}",
        },
        Alert {
            name: "MadangManifestRefused",
            expr: "madang_node_manifest_in_force == 0".into(),
            lasts: "10m",
            severity: "ticket",
            summary: "the manifest was edited and refused: the one before is in force",
            next: "madang check",
        },
        Alert {
            name: "MadangTelemetryDropped",
            // Sampling drops what it is meant to.
            expr: "sum by (system, kind, reason) (increase(madang_telemetry_dropped_total{reason!=\"sampled\"}[10m])) > 0".into(),
            lasts: "0m",
            severity: "ticket",
            summary: "telemetry is incomplete: {{ $labels.kind }} dropped ({{ $labels.reason }})",
            next: "madang top",
        },
        Alert {
            name: "MadangDown",
            expr: "up{job=\"madang\"} == 0".into(),
            lasts: "1m",
            severity: "page",
            summary: "the node of {{ $labels.system }} cannot be asked",
            next: "madang ps",
        },
    ]
}

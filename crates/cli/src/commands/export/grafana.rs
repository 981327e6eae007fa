//! Dashboards for Grafana: one of the system, and one of a service.

use madang_model::System;
use serde_json::{Value, json};

use super::name;

/// A panel's queries, each with its legend.
type Queries<'a> = &'a [(&'a str, &'a str)];

/// A dashboard that grows panel by panel, two in a row.
struct Dashboard {
    uid: &'static str,
    title: String,
    variables: Vec<Value>,
    panels: Vec<Value>,
}

/// Which of Grafana's units a panel has.
const PER_SECOND: &str = "reqps";
const RATIO: &str = "percentunit";
const SECONDS: &str = "s";
const COUNT: &str = "short";

/// The dashboards, each in a file.
pub fn files(system: &System) -> Vec<(&'static str, String)> {
    let text = |dashboard: Dashboard| format!("{:#}\n", dashboard.json());
    vec![
        ("madang-system.json", text(of_system(&name(system)))),
        ("madang-service.json", text(of_service(&name(system)))),
    ]
}

fn of_system(system: &str) -> Dashboard {
    let mut dashboard = Dashboard::new("madang-system", format!("Madang: {system}"));
    let mut add = |title, unit, queries: Queries<'_>| dashboard.panel(title, unit, queries);
    add(
        "Requests from outside",
        PER_SECOND,
        &[(
            "sum by (service, route) (rate(madang_requests_total[$__rate_interval]))",
            "{{service}} {{route}}",
        )],
    );
    add(
        "Requests from outside that failed",
        RATIO,
        &[(
            "sum by (service, route) (rate(madang_requests_total{failed=\"true\"}[$__rate_interval])) / sum by (service, route) (rate(madang_requests_total[$__rate_interval]))",
            "{{service}} {{route}}",
        )],
    );
    add(
        "Time of requests from outside",
        SECONDS,
        &[
            (
                "histogram_quantile(0.5, sum by (le) (rate(madang_request_duration_seconds_bucket[$__rate_interval])))",
                "p50",
            ),
            (
                "histogram_quantile(0.95, sum by (le) (rate(madang_request_duration_seconds_bucket[$__rate_interval])))",
                "p95",
            ),
            (
                "histogram_quantile(0.99, sum by (le) (rate(madang_request_duration_seconds_bucket[$__rate_interval])))",
                "p99",
            ),
        ],
    );
    add(
        "Mean time of a request: all, in the service, and waiting",
        SECONDS,
        &[
            (
                "sum(rate(madang_request_duration_seconds_sum[$__rate_interval])) / sum(rate(madang_request_duration_seconds_count[$__rate_interval]))",
                "all",
            ),
            (
                "sum(rate(madang_request_upstream_seconds_sum[$__rate_interval])) / sum(rate(madang_request_upstream_seconds_count[$__rate_interval]))",
                "service",
            ),
            (
                "sum(rate(madang_request_parked_seconds_total[$__rate_interval])) / sum(rate(madang_request_duration_seconds_count[$__rate_interval]))",
                "waiting",
            ),
        ],
    );
    add(
        "Calls",
        PER_SECOND,
        &[(
            "sum by (caller, callee) (rate(madang_calls_total[$__rate_interval]))",
            "{{caller}} → {{callee}}",
        )],
    );
    add(
        "Calls that failed",
        PER_SECOND,
        &[(
            "sum by (caller, callee) (rate(madang_calls_total{failed=\"true\"}[$__rate_interval]))",
            "{{caller}} → {{callee}}",
        )],
    );
    add(
        "Time of calls, p99",
        SECONDS,
        &[(
            "histogram_quantile(0.99, sum by (caller, callee, le) (rate(madang_call_duration_seconds_bucket[$__rate_interval])))",
            "{{caller}} → {{callee}}",
        )],
    );
    add(
        "Retries",
        PER_SECOND,
        &[(
            "sum by (caller, callee) (rate(madang_call_retries_total[$__rate_interval]))",
            "{{caller}} → {{callee}}",
        )],
    );
    add("Instances in rotation", COUNT, &[("madang_service_ready_instances", "{{service}}")]);
    add("Breakers: 0 closed, 1 half open, 2 open", COUNT, &[("madang_service_breaker", "{{service}}")]);
    add(
        "Processor time in cores",
        COUNT,
        &[("sum by (unit) (rate(madang_instance_cpu_seconds_total[$__rate_interval]))", "{{unit}}")],
    );
    add("Resident memory", "bytes", &[("sum by (unit) (madang_instance_memory_bytes)", "{{unit}}")]);
    add("Restarts in five minutes", COUNT, &[("increase(madang_unit_restarts_total[5m])", "{{unit}}")]);
    add(
        "Telemetry dropped",
        PER_SECOND,
        &[(
            "sum by (kind, reason) (rate(madang_telemetry_dropped_total[$__rate_interval]))",
            "{{kind}} {{reason}}",
        )],
    );
    dashboard
}

fn of_service(system: &str) -> Dashboard {
    let mut dashboard = Dashboard::new("madang-service", format!("Madang: a service of {system}"));
    dashboard.variables.push(json!({
        "name": "service",
        "label": "Service",
        "type": "query",
        "datasource": { "type": "prometheus", "uid": "${datasource}" },
        "definition": "label_values(madang_service_instances, service)",
        "query": { "query": "label_values(madang_service_instances, service)", "refId": "service" },
        "refresh": 2,
        "sort": 1,
        "multi": false,
        "includeAll": false,
        "options": [],
    }));
    let mut add = |title, unit, queries: Queries<'_>| dashboard.panel(title, unit, queries);
    add(
        "Calls to it, by caller",
        PER_SECOND,
        &[(
            "sum by (caller) (rate(madang_calls_total{callee=\"$service\"}[$__rate_interval]))",
            "{{caller}}",
        )],
    );
    add(
        "Calls to it that failed",
        RATIO,
        &[(
            "sum(rate(madang_calls_total{callee=\"$service\",failed=\"true\"}[$__rate_interval])) / sum(rate(madang_calls_total{callee=\"$service\"}[$__rate_interval]))",
            "failed",
        )],
    );
    add(
        "Time of calls to it",
        SECONDS,
        &[
            (
                "histogram_quantile(0.5, sum by (le) (rate(madang_call_duration_seconds_bucket{callee=\"$service\"}[$__rate_interval])))",
                "p50",
            ),
            (
                "histogram_quantile(0.95, sum by (le) (rate(madang_call_duration_seconds_bucket{callee=\"$service\"}[$__rate_interval])))",
                "p95",
            ),
            (
                "histogram_quantile(0.99, sum by (le) (rate(madang_call_duration_seconds_bucket{callee=\"$service\"}[$__rate_interval])))",
                "p99",
            ),
        ],
    );
    add(
        "Calls to it, by status",
        PER_SECOND,
        &[(
            "sum by (code_class) (rate(madang_calls_total{callee=\"$service\"}[$__rate_interval]))",
            "{{code_class}}",
        )],
    );
    add(
        "Releases: calls that failed",
        RATIO,
        &[(
            "sum by (release) (rate(madang_release_calls_total{service=\"$service\",failed=\"true\"}[$__rate_interval])) / sum by (release) (rate(madang_release_calls_total{service=\"$service\"}[$__rate_interval]))",
            "{{release}}",
        )],
    );
    add(
        "Releases: time of calls, p99",
        SECONDS,
        &[(
            "histogram_quantile(0.99, sum by (release, le) (rate(madang_release_call_duration_seconds_bucket{service=\"$service\"}[$__rate_interval])))",
            "{{release}}",
        )],
    );
    add(
        "Its own calls",
        PER_SECOND,
        &[(
            "sum by (callee) (rate(madang_calls_total{caller=\"$service\"}[$__rate_interval]))",
            "{{callee}}",
        )],
    );
    add(
        "Time of its own calls, p99",
        SECONDS,
        &[(
            "histogram_quantile(0.99, sum by (callee, le) (rate(madang_call_duration_seconds_bucket{caller=\"$service\"}[$__rate_interval])))",
            "{{callee}}",
        )],
    );
    add(
        "Calls in flight and waiting",
        COUNT,
        &[
            ("madang_service_in_flight{service=\"$service\"}", "in flight"),
            ("madang_service_parked{service=\"$service\"}", "waiting"),
        ],
    );
    add(
        "Instances",
        COUNT,
        &[
            ("madang_service_instances{service=\"$service\"}", "instances"),
            ("madang_service_ready_instances{service=\"$service\"}", "in rotation"),
        ],
    );
    dashboard
}

// === impl Dashboard ===

impl Dashboard {
    fn new(uid: &'static str, title: String) -> Self {
        let datasource = json!({
            "name": "datasource",
            "label": "Prometheus",
            "type": "datasource",
            "query": "prometheus",
            "refresh": 1,
            "multi": false,
            "includeAll": false,
            "options": [],
        });
        Self { uid, title, variables: vec![datasource], panels: Vec::new() }
    }

    fn panel(&mut self, title: &str, unit: &str, queries: Queries<'_>) {
        let datasource = json!({ "type": "prometheus", "uid": "${datasource}" });
        let place = self.panels.len();
        let target = |(at, (expr, legend)): (usize, &(&str, &str))| {
            json!({
                "refId": char::from(b'A' + at as u8).to_string(),
                "datasource": datasource,
                "expr": expr,
                "legendFormat": legend,
                "range": true,
                "exemplar": expr.contains("_bucket"),
            })
        };
        let targets: Vec<Value> = queries.iter().enumerate().map(target).collect();
        self.panels.push(json!({
            "id": place + 1,
            "type": "timeseries",
            "title": title,
            "datasource": datasource,
            "gridPos": { "x": place % 2 * 12, "y": place / 2 * 8, "w": 12, "h": 8 },
            "fieldConfig": { "defaults": { "unit": unit, "min": 0 }, "overrides": [] },
            "options": {
                "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true },
                "tooltip": { "mode": "multi", "sort": "desc" },
            },
            "targets": targets,
        }));
    }

    fn json(self) -> Value {
        json!({
            "uid": self.uid,
            "title": self.title,
            "tags": ["madang"],
            "schemaVersion": 39,
            "version": 1,
            "editable": true,
            "graphTooltip": 1,
            "refresh": "5s",
            "timezone": "",
            "time": { "from": "now-15m", "to": "now" },
            "annotations": { "list": [] },
            "links": [],
            "templating": { "list": self.variables },
            "panels": self.panels,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn panels_have_numbers_and_places_of_their_own() {
        for dashboard in [of_system("shop"), of_service("shop")] {
            let dashboard = dashboard.json();
            let panels = dashboard["panels"].as_array().unwrap();
            let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
            let places: BTreeSet<_> = panels.iter().map(|panel| panel["gridPos"].to_string()).collect();
            assert_eq!((ids.len(), places.len()), (panels.len(), panels.len()));
            assert!(panels.iter().all(|panel| panel["datasource"]["uid"] == "${datasource}"));
            assert!(panels.iter().all(|panel| !panel["targets"].as_array().unwrap().is_empty()));
        }
    }
}

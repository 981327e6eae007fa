use axum::{Router, routing::get};
use madang_wire::metrics::{Flow, MetricsDropped, MetricsSummary, ServiceFlow};

use crate::fake::{Fake, always};

pub fn summary() -> MetricsSummary {
    let flow = Flow {
        requests: 20,
        errors: 1,
        rate: 2.0,
        error_ratio: 0.05,
        p50_us: Some(1200),
        p99_us: Some(9000),
        ..Flow::default()
    };
    let service = ServiceFlow {
        service: "orders".into(),
        flow: flow.clone(),
        ready: 1,
        instances: 1,
        ..ServiceFlow::default()
    };
    MetricsSummary {
        at: 0,
        window_ms: 10_000,
        total: flow.clone(),
        services: vec![service],
        routes: vec![],
        edges: vec![madang_wire::metrics::EdgeFlow {
            caller: "gateway".into(),
            callee: "orders".into(),
            flow,
        }],
        releases: vec![],
        instances: vec![],
        dropped: MetricsDropped::default(),
        missing: Vec::new(),
    }
}

#[tokio::test]
async fn shows_each_service_once_where_nobody_looks_on() {
    let fake = Fake::up(Router::new().route("/v1/metrics/summary", always(summary())));
    let ran = fake.run("top --window 5m").await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stdout
            .starts_with("last 10 s: 2.00/s from outside, 5.0 % failed, p50 1.20 ms, p99 9.00 ms\nSERVICE "),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("\norders   2.00/s  5.0 %"), "{}", ran.stdout);
    assert_eq!(fake.asked(), ["GET /v1/metrics/summary?window=5m&follow=false"]);
}

#[tokio::test]
async fn a_script_gets_a_document_a_line_or_one() {
    let fake = Fake::up(Router::new().route("/v1/metrics/summary", get(line)));
    let ran = fake.run("top --once --format json").await;
    assert_eq!(serde_json::from_str::<MetricsSummary>(&ran.stdout).unwrap(), summary());
    let ran = fake.run("top --format json").await;
    let lines: Vec<MetricsSummary> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, [summary()]);
    let asked = fake.asked();
    assert_eq!(asked[1], "GET /v1/metrics/summary?window=10s&follow=true");
}

/// As it is followed; read once, the end of the line does no harm.
async fn line() -> String {
    serde_json::to_string(&summary()).unwrap() + "\n"
}

use axum::Router;
use madang_wire::metrics::MetricsSummary;

use crate::{
    fake::{Fake, always},
    top::summary,
};

#[tokio::test]
async fn is_drawn_as_it_is_asked_for() {
    let fake = Fake::up(Router::new().route("/v1/metrics/summary", always(summary())));
    let shown = |format: &'static str| {
        let fake = &fake;
        async move {
            let ran = fake.run(&format!("map --format {format}")).await;
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            ran.stdout
        }
    };
    assert!(shown("table").await.contains("└─ orders  2.00/s  5.0 %"), "{}", shown("table").await);
    assert!(
        shown("dot")
            .await
            .contains("\"gateway\" -> \"orders\" [label=\"2.00/s, 5.0 % failed, p99 9.00 ms\", color=red")
    );
    assert!(shown("mermaid").await.contains("n0 -- \"2.00/s, 5.0 % failed, p99 9.00 ms\" --> n1"));
    assert_eq!(serde_json::from_str::<MetricsSummary>(&shown("json").await).unwrap(), summary());
}

#[tokio::test]
async fn nothing_else_is_a_graph() {
    let ran = Fake::up(Router::new()).run("ps --format dot").await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("only `madang map` is drawn as dot or mermaid"), "{}", ran.stderr);
}

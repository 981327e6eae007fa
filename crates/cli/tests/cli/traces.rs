use axum::{Json, Router, routing::get};
use expect_test::expect;
use madang_wire::{
    TraceId,
    trace::{NotKept, TraceList, TraceSummary},
};

use crate::fake::Fake;

#[tokio::test]
async fn shows_the_newest_and_what_is_missing() {
    let trace = TraceSummary {
        trace_id: TraceId(0x0af7651916cd43dd8448eb211c80319c),
        start_us: 1_000_000,
        duration_us: 250_000,
        name: "POST /orders/**".to_owned(),
        service: "gateway".to_owned(),
        spans: 9,
        errors: 1,
    };
    let not_kept = NotKept { sampled: 3, ..Default::default() };
    let list = move || async move { Json(TraceList { traces: vec![trace], not_kept }) };
    let fake = Fake::up(Router::new().route("/v1/traces", get(list)));
    fake.check(
        "traces --slow 200ms --error",
        expect![[r#"
        exit 0
        TIME          TRACE                             NAME             SERVICE  SPANS  ERRORS  DURATION
        00:00:01.000  0af7651916cd43dd8448eb211c80319c  POST /orders/**  gateway  9      1       250 ms
        spans not kept since the start: 3 outside of the sample
    "#]],
    )
    .await;
    assert_eq!(fake.asked(), ["GET /v1/traces?limit=50&error=true&slow_us=200000"]);
}

use axum::{Json, Router, routing::get};
use expect_test::expect;
use madang_wire::{
    SpanId, TraceId,
    trace::{SpanDetails, SpanEvent, SpanView, TraceView},
};
use serde_json::json;

use crate::fake::Fake;

fn view() -> TraceView {
    let span = |id: u64, parent: Option<u64>, service: &str| SpanView {
        span_id: SpanId(id),
        parent_span_id: parent.map(SpanId),
        service: service.to_owned(),
        peer: None,
        name: "GET /users/{id}".to_owned(),
        kind: "server".to_owned(),
        start_us: 1_000_000 + id,
        duration_us: 20_000,
        error: false,
        attributes: Default::default(),
        instance: None,
        release: None,
        details: None,
        resource: Default::default(),
    };
    let event = SpanEvent {
        at_us: 1_005_000,
        name: "exception".to_owned(),
        attributes: [("exception.message".to_owned(), json!("no such user"))].into_iter().collect(),
    };
    let details = SpanDetails { events: vec![event], ..Default::default() };
    let users = SpanView {
        instance: Some("users-a".to_owned()),
        release: Some("r1".to_owned()),
        details: Some(details),
        ..span(2, Some(1), "users")
    };
    TraceView { trace_id: TraceId(7), spans: vec![span(1, None, "gateway"), users], cut: false }
}

#[tokio::test]
async fn draws_what_services_told_below_what_the_gateway_saw() {
    let fake = Fake::up(Router::new().route("/v1/traces/{id}", get(|| async { Json(view()) })));
    fake.check(
        "trace 7cdf1fd0a94e4d0f",
        expect![[r#"
        exit 0
        trace 00000000000000000000000000000007: 2 spans, 20.0 ms
        SPAN               FROM     TO  DURATION  TIME                            DETAILS
        GET /users/{id}    gateway  -   20.0 ms   █████████████████████████████
          GET /users/{id}  users    -   20.0 ms   ██████████████████████████████  users-a, release r1
            · exception    users        +4.99 ms         ╵                        no such user
    "#]],
    )
    .await;
    assert_eq!(fake.asked(), ["GET /v1/traces/7cdf1fd0a94e4d0f"]);
}

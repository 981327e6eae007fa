//! What all services of the shop said of one request, and what happened to them, also after the node was killed.

use http::StatusCode;
use madang_testkit::{Placement, Prepared};
use madang_wire::{
    admin::{Event, EventKind},
    log::LogLine,
};

#[tokio::test(flavor = "multi_thread")]
async fn one_request_is_told_by_every_service_that_took_part() {
    let shop = Prepared::shop().start(Placement::Processes).await;
    let placed = shop.post("/orders", serde_json::json!({ "user": 1, "product": "Book" })).await;
    assert_eq!(placed.status, StatusCode::CREATED, "{:?}", placed.json());
    let placed = shop.run(&["logs", "orders", "--grep", "an order is over", "--format", "json"]).await;
    let over: LogLine = serde_json::from_str(placed.lines().next().unwrap()).unwrap();
    let trace = over.trace_id.expect("an order's trace").to_string();

    let shown = shop.run(&["logs", "--trace", &trace, "--format", "json"]).await;
    let lines: Vec<LogLine> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line.unit == "orders"), "{shown}");
    assert!(lines.iter().all(|line| line.trace_id == over.trace_id), "{shown}");
    assert!(lines.is_sorted_by_key(|line| line.at), "{shown}");

    let events = shop.run(&["events", "--format", "json", "-n", "1000"]).await;
    let events: Vec<Event> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for unit in ["users", "catalog", "orders", "payments"] {
        for kind in [EventKind::Released, EventKind::Started, EventKind::Ready] {
            let one = events.iter().find(|event| event.unit == unit && event.kind == kind);
            assert!(one.is_some_and(|event| event.release.is_some()), "{unit} {kind:?}");
        }
    }
}

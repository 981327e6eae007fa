//! Breakers in the processes of services with the SDK: what they do is an event of the system like any other.

use std::time::Duration;

use http::Method;
use madang_testkit::{Placement, Prepared, TestSystem};
use madang_wire::admin::{Event, EventKind};
use serde_json::json;
use tokio::time::{Instant, sleep};

/// How long to wait for what comes by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Buys, whatever comes of it, until there is such an event of payments.
async fn until(shop: &TestSystem, kind: EventKind) -> Event {
    let began = Instant::now();
    loop {
        let order = json!({"user": 1, "product": "Book"}).to_string();
        let _ =
            shop.client().send(Method::POST, "/orders", &[("content-type", "application/json")], order).await;
        let shown = shop.run(&["events", "payments", "--format", "json", "-n", "1000"]).await;
        let mut events = shown.lines().map(|line| serde_json::from_str::<Event>(line).unwrap());
        if let Some(event) = events.find(|event| event.kind == kind) {
            return event;
        }
        assert!(began.elapsed() < PATIENCE, "never {kind:?}:\n{shown}");
        // The service tells of it when it likes.
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_in_the_process_of_a_service_is_seen_to_open_and_to_close() {
    let mut shop = Prepared::shop().start(Placement::Processes).await;
    let orders = shop.ps().await.into_iter().find(|view| view.unit == "orders").unwrap().name;
    shop.run(&["fault", "add", "orders", "--on", "payments", "--status", "503", "--for", "60s"]).await;
    let opened = until(&shop, EventKind::BreakerOpened).await;
    assert!(opened.message.ends_with(&format!("(as {orders} has it)")), "{opened:?}");
    shop.run(&["fault", "rm", "--all"]).await;
    let closed = until(&shop, EventKind::BreakerClosed).await;
    assert!(closed.at >= opened.at, "{opened:?} {closed:?}");
    shop.down().await;
}

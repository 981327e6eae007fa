//! What becomes of an order when another service does not answer.

use std::time::Duration;

use madang::{
    axum::http::{Method, StatusCode},
    test::TestApp,
};
use serde_json::json;

use crate::{
    faults::Fault,
    world::{self, BOOK, OPENING, PIANO, RARE, RARE_NAME, World},
};

const CHARGES: &str = "/payments/charges";
const CHARGES_OVER_GRPC: &str = "/shop.payments.v1.Payments/Charge";

/// Whether the payment was made or not, the client is told that nobody knows, and the same key finds out.
#[tokio::test]
async fn a_payment_of_unknown_outcome_is_resolved_by_asking_again() {
    let faults = [Fault::HangBefore, Fault::HangAfter, Fault::BreakAfter, Fault::Refuse];
    let ways = [(false, CHARGES), (true, CHARGES_OVER_GRPC)];
    for ((grpc, path), fault) in ways.into_iter().flat_map(|way| faults.map(|fault| (way, fault))) {
        let world = World::asking(grpc).await;
        world.faults.inject(Method::POST, path, "", fault);
        let reply = world.order(json!({"user": 1, "product": "Book"})).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{path} {fault:?}: {}", reply.text());
        assert_eq!(reply.json()["status"], "payment_unknown", "{path} {fault:?}");
        assert_eq!(reply.header("location"), "/orders/2");
        assert_eq!(world.available(BOOK).await, 99_999, "the stock stays held");
        world.faults.clear();
        world.until(2, "confirmed").await;
        assert_eq!(world.won_of(1).await, OPENING - 15_000, "{path} {fault:?}: paid once");
        assert_eq!(world.available(BOOK).await, 99_999);
        world.assert_balanced().await;
    }
}

#[tokio::test]
async fn an_unknown_payment_may_turn_out_to_be_declined() {
    let world = World::impatient().await;
    world.faults.inject(Method::POST, CHARGES, "", Fault::HangAfter);
    let reply = world.order(json!({"user": 1, "product": "Grand Piano", "quantity": 12})).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    world.faults.clear();
    world.until(2, "declined").await;
    assert_eq!(world.available(PIANO).await, 20);
    assert_eq!(world.won_of(1).await, OPENING);
}

/// The payment is found to be made only after the stock went to somebody else: the money goes back.
#[tokio::test]
async fn paid_but_sold_out_is_paid_back() {
    let world = World::impatient().await;
    world.faults.inject(Method::POST, CHARGES, r#""user":1"#, Fault::HangAfter);
    let late = world.order(json!({"user": 1, "product": RARE_NAME, "quantity": 8})).await;
    assert_eq!(late.status, StatusCode::ACCEPTED);
    world.clock.advance(Duration::from_secs(15 * 60));
    let fast = world.order(json!({"user": 2, "product": RARE_NAME, "quantity": 3})).await;
    assert_eq!(fast.status, StatusCode::CREATED, "{}", fast.text());
    world.faults.clear();
    world.until(2, "refunded").await;
    assert_eq!(world.won_of(1).await, OPENING);
    assert_eq!(world.available(RARE).await, 7);
    let order = world.app.get("orders", "/orders/2").await.json();
    assert!(order["reason"].as_str().unwrap().contains(RARE_NAME), "{order}");
    world.assert_balanced().await;
}

/// The stock may be held or not: either way it is released, for good, and the client may try again.
#[tokio::test]
async fn a_reservation_of_unknown_outcome_fails_the_order_and_holds_nothing() {
    for fault in [Fault::BreakAfter, Fault::Refuse] {
        let world = World::start().await;
        world.faults.inject(Method::POST, "/reservations", "", fault);
        let order = json!({"user": 1, "product": "Book"});
        let reply = world.order_with_key("k1", order.clone()).await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{fault:?}: {}", reply.text());
        let problem = reply.json();
        assert_eq!((&problem["code"], &problem["instance"]), (&json!("SHOP-ORD-003"), &json!("/orders/2")));
        assert_eq!(reply.header("retry-after"), "1");
        world.until(2, "failed").await;
        assert_eq!(world.available(BOOK).await, 100_000, "{fault:?}");
        world.faults.clear();
        let again = world.order_with_key("k1", order).await;
        assert_eq!((again.status, &again.json()["id"]), (StatusCode::CREATED, &json!(3)));
        assert_eq!(world.won_of(1).await, OPENING - 15_000);
    }
}

/// A payment that was certainly not made leaves nothing behind.
#[tokio::test]
async fn without_payments_an_order_fails_and_holds_nothing() {
    let app = TestApp::start([shop_users::service(), shop_catalog::service(), world::orders()]).await;
    let reply = app.post("orders", "/orders", json!({"user": 1, "product": "Book"})).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{}", reply.text());
    assert_eq!(reply.json()["code"], "SHOP-ORD-003");
    assert_eq!(app.get("orders", "/orders/2").await.json()["status"], "failed");
    assert_eq!(app.get("catalog", "/products/1").await.json()["available"], 100_000);
}

/// Before anything is written, a service that cannot be asked is the client's answer.
#[tokio::test]
async fn without_users_there_is_no_order() {
    let app = TestApp::start([shop_catalog::service(), world::orders()]).await;
    let reply = app.post("orders", "/orders", json!({"user": 1, "product": "Book"})).await;
    assert_eq!(reply.json()["code"], "MDG-CALL-006", "{}", reply.text());
    assert_eq!(app.get("orders", "/orders").await.json().as_array().unwrap().len(), 1);
}

/// Paid is paid: the client has its order, and the sale is made good as soon as the catalog can.
#[tokio::test]
async fn a_sale_that_cannot_be_confirmed_now_is_confirmed_later() {
    let world = World::start().await;
    world.faults.inject(Method::POST, "/reservations/", "", Fault::BreakAfter);
    let reply = world.order(json!({"user": 1, "product": "Book"})).await;
    assert_eq!((reply.status, &reply.json()["status"]), (StatusCode::CREATED, &json!("paid")));
    world.faults.clear();
    world.until(2, "confirmed").await;
    assert_eq!(world.available(BOOK).await, 99_999);
}

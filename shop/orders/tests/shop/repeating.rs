//! The same order again, by its key.

use madang::axum::http::{Method, StatusCode};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    faults::Fault,
    world::{BOOK, OPENING, Shared, World},
};

#[tokio::test]
async fn the_same_key_is_the_same_order() {
    let mut world = World::start().await;
    let order = json!({"user": 1, "product": "Book"});
    let first = world.order_with_key("\"k1\"", order.clone()).await;
    assert_eq!(first.status, StatusCode::CREATED);
    let again = world.order_with_key("k1", order.clone()).await;
    assert_eq!((again.status, again.json()), (first.status, first.json()));
    world.app.restart().await;
    let later = world.order_with_key("k1", order.clone()).await;
    assert_eq!((later.status, later.json()), (first.status, first.json()));
    let other = world.order_with_key("k1", json!({"user": 2, "product": "Book"})).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(other.json()["errors"][0]["field"], "Idempotency-Key");
    assert_eq!(world.order_with_key("\"open", order).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.count_orders().await, 2);
    assert_eq!(world.won_of(1).await, OPENING - 15_000);
}

#[tokio::test]
async fn a_declined_order_is_declined_again() {
    let world = World::start().await;
    let order = json!({"user": 1, "product": "Grand Piano", "quantity": 12});
    let first = world.order_with_key("k1", order.clone()).await;
    let again = world.order_with_key("k1", order).await;
    assert_eq!((first.status, again.status), (StatusCode::PAYMENT_REQUIRED, StatusCode::PAYMENT_REQUIRED));
    assert_eq!(first.json()["instance"], again.json()["instance"]);
}

#[tokio::test]
async fn an_order_that_waits_for_its_payment_is_shown_as_it_stands() {
    let world = World::impatient().await;
    world.faults.inject(Method::POST, "/payments/charges", "", Fault::HangBefore);
    let order = json!({"user": 1, "product": "Book"});
    assert_eq!(world.order_with_key("k1", order.clone()).await.status, StatusCode::ACCEPTED);
    assert_eq!(world.order_with_key("k1", order.clone()).await.status, StatusCode::ACCEPTED);
    world.faults.clear();
    world.until(2, "confirmed").await;
    assert_eq!(world.order_with_key("k1", order).await.status, StatusCode::CREATED);
    assert_eq!(world.count_orders().await, 2);
}

/// While the first is being answered, the others are told so; nobody orders twice.
#[tokio::test]
async fn a_key_in_flight_is_a_conflict() {
    let world: Shared = World::impatient().await.into();
    world.faults.inject(Method::POST, "/payments/charges", "", Fault::HangBefore);
    let mut requests = JoinSet::new();
    for _ in 0..4 {
        let world = world.clone();
        requests.spawn(async move {
            world.order_with_key("k1", json!({"user": 1, "product": "Book"})).await.status
        });
    }
    let mut answers = Vec::new();
    while let Some(status) = requests.join_next().await {
        answers.push(status.unwrap());
    }
    answers.sort();
    assert_eq!(answers[0], StatusCode::ACCEPTED);
    assert_eq!(answers[1..], [StatusCode::CONFLICT; 3]);
    world.faults.clear();
    world.until(2, "confirmed").await;
    assert_eq!((world.count_orders().await, world.available(BOOK).await), (2, 99_999));
}

//! Whose orders are whose, where people log in.

use madang::{
    axum::http::{Method, StatusCode},
    test::{TestReply, principal},
};
use serde_json::json;

use crate::world::World;

/// What is answered to whoever is logged in under this name.
async fn ask(world: &World, subject: &str, path: &str) -> TestReply {
    let (name, value) = principal(subject, &["orders"], &[]);
    world.app.request("orders", Method::GET, path, &[(name, &value)], None).await
}

#[tokio::test]
async fn whoever_is_logged_in_makes_and_sees_their_own_orders() {
    let world = World::start().await;
    let order = async |subject: &str, user: i64| {
        let (name, value) = principal(subject, &["orders"], &[]);
        let order = json!({"user": user, "product": "Book"});
        world.app.post_with("orders", "/orders", &[(name, &value)], order).await.status
    };
    assert_eq!((order("2", 2).await, order("2", 1).await), (StatusCode::CREATED, StatusCode::FORBIDDEN));
    assert_eq!(order("alice", 1).await, StatusCode::FORBIDDEN, "who is no user has no orders");
    assert_eq!(order("key:ci", 1).await, StatusCode::CREATED, "a program says for whom");

    let users = async |subject: &str, path: &str| {
        let orders = ask(&world, subject, path).await.json();
        orders.as_array().unwrap().iter().map(|order| order["user"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(users("2", "/orders").await, [2], "nobody else's, also unasked");
    assert_eq!(users("2", "/orders?user=2").await, [2]);
    assert_eq!(users("key:ci", "/orders").await, [1, 2, 1]);
    assert_eq!(ask(&world, "2", "/orders?user=1").await.status, StatusCode::FORBIDDEN);
    assert_eq!(ask(&world, "2", "/orders/2").await.status, StatusCode::OK);
    assert_eq!(ask(&world, "2", "/orders/1").await.status, StatusCode::NOT_FOUND);
}

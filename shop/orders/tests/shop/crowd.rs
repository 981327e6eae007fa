//! Many at once: stock and money stay right.

use madang::axum::http::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;

use crate::world::{OPENING, RARE, RARE_NAME, Shared, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_who_want_the_last_ten_exactly_ten_get_one() {
    let world: Shared = World::start().await.into();
    let mut orders = JoinSet::new();
    for n in 0..50 {
        let world = world.clone();
        orders.spawn(async move { world.order(json!({"user": 1 + n % 2, "product": RARE_NAME})).await });
    }
    let (mut sold, mut refused) = (0, 0);
    while let Some(reply) = orders.join_next().await {
        let reply = reply.unwrap();
        match reply.status {
            StatusCode::CREATED => sold += 1,
            StatusCode::CONFLICT => refused += 1,
            status => panic!("{status}: {}", reply.text()),
        }
    }
    assert_eq!((sold, refused), (10, 40));
    assert_eq!(world.available(RARE).await, 0);
    let spent = 2 * OPENING - world.won_of(1).await - world.won_of(2).await;
    assert_eq!(spent, 10 * 120_000);
    world.assert_balanced().await;
}

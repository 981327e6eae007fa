//! Stock: held once per key, never below zero, given back in time.

use std::time::Duration;

use madang::{
    axum::http::{Method, StatusCode},
    test::{TestApp, TestReply},
};
use serde_json::{Value, json};
use shop_catalog::{
    Config,
    clock::Clock,
    reservations::{self, Line, Refused, State},
    seed,
};
use sqlx::{Connection, sqlite::SqlitePoolOptions};

const MINUTE: Duration = Duration::from_secs(60);

/// The signed first edition: ten of it are in stock.
const RARE: i64 = 3;

async fn start(clock: &Clock) -> TestApp {
    let config = Config { clock: clock.clone(), ..Config::default() };
    TestApp::start(shop_catalog::service_with(config)).await
}

fn clock() -> Clock {
    Clock::by_hand(1_700_000_000_000)
}

async fn reserve(app: &TestApp, key: &str, lines: &[(i64, u32)]) -> TestReply {
    let lines: Vec<Value> =
        lines.iter().map(|(product, quantity)| json!({"product": product, "quantity": quantity})).collect();
    app.post("catalog", "/reservations", json!({"key": key, "lines": lines})).await
}

async fn confirm(app: &TestApp, key: &str) -> TestReply {
    app.post("catalog", &format!("/reservations/{key}/confirm"), json!({})).await
}

async fn release(app: &TestApp, key: &str) -> TestReply {
    app.request("catalog", Method::DELETE, &format!("/reservations/{key}"), &[], None).await
}

async fn available(app: &TestApp, product: i64) -> i64 {
    app.get("catalog", &format!("/products/{product}")).await.json()["available"].as_i64().unwrap()
}

#[tokio::test]
async fn stock_is_held_once_per_key_and_sold_or_given_back() {
    let app = start(&clock()).await;
    let held = reserve(&app, "a", &[(RARE, 4), (1, 2)]).await;
    assert_eq!(held.status, StatusCode::CREATED, "{}", held.text());
    assert_eq!(held.json()["state"], "held");
    assert_eq!(held.json()["expires_at"], 1_700_000_000_000_i64 + 15 * 60_000);
    assert_eq!(reserve(&app, "a", &[(1, 2), (RARE, 4)]).await.json(), held.json());
    assert_eq!(available(&app, RARE).await, 6);
    assert_eq!(reserve(&app, "b", &[(RARE, 6)]).await.status, StatusCode::CREATED);
    assert_eq!(available(&app, RARE).await, 0);

    for _ in 0..2 {
        assert_eq!(confirm(&app, "a").await.json()["state"], "confirmed");
        assert_eq!(release(&app, "b").await.json()["state"], "released");
        assert_eq!(available(&app, RARE).await, 6);
    }
    assert_eq!(available(&app, 1).await, 99_998);
    assert_eq!(release(&app, "a").await.status, StatusCode::CONFLICT);
    assert_eq!(confirm(&app, "b").await.status, StatusCode::CONFLICT);
    assert_eq!(confirm(&app, "c").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn all_lines_are_held_or_none_and_the_short_one_is_named() {
    let app = start(&clock()).await;
    let short = reserve(&app, "a", &[(1, 5), (RARE, 11)]).await;
    assert_eq!(short.status, StatusCode::CONFLICT);
    assert_eq!(
        short.json()["errors"],
        json!([{"field": "lines[1].product", "message": "10 of \"Signed First Edition\" are left"}])
    );
    assert_eq!(available(&app, 1).await, 100_000);
    // Nothing was held, so the key is free.
    assert_eq!(reserve(&app, "a", &[(RARE, 10)]).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_release_that_overtakes_its_reservation_wins() {
    let app = start(&clock()).await;
    assert_eq!(release(&app, "late").await.json()["state"], "released");
    let refused = reserve(&app, "late", &[(RARE, 1)]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.json().get("errors").is_none());
    assert_eq!(available(&app, RARE).await, 10);
}

/// What is due goes back before the next one is refused, without a sweep.
#[tokio::test]
async fn an_expired_reservation_makes_room_at_once() {
    // One connection, because each would have a database in memory of its own.
    let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
    madang::migrate!("./migrations").run(&pool).await.unwrap();
    let mut db = pool.acquire().await.unwrap();
    seed::fill(&mut db).await.unwrap();
    let some = |quantity| [Line { product: RARE, quantity }];
    let held = reservations::reserve(&mut db, "slow", &some(10), 0, 100).await.unwrap().unwrap();
    assert_eq!((held.state, held.expires_at), (State::Held, 100));
    // A refusal writes nothing that stays, because its caller rolls back.
    let mut early = db.begin().await.unwrap();
    let refused = reservations::reserve(&mut early, "fast", &some(1), 99, 100).await.unwrap();
    assert!(matches!(refused, Err(Refused::Short { line: 0, available: 0, .. })), "{refused:?}");
    early.rollback().await.unwrap();
    let held = reservations::reserve(&mut db, "fast", &some(1), 100, 100).await.unwrap();
    assert_eq!(held.unwrap().state, State::Held);
    // The slow one is late, but not lost while there is stock.
    let mut late = db.begin().await.unwrap();
    let refused = reservations::confirm(&mut late, "slow").await.unwrap();
    assert!(matches!(refused, Err(Refused::Short { line: 0, available: 9, .. })), "{refused:?}");
    late.rollback().await.unwrap();
    reservations::release(&mut db, "fast", 100).await.unwrap().unwrap();
    assert_eq!(reservations::confirm(&mut db, "slow").await.unwrap().unwrap().state, State::Confirmed);
    // What is over is forgotten after a month, and only then.
    let month = 30 * 24 * 60 * 60 * 1_000;
    reservations::expire(&mut db, 100 + month).await.unwrap();
    assert!(reservations::find(&mut db, "slow").await.unwrap().is_some());
    reservations::expire(&mut db, 101 + month).await.unwrap();
    assert!(reservations::find(&mut db, "slow").await.unwrap().is_none());
}

/// The time is the one in the database: it passes while the service is down, too.
#[tokio::test]
async fn the_sweep_gives_back_what_is_due_also_after_a_restart() {
    let clock = clock();
    let mut app = start(&clock).await;
    reserve(&app, "a", &[(RARE, 4)]).await;
    clock.advance(14 * MINUTE);
    reserve(&app, "b", &[(RARE, 3)]).await;
    clock.advance(MINUTE);
    until_available(&app, 7).await;
    assert_eq!(app.get("catalog", "/reservations/a").await.json()["state"], "expired");
    assert_eq!(app.get("catalog", "/reservations/b").await.json()["state"], "held");
    clock.advance(14 * MINUTE);
    app.restart().await;
    until_available(&app, 10).await;
}

/// The sweep runs beside the requests, within a second of the clock.
async fn until_available(app: &TestApp, expected: i64) {
    let wait = async {
        while available(app, RARE).await != expected {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("the sweep gives the stock back");
}

#[tokio::test]
async fn a_key_belongs_to_its_lines_and_the_limits_hold() {
    let app = start(&clock()).await;
    reserve(&app, "a", &[(1, 1)]).await;
    let check = |reply: TestReply, field: &str| {
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{field}: {}", reply.text());
        assert_eq!(reply.json()["errors"][0]["field"], field, "{}", reply.text());
    };
    check(reserve(&app, "a", &[(1, 2)]).await, "key");
    check(reserve(&app, "a", &[(1, 1), (2, 1)]).await, "key");
    check(reserve(&app, "", &[(1, 1)]).await, "key");
    check(reserve(&app, &"k".repeat(101), &[(1, 1)]).await, "key");
    check(reserve(&app, "b", &[]).await, "lines");
    check(reserve(&app, "b", &(1..=101).map(|id| (id, 1)).collect::<Vec<_>>()).await, "lines");
    check(reserve(&app, "b", &[(1, 1), (1, 1)]).await, "lines[1].product");
    check(reserve(&app, "b", &[(1, 0)]).await, "lines[0].quantity");
    check(reserve(&app, "b", &[(1, 1_001)]).await, "lines[0].quantity");
    check(reserve(&app, "b", &[(1, 1), (99_999, 1)]).await, "lines[1].product");
}

#[tokio::test]
async fn a_stock_cannot_be_set_below_what_is_reserved() {
    let app = start(&clock()).await;
    reserve(&app, "a", &[(RARE, 4)]).await;
    let set = async |quantity: i64| {
        let path = format!("/products/{RARE}/stock");
        app.request("catalog", Method::PUT, &path, &[], Some(json!({"quantity": quantity}))).await
    };
    assert_eq!(set(3).await.status, StatusCode::CONFLICT);
    assert_eq!(set(4).await.json()["available"], 0);
    assert_eq!(set(54).await.json()["available"], 50);
}

//! A crash at any point: whatever was done by then, the order ends as if nothing had happened, once.

use madang::axum::http::{Method, StatusCode};
use serde_json::json;
use shop_money::{Currency, Money};
use shop_orders::{
    machine::{Event, Reason},
    order::Line,
    store::{self, Draft},
};
use sqlx::SqlitePool;

use crate::world::{BOOK, OPENING, World};

const PRICE: i64 = 15_000;
/// So far ahead that only a restart takes the order up.
const FAR: i64 = i64::MAX;

/// What had happened elsewhere when the process died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Held,
    Charged,
    Sold,
    Released,
    PaidBack,
}

struct Crash {
    /// What was written down.
    written: Vec<Event>,
    /// What had been done, including what was not written down any more.
    done: &'static [Done],
    /// How the order must end.
    ends: &'static str,
}

fn crashes() -> Vec<Crash> {
    use Done::{Charged, Held, PaidBack, Released, Sold};
    use Event::{ChargeBegun, ChargeDeclined, ChargeUnknown, StockFailed, StockHeld, StockLost};
    let why = || Reason { detail: "so".to_owned(), field: None };
    // The id of the charge is filled in when it is made.
    let charged = || Event::Charged { charge: 0 };
    let crash = |written, done, ends| Crash { written, done, ends };
    vec![
        crash(vec![], &[], "confirmed"),
        crash(vec![], &[Held], "confirmed"),
        crash(vec![StockHeld], &[Held], "confirmed"),
        crash(vec![StockHeld, ChargeBegun], &[Held], "confirmed"),
        crash(vec![StockHeld, ChargeBegun], &[Held, Charged], "confirmed"),
        crash(vec![StockHeld, ChargeBegun, ChargeUnknown], &[Held], "confirmed"),
        crash(vec![StockHeld, ChargeBegun, ChargeUnknown], &[Held, Charged], "confirmed"),
        crash(vec![StockHeld, ChargeBegun, charged()], &[Held, Charged], "confirmed"),
        crash(vec![StockHeld, ChargeBegun, charged()], &[Held, Charged, Sold], "confirmed"),
        crash(vec![StockHeld, ChargeBegun, ChargeDeclined(why())], &[Held], "declined"),
        crash(vec![StockHeld, ChargeBegun, ChargeDeclined(why())], &[Held, Released], "declined"),
        crash(vec![StockFailed(why())], &[], "failed"),
        crash(vec![StockFailed(why())], &[Held], "failed"),
        crash(vec![StockFailed(why())], &[Held, Released], "failed"),
        crash(vec![StockHeld, ChargeBegun, charged(), StockLost(why())], &[Charged], "refunded"),
        crash(vec![StockHeld, ChargeBegun, charged(), StockLost(why())], &[Charged, PaidBack], "refunded"),
    ]
}

#[tokio::test]
async fn an_order_is_finished_wherever_the_crash_was() {
    let mut world = World::start().await;
    let pool = SqlitePool::connect(&world.app.database_url("orders")).await.unwrap();
    let crashes = crashes();
    let mut orders = Vec::new();
    for (user, crash) in (1..).zip(&crashes) {
        orders.push(leave_behind(&world, &pool, user, crash).await);
    }
    pool.close().await;
    world.app.restart().await;
    for ((user, crash), order) in (1..).zip(&crashes).zip(orders) {
        world.until(order, crash.ends).await;
        let paid = if crash.ends == "confirmed" { PRICE } else { 0 };
        let text = format!("{:?} {:?}", crash.written, crash.done);
        assert_eq!(world.won_of(user).await, OPENING - paid, "{text}");
    }
    let sold = crashes.iter().filter(|crash| crash.ends == "confirmed").count();
    assert_eq!(world.available(BOOK).await, 100_000 - i64::try_from(sold).unwrap());
    world.assert_balanced().await;
}

/// An order as it is found after a crash.
async fn leave_behind(world: &World, pool: &SqlitePool, user: i64, crash: &Crash) -> i64 {
    let price = Money::new(Currency::Krw, PRICE);
    let lines = [Line { product_id: BOOK, product: "Book".to_owned(), quantity: 1, price }];
    let draft = Draft { key: None, fingerprint: "", user, total: price, lines: &lines };
    let id = store::insert(pool, &draft, 0, FAR).await.unwrap();
    let key = store::find(pool, id).await.unwrap().unwrap().key;
    let mut charge = 0;
    for done in crash.done {
        charge = perform(world, *done, &key, user, charge).await;
    }
    for event in &crash.written {
        let event = match event {
            Event::Charged { .. } => Event::Charged { charge },
            other => other.clone(),
        };
        assert!(store::apply(pool, id, &event, 0, FAR).await.unwrap().is_some(), "{event:?}");
    }
    id
}

/// Does what the process did in another service before it died; gives the charge's id, once there is one.
async fn perform(world: &World, done: Done, key: &str, user: i64, charge: i64) -> i64 {
    let app = &world.app;
    let headers = [("Idempotency-Key", key)];
    let refund_key = format!("{key}-refund");
    let reply = match done {
        Done::Held => {
            let lines = json!([{"product": BOOK, "quantity": 1}]);
            app.post("catalog", "/reservations", json!({"key": key, "lines": lines})).await
        }
        Done::Sold => app.post("catalog", &format!("/reservations/{key}/confirm"), json!({})).await,
        Done::Released => {
            app.request("catalog", Method::DELETE, &format!("/reservations/{key}"), &[], None).await
        }
        Done::Charged => {
            let body = json!({"user": user, "order": key, "amount": PRICE, "currency": "KRW"});
            app.post_with("payments", "/payments/charges", &headers, body).await
        }
        Done::PaidBack => {
            let path = format!("/payments/charges/{charge}/refunds");
            app.post_with("payments", &path, &[("Idempotency-Key", &refund_key)], json!({})).await
        }
    };
    assert!(matches!(reply.status, StatusCode::OK | StatusCode::CREATED), "{}", reply.text());
    if done == Done::Charged { reply.json()["id"].as_i64().unwrap() } else { charge }
}

//! A shop to test, and what can be seen of it.

use std::{sync::Arc, time::Duration};

use madang::{
    Service,
    axum::http::{Method, StatusCode},
    test::{TestApp, TestReply},
};
use serde_json::{Value, json};
use shop_catalog::clock::Clock;
use shop_orders::{Config, PaymentsBy};

use crate::faults::{self, Faults};

/// The book that everybody orders.
pub const BOOK: i64 = 1;
/// Twenty in stock, at 90,000,000 won: twelve of them are more than anybody has.
pub const PIANO: i64 = 2;
/// Ten in stock.
pub const RARE: i64 = 3;
pub const RARE_NAME: &str = "Signed First Edition";
/// What every account opens with.
pub const OPENING: i64 = 1_000_000_000;

/// The four services in one process.
pub struct World {
    pub app: TestApp,
    pub faults: Faults,
    pub clock: Clock,
}

impl World {
    pub async fn start() -> Self {
        Self::with(orders()).await
    }

    /// One in which a charge that hangs is given up soon.
    pub async fn impatient() -> Self {
        Self::asking(false).await
    }

    /// The same, in which payments is asked over gRPC or else over HTTP.
    pub async fn asking(grpc: bool) -> Self {
        let payments = PaymentsBy { grpc, timeout: Some(Duration::from_secs(1)) };
        Self::with(shop_orders::service_with(Config { payments, ..eager() })).await
    }

    async fn with(orders: Service) -> Self {
        let (faults, clock) = (Faults::default(), Clock::by_hand(1_700_000_000_000));
        let (catalog, payments) = (faults::catalog(&faults, &clock), faults::payments(&faults));
        let app = TestApp::start([shop_users::service(), catalog, orders, payments]).await;
        Self { app, faults, clock }
    }

    pub async fn order(&self, order: Value) -> TestReply {
        self.app.post("orders", "/orders", order).await
    }

    pub async fn order_with_key(&self, key: &str, order: Value) -> TestReply {
        self.app.post_with("orders", "/orders", &[("Idempotency-Key", key)], order).await
    }

    pub async fn status_of(&self, order: i64) -> String {
        let order = self.app.get("orders", &format!("/orders/{order}")).await.json();
        order["status"].as_str().unwrap().to_owned()
    }

    /// Waits until an order has this status; it is the background that gets it there.
    pub async fn until(&self, order: i64, status: &str) {
        let wait = async {
            while self.status_of(order).await != status {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), wait).await.is_err() {
            let order = self.app.get("orders", &format!("/orders/{order}")).await.text();
            panic!("not {status} in time: {order}");
        }
    }

    pub async fn available(&self, product: i64) -> i64 {
        let product = self.app.get("catalog", &format!("/products/{product}")).await.json();
        product["available"].as_i64().unwrap()
    }

    pub async fn set_price(&self, product: i64, amount: i64) {
        let body = json!({"currency": "KRW", "amount": amount});
        let path = format!("/products/{product}/price");
        let reply = self.app.request("catalog", Method::PUT, &path, &[], Some(body)).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    }

    /// What a user has, in won.
    pub async fn won_of(&self, user: i64) -> i64 {
        let account = self.app.get("payments", &format!("/payments/accounts/{user}")).await.json();
        account["balances"][0]["amount"].as_i64().unwrap_or(OPENING)
    }

    pub async fn assert_balanced(&self) {
        let balance = self.app.get("payments", "/payments/balance-check").await.json();
        assert_eq!(balance["balanced"], true, "{balance}");
    }

    pub async fn count_orders(&self) -> usize {
        self.app.get("orders", "/orders").await.json().as_array().unwrap().len()
    }
}

/// Orders that are taken up again without delay.
pub fn orders() -> Service {
    shop_orders::service_with(eager())
}

fn eager() -> Config {
    let soon = Duration::from_millis(10);
    Config { sweep: soon, retry: soon, ..Config::default() }
}

/// Who shares a world among tasks.
pub type Shared = Arc<World>;

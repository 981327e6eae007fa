//! A shop of a few lines behind one address, wrong in one way if asked to be.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use madang::axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde_json::{Value, json};
use tokio::sync::watch;

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    Nothing,
    /// Takes the money of some orders twice.
    ChargesTwice,
    /// Takes more than some orders cost.
    ChargesMore,
    /// Forgets that some things are sold.
    LosesStock,
    /// Says that there is an order, and there is none.
    LosesOrders,
    /// Makes another order when the same key comes again.
    ForgetsKeys,
    /// Answers no customer.
    Hangs,
}

pub struct Fake {
    address: SocketAddr,
    shop: Shop,
}

#[derive(Clone)]
struct Shop {
    wrong: Wrong,
    state: Arc<Mutex<Stored>>,
    asked: watch::Sender<usize>,
    hangs: watch::Sender<bool>,
}

#[derive(Default)]
struct Stored {
    users: Vec<Value>,
    stock: BTreeMap<i64, i64>,
    orders: Vec<Value>,
    keys: BTreeMap<String, Value>,
    ledger: Vec<Value>,
}

/// Products 1 and 2 for 100 won or cents each; the second is the one of the sale.
const NAMES: [&str; 2] = ["Book", "Signed First Edition"];

impl Fake {
    pub async fn start(wrong: Wrong) -> Self {
        let stored = Stored { stock: [(1, 100_000), (2, 10)].into(), ..Stored::default() };
        let shop = Shop {
            wrong,
            state: Arc::new(Mutex::new(stored)),
            asked: watch::Sender::new(0),
            hangs: watch::Sender::new(wrong == Wrong::Hangs),
        };
        let routes = Router::new()
            .route("/", get(page))
            .route("/products", get(products))
            .route("/products/{id}", get(page))
            .route("/products/{id}/stock", put(set_stock))
            .route("/users", get(users).post(add_user))
            .route("/orders", post(place).get(orders))
            .route("/payments/ledger", get(ledger))
            .route("/payments/balance-check", get(balance))
            .with_state(shop.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { madang::axum::serve(listener, routes).await });
        Self { address, shop }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until customers have asked so often.
    pub async fn asked(&self, count: usize) {
        let mut asked = self.shop.asked.subscribe();
        let waited = tokio::time::timeout(Duration::from_secs(30), asked.wait_for(|asked| *asked >= count));
        waited.await.expect("customers come").unwrap();
    }

    pub fn answer_from_now_on(&self) {
        self.shop.hangs.send_replace(false);
    }
}

impl Shop {
    /// A customer asks.
    async fn customer(&self) {
        self.asked.send_modify(|asked| *asked += 1);
        let mut hangs = self.hangs.subscribe();
        hangs.wait_for(|hangs| !hangs).await.unwrap();
    }

    fn product(&self, id: i64, stored: &Stored) -> Value {
        json!({"id": id, "name": {"en": NAMES[id as usize - 1]}, "available": stored.stock[&id],
            "prices": [{"currency": "KRW", "amount": 100}, {"currency": "USD", "amount": 100}]})
    }
}

async fn page(State(shop): State<Shop>) -> Json<Value> {
    shop.customer().await;
    Json(json!({}))
}

async fn products(State(shop): State<Shop>, Query(wanted): Query<BTreeMap<String, String>>) -> Json<Value> {
    // The one who proves asks for a hundred; customers do not.
    if !wanted.contains_key("limit") {
        shop.customer().await;
    }
    let stored = shop.state.lock().unwrap();
    Json(json!({"items": [shop.product(1, &stored), shop.product(2, &stored)]}))
}

async fn set_stock(State(shop): State<Shop>, Path(id): Path<i64>, Json(new): Json<Value>) -> Json<Value> {
    let mut stored = shop.state.lock().unwrap();
    stored.stock.insert(id, new["quantity"].as_i64().unwrap());
    Json(shop.product(id, &stored))
}

async fn users(State(shop): State<Shop>) -> Json<Value> {
    Json(json!(shop.state.lock().unwrap().users))
}

async fn add_user(State(shop): State<Shop>, Json(new): Json<Value>) -> Json<Value> {
    let mut stored = shop.state.lock().unwrap();
    let user = json!({"id": stored.users.len() + 1, "name": new["name"]});
    stored.users.push(user.clone());
    Json(user)
}

async fn place(State(shop): State<Shop>, headers: HeaderMap, Json(new): Json<Value>) -> Response {
    shop.customer().await;
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let mut stored = shop.state.lock().unwrap();
    if let Some(order) = stored.keys.get(&key).filter(|_| shop.wrong != Wrong::ForgetsKeys) {
        return answer(order);
    }
    let id = stored.orders.len() as i64 + 1;
    // Every fifth order is where it goes wrong.
    let wrong = |which| shop.wrong == which && id % 5 == 0;
    let asked = new["lines"].as_array().unwrap().iter().map(|line| {
        let product = NAMES.iter().position(|name| line["product"] == *name).unwrap() as i64 + 1;
        (product, line["quantity"].as_i64().unwrap())
    });
    let asked: Vec<(i64, i64)> = asked.collect();
    let fits = asked.iter().all(|(product, quantity)| stored.stock[product] >= *quantity);
    let total = 100 * asked.iter().map(|(_, quantity)| quantity).sum::<i64>();
    let lines: Vec<Value> = asked
        .iter()
        .map(|(product, quantity)| json!({"product_id": product, "quantity": quantity}))
        .collect();
    let status = if fits { "confirmed" } else { "out_of_stock" };
    let order = json!({"id": id, "user": new["user"], "status": status, "lines": lines,
        "total": {"currency": new["currency"], "amount": total}});
    if fits {
        if !wrong(Wrong::LosesStock) {
            asked.iter().for_each(|(product, quantity)| *stored.stock.get_mut(product).unwrap() -= quantity);
        }
        let amount = if wrong(Wrong::ChargesMore) { total + 1 } else { total };
        for _ in 0..if wrong(Wrong::ChargesTwice) { 2 } else { 1 } {
            let account = format!("user:{}", new["user"]);
            let entries = json!([{"account": account, "currency": new["currency"], "amount": -amount},
                {"account": "shop", "currency": new["currency"], "amount": amount}]);
            let transaction = json!({"id": stored.ledger.len() + 1, "kind": "charge", "at": 0,
                "reference": format!("order {id}"), "entries": entries});
            stored.ledger.push(transaction);
        }
    }
    stored.keys.insert(key, order.clone());
    let mut kept = order.clone();
    if wrong(Wrong::LosesOrders) {
        // Its place in the list is somebody else's.
        kept = stored.orders.last().cloned().unwrap_or(kept);
    }
    stored.orders.push(kept);
    answer(&order)
}

fn answer(order: &Value) -> Response {
    if order["status"] == "confirmed" {
        return (StatusCode::CREATED, Json(order.clone())).into_response();
    }
    (StatusCode::CONFLICT, Json(json!({"instance": format!("/orders/{}", order["id"])}))).into_response()
}

async fn orders(State(shop): State<Shop>, Query(wanted): Query<BTreeMap<String, usize>>) -> Json<Value> {
    let stored = shop.state.lock().unwrap();
    let page = stored.orders.iter().filter(|order| order["id"].as_u64().unwrap() > wanted["after"] as u64);
    Json(page.take(wanted["limit"]).cloned().collect())
}

async fn ledger(State(shop): State<Shop>, Query(wanted): Query<BTreeMap<String, usize>>) -> Json<Value> {
    let stored = shop.state.lock().unwrap();
    let page: Vec<&Value> = stored.ledger.iter().skip(wanted["cursor"]).take(wanted["limit"]).collect();
    let next = (page.len() == wanted["limit"]).then(|| page.last().unwrap()["id"].clone());
    Json(json!({"items": page, "next": next}))
}

async fn balance(State(shop): State<Shop>) -> Json<Value> {
    let count = shop.state.lock().unwrap().ledger.len();
    Json(json!({"balanced": true, "transactions": count, "sums": [], "unbalanced": [], "drifted": []}))
}

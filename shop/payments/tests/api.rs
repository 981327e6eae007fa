//! The payments service as its callers see it.

use std::{str::FromStr, sync::Arc};

use futures_util::StreamExt;
use madang::{
    axum::http::StatusCode,
    test::{TestApp, TestReply},
};
use serde_json::{Value, json};
use shop_payments_api::{
    ChargeRequest, LedgerRequest, Outcome, RefundRequest, Transaction, payments_client::PaymentsClient,
};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::task::JoinSet;
use tonic::{Code, Request};

fn charge(user: i64, amount: i64) -> Value {
    json!({"user": user, "order": "order-1", "amount": amount, "currency": "KRW"})
}

async fn pay(app: &TestApp, key: &str, body: Value) -> TestReply {
    app.post_with("payments", "/payments/charges", &[("Idempotency-Key", key)], body).await
}

async fn won_of(app: &TestApp, user: i64) -> i64 {
    let account = app.get("payments", &format!("/payments/accounts/{user}")).await.json();
    account["balances"][0]["amount"].as_i64().unwrap()
}

async fn assert_balanced(app: &TestApp) {
    let balance = app.get("payments", "/payments/balance-check").await.json();
    assert_eq!(balance["balanced"], true, "{balance}");
}

#[tokio::test]
async fn a_charge_moves_money_once_per_key() {
    let app = TestApp::start(shop_payments::service()).await;
    let first = pay(&app, "\"k1\"", charge(1, 15_000)).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text());
    assert_eq!(first.json()["status"], "captured");
    let again = pay(&app, "k1", charge(1, 15_000)).await;
    assert_eq!((again.status, again.text()), (first.status, first.text()));
    assert_eq!(won_of(&app, 1).await, 1_000_000_000 - 15_000);
    let found = app.get("payments", "/payments/charges?key=k1").await.json();
    assert_eq!(found, json!([first.json()]));
    assert_eq!(app.get("payments", "/payments/charges/1").await.json(), first.json());
    assert_eq!(app.get("payments", "/payments/charges?key=k2").await.json(), json!([]));
    assert_balanced(&app).await;
}

#[tokio::test]
async fn the_answer_of_a_key_outlives_a_restart() {
    let mut app = TestApp::start(shop_payments::service()).await;
    let first = pay(&app, "k1", charge(1, 15_000)).await;
    app.restart().await;
    let again = pay(&app, "k1", charge(1, 15_000)).await;
    assert_eq!((again.status, again.text()), (first.status, first.text()));
}

#[tokio::test]
async fn a_charge_that_the_account_cannot_cover_is_declined_and_moves_nothing() {
    let app = TestApp::start(shop_payments::service()).await;
    let declined = pay(&app, "k1", charge(1, 1_000_000_001)).await;
    assert_eq!(declined.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(declined.header("content-type"), "application/problem+json");
    assert_eq!(declined.json()["code"], "SHOP-PAY-001");
    assert_eq!(declined.json()["instance"], "/payments/charges/1");
    let again = pay(&app, "k1", charge(1, 1_000_000_001)).await;
    assert_eq!((again.status, again.text()), (declined.status, declined.text()));
    assert_eq!(won_of(&app, 1).await, 1_000_000_000);
    assert_eq!(pay(&app, "k2", charge(1, 1_000_000_000)).await.status, StatusCode::CREATED);
    assert_eq!(won_of(&app, 1).await, 0);
    assert_balanced(&app).await;
}

#[tokio::test]
async fn refunds_give_back_at_most_the_charge() {
    let app = TestApp::start(shop_payments::service()).await;
    pay(&app, "k1", charge(1, 15_000)).await;
    let refund = async |key: &str, body: Value| {
        let headers = [("Idempotency-Key", key)];
        app.post_with("payments", "/payments/charges/1/refunds", &headers, body).await
    };
    let part = refund("r1", json!({"amount": 5_000})).await;
    assert_eq!(
        (part.status, part.json()),
        (StatusCode::CREATED, json!({"id": 1, "charge": 1, "amount": 5_000}))
    );
    assert_eq!(refund("r1", json!({"amount": 5_000})).await.text(), part.text());
    assert_eq!(refund("r2", json!({"amount": 10_001})).await.status, StatusCode::CONFLICT);
    assert_eq!(refund("r3", json!({})).await.json()["amount"], 10_000);
    assert_eq!(refund("r4", json!({})).await.status, StatusCode::CONFLICT);
    assert_eq!(won_of(&app, 1).await, 1_000_000_000);
    assert_eq!(app.get("payments", "/payments/charges/1").await.json()["refunded"], 15_000);
    let none =
        app.post_with("payments", "/payments/charges/9/refunds", &[("Idempotency-Key", "r5")], json!({}));
    assert_eq!(none.await.status, StatusCode::NOT_FOUND);
    assert_balanced(&app).await;
}

#[tokio::test]
async fn a_key_is_required_and_belongs_to_one_request() {
    let app = TestApp::start(shop_payments::service()).await;
    let check = |reply: TestReply, status: u16| {
        assert_eq!(reply.status.as_u16(), status, "{}", reply.text());
        assert_eq!(reply.json()["errors"][0]["field"], "Idempotency-Key");
    };
    check(app.post("payments", "/payments/charges", charge(1, 100)).await, 400);
    check(pay(&app, "\"open", charge(1, 100)).await, 400);
    assert_eq!(pay(&app, "k1", charge(1, 100)).await.status, StatusCode::CREATED);
    check(pay(&app, "k1", charge(1, 101)).await, 422);
    check(pay(&app, "k1", charge(2, 100)).await, 422);
}

/// While somebody else writes, one request waits with the key; the others are told so at once.
#[tokio::test]
async fn a_key_in_flight_is_a_conflict() {
    let app = Arc::new(TestApp::start(shop_payments::service()).await);
    let options = SqliteConnectOptions::from_str(&app.database_url("payments")).unwrap();
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    let writing = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let mut requests = JoinSet::new();
    for _ in 0..4 {
        let app = app.clone();
        requests.spawn(async move { pay(&app, "k1", charge(1, 100)).await });
    }
    for _ in 0..3 {
        let refused = requests.join_next().await.unwrap().unwrap();
        assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text());
        assert_eq!(refused.header("retry-after"), "1");
    }
    writing.rollback().await.unwrap();
    let answered = requests.join_next().await.unwrap().unwrap();
    assert_eq!(answered.status, StatusCode::CREATED, "{}", answered.text());
    assert_eq!(pay(&app, "k1", charge(1, 100)).await.text(), answered.text());
    assert_eq!(won_of(&app, 1).await, 1_000_000_000 - 100);
}

#[tokio::test]
async fn bad_input_is_a_problem_that_names_the_field() {
    let app = TestApp::start(shop_payments::service()).await;
    let check = |reply: TestReply, field: &str| {
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{field}: {}", reply.text());
        assert_eq!(reply.json()["errors"][0]["field"], field, "{}", reply.text());
    };
    check(pay(&app, "k", charge(0, 100)).await, "user");
    check(pay(&app, "k", charge(1, 0)).await, "amount");
    check(pay(&app, "k", json!({"user": 1, "order": "", "amount": 1, "currency": "KRW"})).await, "order");
    check(pay(&app, "k", json!({"user": 1, "order": "o", "amount": 1, "currency": "EUR"})).await, "currency");
    check(pay(&app, "k", json!({"user": 1, "order": "o", "amount": 1.5, "currency": "KRW"})).await, "amount");
    check(app.get("payments", "/payments/ledger?limit=0").await, "limit");
    check(app.get("payments", "/payments/ledger?cursor=-1").await, "cursor");
    check(app.get("payments", "/payments/charges").await, "key");
    check(app.get("payments", "/payments/charges/x").await, "id");
    assert_eq!(app.get("payments", "/payments/charges/1").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_ledger_is_read_page_by_page() {
    let app = TestApp::start(shop_payments::service()).await;
    for n in 0..5 {
        pay(&app, &format!("k{n}"), charge(1, 100 + n)).await;
    }
    let mut cursor = 0;
    let mut kinds = Vec::new();
    loop {
        let page = app.get("payments", &format!("/payments/ledger?limit=2&cursor={cursor}")).await.json();
        for transaction in page["items"].as_array().unwrap() {
            let entries = transaction["entries"].as_array().unwrap();
            assert_eq!(entries.iter().map(|entry| entry["amount"].as_i64().unwrap()).sum::<i64>(), 0);
            kinds.push(transaction["kind"].as_str().unwrap().to_owned());
        }
        match page["next"].as_i64() {
            Some(next) => cursor = next,
            None => break,
        }
    }
    assert_eq!(kinds, ["opening", "charge", "charge", "charge", "charge", "charge"]);
}

#[tokio::test]
async fn the_document_describes_every_route() {
    let app = TestApp::start(shop_payments::service()).await;
    let document = app.get("payments", "/openapi.json").await.json();
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(
        paths,
        [
            "/payments/accounts/{user}",
            "/payments/balance-check",
            "/payments/charges",
            "/payments/charges/{id}",
            "/payments/charges/{id}/refunds",
            "/payments/ledger",
        ]
    );
    let charge = &document["paths"]["/payments/charges"]["post"]["responses"];
    assert!(charge["409"]["content"]["application/problem+json"].is_object());
}

/// The same charge over HTTP and over gRPC is one charge, and the ledger streams as it is.
#[tokio::test]
async fn http_and_grpc_know_the_same_keys() {
    let app = TestApp::remote([shop_payments::service(), asker()]).await;
    let mut client = PaymentsClient::new(app.calls("asker").to("payments").grpc());
    let paid = client.charge(keyed("k1", 15_000)).await.unwrap().into_inner();
    assert_eq!(paid.outcome(), Outcome::Captured);
    let again = pay(&app, "k1", charge(1, 15_000)).await.json();
    assert_eq!(again["id"], paid.charge);
    assert_eq!(won_of(&app, 1).await, 1_000_000_000 - 15_000);

    let declined = client.charge(keyed("k2", 2_000_000_000)).await.unwrap().into_inner();
    assert_eq!(declined.outcome(), Outcome::Declined);
    assert!(declined.reason.contains("the account has"), "{}", declined.reason);

    for (request, code) in [
        (keyed("k1", 1), Code::InvalidArgument),
        (Request::new(message(1)), Code::InvalidArgument),
        (keyed("k3", 0), Code::InvalidArgument),
    ] {
        assert_eq!(client.charge(request).await.unwrap_err().code(), code);
    }
    let refund = |key: &str, charge, amount| {
        let mut request = Request::new(RefundRequest { charge, amount });
        request.metadata_mut().insert("idempotency-key", key.parse().unwrap());
        request
    };
    let back = client.refund(refund("r1", paid.charge, Some(5_000))).await.unwrap().into_inner();
    assert_eq!(back.amount, 5_000);
    assert_eq!(client.refund(refund("r2", 99, None)).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(
        client.refund(refund("r3", paid.charge, Some(15_000))).await.unwrap_err().code(),
        Code::Aborted
    );

    let ledger = client.ledger(LedgerRequest { after: 0 }).await.unwrap().into_inner();
    let ledger: Vec<Transaction> = ledger.map(Result::unwrap).collect().await;
    assert!(ledger.iter().map(|transaction| transaction.id).eq(1..=ledger.len() as i64));
    assert!(
        ledger
            .iter()
            .all(|transaction| { transaction.entries.iter().map(|entry| entry.amount).sum::<i64>() == 0 })
    );
    assert_eq!(ledger.last().unwrap().kind, "refund");
}

/// A ledger of several pages streams whole.
#[tokio::test]
async fn a_long_ledger_streams_to_its_end() {
    let app = TestApp::remote([shop_payments::service(), asker()]).await;
    let mut client = PaymentsClient::new(app.calls("asker").to("payments").grpc());
    for n in 0..450 {
        client.charge(keyed(&format!("k{n}"), 1)).await.unwrap();
    }
    let ledger = client.ledger(LedgerRequest { after: 0 }).await.unwrap().into_inner();
    let charges = ledger.map(Result::unwrap).filter(|it| std::future::ready(it.kind == "charge")).count();
    assert_eq!(charges.await, 450);
}

/// A service that does nothing but call.
fn asker() -> madang::Service {
    madang::Service::new("asker")
}

fn message(amount: i64) -> ChargeRequest {
    ChargeRequest { user: 1, order: "order-1".into(), amount, currency: "KRW".into() }
}

fn keyed(key: &str, amount: i64) -> Request<ChargeRequest> {
    let mut request = Request::new(message(amount));
    request.metadata_mut().insert("idempotency-key", key.parse().unwrap());
    request
}

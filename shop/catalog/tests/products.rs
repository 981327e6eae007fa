//! Products: seeded once, found, read page by page, priced.

use std::collections::BTreeSet;

use madang::{
    axum::http::{Method, StatusCode},
    test::{TestApp, TestReply},
};
use serde_json::{Value, json};
use sqlx::SqlitePool;

async fn put(app: &TestApp, path: &str, body: Value) -> TestReply {
    app.request("catalog", Method::PUT, path, &[], Some(body)).await
}

/// Every id that a query finds, page by page.
async fn ids(app: &TestApp, query: &str) -> Vec<i64> {
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let reply = app.get("catalog", &format!("/products?limit=100{query}{cursor}")).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        let page = reply.json();
        ids.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

#[tokio::test]
async fn ten_thousand_products_are_seeded_once() {
    let mut app = TestApp::start(shop_catalog::service()).await;
    assert_eq!(ids(&app, "").await, (1..=10_000).collect::<Vec<i64>>());
    let book = app.get("catalog", "/products/1").await.json();
    assert_eq!(
        book,
        json!({
            "id": 1,
            "name": {"en": "Book", "ko": "책"},
            "prices": [{"currency": "KRW", "amount": 15_000}, {"currency": "USD", "amount": 1_199}],
            "available": 100_000,
        })
    );
    put(&app, "/products/1/price", json!({"currency": "KRW", "amount": 1})).await;
    app.restart().await;
    let again = app.get("catalog", "/products/1").await.json();
    assert_eq!(again["prices"][0]["amount"], 1, "a restart must not seed again");
}

#[tokio::test]
async fn search_finds_parts_of_words_in_both_languages() {
    let app = TestApp::start(shop_catalog::service()).await;
    let check = async |query: &str, expected: usize| {
        assert_eq!(ids(&app, &format!("&query={query}")).await.len(), expected, "{query}");
    };
    check("Book", 501).await; // and every notebook
    check("signed%20edit", 1).await;
    check("%EA%B0%80%EC%A3%BD", 500).await; // 가죽, leather: two characters, so every name is read
    check("%EA%B0%80%EB%B0%A9%20%EA%B0%80%EC%A3%BD", 25).await; // 가방 가죽
    check("%EB%8C%80%EB%A6%AC%EC%84%9D", 500).await; // 대리석, marble: by trigram
    check("%EB%8C%80%EB%A6%AC%EC%84%9D%20box", 25).await;
    check("nothing%20like%20this", 0).await;
    check("%25", 0).await; // a wildcard is an ordinary character
    check("%22%20OR%20%22", 0).await;
    let page = app.get("catalog", "/products?query=signed").await.json();
    assert_eq!(page["items"][0]["name"]["ko"], "작가 서명 초판본");
    assert!(page.get("next").is_none());
}

/// Whatever is added while somebody turns the pages, each product that was there is met exactly once.
#[tokio::test]
async fn pages_stay_whole_while_products_are_added() {
    let app = TestApp::start(shop_catalog::service()).await;
    let pool = SqlitePool::connect(&app.database_url("catalog")).await.unwrap();
    let mut seen = Vec::new();
    let mut cursor = String::new();
    for n in 0.. {
        let page = app.get("catalog", &format!("/products?query=brass%20box{cursor}&limit=7")).await.json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
        sqlx::query("INSERT INTO products (name_en, name_ko, krw, usd, stock) VALUES (?, ?, 1, 1, 1)")
            .bind(format!("Extra Brass Box {n}"))
            .bind(format!("여분 황동 상자 {n}"))
            .execute(&pool)
            .await
            .unwrap();
    }
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len());
    assert_eq!(seen.iter().filter(|id| **id <= 10_000).count(), 25);
}

#[tokio::test]
async fn a_product_is_found_by_either_name() {
    let app = TestApp::start(shop_catalog::service()).await;
    assert_eq!(app.get("catalog", "/products/by-name/Book").await.json()["id"], 1);
    assert_eq!(app.get("catalog", "/products/by-name/%EC%B1%85").await.json()["id"], 1);
    assert_eq!(app.get("catalog", "/products/by-name/book").await.status, StatusCode::NOT_FOUND);
    assert_eq!(app.get("catalog", "/products/10001").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn prices_change_and_the_old_ones_are_kept() {
    let app = TestApp::start(shop_catalog::service()).await;
    for amount in [16_000, 16_000, 17_000] {
        let reply = put(&app, "/products/1/price", json!({"currency": "KRW", "amount": amount})).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        assert_eq!(reply.json()["prices"][0]["amount"], amount);
        assert_eq!(reply.json()["prices"][1]["amount"], 1_199);
    }
    put(&app, "/products/1/price", json!({"currency": "USD", "amount": 1_299})).await;
    let changes = app.get("catalog", "/products/1/prices").await.json();
    let changes: Vec<(i64, i64)> = changes
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (change["before"].as_i64().unwrap(), change["after"].as_i64().unwrap()))
        .collect();
    assert_eq!(changes, [(1_199, 1_299), (16_000, 17_000), (15_000, 16_000)]);
    let none = put(&app, "/products/99999/price", json!({"currency": "KRW", "amount": 1})).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_quote_prices_names_and_names_the_unknown_line() {
    let app = TestApp::start(shop_catalog::service()).await;
    let wanted = |names: &[&str]| {
        let lines: Vec<Value> = names.iter().map(|name| json!({"product": name})).collect();
        json!({"currency": "USD", "lines": lines})
    };
    let quote = app.post("catalog", "/quotes", wanted(&["책", "Grand Piano"])).await;
    assert_eq!(
        quote.json(),
        json!({"lines": [
            {"product": 1, "name": "Book", "price": {"currency": "USD", "amount": 1_199}},
            {"product": 2, "name": "Grand Piano", "price": {"currency": "USD", "amount": 6_599_900}},
        ]})
    );
    let unknown = app.post("catalog", "/quotes", wanted(&["Book", "Bok", "Piano"])).await;
    assert_eq!(unknown.status, StatusCode::UNPROCESSABLE_ENTITY);
    let errors = unknown.json()["errors"].clone();
    assert_eq!(
        (&errors[0]["field"], &errors[1]["field"]),
        (&json!("lines[1].product"), &json!("lines[2].product"))
    );
}

#[tokio::test]
async fn bad_input_is_a_problem_that_names_the_field() {
    let app = TestApp::start(shop_catalog::service()).await;
    let check = |reply: TestReply, field: &str| {
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{field}: {}", reply.text());
        assert_eq!(reply.json()["errors"][0]["field"], field, "{}", reply.text());
    };
    check(app.get("catalog", "/products?limit=101").await, "limit");
    check(app.get("catalog", "/products?limit=x").await, "limit");
    check(app.get("catalog", "/products?cursor=20").await, "cursor");
    check(app.get("catalog", &format!("/products?query={}", "a".repeat(101))).await, "query");
    check(app.get("catalog", "/products?colour=red").await, "colour");
    check(app.get("catalog", "/products/x").await, "id");
    check(put(&app, "/products/1/price", json!({"currency": "KRW", "amount": 0})).await, "amount");
    check(put(&app, "/products/1/price", json!({"currency": "EUR", "amount": 1})).await, "currency");
    check(put(&app, "/products/1/price", json!({"currency": "KRW"})).await, "amount");
    check(put(&app, "/products/1/stock", json!({"quantity": -1})).await, "quantity");
    check(app.post("catalog", "/quotes", json!({"currency": "KRW", "lines": []})).await, "lines");
}

#[tokio::test]
async fn the_document_describes_every_route() {
    let app = TestApp::start(shop_catalog::service()).await;
    let document = app.get("catalog", "/openapi.json").await.json();
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(
        paths,
        [
            "/products",
            "/products/by-name/{name}",
            "/products/{id}",
            "/products/{id}/price",
            "/products/{id}/prices",
            "/products/{id}/stock",
            "/quotes",
            "/reservations",
            "/reservations/{key}",
            "/reservations/{key}/confirm",
        ]
    );
}

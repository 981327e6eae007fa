//! The shop through its gateway: the same story in both placements, and the same data after changing it.

use http::StatusCode;
use madang_testkit::{Placement, Prepared, TestSystem};
use madang_wire::admin::State;
use serde_json::{Value, json};

/// Everything that a customer may do, whatever runs where.
async fn a_customer_orders(shop: &TestSystem) {
    let users = shop.get("/users").await;
    assert_eq!(users.status, StatusCode::OK);
    assert_eq!(users.json()[0], json!({"id": 1, "name": "Alice"}));
    assert_eq!(users.json()[1], json!({"id": 2, "name": "Bob"}));

    let orders = shop.get("/orders").await.json();
    assert_eq!(
        (&orders[0]["id"], &orders[0]["user"], &orders[0]["product"]),
        (&json!(1), &json!(1), &json!("Book"))
    );

    let user = shop.post("/users", json!({"name": "Chulsoo"})).await;
    assert_eq!(user.status, StatusCode::CREATED);
    let user = user.json()["id"].as_i64().expect("an id");

    let placed = shop.post("/orders", json!({"user": user, "product": "Book"})).await;
    assert_eq!(placed.status, StatusCode::CREATED, "{}", placed.text());
    let placed = placed.json();
    assert_eq!((&placed["user"], &placed["product"]), (&json!(user), &json!("Book")));
    let id = placed["id"].as_i64().expect("an id");
    let read = shop.get(&format!("/orders/{id}")).await.json();
    assert_eq!(read["status"], placed["status"]);
    assert_eq!(read["id"], placed["id"]);
}

/// What a page of an order shows comes from one request, in a shape for whoever asks.
async fn a_page_comes_from_one_request(shop: &TestSystem) {
    let placed = shop.post("/orders", json!({"user": 2, "product": "Book", "quantity": 2})).await.json();
    let path = format!("/pages/orders/{}", placed["id"]);
    let page = shop.get(&path).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    let page = page.json();
    assert_eq!(
        (&page["order"], &page["total"], &page["customer"]),
        (&placed["id"], &placed["total"], &json!("Bob"))
    );
    assert_eq!(page["bought"], json!([{"product": "Book", "quantity": 2}]));
    assert!(page["paid_from"].is_array(), "{page}");
    assert_eq!(page.get("problems"), None, "{page}");
    let none = shop.get("/pages/orders/999999").await;
    assert_eq!(
        (none.status, &none.json()["status"]),
        (StatusCode::NOT_FOUND, &json!(404)),
        "{}",
        none.text()
    );
}

/// Every error is a problem that names the field and the request.
async fn bad_input_is_named(shop: &TestSystem) {
    for (path, body, field) in [
        ("/users", json!({"name": ""}), "name"),
        ("/users", json!({}), "name"),
        ("/orders", json!({"user": 999_999, "product": "Book"}), "user"),
        ("/orders", json!({"user": 1, "product": "No such thing"}), "product"),
        ("/orders", json!({"user": "one", "product": "Book"}), "user"),
    ] {
        let answer = shop.post(path, body.clone()).await;
        assert!(answer.status.is_client_error(), "{path} {body}: {} {}", answer.status, answer.text());
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{path} {body}");
        let problem = answer.json();
        let named = problem["errors"].as_array().into_iter().flatten();
        let named: Vec<&Value> = named.map(|error| &error["field"]).collect();
        assert!(named.iter().any(|name| name.as_str().is_some_and(|name| name.contains(field))), "{problem}");
        assert!(problem["request_id"].is_string() && problem["trace_id"].is_string(), "{problem}");
    }
    let nowhere = shop.get("/nowhere").await;
    assert_eq!(nowhere.status, StatusCode::NOT_FOUND);
    assert_eq!(nowhere.json()["code"], "MDG-GW-001");
}

/// What was taken from customers is what the ledger says, and every transaction sums to zero.
async fn money_is_right(shop: &TestSystem) {
    let ledger = shop.get("/payments/balance-check").await;
    assert_eq!(ledger.status, StatusCode::OK, "{}", ledger.text());
    assert_eq!(ledger.json()["balanced"], json!(true), "{}", ledger.text());
}

async fn whole_story(placement: Placement) -> TestSystem {
    let shop = Prepared::shop().start(placement).await;
    a_customer_orders(&shop).await;
    a_page_comes_from_one_request(&shop).await;
    bad_input_is_named(&shop).await;
    money_is_right(&shop).await;
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn works_with_a_process_for_each_service() {
    let shop = whole_story(Placement::Processes).await;
    let units: Vec<String> = shop.ps().await.into_iter().map(|view| view.unit).collect();
    assert_eq!(units, ["catalog", "orders", "payments", "storefront", "users"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn works_in_one_process() {
    let shop = whole_story(Placement::Monolith).await;
    let shown = shop.ps().await;
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].services.len(), 5);
    assert_eq!(shown[0].state, State::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_the_placement_keeps_all_data() {
    let mut shop = Prepared::shop().start(Placement::Processes).await;
    a_customer_orders(&shop).await;
    let (users, orders) = (shop.get("/users").await.json(), shop.get("/orders").await.json());
    shop.down().await;

    shop.up(Placement::Monolith).await;
    assert_eq!(shop.get("/users").await.json(), users);
    assert_eq!(shop.get("/orders").await.json(), orders);
    a_customer_orders(&shop).await;
    money_is_right(&shop).await;
    shop.down().await;

    shop.up(Placement::Processes).await;
    let after = shop.get("/orders").await.json();
    assert_eq!(after.as_array().map(Vec::len), orders.as_array().map(|orders| orders.len() + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_describes_itself_and_listens_where_it_says() {
    let shop = Prepared::shop().start(Placement::Processes).await;
    for service in ["users", "catalog", "orders", "payments"] {
        let described: Value =
            serde_json::from_str(&shop.run(&["describe", service, "--format", "json"]).await).unwrap();
        let url =
            described["instances"][0]["url"].as_str().expect("an address").trim_start_matches("http://");
        let document = madang_testkit::Client::new(url.parse().unwrap()).get("/openapi.json").await.unwrap();
        assert!(document.json()["openapi"].is_string(), "{service}: {}", document.text());
        if let Some(listen) = described["listen"].as_str() {
            let address = listen.trim_start_matches("http://").parse().unwrap();
            let health = madang_testkit::Client::new(address).get("/openapi.json").await.unwrap();
            assert_eq!(health.body, document.body, "{service} through {listen}");
        }
    }
}

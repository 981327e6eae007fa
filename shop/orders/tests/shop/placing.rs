//! Orders that go as they should, and those that are refused.

use madang::{
    axum::http::StatusCode,
    test::{Placement, TestApp, TestReply},
};
use serde_json::{Value, json};

use crate::world::{BOOK, OPENING, PIANO, RARE, RARE_NAME, World};

#[tokio::test]
async fn the_first_order_is_there_from_the_start() {
    let world = World::start().await;
    let orders = world.app.get("orders", "/orders").await.json();
    assert_eq!(
        (&orders[0]["id"], &orders[0]["user"], &orders[0]["product"]),
        (&json!(1), &json!(1), &json!("Book"))
    );
    assert_eq!(orders.as_array().unwrap().len(), 1);
    let order = world.app.get("orders", "/orders/1").await.json();
    assert_eq!(
        (&order["status"], &order["history"][0]["status"]),
        (&json!("confirmed"), &json!("confirmed"))
    );
}

#[tokio::test]
async fn the_smallest_order_is_paid_and_its_stock_sold() {
    let world = World::start().await;
    let reply = world.order(json!({"user": 1, "product": "Book"})).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
    assert_eq!(reply.header("location"), "/orders/2");
    let order = reply.json();
    assert_eq!((&order["id"], &order["user"]), (&json!(2), &json!(1)));
    assert_eq!((&order["product"], &order["status"]), (&json!("Book"), &json!("confirmed")));
    assert_eq!(order["total"], json!({"currency": "KRW", "amount": 15_000}));
    assert_eq!(world.available(BOOK).await, 99_999);
    assert_eq!(world.won_of(1).await, OPENING - 15_000);
    let history = world.app.get("orders", "/orders/2").await.json()["history"].clone();
    let passed: Vec<&str> =
        history.as_array().unwrap().iter().map(|passed| passed["status"].as_str().unwrap()).collect();
    assert_eq!(passed, ["pending", "reserved", "charging", "paid", "confirmed"]);
    world.assert_balanced().await;
}

/// Whatever payments is asked over, orders are paid, declined and, in the end, the same.
#[tokio::test]
async fn payments_may_be_asked_over_grpc() {
    let world = World::asking(true).await;
    let paid = world.order(json!({"user": 1, "product": "Book"})).await;
    assert_eq!(paid.status, StatusCode::CREATED, "{}", paid.text());
    assert_eq!(world.won_of(1).await, OPENING - 15_000);
    let declined = world.order(json!({"user": 1, "product": "Grand Piano", "quantity": 12})).await;
    assert_eq!(declined.status, StatusCode::PAYMENT_REQUIRED, "{}", declined.text());
    assert!(declined.text().contains("the account has"), "{}", declined.text());
    assert_eq!((world.available(PIANO).await, world.won_of(1).await), (20, OPENING - 15_000));
    world.assert_balanced().await;
}

/// Between processes as within one.
#[tokio::test]
async fn an_order_goes_through_services_apart() {
    let services =
        [shop_users::service(), shop_catalog::service(), shop_orders::service(), shop_payments::service()];
    let app = TestApp::placed(Placement::Apart, services).await;
    let reply = app.post("orders", "/orders", json!({"user": 2, "product": "책", "currency": "USD"})).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
    assert_eq!(reply.json()["product"], "Book");
    assert_eq!(reply.json()["total"], json!({"currency": "USD", "amount": 1_199}));
}

#[tokio::test]
async fn an_order_of_several_lines_keeps_the_prices_of_its_time() {
    let world = World::start().await;
    let lines = json!([{"product": "Book", "quantity": 3}, {"product": RARE_NAME}]);
    let order = world.order(json!({"user": 2, "lines": lines})).await.json();
    assert_eq!(order["total"]["amount"], 3 * 15_000 + 120_000);
    world.set_price(BOOK, 20_000).await;
    let path = format!("/orders/{}", order["id"]);
    let kept = world.app.get("orders", &path).await.json();
    assert_eq!(kept["total"], order["total"]);
    assert_eq!(
        kept["lines"][0],
        json!({
            "product_id": BOOK,
            "product": "Book",
            "quantity": 3,
            "price": {"currency": "KRW", "amount": 15_000},
        })
    );
    let next = world.order(json!({"user": 2, "product": "Book"})).await.json();
    assert_eq!(next["total"]["amount"], 20_000);
    assert_eq!((world.available(BOOK).await, world.available(RARE).await), (99_996, 9));
}

#[tokio::test]
async fn bad_input_is_a_problem_that_names_the_field() {
    let world = World::start().await;
    let check = |reply: TestReply, field: &str| {
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{field}: {}", reply.text());
        assert_eq!(reply.header("content-type"), "application/problem+json");
        assert_eq!(reply.json()["errors"][0]["field"], field, "{}", reply.text());
    };
    let two = |first: &str, second: &str| json!([{"product": first}, {"product": second}]);
    check(world.order(json!({"user": 99, "product": "Book"})).await, "user");
    check(world.order(json!({"user": "1", "product": "Book"})).await, "user");
    check(world.order(json!({"product": "Book"})).await, "user");
    check(world.order(json!({"user": 1, "product": "Bok"})).await, "product");
    check(world.order(json!({"user": 1, "product": "Book", "quantity": 0})).await, "quantity");
    check(world.order(json!({"user": 1, "product": "Book", "currency": "EUR"})).await, "currency");
    check(world.order(json!({"user": 1, "product": "Book", "colour": "red"})).await, "colour");
    check(world.order(json!({"user": 1, "lines": two("Book", "Bok")})).await, "lines[1].product");
    check(world.order(json!({"user": 1, "lines": two("Book", "책")})).await, "lines[1].product");
    check(
        world.order(json!({"user": 1, "lines": [{"product": "Book", "quantity": 1001}]})).await,
        "lines[0].quantity",
    );
    check(world.app.get("orders", "/orders?limit=0").await, "limit");
    check(world.app.get("orders", "/orders/x").await, "id");
    assert_eq!(world.app.get("orders", "/orders/99").await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.count_orders().await, 1, "nothing was written");
}

#[tokio::test]
async fn more_than_there_is_is_refused_and_the_product_named() {
    let world = World::start().await;
    let reply = world.order(json!({"user": 1, "product": RARE_NAME, "quantity": 11})).await;
    assert_eq!(reply.status, StatusCode::CONFLICT);
    let problem = reply.json();
    assert_eq!((&problem["code"], &problem["instance"]), (&json!("SHOP-ORD-002"), &json!("/orders/2")));
    assert_eq!(problem["errors"][0]["field"], "product");
    assert!(problem["detail"].as_str().unwrap().contains(RARE_NAME), "{problem}");
    let lines = json!([{"product": "Book"}, {"product": RARE_NAME, "quantity": 11}]);
    let reply = world.order(json!({"user": 1, "lines": lines})).await;
    assert_eq!(reply.json()["errors"][0]["field"], "lines[1].product");
    assert_eq!(world.status_of(3).await, "out_of_stock");
    assert_eq!((world.available(BOOK).await, world.available(RARE).await), (100_000, 10));
    assert_eq!(world.won_of(1).await, OPENING);
}

#[tokio::test]
async fn a_declined_payment_releases_the_stock_and_says_so() {
    let world = World::start().await;
    let reply = world.order(json!({"user": 1, "product": "Grand Piano", "quantity": 12})).await;
    assert_eq!(reply.status, StatusCode::PAYMENT_REQUIRED, "{}", reply.text());
    let problem = reply.json();
    assert_eq!((&problem["code"], &problem["instance"]), (&json!("SHOP-ORD-001"), &json!("/orders/2")));
    assert!(problem["detail"].as_str().unwrap().contains("1000000000 KRW"), "{problem}");
    let order = world.app.get("orders", "/orders/2").await.json();
    assert_eq!((&order["status"], &order["reason"]), (&json!("declined"), &problem["detail"]));
    assert_eq!(world.available(PIANO).await, 20);
    assert_eq!(world.won_of(1).await, OPENING);
    world.assert_balanced().await;
}

#[tokio::test]
async fn orders_are_listed_page_by_page_and_by_user() {
    let world = World::start().await;
    for n in 0..6 {
        world.order(json!({"user": 1 + n % 2, "product": "Book"})).await;
    }
    let pages = async |start: &str| {
        let (mut path, mut ids) = (start.to_owned(), Vec::new());
        loop {
            let reply = world.app.get("orders", &path).await;
            let page: Vec<Value> = serde_json::from_str(&reply.text()).unwrap();
            assert!(page.iter().all(|order| order["lines"].as_array().unwrap().len() == 1));
            ids.extend(page.iter().map(|order| order["id"].as_i64().unwrap()));
            match reply.header("link").strip_prefix('<').and_then(|link| link.split_once('>')) {
                Some((next, _)) => path = next.to_owned(),
                None => return ids,
            }
        }
    };
    assert_eq!(pages("/orders?limit=2").await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(pages("/orders?limit=2&user=2").await, [3, 5, 7]);
    assert_eq!(pages("/orders?user=99").await, [0_i64; 0]);
}

#[tokio::test]
async fn the_document_describes_every_route() {
    let world = World::start().await;
    let document = world.app.get("orders", "/openapi.json").await.json();
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/orders", "/orders/{id}"]);
    let answers: Vec<&String> =
        document["paths"]["/orders"]["post"]["responses"].as_object().unwrap().keys().collect();
    assert_eq!(answers, ["201", "202", "400", "402", "403", "409", "422", "503"]);
}

/// Who was shown another price is asked again before anything is written.
#[tokio::test]
async fn an_order_costs_what_the_client_was_shown_or_is_not_made() {
    let world = World::start().await;
    let order = |total: i64| json!({"user": 1, "product": "Book", "quantity": 2, "total": total});
    let refused = world.order(order(29_999)).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text());
    let problem = refused.json();
    assert_eq!(problem["errors"], json!([{"field": "total", "message": "it costs 30000 KRW now"}]));
    assert_eq!(world.count_orders().await, 1);
    assert_eq!(world.order(order(30_000)).await.status, StatusCode::CREATED);
}

//! From the catalogue to an order, and everything that may be pressed twice.

use madang::{axum::http::StatusCode, test::TestApp};
use madang_testkit::Browser;
use serde_json::{Value, json};

use crate::world::{browser, put, services, sign_in, start};

async fn orders(app: &TestApp) -> Vec<Value> {
    app.get("orders", "/orders?after=1").await.json().as_array().unwrap().clone()
}

async fn won_of_alice(app: &TestApp) -> i64 {
    app.get("payments", "/payments/accounts/1").await.json()["balances"][0]["amount"].as_i64().unwrap()
}

#[tokio::test]
async fn a_customer_finds_signs_up_orders_and_sees_the_way_of_the_order() {
    let app = start(services()).await;
    let mut browser = browser(&app);
    let front = browser.open("/").await;
    assert_eq!(front.status, StatusCode::OK, "{}", front.html);
    assert!(
        front.has("Signed First Edition") && front.has("Only 10 left") && front.has("₩15,000"),
        "{}",
        front.html
    );
    assert!(front.has("cursor") && front.has("Sign in"), "{}", front.html);
    let more = browser.submit(&front.forms("/")[1]).await;
    assert!(more.status == StatusCode::OK && !more.has("Signed First Edition"), "{}", more.html);

    let found = browser.submit(&front.form("/").with("query", "서명 초판")).await;
    assert!(found.has("Signed First Edition") && !found.has("Grand Piano"), "{}", found.html);
    let cart = browser.submit(&found.form("/shop/cart")).await;
    assert!(cart.has("Signed First Edition") && cart.has("Say who you are"), "{}", cart.html);
    assert!(cart.forms("/shop/orders").is_empty(), "nobody cannot order");

    let account = browser.open("/shop/account?back=/shop/cart").await;
    let refused = browser.submit(&account.form("/shop/account/new").with("name", " ")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.has("The name must not be empty."), "{}", refused.html);
    let cart = browser.submit(&refused.form("/shop/account/new").with("name", "<Kim> & Co")).await;
    assert_eq!(cart.path, "/shop/cart");
    assert!(cart.has("&lt;Kim&gt; &amp; Co"), "the name is text: {}", cart.html);

    let order = browser.submit(&cart.form("/shop/orders")).await;
    assert_eq!((order.path.as_str(), order.status), ("/shop/orders/2", StatusCode::OK), "{}", order.html);
    assert!(
        order.has("class=\"status done\" data-status=\"Confirmed\"") && order.has("₩120,000"),
        "{}",
        order.html
    );
    assert!(!order.has("http-equiv"), "an order that is over is not asked for again");
    let made = &orders(&app).await[0];
    assert_eq!(
        (&made["user"], &made["status"], &made["total"]["amount"]),
        (&json!(3), &json!("confirmed"), &json!(120_000))
    );
    let list = browser.open("/shop/orders").await;
    assert!(list.has("Order 2") && list.has("1 × Signed First Edition"), "{}", list.html);
    let cart = browser.open("/shop/cart").await;
    assert!(cart.has("There is nothing in it"), "{}", cart.html);
    let account = browser.open("/shop/account").await;
    assert!(account.has("₩999,880,000"), "{}", account.html);
}

#[tokio::test]
async fn the_cart_is_changed_and_paid_in_dollars() {
    let app = start(services()).await;
    let mut browser = browser(&app);
    sign_in(&mut browser).await;
    put(&mut browser, 1, 3).await;
    let cart = put(&mut browser, 3, 2).await;
    assert!(cart.has("₩45,000") && cart.has("₩240,000") && cart.has("₩285,000"), "{}", cart.html);
    let cart = browser.submit(&cart.forms("/shop/cart/quantity")[0].clone().with("quantity", 2)).await;
    let cart = browser.submit(&cart.forms("/shop/cart/quantity")[1].clone().with("remove", 1)).await;
    let order = cart.form("/shop/orders");
    assert_eq!(order.value("line"), Some("2 Book"));
    let order = browser.submit(&order.with("total", "USD 2398")).await;
    assert!(order.has("$23.98") && order.has("Confirmed"), "{}", order.html);
    let wrong = browser.open("/shop/products/1").await.form("/shop/cart").with("quantity", 1_001);
    let refused = browser.submit(&wrong).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.has("up to 1000 of each"), "{}", refused.html);
}

/// A double click, a reload, and coming back to the form: one order, paid once.
#[tokio::test]
async fn a_form_sent_twice_is_one_order() {
    let app = start(services()).await;
    let mut browser = browser(&app);
    sign_in(&mut browser).await;
    let form = put(&mut browser, 1, 2).await.form("/shop/orders");
    let mut windows: Vec<Browser> = (0..4).map(|_| browser.window()).collect();
    let clicks = windows.iter_mut().map(|window| window.submit(&form));
    let pages = futures_util::future::join_all(clicks).await;
    for page in &pages {
        assert_eq!((page.path.as_str(), page.status), ("/shop/orders/2", StatusCode::OK), "{}", page.html);
    }
    let again = browser.submit(&form).await;
    assert_eq!(again.path, "/shop/orders/2");
    assert_eq!(orders(&app).await.len(), 1);
    assert_eq!(won_of_alice(&app).await, 1_000_000_000 - 30_000);

    // Another page is another attempt.
    let form = put(&mut browser, 1, 2).await.form("/shop/orders");
    assert_eq!(browser.submit(&form).await.path, "/shop/orders/3");
}

#[tokio::test]
async fn a_price_that_changed_is_asked_about() {
    let app = start(services()).await;
    let mut browser = browser(&app);
    sign_in(&mut browser).await;
    let form = put(&mut browser, 1, 2).await.form("/shop/orders");
    let price = json!({"currency": "KRW", "amount": 20_000});
    app.request("catalog", http::Method::PUT, "/products/1/price", &[], Some(price)).await;
    let asked = browser.submit(&form).await;
    assert_eq!(asked.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", asked.html);
    assert!(
        asked.has("Nothing was ordered: total: it costs 40000 KRW now") && asked.has("₩40,000"),
        "{}",
        asked.html
    );
    assert!(orders(&app).await.is_empty());
    let order = browser.submit(&asked.form("/shop/orders")).await;
    assert!(order.has("Confirmed") && order.has("₩40,000"), "{}", order.html);
}

#[tokio::test]
async fn what_cannot_be_sold_says_why() {
    let app = start(services()).await;
    let mut browser = browser(&app);
    sign_in(&mut browser).await;
    let cart = put(&mut browser, 3, 11).await;
    assert!(cart.has("Only 10 left"), "{}", cart.html);
    let order = browser.submit(&cart.form("/shop/orders")).await;
    assert!(order.has("Out of stock") && order.has("Nothing was charged"), "{}", order.html);
    // Twelve pianos cost more than anybody has.
    let cart = put(&mut browser, 2, 12).await;
    let order = browser.submit(&cart.form("/shop/orders")).await;
    assert!(order.has("Payment declined") && order.has("the account has"), "{}", order.html);
}

#[tokio::test]
async fn an_order_is_shown_to_who_ordered_only() {
    let app = start(services()).await;
    let mut alice = browser(&app);
    sign_in(&mut alice).await;
    assert_eq!(alice.open("/shop/orders/1").await.status, StatusCode::OK);
    let mut nobody = browser(&app);
    for path in [
        "/shop/orders/1",
        "/shop/orders/99",
        "/shop/orders/mine",
        "/shop/orders/1/events",
        "/shop/products/99999",
        "/shop/products/book",
        "/shop/nowhere",
    ] {
        let page = nobody.open(path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
        assert!(page.has("<h1>Not found</h1>") && page.has("request <code>"), "{path}: {}", page.html);
    }
}

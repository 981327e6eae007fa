//! Pages over services that are not there or not well.

use madang::{Service, axum::http::StatusCode};

use crate::world::{broken, browser, put, services, sign_in, start, without};

/// What a page shows of a service that did not answer: its name, a code, and the request's id.
fn says(service: &str) -> String {
    format!("data-service=\"{service}\"")
}

#[tokio::test]
async fn without_the_catalog_the_page_says_so_and_keeps_the_rest() {
    for services in [without("catalog"), [without("catalog"), vec![broken("catalog")]].concat()] {
        let app = start(services).await;
        let mut browser = browser(&app);
        sign_in(&mut browser).await;
        let page = browser.open("/").await;
        assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            page.has(&says("catalog")) && page.has("Alice") && page.has("request <code>"),
            "{}",
            page.html
        );
        assert_eq!(browser.open("/shop/orders").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn without_users_or_payments_there_is_still_a_shop() {
    let app = start(without("payments")).await;
    let mut browser_ = browser(&app);
    sign_in(&mut browser_).await;
    let cart = put(&mut browser_, 1, 1).await;
    assert!(cart.has(&says("payments")) && cart.has("Place the order"), "{}", cart.html);
    let order = browser_.submit(&cart.form("/shop/orders")).await;
    assert_eq!(order.status, StatusCode::OK);
    assert!(order.has("data-status=\"Failed\"") && order.has("nothing was charged"), "{}", order.html);

    let app = start([without("users"), vec![broken("users")]].concat()).await;
    let mut browser_ = browser(&app);
    let account = browser_.open("/shop/account").await;
    assert_eq!(account.status, StatusCode::OK);
    assert!(account.has(&says("users")), "{}", account.html);
    let refused = browser_.submit(&account.form("/shop/account/new").with("name", "Kim")).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.html);
    assert!(refused.has("not signed up"), "{}", refused.html);
    assert!(browser_.open("/").await.has("Grand Piano"));
}

/// The form is shown again with the same key, so that asking again is safe.
#[tokio::test]
async fn without_orders_the_attempt_is_kept() {
    for (services, title) in [
        (without("orders"), "Nothing was ordered"),
        ([without("orders"), vec![broken("orders")]].concat(), "Nobody knows yet"),
    ] {
        the_attempt_is_kept(services, title).await;
    }
}

async fn the_attempt_is_kept(services: Vec<Service>, title: &str) {
    let app = start(services).await;
    let mut browser = browser(&app);
    sign_in(&mut browser).await;
    let form = put(&mut browser, 1, 2).await.form("/shop/orders");
    let page = browser.submit(&form).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(page.has(title) && page.has(&says("orders")), "{}", page.html);
    let again = page.form("/shop/orders");
    assert_eq!((again.value("key"), again.value("line")), (form.value("key"), Some("2 Book")));
    assert_eq!(browser.open("/shop/orders").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let order = browser.open("/shop/orders/2").await;
    assert_eq!(order.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(order.has("http-equiv=\"refresh\""), "{}", order.html);
    assert!(browser.open("/shop/cart").await.has("Book"), "the cart is kept");
}

#[tokio::test]
async fn all_is_well_is_said_by_saying_nothing() {
    let app = start(services()).await;
    let mut browser = browser(&app);
    sign_in(&mut browser).await;
    put(&mut browser, 1, 1).await;
    for path in ["/", "/shop/products/1", "/shop/cart", "/shop/account", "/shop/orders"] {
        let page = browser.open(path).await;
        assert!(page.status == StatusCode::OK && !page.has("data-service"), "{path}: {}", page.html);
    }
}

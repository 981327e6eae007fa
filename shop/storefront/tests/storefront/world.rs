//! A storefront to test, and a customer in front of it.

use std::time::Duration;

use madang::{
    Service,
    axum::{Router, http::StatusCode, routing::any},
    test::TestApp,
};
use madang_testkit::{Browser, Page};
use shop_orders::{Config, PaymentsBy};
use shop_storefront::Config as StorefrontConfig;

/// Who calls nobody and is asked: the services behind the storefront.
pub fn services() -> Vec<Service> {
    vec![shop_users::service(), shop_catalog::service(), orders(), shop_payments::service(), storefront()]
}

/// Without one of them.
pub fn without(name: &str) -> Vec<Service> {
    let names = ["users", "catalog", "orders", "payments", "storefront"];
    assert!(names.contains(&name));
    let kept = names.into_iter().zip(services()).filter(|(other, _)| *other != name);
    kept.map(|(_, service)| service).collect()
}

/// In place of a service, one that is not well.
pub fn broken(name: &str) -> Service {
    let routes = Router::new().fallback(any(async || (StatusCode::SERVICE_UNAVAILABLE, "no")));
    Service::new(name).routes(routes)
}

fn orders() -> Service {
    let soon = Duration::from_millis(10);
    let payments = PaymentsBy { grpc: false, timeout: Some(Duration::from_secs(1)) };
    shop_orders::service_with(Config { sweep: soon, retry: soon, payments, ..Config::default() })
}

fn storefront() -> Service {
    let look = Duration::from_millis(10);
    shop_storefront::service_with(StorefrontConfig { look, watchers: 2, ..StorefrontConfig::default() })
}

/// The services, each behind a port of its own.
pub async fn start(services: Vec<Service>) -> TestApp {
    TestApp::remote(services).await
}

/// A browser at the storefront.
pub fn browser(app: &TestApp) -> Browser {
    Browser::new(app.address("storefront"))
}

/// Shops as Alice.
pub async fn sign_in(browser: &mut Browser) {
    let account = browser.open("/shop/account?back=/shop/cart").await;
    let choice = account.form("/shop/account").with("user", 1);
    let page = browser.submit(&choice).await;
    assert_eq!((page.path.as_str(), page.status), ("/shop/cart", StatusCode::OK), "{}", page.html);
}

/// Puts some of a product into the cart, from its page; gives the cart.
pub async fn put(browser: &mut Browser, product: i64, quantity: u32) -> Page {
    let page = browser.open(&format!("/shop/products/{product}")).await;
    let cart = browser.submit(&page.form("/shop/cart").with("quantity", quantity)).await;
    assert_eq!((cart.path.as_str(), cart.status), ("/shop/cart", StatusCode::OK), "{}", cart.html);
    cart
}

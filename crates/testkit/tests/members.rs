//! The shop in which people log in, as a customer in a browser meets it.

use madang_testkit::{Chromium, Placement, Prepared, Tab};
use serde_json::json;

/// Whether the head of the page says that somebody of this name is logged in.
fn shops_as(name: &str) -> String {
    format!("document.querySelector('a[href=\"/shop/account\"]')?.textContent.trim() === '{name}'")
}

async fn log_in(page: &Tab, password: &str) {
    page.until("location.pathname === '/authorize' || location.pathname === '/login'").await;
    if page.eval("document.querySelector('#login').value").await == "" {
        page.write("#login", "hana").await;
    }
    page.write("#password", password).await;
    page.press("Enter").await;
    page.loaded().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_signs_up_logs_in_orders_and_logs_out() {
    the_story_of_a_customer(Placement::Processes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_the_same_in_one_process() {
    the_story_of_a_customer(Placement::Monolith).await;
}

async fn the_story_of_a_customer(placement: Placement) {
    let shop = Prepared::shop().in_environment("members").start(placement).await;
    let chromium = Chromium::start().await;
    let page = chromium.page().await;
    let at = |path: &str| format!("http://{}{path}", shop.gateway_address());

    // The shelf is everybody's, and nobody is anybody by saying so.
    assert_eq!(page.open(&at("/")).await, 200);
    page.eval("document.cookie = 'shop_user=1; path=/'").await;
    assert_eq!(page.open(&at("/shop/account")).await, 200);
    page.until(&shops_as("Log in")).await;
    page.write("#name", "Kim Hana").await;
    page.write("#login", "hana").await;
    page.write("#password", "correct horse").await;
    page.press("Enter").await;
    page.loaded().await;
    page.until("document.querySelector('h1')?.textContent === 'Welcome, Kim Hana'").await;

    // In, at an origin of its own, once wrong and once right.
    page.click("#log-in").await;
    page.loaded().await;
    assert_ne!(page.eval("location.host").await, shop.gateway_address().to_string());
    log_in(&page, "correct hors").await;
    page.until("document.querySelector('.notice')?.textContent.includes('not right')").await;
    page.picture("shop-log-in").await;
    log_in(&page, "correct horse").await;
    page.until(&format!("location.host === '{}'", shop.gateway_address())).await;
    page.until(&shops_as("Kim Hana")).await;
    assert_eq!(page.eval("document.cookie.includes('madang-session')").await, false, "no script reads it");

    // An order of theirs, which is nobody else's.
    page.open(&at("/shop/products/1")).await;
    page.click("form.add button").await;
    page.loaded().await;
    page.until("location.pathname === '/shop/cart' && document.querySelector('form.order')").await;
    page.click("form.order button").await;
    page.loaded().await;
    page.until("document.querySelector('[data-status=Confirmed]')").await;
    let fetch = |path: &str| format!("fetch('{path}').then(async (it) => [it.status, await it.json()])");
    let orders = page.eval(&fetch("/orders?user=3")).await;
    assert_eq!((&orders[0], &orders[1][0]["user"]), (&json!(200), &json!(3)), "{orders}");
    assert_eq!(page.eval(&fetch("/orders?user=1")).await[0], 403);
    assert_eq!(page.eval(&fetch("/orders/1")).await[0], 404, "somebody else's");
    let order = "{ method: 'POST', headers: { 'content-type': 'application/json' }, body: '{\"user\": 1, \"product\": \"Book\"}' }";
    let for_another = page.eval(&format!("fetch('/orders', {order}).then((it) => it.status)")).await;
    assert_eq!(for_another, 403);
    assert_eq!(shop.get("/orders?user=3").await.status, 401, "nobody is logged in there");

    // Out.
    assert_eq!(page.open(&at("/shop/account")).await, 200);
    page.click("form[action='/.madang/logout'] button").await;
    page.until(&format!("location.href === '{}' && {}", at("/"), shops_as("Log in"))).await;
    assert_eq!(page.eval(&fetch("/orders?user=3")).await[0], 401);
    // What asks leads to the log-in by itself.
    page.open(&at("/orders?user=3")).await;
    page.until("location.pathname === '/authorize' && document.querySelector('#password')").await;
}

//! The shop by its pages: an order by HTML forms through the gateway, while services fail and processes are killed.

mod looks;

use http::StatusCode;
use madang_testkit::{Browser, Chromium, Form, Page, Placement, Prepared, Tab, TestSystem};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(60);

fn browser(shop: &TestSystem) -> Browser {
    Browser::new(shop.gateway_address())
}

/// Signs up and puts two books into the cart; gives the form that orders them.
async fn about_to_order(browser: &mut Browser) -> Form {
    let found = browser.open("/").await.form("/").with("query", "책");
    let page = browser.submit(&found).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.html);
    browser.submit(&page.form("/shop/cart").with("quantity", 2)).await;
    let account = browser.open("/shop/account?back=/shop/cart").await;
    let cart = browser.submit(&account.form("/shop/account/new").with("name", "Kim Hana")).await;
    assert!(cart.has("Kim Hana") && cart.has("₩30,000"), "{}", cart.html);
    cart.form("/shop/orders")
}

/// Loads an order's page again until it has this.
async fn until_shown(browser: &mut Browser, path: &str, text: &str) -> Page {
    let began = Instant::now();
    loop {
        let page = browser.open(path).await;
        if page.has(text) {
            return page;
        }
        assert!(began.elapsed() < PATIENCE, "{path} never shows {text}: {}", page.html);
        // As a browser without scripts does.
        sleep(Duration::from_millis(100)).await;
    }
}

async fn orders_of(shop: &TestSystem, user: i64) -> Vec<Value> {
    shop.get(&format!("/orders?user={user}")).await.json().as_array().expect("orders").clone()
}

async fn books(shop: &TestSystem) -> i64 {
    shop.get("/products/1").await.json()["available"].as_i64().expect("a number")
}

async fn a_customer_orders(placement: Placement) {
    let shop = Prepared::shop().start(placement).await;
    let before = books(&shop).await;
    let mut browser = browser(&shop);
    let form = about_to_order(&mut browser).await;

    // A double click in four windows.
    let mut windows: Vec<Browser> = (0..4).map(|_| browser.window()).collect();
    let mut clicks = tokio::task::JoinSet::new();
    for mut window in windows.drain(..) {
        let form = form.clone();
        clicks.spawn(async move { window.submit(&form).await });
    }
    for page in clicks.join_all().await {
        assert_eq!((page.path.as_str(), page.status), ("/shop/orders/2", StatusCode::OK), "{}", page.html);
    }
    let page = browser.submit(&form).await;
    assert_eq!(page.path, "/shop/orders/2");
    let page = until_shown(&mut browser, "/shop/orders/2", "data-status=\"Confirmed\"").await;
    assert!(page.has("Payment asked for") && page.has("₩30,000"), "{}", page.html);
    let mut events = browser.events("/shop/orders/2/events").await;
    assert_eq!(events.next().await.map(|event| event.event).as_deref(), Some("over"));

    let orders = orders_of(&shop, 3).await;
    assert_eq!((orders.len(), &orders[0]["status"]), (1, &json!("confirmed")));
    assert_eq!(books(&shop).await, before - 2);
    let account = shop.get("/payments/accounts/3").await.json();
    assert_eq!(account["balances"][0]["amount"], json!(1_000_000_000 - 30_000));
    assert_eq!(shop.get("/nowhere").await.status, StatusCode::NOT_FOUND, "the pages take no other addresses");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_orders_once_with_a_process_for_each_service() {
    a_customer_orders(Placement::Processes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_orders_once_in_one_process() {
    a_customer_orders(Placement::Monolith).await;
}

/// The page says that the payment is not answered, asks on, and moves when it is: paid once.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_not_answered_is_shown_and_then_moves() {
    let shop = Prepared::shop().start(Placement::Processes).await;
    let mut browser = browser(&shop);
    let form = about_to_order(&mut browser).await;
    let on = "payments POST /payments/charges";
    shop.run(&["fault", "add", "orders", "--on", on, "--lose-reply", "--for", "60s"]).await;
    shop.run(&["fault", "add", "storefront", "--on", "payments", "--status", "503", "--for", "60s"]).await;
    // A service hears of it a moment later.
    until_shown(&mut browser, "/shop/cart", "data-service=\"payments\"").await;

    let page = browser.submit(&form).await;
    assert_eq!((page.path.as_str(), page.status), ("/shop/orders/2", StatusCode::OK), "{}", page.html);
    assert!(page.has("data-status=\"PaymentUnknown\"") && page.has("asked for again"), "{}", page.html);
    let mut events = browser.events("/shop/orders/2/events").await;
    assert!(events.next().await.expect("an event").data.contains("PaymentUnknown"));
    shop.kill("payments").await;
    shop.run(&["fault", "rm", "--all"]).await;
    loop {
        let event = events.next().await.expect("the last one says that it is over");
        if event.event == "over" {
            assert!(event.data.contains("data-status=\"Confirmed\""), "{}", event.data);
            break;
        }
    }
    let account = shop.get("/payments/accounts/3").await.json();
    assert_eq!(account["balances"][0]["amount"], json!(1_000_000_000 - 30_000), "paid once");
}

/// Payments refuses: the stock goes back, and the timeline shows it.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_cannot_be_paid_is_compensated_and_the_timeline_shows_it() {
    let shop = Prepared::shop().start(Placement::Processes).await;
    let before = books(&shop).await;
    let mut browser = browser(&shop);
    let add =
        ["fault", "add", "orders", "--on", "payments POST /payments/charges", "--status", "402", "--for"];
    shop.run(&[&add[..], &["60s"]].concat()).await;
    let began = Instant::now();
    // Until orders has heard of the fault, orders go through.
    let (page, id) = loop {
        let form = about_to_order(&mut browser).await;
        let page = browser.submit(&form).await;
        let id: i64 = page.path.trim_start_matches("/shop/orders/").parse().expect("an order");
        if !page.has("data-status=\"Confirmed\"") {
            break (until_shown(&mut browser, &page.path, "data-status=\"Declined\"").await, id);
        }
        assert!(began.elapsed() < PATIENCE, "the fault is never met");
    };
    assert!(
        page.has("What was set aside is being given back") && page.has("Nothing was charged"),
        "{}",
        page.html
    );
    let sold = 2 * (id - 2);
    assert_eq!(books(&shop).await, before - sold, "nothing of it is held");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_catalog_the_shelf_is_as_it_was_and_the_page_says_so() {
    let shop = Prepared::shop().start(Placement::Processes).await;
    let mut browser = browser(&shop);
    assert!(!browser.open("/").await.has("data-service"));
    shop.run(&["fault", "add", "storefront", "--on", "catalog", "--status", "503", "--for", "60s"]).await;
    let page = until_shown(&mut browser, "/", "data-service=\"catalog\"").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.has("as they were a moment ago") && page.has("Grand Piano"), "{}", page.html);
    let never_seen = browser.open("/?query=Linen").await;
    assert_eq!(never_seen.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(never_seen.has("MDG-FLT-001") && never_seen.has("request <code>"), "{}", never_seen.html);
}

/// It keeps nothing: cookies and orders are where they were.
#[tokio::test(flavor = "multi_thread")]
async fn a_storefront_that_is_killed_loses_nothing() {
    let shop = Prepared::shop().start(Placement::Processes).await;
    let mut browser = browser(&shop);
    let form = about_to_order(&mut browser).await;
    shop.kill("storefront").await;
    let cart = browser.open("/shop/cart").await;
    assert!(cart.status == StatusCode::OK && cart.has("Kim Hana") && cart.has("₩30,000"), "{}", cart.html);
    shop.kill("storefront").await;
    // The form may meet the process that is going down, and is then sent again by whoever wants to know.
    let mut page = browser.submit(&form).await;
    while page.status == StatusCode::BAD_GATEWAY {
        page = browser.submit(&form).await;
    }
    assert_eq!((page.path.as_str(), page.status), ("/shop/orders/2", StatusCode::OK), "{}", page.html);
    assert_eq!(orders_of(&shop, 3).await.len(), 1);
}

/// As a customer does it: browse, search, fill the cart, sign up, order, and watch.
#[tokio::test(flavor = "multi_thread")]
async fn a_customer_orders_in_a_browser_and_the_timeline_moves_before_their_eyes() {
    let shop = Prepared::shop().start(Placement::Processes).await;
    let chromium = Chromium::start().await;
    let page = chromium.page().await;
    let at = |path: &str| format!("http://{}{path}", shop.gateway_address());
    assert_eq!(page.open(&at("/")).await, 200);
    looks::check(&page, "shop-catalogue").await;
    page.write("#query", "책").await;
    page.press("Enter").await;
    page.loaded().await;
    page.until("document.querySelector('.shelf .card h2').textContent === 'Book'").await;
    page.click(".card h2 a").await;
    page.loaded().await;
    looks::check(&page, "shop-product").await;
    page.eval("document.querySelector('input[name=quantity]').value = '2'").await;
    page.click("form.add button").await;
    page.loaded().await;
    page.until("location.pathname === '/shop/cart'").await;
    assert!(page.text(".lines").await.contains("₩30,000"));
    page.click("a.button").await;
    page.loaded().await;
    looks::check(&page, "shop-account").await;
    page.write("#name", "Kim Hana").await;
    page.press("Enter").await;
    page.loaded().await;
    page.until("location.pathname === '/shop/cart' && document.querySelector('form.order')").await;
    looks::check(&page, "shop-cart").await;

    // Payments takes the order's payment and its answer is lost, so that there is something to watch.
    let on = "payments POST /payments/charges";
    shop.run(&["fault", "add", "orders", "--on", on, "--lose-reply", "--for", "60s"]).await;
    shop.run(&["fault", "add", "storefront", "--on", "payments", "--status", "503", "--for", "60s"]).await;
    until_shown_to(&page, &at("/shop/cart"), "[data-service=payments]").await;
    page.click("form.order button").await;
    page.loaded().await;
    page.until("location.pathname === '/shop/orders/2'").await;
    page.until("document.querySelector('[data-status=PaymentUnknown]')").await;
    page.picture("shop-order-waits").await;
    page.eval("window.thisVisit = true").await;
    shop.run(&["fault", "rm", "--all"]).await;
    page.until("document.querySelector('[data-status=Confirmed]')").await;
    assert_eq!(page.eval("window.thisVisit").await, true, "the page was not loaded again");
    assert!(page.text("#moved").await.starts_with("Now: "), "{}", page.text("#moved").await);
    assert_eq!(page.errors().await, [""; 0]);
    looks::check(&page, "shop-order").await;
    assert_eq!(page.open(&at("/shop/orders")).await, 200);
    looks::check(&page, "shop-orders").await;
    assert_eq!(orders_of(&shop, 3).await.len(), 1);
    assert_eq!(page.errors().await, [""; 0]);
}

/// Loads a page again until it has what a selector finds.
async fn until_shown_to(page: &Tab, url: &str, selector: &str) {
    let began = Instant::now();
    loop {
        page.open(url).await;
        if page.eval(&format!("Boolean(document.querySelector({selector:?}))")).await == true {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{url} never shows {selector}");
        sleep(Duration::from_millis(100)).await;
    }
}

//! A browser that is logged in to the dashboard, as `madang open` does it.

use madang_testkit::{Chromium, Tab, TestSystem};
use serde_json::Value;

/// Where the dashboard is, and the URL that logs a browser in.
pub async fn login(system: &TestSystem) -> (String, String) {
    let told: Value = serde_json::from_str(&system.run(&["open", "--format", "json"]).await).unwrap();
    let text = |key: &str| told["dashboard"][key].as_str().unwrap().to_owned();
    (text("url"), text("login"))
}

/// A page that is logged in and shows the map, and the URL of the dashboard.
pub async fn logged_in(system: &TestSystem, browser: &Chromium) -> (Tab, String) {
    let (url, login) = login(system).await;
    let page = browser.page().await;
    assert_eq!(page.open(&login).await, 200);
    (page, url)
}

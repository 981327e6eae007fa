//! Code calls a service that its manifest does not declare: the problem says what to write where, and writing it there
//! is all that is to be done.

use http::{Method, StatusCode};
use madang_testkit::{Answer, Placement, Prepared, TestSystem};
use serde_json::json;

const DECLARED: &str = "[calls.users]\ntimeout = \"2s\"\nattempt_timeout = \"500ms\"";

async fn order(shop: &TestSystem, key: &str) -> Answer {
    let key = format!("\"{key}\"");
    let headers = [("content-type", "application/json"), ("idempotency-key", &*key)];
    let body = json!({ "user": 1, "product": "Book" }).to_string();
    shop.client().send(Method::POST, "/orders", &headers, body).await.expect("an answer")
}

async fn the_problem_says_what_to_declare_and_where(placement: Placement) {
    let shop = Prepared::shop();
    shop.edit("orders/service.toml", DECLARED, "");
    let shop = shop.start(placement).await;
    let refused = order(&shop, "k1").await;
    let problem = refused.json();
    assert_eq!(
        (refused.status, problem["code"].as_str()),
        (StatusCode::FORBIDDEN, Some("MDG-CALL-006")),
        "{problem}"
    );
    let text = std::fs::read_to_string(shop.path().join("orders/service.toml")).expect("the manifest");
    let line = 1 + text.lines().position(|line| line == "[calls.catalog]").expect("the first of its calls");
    let advice = format!(
        "orders does not declare calls to users: add users to the `calls` of orders in orders/service.toml:{line}, \
         as in `calls = {{ users = {{}} }}`"
    );
    assert_eq!(problem["detail"], *advice);

    shop.edit("orders/service.toml", "[calls.catalog]", "[calls.users]\n\n[calls.catalog]");
    shop.until_printed("the manifest is in force").await;
    loop {
        let answer = order(&shop, "k2").await;
        if answer.json()["code"] != "MDG-CALL-006" {
            assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
            return;
        }
        // It is refused until the instance that was told is replaced.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_process_of_its_own() {
    the_problem_says_what_to_declare_and_where(Placement::Processes).await;
}

/// Also where the service that is called is in the same process, and could be reached.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_process_of_several_services() {
    the_problem_says_what_to_declare_and_where(Placement::Monolith).await;
}

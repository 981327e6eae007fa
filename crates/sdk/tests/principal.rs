//! For whom a request is made, from the header of the gateway to a handler and on with its calls.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use madang::{
    Calls, Json, Principal, Result, Service,
    axum::{Router, routing::get},
    test::{Placement, TestApp, TestReply, principal},
};
use serde_json::{Value, json};

async fn refund(principal: Principal) -> Result<String> {
    principal.require_role("clerk")?;
    Ok(format!("refunded by {}", principal.subject()))
}

async fn who(principal: Option<Principal>) -> Json<Value> {
    Json(principal.map_or(Value::Null, |principal| {
        let scopes: Vec<_> = principal.scopes().collect();
        json!({ "subject": principal.subject(), "issuer": principal.issuer(), "scopes": scopes })
    }))
}

async fn ask(calls: Calls) -> Result<Json<Value>> {
    Ok(Json(calls.to("accounts").get("/who").send().await?.json().await?))
}

fn services() -> [Service; 2] {
    let orders = Router::new().route("/refund", get(refund)).route("/ask", get(ask));
    [
        Service::new("orders").routes(orders),
        Service::new("accounts").routes(Router::new().route("/who", get(who))),
    ]
}

async fn ask_with(app: &TestApp, service: &str, path: &str, header: Option<(&str, String)>) -> TestReply {
    let headers: Vec<_> = header.iter().map(|(name, value)| (*name, value.as_str())).collect();
    app.request(service, Method::GET, path, &headers, None).await
}

#[tokio::test]
async fn a_handler_knows_for_whom_and_so_does_whoever_it_calls() {
    for placement in [Placement::Together, Placement::Apart] {
        let app = TestApp::placed(placement, services()).await;
        let clerk = Some(principal("alice", &["orders"], &["clerk"]));
        let reply = ask_with(&app, "orders", "/refund", clerk.clone()).await;
        assert_eq!((reply.status, reply.text().as_str()), (StatusCode::OK, "refunded by alice"));
        let seen = ask_with(&app, "orders", "/ask", clerk).await.json();
        let expected = json!({ "subject": "alice", "issuer": "https://id.example", "scopes": ["orders"] });
        assert_eq!(seen, expected, "{placement:?}");
        let nobody = ask_with(&app, "orders", "/ask", None).await;
        assert_eq!(nobody.json(), Value::Null, "{placement:?}");
        app.stop().await;
    }
}

#[tokio::test]
async fn whoever_is_not_known_or_may_not_is_refused() {
    let app = TestApp::start(services()).await;
    let (name, good) = principal("alice", &[], &["clerk"]);
    let customer = principal("bob", &[], &[]);
    let mut forged: Vec<&str> = good.split('.').collect();
    forged[1] = "eyJpc3MiOiJtYWRhbmciLCJzdWIiOiJyb290IiwiZnJvbSI6ImtleSIsImlhdCI6MCwiZXhwIjo5OTk5OTk5OTk5fQ";
    let expected = BTreeMap::from([
        ("absent", (None, 401, "MDG-AUTH-001")),
        ("plain text", (Some((name, "root".to_owned())), 401, "MDG-AUTH-001")),
        ("forged", (Some((name, forged.join("."))), 401, "MDG-AUTH-002")),
        ("not a clerk", (Some(customer), 403, "MDG-AUTH-003")),
    ]);
    for (what, (header, status, code)) in expected {
        let reply = ask_with(&app, "orders", "/refund", header).await;
        assert_eq!((reply.status.as_u16(), reply.json()["code"].as_str()), (status, Some(code)), "{what}");
    }
    let optional = ask_with(&app, "accounts", "/who", Some((name, forged.join(".")))).await;
    assert_eq!(optional.status, 401, "who is forged is not nobody");
    app.stop().await;
}

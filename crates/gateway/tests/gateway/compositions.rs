//! Answers that are made of those of several services.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use madang_calls::Body;
use madang_model::manifest;
use madang_wire::Hop;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::stage::{Stage, config, serve, until};

/// A page of an order: who ordered it, what was paid, and how it is delivered if that is known.
const PAGE: &str = r#"
gateway.listen = 0
[services]
orders = { run = false }
users = { run = false }
payments = { run = false }
shipping = { run = false }

[[compositions]]
name = "order-page"
path = "/pages/orders/{id}"
timeout = "2s"
pass = ["accept-language", "x-tenant"]

[compositions.calls.order]
to = "orders"
path = "/orders/{id}"

[compositions.calls.user]
to = "users"
path = "/users/{order.user}"

[compositions.calls.payments]
path = "/payments"
query = { order = "order.id", state = '["paid", "open"]', none = "null" }

[compositions.calls.parcel]
to = "shipping"
path = "/parcels/of-{order.id}"
optional = true

[[compositions.answer]]
headers = { x-client = "watch" }
shape = '{"total": order.total}'

[[compositions.answer]]
shape = '''
{
  "id": order.id,
  "customer": user.name,
  "paid": payments.map(payment, payment.amount),
  "parcel": parcel == null ? null : parcel.place,
  "for": request.headers
}
'''
"#;

/// What a service was asked, and how it answers.
type Asked = Arc<Mutex<Vec<String>>>;

async fn stage_of(text: &str) -> Stage {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("madang.toml"), text).unwrap();
    let system = match manifest::load(folder.path(), &|_| None) {
        Ok(loaded) => loaded.system,
        Err(errors) => panic!("{:?}", errors.iter().map(ToString::to_string).collect::<Vec<_>>()),
    };
    Stage::start(config(), system, Vec::new()).await
}

/// A service that answers all requests with this, and keeps what it was asked.
async fn answering(status: u16, body: impl Into<Bytes>) -> (std::net::SocketAddr, Asked) {
    let asked = Asked::default();
    let (kept, body) = (asked.clone(), body.into());
    let address = serve(move |request| {
        let header = |name: &str| {
            let value = request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            value.unwrap_or_else(|| "-".to_owned())
        };
        let (tenant, secret) = (header("x-tenant"), header("authorization"));
        kept.lock().unwrap().push(format!("{} {} {tenant} {secret}", request.method(), request.uri()));
        let response = Response::builder().status(status).header("content-type", "application/json");
        let response = response.body(Body::from(body.clone())).unwrap();
        async { response }
    })
    .await;
    (address, asked)
}

fn asked(by: &Asked) -> Vec<String> {
    std::mem::take(&mut *by.lock().unwrap())
}

const ORDER: &str = r#"{"id": 7, "user": "a?b ü", "total": 1250}"#;

struct World {
    stage: Stage,
    orders: Asked,
    users: Asked,
    payments: Asked,
}

/// All services but shipping, which nobody starts.
async fn world(text: &str) -> World {
    let (orders, users) = (answering(200, ORDER).await, answering(200, r#"{"name": "Ada"}"#).await);
    let payments = answering(200, r#"[{"amount": 1000}, {"amount": 250}]"#).await;
    let stage = stage_of(text).await;
    let stage = stage.with("orders", orders.0).with("users", users.0).with("payments", payments.0);
    World { stage, orders: orders.1, users: users.1, payments: payments.1 }
}

fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

#[tokio::test]
async fn one_request_is_answered_from_several_services() {
    let World { stage, orders, users, payments } = world(PAGE).await;
    let (shipping, parcels) = answering(200, r#"{"place": "Busan"}"#).await;
    let stage = stage.with("shipping", shipping);
    let mut client = stage.client().await;
    let headers = [("x-tenant", "acme"), ("authorization", "Basic c2VjcmV0"), ("accept-language", "ko")];
    let answer = client.ask(Method::GET, "/pages/orders/7?x=1", &headers).await;
    assert_eq!(
        (answer.status, &answer.headers["content-type"]),
        (StatusCode::OK, &"application/json".parse().unwrap()),
        "{answer:?}"
    );
    assert_eq!(answer.headers["vary"], "x-client");
    assert_eq!(
        json_of(&answer.body),
        json!({
            "id": 7, "customer": "Ada", "paid": [1000, 250], "parcel": "Busan",
            "for": { "x-tenant": "acme", "accept-language": "ko" },
        })
    );
    assert_eq!(asked(&orders), ["GET /orders/7 acme -"], "and what was not to be passed on is not");
    assert_eq!(asked(&users), ["GET /users/a%3Fb%20%C3%BC acme -"], "what an answer says is one segment");
    assert_eq!(asked(&payments), ["GET /payments?order=7&state=paid&state=open acme -"]);
    assert_eq!(asked(&parcels), ["GET /parcels/of-7 acme -"]);

    let watch = client.ask(Method::GET, "/pages/orders/7", &[("x-client", "watch")]).await;
    assert_eq!(
        (json_of(&watch.body), &watch.headers["vary"]),
        (json!({ "total": 1250 }), &"x-client".parse().unwrap())
    );
    assert_eq!(
        (asked(&orders).len(), asked(&users).len(), asked(&payments).len()),
        (1, 0, 0),
        "nobody is asked in vain"
    );

    let head = client.ask(Method::HEAD, "/pages/orders/7", &[]).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    let post = client.ask(Method::POST, "/pages/orders/7", &[]).await;
    assert_eq!(post.problem().code, "MDG-GW-002");
    stage.stop().await;
}

#[tokio::test]
async fn calls_that_do_not_need_each_other_are_made_at_once() {
    let text = PAGE
        .replace("to = \"users\"", "to = \"both\"")
        .replace("path = \"/payments\"", "to = \"both\"\npath = \"/payments\"");
    let World { stage, .. } = world(&text.replace("[services]", "[services]\nboth = { run = false }")).await;
    // Neither is answered before both are asked.
    let both = Arc::new(Barrier::new(2));
    let address = serve(move |request| {
        let (both, users) = (both.clone(), request.uri().path().starts_with("/users"));
        async move {
            both.wait().await;
            Response::new(Body::from(if users { r#"{"name": "Ada"}"# } else { "[]" }))
        }
    })
    .await;
    let stage = stage.with("both", address);
    let answer = stage.client().await.get("/pages/orders/7").await;
    assert_eq!(
        (answer.status, json_of(&answer.body)["customer"].clone()),
        (StatusCode::OK, json!("Ada")),
        "{answer:?}"
    );
    stage.stop().await;
}

#[tokio::test]
async fn what_is_optional_is_told_where_it_is_missing() {
    let World { stage, .. } = world(&PAGE.replace("timeout = \"2s\"", "timeout = \"600ms\"")).await;
    let mut client = stage.client().await;
    // Nobody starts shipping: the call waits for it as long as there is time, and the rest is answered in time.
    let answer = client.get("/pages/orders/7").await;
    let body = json_of(&answer.body);
    assert_eq!(
        (answer.status, &body["customer"], &body["parcel"]),
        (StatusCode::OK, &json!("Ada"), &Value::Null),
        "{answer:?}"
    );
    let problem = &body["problems"]["parcel"];
    assert_eq!((&problem["code"], &problem["status"]), (&json!("MDG-CALL-001"), &json!(503)), "{problem}");

    let (shipping, _) = answering(404, "none").await;
    let stage = stage.with("shipping", shipping);
    let body = json_of(&client.get("/pages/orders/7").await.body);
    assert_eq!(body["problems"]["parcel"]["code"], "MDG-GW-030", "{body}");
    assert!(body["problems"]["parcel"]["detail"].as_str().unwrap().contains("404"), "{body}");
    stage.stop().await;
}

#[tokio::test]
async fn an_answer_may_say_itself_what_is_missing() {
    let said = PAGE.replace("\"for\": request.headers", "\"failed\": problems.map(name, name)");
    let World { stage, .. } = world(&said).await;
    let stage = stage.with("shipping", answering(500, "").await.0);
    let body = json_of(&stage.client().await.get("/pages/orders/7").await.body);
    assert_eq!((&body["failed"], body.get("problems")), (&json!(["parcel"]), None), "{body}");
    stage.stop().await;
}

#[tokio::test]
async fn without_what_is_needed_there_is_no_answer() {
    let problem = json!({
        "type": "urn:shop:none", "title": "No such order", "status": 404, "code": "SHOP-1", "detail": "order 9"
    });
    let none = serve({
        let problem = problem.to_string();
        move |_| {
            let response = Response::builder().status(404).header("content-type", "application/problem+json");
            let response = response.body(Body::from(problem.clone())).unwrap();
            async { response }
        }
    })
    .await;
    let stage = stage_of(PAGE).await.with("orders", none);
    let answer = stage.client().await.get("/pages/orders/9").await;
    assert_eq!((answer.status.as_u16(), json_of(&answer.body)), (404, problem), "as its service says it");
    stage.stop().await;

    for (status, body, says) in [
        (500, ORDER, "order is missing: its service answered 500"),
        (400, ORDER, "order is missing: its service answered 400"),
        (200, "<html>", "order is missing: it answered what is not JSON"),
        (200, "[1]", "user is missing: it could not be asked"),
        (200, r#"{"id": 1, "user": ".."}"#, "would lead elsewhere"),
        (200, r#"{"id": 1, "user": ""}"#, "is empty"),
        (200, r#"{"id": 1, "user": {}}"#, "is not a text, a number or a boolean"),
    ] {
        let stage = stage_of(PAGE).await.with("orders", answering(status, body).await.0);
        let answer = stage.client().await.get("/pages/orders/9").await;
        let problem = answer.problem();
        assert_eq!((answer.status.as_u16(), &*problem.code), (502, "MDG-GW-030"), "{body}");
        assert!(problem.detail.as_deref().unwrap().contains(says), "{body}: {problem:?}");
        stage.stop().await;
    }
    let large = format!("{{\"id\": \"{}\"}}", "x".repeat(1 << 20));
    let stage = stage_of(PAGE).await.with("orders", answering(200, large).await.0);
    let problem = stage.client().await.get("/pages/orders/9").await.problem();
    assert!(problem.detail.unwrap().contains("more than 1048576 bytes"));
    stage.stop().await;
}

#[tokio::test]
async fn an_answer_that_its_expression_does_not_fit_is_a_problem() {
    let World { stage, .. } = world(&PAGE.replace("order.total", "order.totl + 1")).await;
    let answer = stage.client().await.ask(Method::GET, "/pages/orders/7", &[("x-client", "watch")]).await;
    let problem = answer.problem();
    assert_eq!((answer.status.as_u16(), &*problem.code), (500, "MDG-GW-031"));
    assert_eq!(problem.detail.unwrap(), "order-page cannot be answered: No such key: totl");
    stage.stop().await;
}

/// On the map and in traces it is a service that calls the others.
#[tokio::test]
async fn its_calls_are_below_it_in_the_trace() {
    let World { stage, .. } = world(PAGE).await;
    let answer = stage.client().await.ask(Method::GET, "/pages/orders/7", &[("x-client", "watch")]).await;
    let id = answer.headers["x-request-id"].clone();
    let mut records = Vec::new();
    until(|| {
        records.extend(stage.handle.records());
        records.len() >= 2
    })
    .await;
    records.sort_by_key(|record| record.caller.is_some());
    let [outer, inner] = &records[..] else { panic!("{records:?}") };
    assert_eq!(
        (outer.hop, outer.service.as_deref(), outer.route.as_deref()),
        (Hop::Gateway, Some("order-page"), Some("/pages/orders/{id}"))
    );
    assert_eq!(
        (inner.hop, inner.caller.as_deref(), inner.service.as_deref()),
        (Hop::Door, Some("order-page"), Some("orders"))
    );
    assert_eq!((inner.trace_id, inner.parent_span_id), (outer.trace_id, Some(outer.span_id)));
    assert_eq!((&inner.request_id, &outer.request_id), (&id, &id));
    stage.stop().await;
}

#[tokio::test]
async fn an_edit_of_an_answer_is_in_force_at_once() {
    let World { mut stage, .. } = world(PAGE).await;
    stage.system = crate::stage::manifest(&PAGE.replace("order.total", "order.total * 2"));
    stage.system.gateway.listen = stage.address();
    stage.apply().await.unwrap();
    let answer = stage.client().await.ask(Method::GET, "/pages/orders/7", &[("x-client", "watch")]).await;
    assert_eq!(json_of(&answer.body), json!({ "total": 2500 }));
    stage.stop().await;
}

/// A service that is broken is asked as often as its own policy says, and not that often again.
#[tokio::test]
async fn calls_are_tried_again_and_the_whole_is_not() {
    let World { stage, users, .. } = world(PAGE).await;
    let (orders, tried) = answering(503, "").await;
    let mut stage = stage;
    let old = stage.instances.remove(&"orders".parse::<madang_model::ServiceName>().unwrap()).unwrap();
    drop(old);
    let stage = stage.with("orders", orders);
    let answer = stage.client().await.ask(Method::GET, "/pages/orders/7", &[("x-client", "watch")]).await;
    assert_eq!(answer.status.as_u16(), 502);
    let policy = stage.system.policy_of_call(&"order-page".parse().unwrap(), &"orders".parse().unwrap());
    assert!(policy.attempts > 1);
    assert_eq!(asked(&tried).len() as u32, policy.attempts);
    assert!(asked(&users).is_empty());
    stage.stop().await;
}

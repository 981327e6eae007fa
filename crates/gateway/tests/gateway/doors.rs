//! Doors: what a service without the SDK reaches the others through.

use std::{net::SocketAddr, time::Duration};

use http::{Method, Request};
use http_body_util::BodyExt;
use madang_gateway::Config;
use madang_model::Protocol;
use madang_wire::{Hop, RequestRecord};
use tokio::{net::TcpStream, sync::mpsc};

use crate::stage::{Client, Stage, config, http2, mirror, saying, serve, system, timeout, until};

/// A system in which `users` mirrors what reaches it; nothing leads there from outside.
async fn stage() -> Stage {
    Stage::new(&["- /** -> users", "- /orders -> orders", "- /cart -> cart"])
        .await
        .with("users", mirror(Protocol::Http).await)
}

/// What reached the service, by the name of the field.
fn field<'a>(mirrored: &'a str, name: &str) -> Option<&'a str> {
    mirrored.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

async fn records(stage: &Stage, count: usize) -> Vec<RequestRecord> {
    let mut records = Vec::new();
    until(|| {
        records.extend(stage.handle.records());
        records.len() >= count
    })
    .await;
    records
}

#[tokio::test]
async fn a_door_is_its_callers_and_takes_the_context_of_the_request_that_it_answers() {
    let mut stage = stage().await;
    let door = stage.open_door(&["orders"], "users").await;
    let given = [
        ("host", "users.example"),
        ("x-request-id", "of-the-client"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("madang-timeout", "900"),
        ("idempotency-key", "k-1"),
        ("madang-caller", "root"),
        ("madang-attempt", "7"),
        ("madang-service", "payments"),
        ("madang-principal", "admin"),
        ("x-forwarded-for", "10.0.0.1"),
    ];
    let answer = Client::new(door).await.ask(Method::POST, "/users/../1?x=%2F", &given).await;
    assert_eq!(answer.headers["x-request-id"], "of-the-client");
    let seen = answer.text();
    assert!(seen.starts_with("POST /1?x=%2F "), "{seen}");
    assert_eq!(field(seen, "madang-caller"), Some("orders"));
    assert_eq!(field(seen, "madang-service"), Some("users"));
    assert_eq!(field(seen, "x-request-id"), Some("of-the-client"));
    assert_eq!(field(seen, "idempotency-key"), Some("k-1"));
    assert!(field(seen, "traceparent").unwrap().contains("0af7651916cd43dd8448eb211c80319c"), "{seen}");
    assert!(field(seen, "madang-timeout").unwrap().parse::<u64>().unwrap() <= 900, "{seen}");
    assert_eq!((field(seen, "madang-attempt"), field(seen, "madang-principal")), (None, None));

    let record = &records(&stage, 1).await[0];
    let (caller, service) = (record.caller.as_deref(), record.service.as_deref());
    assert_eq!((record.hop, caller, service), (Hop::Door, Some("orders"), Some("users")));
    assert_eq!(record.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
    stage.stop().await;
}

#[tokio::test]
async fn the_services_of_a_unit_name_themselves_at_its_door_and_nobody_else() {
    let mut stage = stage().await;
    let door = stage.open_door(&["orders", "cart"], "users").await;
    let mut client = Client::new(door).await;
    for (named, caller) in
        [("cart", "cart"), ("orders", "orders"), ("payments", "orders"), ("C@rt", "orders")]
    {
        let answer = client.ask(Method::GET, "/", &[("madang-caller", named)]).await;
        assert_eq!(field(answer.text(), "madang-caller"), Some(caller), "{named}");
    }
    assert_eq!(field(client.get("/").await.text(), "madang-caller"), Some("orders"));
    stage.stop().await;
}

#[tokio::test]
async fn the_limits_of_the_call_hold_and_a_caller_may_only_shorten_them() {
    let mut stage = Stage::new(&["- /** -> users", "- /orders -> orders"])
        .await
        .with("users", serve(|_| std::future::pending()).await);
    let limits = timeout(Duration::from_millis(150));
    let orders = stage.system.services.get_mut("orders").unwrap();
    orders.calls.insert("users".parse().unwrap(), limits);
    let door = stage.open_door(&["orders"], "users").await;
    for (given, least, most) in [("60000", 150, 2000), ("20", 20, 149)] {
        let began = tokio::time::Instant::now();
        let answer = Client::new(door).await.ask(Method::GET, "/", &[("madang-timeout", given)]).await;
        assert_eq!((answer.status.as_u16(), &*answer.problem().code), (504, "MDG-CALL-003"));
        let took = began.elapsed().as_millis();
        assert!((least..most).contains(&took), "{given}: {took} ms");
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_door_speaks_http2_by_prior_knowledge_too() {
    let mut stage = Stage::new(&["- /** -> users"]).await;
    stage.add("users", mirror(Protocol::H2c).await, Protocol::H2c);
    let door = stage.open_door(&["orders"], "users").await;
    let request = Request::get(format!("http://{door}/1")).body(Default::default()).unwrap();
    let answer = http2(door).await.send_request(request).await.unwrap();
    let seen = answer.into_body().collect().await.unwrap().to_bytes();
    let seen = std::str::from_utf8(&seen).unwrap();
    assert_eq!(field(seen, "madang-caller"), Some("orders"), "{seen}");
    stage.stop().await;
}

/// A service that says when it is asked, and answers each once it is let.
async fn held() -> (SocketAddr, mpsc::Receiver<tokio::sync::oneshot::Sender<()>>) {
    let (asked, was_asked) = mpsc::channel(8);
    let address = serve(move |_| {
        let asked = asked.clone();
        async move {
            let (go_on, told) = tokio::sync::oneshot::channel();
            asked.send(go_on).await.unwrap();
            told.await.unwrap();
            http::Response::new("in time".into())
        }
    });
    (address.await, was_asked)
}

#[tokio::test]
async fn a_door_that_closes_lets_its_requests_end_and_the_others_be() {
    let (users, mut asked) = held().await;
    let mut stage = Stage::new(&["- /** -> users", "- /mail -> mail"]).await;
    stage = stage.with("users", users).with("mail", saying("mail").await);
    let closes = stage.open_door(&["orders"], "users").await;
    let stays = stage.open_door(&["orders"], "mail").await;
    let mut mail = Client::new(stays).await;
    mail.get("/").await;

    let mut client = Client::new(closes).await;
    let one = tokio::spawn(async move { client.get("/").await });
    let go_on = asked.recv().await.unwrap();
    stage.doors.retain(|door| door.address == stays);
    stage.apply().await.unwrap();
    assert!(TcpStream::connect(closes).await.is_err(), "nothing listens any more");
    go_on.send(()).unwrap();
    assert_eq!(one.await.unwrap().text(), "in time");
    assert_eq!(mail.get("/").await.text(), "mail", "on the connection from before");
    stage.stop().await;
}

#[tokio::test]
async fn a_crowd_outside_leaves_room_at_the_doors() {
    let crowded = Config { connections: 1, ..config() };
    let mut stage = Stage::start(crowded, system(&["- /** -> users"]), Vec::new()).await;
    stage = stage.with("users", saying("users").await);
    let door = stage.open_door(&["orders"], "users").await;
    let mut first = Client::new(stage.address()).await;
    first.get("/").await;
    let _waits = TcpStream::connect(stage.address()).await.unwrap();
    assert_eq!(Client::new(door).await.get("/").await.text(), "users");
    stage.stop().await;
}

//! HTTP/1.1 connections: reuse, streams, trailers, limits.

use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use madang_calls::{Body, CallError, ClientConfig, Policy};
use madang_model::Protocol;
use madang_wire::Hop;

use crate::support::*;

async fn echo(request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let mut response = ok(Body::incoming(body));
    for name in ["host", "madang-service", "madang-attempt", "madang-timeout", "traceparent", "connection"] {
        if let Some(value) = head.headers.get(name) {
            response
                .headers_mut()
                .insert(format!("x-{name}").parse::<http::HeaderName>().unwrap(), value.clone());
        }
    }
    response.headers_mut().insert("x-uri", head.uri.to_string().parse().unwrap());
    response
}

#[tokio::test]
async fn a_call_reaches_the_instance_and_tells_it_about_itself() {
    let server = Server::start(Protocol::Http, echo).await;
    let caller = Caller::new();
    caller.rotate(&[&server]);
    let response = caller.send(request("POST", "http://shop.example/users?page=2", "hello")).await.unwrap();
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("x-uri"), "/users?page=2");
    assert_eq!(header("x-host"), "shop.example");
    assert_eq!(header("x-madang-service"), "users");
    assert!(!response.headers().contains_key("x-madang-attempt"), "only a later attempt says its number");
    assert!((14_000..=15_000).contains(&header("x-madang-timeout").parse::<u32>().unwrap()));
    assert_eq!(header("x-traceparent").len(), 55);
    assert_eq!(text(response).await, (200, "hello".to_owned()));

    let (records, dropped) = caller.client.drain_records();
    assert_eq!((records.len(), dropped), (1, 0));
    let record = &records[0];
    assert_eq!((record.status, record.attempts, &*record.method), (200, 1, "POST"));
    assert_eq!(record.service.as_deref(), Some("users"));
    assert_eq!(record.instance.as_deref(), Some(&*format!("users-{}", server.address.port())));
    assert_eq!(record.release.as_deref(), Some("r1"));
    assert!(record.duration_us >= record.upstream_us && record.upstream_us > 0);
    assert_eq!(caller.client.counters()[caller.users.upstream().name()].requests, 1);
}

#[tokio::test]
async fn a_connection_is_used_again_once_its_answer_was_read() {
    let server = Server::start(Protocol::Http, echo).await;
    let caller = Caller::new();
    caller.rotate(&[&server]);
    for _ in 0..20 {
        let response = caller.send(request("POST", "/", "x".repeat(100_000))).await.unwrap();
        assert_eq!(text(response).await.1.len(), 100_000);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_on_several_threads_share_few_connections() {
    let server = Server::start(Protocol::Http, echo).await;
    let caller = std::sync::Arc::new(Caller::new());
    caller.rotate(&[&server]);
    let tasks = (0..16).map(|n| {
        let caller = caller.clone();
        tokio::spawn(async move {
            for i in 0..100 {
                let sent = format!("{n}-{i}");
                let response = caller.send(request("POST", "/", sent.clone())).await.unwrap();
                assert_eq!(text(response).await, (200, sent));
            }
        })
    });
    futures_util::future::try_join_all(tasks).await.unwrap();
    assert!(server.connections() <= 48, "{}", server.connections());
    assert_eq!(caller.client.counters()[caller.users.upstream().name()].requests, 1600);
}

#[tokio::test]
async fn a_connection_is_not_used_again_after_an_aborted_answer() {
    let (feed, body) = fed();
    let body = std::sync::Mutex::new(Some(body));
    let body = std::sync::Arc::new(body);
    let server = Server::start(Protocol::Http, move |_| {
        let streamed = body.lock().unwrap().take();
        async move { ok(streamed.unwrap_or_default()) }
    })
    .await;
    let caller = Caller::new();
    caller.rotate(&[&server]);
    let mut response = caller.send(request("GET", "/", "")).await.unwrap();
    feed.send(data("first")).await.unwrap();
    assert_eq!(frame(response.body_mut()).await, "first");
    drop(response);
    // The server sees the connection close, which ends the stream that it was sending.
    tokio::time::timeout(Duration::from_secs(5), feed.closed()).await.expect("the stream must end");
    caller.get("/").await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn an_idle_connection_is_closed_before_the_server_would() {
    let server = Server::start(Protocol::Http, echo).await;
    let config = ClientConfig { idle: Duration::from_millis(80), ..ClientConfig::new(Hop::Gateway) };
    let caller = Caller::with(config, Policy::default());
    caller.rotate(&[&server]);
    caller.get("/").await;
    caller.get("/").await;
    assert_eq!(server.connections(), 1);
    tokio::time::sleep(Duration::from_millis(120)).await;
    caller.get("/").await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn an_instance_out_of_rotation_gets_no_new_requests() {
    let old = Server::start(Protocol::Http, |_| async { ok("old") }).await;
    let new = Server::start(Protocol::Http, |_| async { ok("new") }).await;
    let caller = Caller::new();
    caller.rotate(&[&old]);
    assert_eq!(caller.get("/").await.1, "old");
    caller.rotate(&[&new]);
    assert_eq!(caller.get("/").await.1, "new");
}

#[tokio::test]
async fn streams_pass_in_both_directions_without_being_gathered() {
    let server = Server::start(Protocol::Http, echo).await;
    let caller = Caller::new();
    caller.rotate(&[&server]);
    let (feed, body) = fed();
    feed.send(data("one")).await.unwrap();
    let mut response = caller.send(request("POST", "/", body)).await.unwrap();
    assert_eq!(frame(response.body_mut()).await, "one");
    feed.send(data("two")).await.unwrap();
    assert_eq!(frame(response.body_mut()).await, "two");
    drop(feed);
    assert!(response.body_mut().frame().await.is_none());
    // Both sides ended, so the connection is good for more.
    caller.get("/").await;
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let server = Server::start(Protocol::Http, |request: Request<Incoming>| async {
        let asks = request.headers().get("te").is_some_and(|te| te == "trailers");
        let collected = request.into_body().collect().await.unwrap();
        let sum = collected.trailers().unwrap()["x-sum"].clone();
        let (feed, body) = fed();
        feed.send(data("body")).await.unwrap();
        feed.send(trailers("x-sum", &format!("{}-{asks}", sum.to_str().unwrap()))).await.unwrap();
        let mut response = ok(body);
        response.headers_mut().insert("trailer", "x-sum".parse().unwrap());
        response
    })
    .await;
    let caller = Caller::new();
    caller.rotate(&[&server]);
    let (feed, body) = fed();
    feed.send(data("body")).await.unwrap();
    feed.send(trailers("x-sum", "41")).await.unwrap();
    drop(feed);
    let mut request = request("POST", "/", body);
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    request.headers_mut().insert("trailer", "x-sum".parse().unwrap());
    let response = caller.send(request).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "41-true");
    assert_eq!(collected.to_bytes(), "body");
}

#[tokio::test]
async fn connections_to_an_instance_are_limited_and_the_others_wait_their_turn() {
    let server = Server::start(Protocol::Http, |_| async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        ok("done")
    })
    .await;
    let config = ClientConfig { connections: 4, ..ClientConfig::new(Hop::Gateway) };
    let caller = Caller::with(config, Policy::default());
    caller.rotate(&[&server]);
    let all = futures_util::future::join_all((0..8).map(|_| caller.get("/"))).await;
    assert!(all.iter().all(|(status, _)| *status == 200));
    assert_eq!(server.connections(), 4);
}

#[tokio::test]
async fn a_call_that_finds_no_free_connection_in_time_says_so_and_nothing_was_sent() {
    let server = Server::start(Protocol::Http, |_| async { ok("unread") }).await;
    let config = ClientConfig { connections: 2, ..ClientConfig::new(Hop::Gateway) };
    let policy = Policy { connect_timeout: Duration::from_millis(50), ..Policy::default() };
    let caller = Caller::with(config, policy);
    caller.rotate(&[&server]);
    let send = || caller.send(request("POST", "/", "x"));
    let held = [send().await.unwrap(), send().await.unwrap()];
    let error = send().await.unwrap_err();
    assert!(matches!(error, CallError::Connect { .. }), "{error:?}");
    drop(held);
    assert_eq!(send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_silent_stream_ends_after_the_idle_limit_and_a_slow_one_does_not() {
    let (feed, body) = fed();
    let body = std::sync::Arc::new(std::sync::Mutex::new(Some(body)));
    let server = Server::start(Protocol::Http, move |_| {
        let body = body.lock().unwrap().take();
        async move { ok(body.unwrap_or_default()) }
    })
    .await;
    let policy = Policy {
        idle_timeout: Duration::from_millis(150),
        timeout: Duration::from_millis(200),
        ..Policy::default()
    };
    let caller = Caller::with(ClientConfig::new(Hop::Gateway), policy);
    caller.rotate(&[&server]);
    let mut response = caller.send(request("GET", "/", "")).await.unwrap();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(70)).await;
        feed.send(data("tick")).await.unwrap();
        assert_eq!(frame(response.body_mut()).await, "tick");
    }
    let ended = response.body_mut().frame().await.unwrap().unwrap_err();
    assert!(ended.to_string().starts_with("nothing came from users for"), "{ended}");
}

#[tokio::test]
async fn a_body_of_known_length_belongs_to_the_deadline() {
    let server = Server::raw(Protocol::Http, |_, mut stream| async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut given = [0; 1024];
        let _ = stream.read(&mut given).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf.").await;
        let _ = stream.read(&mut given).await;
    })
    .await;
    let policy = Policy { timeout: Duration::from_millis(100), ..Policy::default() };
    let caller = Caller::with(ClientConfig::new(Hop::Gateway), policy);
    caller.rotate(&[&server]);
    let mut response = caller.send(request("GET", "/", "")).await.unwrap();
    assert_eq!(frame(response.body_mut()).await, "half.");
    let ended = response.body_mut().frame().await.unwrap().unwrap_err();
    assert!(ended.to_string().starts_with("users did not finish its answer within"), "{ended}");
}

#[tokio::test]
async fn a_caller_that_leaves_is_recorded_and_its_connection_closed() {
    let (seen, mut arrived) = tokio::sync::mpsc::channel(1);
    let server = Server::start(Protocol::Http, move |_| {
        let seen = seen.clone();
        async move {
            seen.send(()).await.unwrap();
            std::future::pending().await
        }
    })
    .await;
    let caller = Caller::new();
    caller.rotate(&[&server]);
    tokio::select! {
        _ = caller.get("/") => unreachable!("it never answers"),
        _ = arrived.recv() => {}
    }
    let (records, _) = caller.client.drain_records();
    assert_eq!((records.len(), records[0].status), (1, 0));
    assert_eq!(caller.client.counters()[caller.users.upstream().name()].abandoned, 1);
}

#[tokio::test]
async fn a_missing_instance_is_parked_for_and_then_reported() {
    let policy = Policy { timeout: Duration::from_millis(50), ..Policy::default() };
    let caller = Caller::with(ClientConfig::new(Hop::Gateway), policy);
    let error = caller.send(request("GET", "/", "")).await.unwrap_err();
    assert!(matches!(error, CallError::NoInstance { .. }), "{error:?}");
}

/// A service that refuses a body for its size answers and closes; what is on its way is then reset.
#[tokio::test]
async fn an_answer_that_comes_before_the_body_is_sent_passes_although_the_rest_cannot_be_written() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::raw(Protocol::Http, |_, mut stream| async move {
        let mut seen = Vec::new();
        while !seen.windows(4).any(|end| end == b"\r\n\r\n") {
            stream.read_buf(&mut seen).await.unwrap();
        }
        let refusal =
            b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 8\r\nconnection: close\r\n\r\ntoo long";
        stream.write_all(refusal).await.unwrap();
    })
    .await;
    let caller = Caller::new();
    caller.rotate(&[&server]);
    for attempt in 1..=100 {
        let (feed, body) = fed();
        let feeding = tokio::spawn(async move {
            const PART: &str = include_str!("http1.rs");
            while feed.send(data(PART)).await.is_ok() {}
        });
        let response = caller.send(request("POST", "/", body)).await;
        let response = response.unwrap_or_else(|error| panic!("call {attempt}: {error:?}"));
        assert_eq!(text(response).await, (413, "too long".to_owned()), "call {attempt}");
        feeding.abort();
    }
}

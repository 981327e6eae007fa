//! Services that run elsewhere: what they hear, and what is heard of them.

use std::sync::{Arc, Mutex};

use http::Response;
use madang_calls::{Body, Context, Elsewhere};
use madang_model::Protocol;

use crate::support::{Caller, Server, request};

/// The headers that a server hears, with its host or authority first.
async fn heard(protocol: Protocol, elsewhere: bool) -> (String, Vec<String>, Response<Body>) {
    let heard = Arc::new(Mutex::new((String::new(), Vec::new())));
    let server = Server::start(protocol, {
        let heard = heard.clone();
        move |request| {
            let host = match request.uri().authority() {
                Some(authority) => authority.to_string(),
                None => request.headers()["host"].to_str().unwrap().to_owned(),
            };
            let names = request.headers().keys().filter(|name| *name != "host").map(ToString::to_string);
            *heard.lock().unwrap() = (host, names.collect());
            async {
                let answer = Response::builder().header("madang-fallback", "static").header("x-own", "1");
                answer.body(Body::from("")).unwrap()
            }
        }
    })
    .await;
    let caller = Caller::new();
    if elsewhere {
        let url = "http://mail.example:8080".parse().unwrap();
        caller.directory.elsewhere(caller.users.upstream().name(), Elsewhere::plain(url));
    }
    caller.rotate(&[&server]);
    let mut request = request("GET", "/", "");
    request.headers_mut().insert("host", "shop.example".parse().unwrap());
    request.headers_mut().insert("idempotency-key", "k".parse().unwrap());
    let caller_name = Some("orders".parse().unwrap());
    request.extensions_mut().insert(Context { caller: caller_name, ..Context::root() });
    let answer = caller.send(request).await.unwrap();
    let (host, mut names) = heard.lock().unwrap().clone();
    names.sort();
    (host, names, answer)
}

#[tokio::test]
async fn a_server_elsewhere_hears_its_own_name_and_nothing_of_ours() {
    for protocol in [Protocol::Http, Protocol::H2c] {
        let (host, names, answer) = heard(protocol, true).await;
        assert_eq!(host, "mail.example:8080");
        assert_eq!(names, ["idempotency-key", "traceparent", "x-request-id"], "{protocol:?}");
        assert!(!answer.headers().contains_key("madang-fallback") && answer.headers().contains_key("x-own"));
    }
    let (host, names, answer) = heard(Protocol::Http, false).await;
    assert_eq!(host, "shop.example");
    assert!(names.iter().any(|name| name == "madang-caller"), "one that runs here does: {names:?}");
    assert!(answer.headers().contains_key("madang-fallback"));
}

#[tokio::test]
async fn a_connection_that_fails_is_told_to_who_asks_for_addresses() {
    let caller = Caller::new();
    let url = "http://mail.example:8080".parse().unwrap();
    caller.directory.elsewhere(caller.users.upstream().name(), Elsewhere::plain(url));
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    caller.rotate_to(gone, Protocol::Http);
    caller.send(request("GET", "/", "")).await.unwrap_err();
    caller.users.upstream().astray().await;
}

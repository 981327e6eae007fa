//! What the gateway itself does, through a running gateway, as a manifest says it.

use std::{
    io::Read,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use madang_calls::{Body, BoxError};
use madang_model::Protocol;

use crate::stage::{Stage, config, field, http2, manifest, mirror, raw, recorder, saying, serve, until};

/// A gateway with what a manifest says; its service `a` mirrors what reaches it.
async fn stage(text: &str) -> Stage {
    let stage = empty(text).await;
    stage.with("a", mirror(Protocol::Http).await)
}

async fn empty(text: &str) -> Stage {
    Stage::start(config(), manifest(text), Vec::new()).await
}

#[tokio::test]
async fn a_request_too_many_is_refused_and_told_when_to_come_back() {
    let text = r#"
        [services.a]
        run = false
        routes = ["/**"]
        edge = { rate_limit = { rate = "2/h", per = "header:x-tenant" } }
    "#;
    let mut stage = stage(text).await;
    let mut client = stage.client().await;
    let acme = [("x-tenant", "acme")];
    let first = client.ask(Method::GET, "/1", &acme).await;
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(field(&first, "ratelimit-policy"), "\"header-x-tenant\";q=2;w=3600");
    assert_eq!(field(&first, "ratelimit"), "\"header-x-tenant\";r=1;t=1800");
    client.ask(Method::GET, "/2", &acme).await;
    let third = client.ask(Method::GET, "/3", &acme).await;
    assert_eq!((third.status.as_u16(), &*third.problem().code), (429, "MDG-GW-020"));
    let wait: u64 = field(&third, "retry-after").parse().unwrap();
    assert!((1795..=1800).contains(&wait), "{wait}");
    assert!(field(&third, "ratelimit").starts_with("\"header-x-tenant\";r=0;t="), "{third:?}");
    assert_eq!(client.ask(Method::GET, "/4", &[("x-tenant", "other")]).await.status, 200);
    let again = stage.client().await.ask(Method::GET, "/5", &acme).await;
    assert_eq!(again.status, 429, "also over another connection, which another worker may have");
    // What was counted stays when something else changes.
    stage.system.routes[0].path = "/other/**".into();
    stage.apply().await.unwrap();
    assert_eq!(client.ask(Method::GET, "/other/6", &acme).await.status, 429);
    let [stats] = &stage.handle.limits()[..] else { panic!("one limit") };
    assert_eq!((&*stats.limit, stats.refused, stats.crowded), ("service a header-x-tenant", 3, 0));
    let mut codes = Vec::new();
    until(|| {
        codes.extend(stage.handle.records().into_iter().filter_map(|record| record.code));
        codes.len() >= 3
    })
    .await;
    assert!(codes.iter().all(|code| &**code == "MDG-GW-020"), "{codes:?}");
    stage.stop().await;
}

#[tokio::test]
async fn grpc_hears_of_a_limit_in_its_own_terms() {
    let text = r#"
        [services.a]
        run = false
        protocol = "grpc"
        routes = ["/**"]
        edge = { rate_limit = "1/h" }
    "#;
    let mut stage = empty(text).await;
    stage.add("a", mirror(Protocol::Grpc).await, Protocol::Grpc);
    let mut client = http2(stage.address()).await;
    for status in [None, Some("8")] {
        let request = Request::post(format!("http://{}/a.A/Get", stage.address()))
            .header("content-type", "application/grpc")
            .body(Full::<Bytes>::default())
            .unwrap();
        let answer = client.send_request(request).await.unwrap();
        let told = answer.headers().get("grpc-status").map(|it| it.to_str().unwrap().to_owned());
        if let Some(status) = status {
            assert_eq!(told.as_deref(), Some(status));
            assert!(answer.headers().contains_key("retry-after"));
        }
    }
    stage.stop().await;
}

#[tokio::test]
async fn pages_of_others_read_what_they_may_and_are_asked_nothing_else() {
    let text = r#"
        gateway.auth.keys = true
        [services.a]
        run = false
        edge = { cors = { origins = ["https://shop.example"], credentials = true } }
        routes = [{ path = "/a", methods = ["GET", "PUT"] }]
        [services.b]
        run = false
        routes = ["/b"]
    "#;
    let stage = stage(text).await;
    let mut client = stage.client().await;
    let ask = |origin| [("origin", origin), ("access-control-request-method", "PUT")];
    let answer = client.ask(Method::OPTIONS, "/a", &ask("https://shop.example")).await;
    assert_eq!((answer.status.as_u16(), field(&answer, "access-control-allow-methods")), (204, "PUT"));
    assert_eq!(field(&answer, "access-control-allow-origin"), "https://shop.example");
    let refused = client.ask(Method::OPTIONS, "/a", &ask("https://evil.example")).await;
    assert_eq!((refused.status.as_u16(), &*refused.problem().code), (403, "MDG-GW-022"));
    assert_eq!(client.ask(Method::OPTIONS, "/b", &ask("https://shop.example")).await.status, 401);
    let origin = [("origin", "https://shop.example")];
    let denied = client.ask(Method::GET, "/a", &origin).await;
    assert_eq!(denied.status, 401, "the request itself is asked whose it is");
    assert_eq!(
        field(&denied, "access-control-allow-origin"),
        "https://shop.example",
        "and the page reads why not"
    );
    assert_eq!(field(&denied, "vary"), "Origin");
    stage.stop().await;
}

#[tokio::test]
async fn a_body_is_no_larger_than_may_be() {
    let text = r#"
        [services.a]
        run = false
        routes = ["/**"]
        edge = { max_body = "1KiB" }
    "#;
    let (address, records) = recorder().await;
    let stage = empty(text).await.with("a", address);
    let send = async |body: Body| {
        let request = Request::post("/").header("host", "a").body(body).unwrap();
        stage.client().await.send(request).await.unwrap()
    };
    let said = send(Body::from(vec![b'x'; 1025])).await;
    assert_eq!((said.status.as_u16(), &*said.problem().code), (413, "MDG-GW-021"));
    assert!(records.lock().unwrap().is_empty(), "nobody was asked");
    assert_eq!(send(Body::from(vec![b'x'; 1024])).await.status, 200);
    let frames = |count: usize| {
        let frame = |_| Ok::<_, BoxError>(Frame::data(Bytes::from(vec![b'x'; 512])));
        Body::new(StreamBody::new(stream::iter(0..count).map(frame)))
    };
    assert_eq!(send(frames(2)).await.status, 200);
    let streamed = send(frames(3)).await;
    assert_eq!((streamed.status.as_u16(), &*streamed.problem().code), (413, "MDG-GW-021"));
    let mut codes = Vec::new();
    until(|| {
        codes.extend(stage.handle.records().into_iter().map(|record| record.code));
        codes.len() >= 4
    })
    .await;
    assert_eq!(codes.iter().flatten().filter(|code| &***code == "MDG-GW-021").count(), 2, "{codes:?}");
    stage.stop().await;
}

#[tokio::test]
async fn paths_and_headers_change_on_the_way_and_back() {
    let text = r#"
        [services.a]
        run = false
        [[services.a.routes]]
        path = "/api/**"
        [services.a.routes.edge]
        path = { strip = "/api", add = "/v2" }
        request_headers = { set = { x-client = "{address}", x-route = "{route}" }, remove = ["x-debug"] }
        answer_headers = { set = { x-served-for = "{host}" }, remove = ["x-powered-by"] }
    "#;
    let stage = stage(text).await;
    let mut client = stage.client().await;
    let headers = [("host", "shop.example"), ("x-client", "me"), ("x-debug", "1")];
    let answer = client.ask(Method::GET, "/api/./users%2d1?q=%2f", &headers).await;
    let lines: Vec<_> = answer.text().lines().collect();
    assert_eq!(lines[0], "GET /v2/users-1?q=%2f HTTP/1.1");
    assert!(lines.contains(&"x-client: 127.0.0.1") && lines.contains(&"x-route: /api/**"), "{lines:?}");
    assert!(!lines.iter().any(|line| line.starts_with("x-debug") || *line == "x-client: me"), "{lines:?}");
    assert_eq!(field(&answer, "x-served-for"), "shop.example");
    stage.stop().await;
}

#[tokio::test]
async fn a_redirect_asks_nobody() {
    let text = r#"
        [services.a]
        run = false
        routes = ["/**", { path = "/old/**", redirect = { to = "/{rest}{query}", status = 301 } }]
    "#;
    let stage = stage(text).await;
    let mut client = stage.client().await;
    for (asked, location) in
        [("/old/x?y=1", "/x?y=1"), ("/old//evil.example", "/evil.example"), ("/old", "/")]
    {
        let answer = client.get(asked).await;
        assert_eq!((answer.status.as_u16(), field(&answer, "location")), (301, location), "{asked}");
    }
    assert_eq!(client.get("/x").await.status, 200);
    stage.stop().await;
}

#[tokio::test]
async fn whoever_comes_again_gets_the_same() {
    let text = r#"
        [services.a]
        run = false
        [services.b]
        run = false
        [[routes]]
        path = "/**"
        to = { a = 1, b = 1 }
        sticky = { cookie = "variant" }
    "#;
    let stage = empty(text).await.with("a", saying("a").await).with("b", saying("b").await);
    let mut client = stage.client().await;
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2 {
        let first = client.get("/").await;
        let given = field(&first, "set-cookie");
        assert!(given.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{given}");
        let cookie = given.split(';').next().unwrap().to_owned();
        for _ in 0..8 {
            let again = client.ask(Method::GET, "/", &[("cookie", &cookie)]).await;
            assert_eq!(again.text(), first.text());
            assert!(!again.headers.contains_key("set-cookie"));
        }
        seen.insert(first.text().to_owned());
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_copy_is_made_beside_the_request() {
    let text = r#"
        [services.a]
        run = false
        routes = ["/**", { path = "/told", edge = { mirror = { to = "shadow", methods = ["POST"], max_body = "1KiB", at_once = 1 } } }]
        edge = { mirror = { to = "shadow" } }
        [services.shadow]
        run = false
    "#;
    let (came, left) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU32::new(0)));
    let (kept, gate) = (came.clone(), Arc::new(tokio::sync::Semaphore::new(0)));
    let held = gate.clone();
    let shadow = serve(move |request| {
        let (kept, held, left) = (kept.clone(), held.clone(), left.clone());
        async move {
            let (head, body) = request.into_parts();
            let mark = head.headers.get("madang-mirror").map(|it| it.to_str().unwrap().to_owned());
            let body = body.collect().await.unwrap().to_bytes();
            kept.lock().unwrap().push((format!("{} {}", head.method, head.uri), mark, body));
            held.acquire().await.unwrap().forget();
            left.fetch_add(1, Relaxed);
            let mut failed = Response::new(Body::from("nobody sees this"));
            *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            failed
        }
    })
    .await;
    let stage = stage(text).await.with("shadow", shadow);
    let mut client = stage.client().await;
    let answer = client.ask(Method::GET, "/1?q", &[("madang-mirror", "1")]).await;
    assert_eq!(answer.status, 200, "while the copy is not answered");
    assert!(!answer.text().contains("madang-mirror"), "it is no copy, whatever the client says");
    until(|| came.lock().unwrap().len() == 1).await;
    let first = ("GET /1?q".to_owned(), Some("1".to_owned()), Bytes::new());
    assert_eq!(came.lock().unwrap()[0], first);
    assert_eq!(client.ask(Method::DELETE, "/2", &[]).await.status, 200);
    let post = |body: Vec<u8>| Request::post("/told").header("host", "a").body(Body::from(body)).unwrap();
    client.send(post(b"once".into())).await.unwrap();
    assert_eq!(stage.handle.mirrors()[0].left_out, 1, "one is under way already, of the one that may be");
    gate.add_permits(1);
    until(|| {
        // The place is free once the answer to the copy has been read.
        stage.handle.mirrors()[0].under_way == 0
    })
    .await;
    client.send(post(b"told".into())).await.unwrap();
    until(|| came.lock().unwrap().len() == 2).await;
    let second = ("POST /told".to_owned(), Some("1".to_owned()), Bytes::from("told"));
    assert_eq!(came.lock().unwrap()[1], second);
    gate.add_permits(1);
    until(|| stage.handle.mirrors()[0].under_way == 0).await;
    client.send(post(vec![b'x'; 1025])).await.unwrap();
    let stats = stage.handle.mirrors();
    assert_eq!((&*stats[0].to, stats[0].sent, stats[0].left_out), ("shadow", 2, 2));
    stage.stop().await;
}

#[tokio::test]
async fn an_answer_is_compressed_for_whoever_takes_it() {
    let text = r#"
        [services.a]
        run = false
        routes = ["/**"]
        edge = { compress = true }
    "#;
    let page = "all work and no play ".repeat(500);
    let answered = page.clone();
    let address = serve(move |request| {
        let page = answered.clone();
        async move {
            let body = if request.method() == Method::HEAD { Body::empty() } else { Body::from(page) };
            Response::builder()
                .header("content-type", "text/plain")
                .header("etag", "\"1\"")
                .body(body)
                .unwrap()
        }
    })
    .await;
    let stage = empty(text).await.with("a", address);
    let mut client = stage.client().await;
    let coded = client.ask(Method::GET, "/", &[("accept-encoding", "gzip")]).await;
    assert_eq!((field(&coded, "content-encoding"), field(&coded, "etag")), ("gzip", "W/\"1\""));
    let mut plain = String::new();
    flate2::read::GzDecoder::new(&coded.body[..]).read_to_string(&mut plain).unwrap();
    assert_eq!(plain, page);
    assert!(coded.body.len() < 500);
    for more in [("accept-encoding", "identity"), ("cookie", "session=1")] {
        let headers = if more.0 == "cookie" { vec![("accept-encoding", "gzip"), more] } else { vec![more] };
        let as_it_is = client.ask(Method::GET, "/", &headers).await;
        assert_eq!((field(&as_it_is, "content-encoding"), as_it_is.text()), ("", &*page), "{more:?}");
    }
    assert_eq!(client.ask(Method::HEAD, "/", &[("accept-encoding", "gzip")]).await.status, 200);
    stage.stop().await;
}

#[tokio::test]
async fn an_error_of_a_service_gets_the_form_of_all_errors() {
    let text = r#"
        [services.a]
        run = false
        routes = ["/**"]
        edge = { problems = { detail = true } }
    "#;
    let address = serve(|_| async {
        let answer =
            Response::builder().status(409).header("content-type", "text/plain").header("x-kept", "1");
        answer.body(Body::from("it is sold")).unwrap()
    })
    .await;
    let stage = empty(text).await.with("a", address);
    let mut client = stage.client().await;
    let answer = client.get("/").await;
    let problem = answer.problem();
    assert_eq!(
        (problem.status, &*problem.code, problem.detail.as_deref()),
        (409, "MDG-GW-023", Some("it is sold"))
    );
    assert_eq!((field(&answer, "x-kept"), answer.headers.get_all("x-request-id").iter().count()), ("1", 1));
    let head = client.ask(Method::HEAD, "/", &[]).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (409, 0));
    stage.stop().await;
}

#[tokio::test]
async fn what_the_gateway_answers_itself_leaves_a_record() {
    let text = r#"
        [services.a]
        run = false
        edge = { cors = { origins = ["https://shop.example"] } }
        routes = ["/a", { path = "/old", redirect = { to = "/a", status = 307 } }]
    "#;
    let stage = stage(text).await;
    let mut client = stage.client().await;
    client.get("/old").await;
    let ask = [("origin", "https://shop.example"), ("access-control-request-method", "GET")];
    client.ask(Method::OPTIONS, "/a", &ask).await;
    assert_eq!(records(&stage, 2).await, ["GET /old 307", "OPTIONS /a 204"]);
    let asked = b"OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    raw(stage.address(), asked, |text| text.contains("\r\n\r\n")).await;
    assert_eq!(records(&stage, 1).await, ["OPTIONS * 204"]);
    stage.stop().await;
}

/// The records so far, once there are so many: with the template of the route, and the code of a problem.
async fn records(stage: &Stage, count: usize) -> Vec<String> {
    let mut records = Vec::new();
    until(|| {
        records.extend(stage.handle.records());
        records.len() >= count
    })
    .await;
    let told = |record: &madang_wire::RequestRecord| {
        assert_eq!(record.service, None, "nobody else was asked");
        let route = record.route.as_deref().unwrap_or("-");
        let code = record.code.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
        format!("{} {route} {}{code}", record.method, record.status)
    };
    records.iter().map(told).collect()
}

/// An issuer that answers nobody.
struct Silent;

impl madang_gateway::Provider for Silent {
    fn ask<'a>(&'a self, _: &'a madang_gateway::Ask) -> BoxFuture<'a, Result<madang_gateway::Reply, String>> {
        std::future::ready(Err("it is silent".to_owned())).boxed()
    }
}

/// Those of the gateway by the paths that it has, whatever else is asked for below them; those that lead there by the
/// page that was opened.
#[tokio::test]
async fn somebody_on_their_way_in_or_out_leaves_a_record() {
    let text = r#"
        [gateway.auth]
        issuers = [{ issuer = "https://id.example", audience = "shop" }]
        [gateway.login]
        issuer = "https://id.example"
        client = "shop"
        url = "http://127.0.0.1:3000"
        [services.a]
        run = false
        routes = ["/pages/**"]
    "#;
    let stage = empty(text).await;
    let asking = tokio::spawn(stage.identity.clone().log_in(Arc::new(Silent)));
    let mut client = stage.client().await;
    let elsewhere = ("host", "localhost:3000");
    let page =
        [elsewhere, ("accept", "text/html"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    let own = [("host", "127.0.0.1:3000"), ("sec-fetch-site", "same-origin")];
    for (method, path, fields, expected) in [
        (Method::GET, "/.madang/login?return=/x", &[elsewhere][..], "GET /.madang/login 303"),
        (Method::GET, "/.madang/login", &own, "GET /.madang/login 503 MDG-AUTH-008"),
        (Method::GET, "/.madang/callback?state=x", &own, "GET /.madang/callback 400 MDG-AUTH-007"),
        (Method::POST, "/.madang/logout", &own, "POST /.madang/logout 303"),
        (Method::POST, "/.madang/logout", &own[..1], "POST /.madang/logout 403 MDG-AUTH-006"),
        (Method::POST, "/.madang/login", &own, "POST /.madang/login 405 MDG-GW-002"),
        (Method::GET, "/.madang/others/7", &own, "GET - 404 MDG-GW-001"),
        (Method::GET, "/pages/7", &page, "GET /pages/** 303"),
    ] {
        client.ask(method, path, fields).await;
        assert_eq!(records(&stage, 1).await, [expected], "{path}");
    }
    asking.abort();
    stage.stop().await;
}

#[tokio::test]
async fn a_proxy_that_is_trusted_speaks_for_its_visitors_and_nobody_else_does() {
    let text = |trusted: &str| {
        format!(
            r#"
            [gateway]
            {trusted}
            [services.a]
            run = false
            edge = {{ rate_limit = "1/h", request_headers = {{ set = {{ x-seen = "{{address}} {{host}}" }} }} }}
            [[routes]]
            host = "shop.example"
            path = "/**"
            to = "a"
        "#
        )
    };
    let trusting = stage(&text("trusted_proxies = [\"127.0.0.0/8\"]")).await;
    let mut proxy = trusting.client().await;
    let visit = |of: &'static str| {
        let host = ("x-forwarded-host", "shop.example");
        [("x-forwarded-for", of), ("x-forwarded-proto", "https"), host, ("host", "inner")]
    };
    let first = proxy.ask(Method::GET, "/", &visit("192.0.2.7")).await;
    let seen = first.text();
    for line in [
        "host: shop.example",
        "x-forwarded-for: 192.0.2.7",
        "x-forwarded-host: shop.example",
        "x-forwarded-proto: https",
        "x-seen: 192.0.2.7 shop.example",
    ] {
        assert!(seen.lines().any(|it| it == line), "{line} in {seen}");
    }
    assert_eq!(proxy.ask(Method::GET, "/", &visit("192.0.2.8")).await.status, 200, "another visitor");
    for again in ["192.0.2.7", "192.0.2.9, 192.0.2.7", "192.0.2.9, 192.0.2.7, 127.0.0.2"] {
        assert_eq!(proxy.ask(Method::GET, "/", &visit(again)).await.status, 429, "{again}");
    }
    trusting.stop().await;

    for trusted in ["", "trusted_proxies = [\"192.0.2.0/24\"]"] {
        let wary = stage(&text(trusted)).await;
        let mut client = wary.client().await;
        let visit = |of: &'static str| [("x-forwarded-for", of), ("host", "shop.example")];
        let first = client.ask(Method::GET, "/", &visit("192.0.2.7")).await;
        assert!(first.text().contains("x-forwarded-for: 127.0.0.1"), "{}", first.text());
        assert_eq!(client.ask(Method::GET, "/", &visit("192.0.2.8")).await.status, 429, "the same client");
        wary.stop().await;
    }
}

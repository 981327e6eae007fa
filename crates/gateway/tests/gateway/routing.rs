//! Requests reach the service that the routes name, and nothing else does.

use std::time::Duration;

use http::Method;
use madang_gateway::Listener;
use madang_model::Protocol;

use crate::stage::{ANY, Answer, Client, Stage, config, http2, mirror, raw, saying, serve, system, timeout};

#[tokio::test]
async fn requests_reach_the_service_of_their_route() {
    let stage =
        Stage::new(&["- /users/** -> users", "GET /orders/{id} -> orders", "- api.example/** -> api"])
            .await
            .with("users", saying("users").await)
            .with("orders", saying("orders").await)
            .with("api", saying("api").await);
    let mut client = stage.client().await;
    assert_eq!(client.get("/users").await.text(), "users");
    assert_eq!(client.get("/users/1?q=%2F").await.text(), "users");
    assert_eq!(client.get("/orders/7").await.text(), "orders");
    assert_eq!(client.ask(Method::GET, "/users", &[("host", "API.example:80")]).await.text(), "api");
    let head = client.ask(Method::HEAD, "/orders/7", &[]).await;
    assert_eq!(
        (head.status.as_u16(), head.text(), &head.headers["content-length"]),
        (200, "", &"6".parse().unwrap())
    );
    stage.stop().await;
}

#[tokio::test]
async fn what_no_route_takes_is_a_problem() {
    let stage = Stage::new(&["GET /users -> users"]).await.with("users", saying("users").await);
    let mut client = stage.client().await;
    let nothing = client.ask(Method::GET, "/nope", &[("x-request-id", "mine")]).await;
    assert_eq!((nothing.status.as_u16(), &*nothing.problem().code), (404, "MDG-GW-001"));
    assert_eq!(nothing.headers["x-request-id"], "mine");
    let other = client.ask(Method::POST, "/users", &[]).await;
    assert_eq!((other.status.as_u16(), &*other.problem().code), (405, "MDG-GW-002"));
    assert_eq!(other.headers["allow"], "GET, HEAD");
    let bad = client.get("/users/%2e%2e%2fadmin").await;
    assert_eq!((bad.status.as_u16(), &*bad.problem().code), (400, "MDG-GW-003"));
    let socket =
        client.ask(Method::GET, "/users", &[("upgrade", "websocket"), ("connection", "upgrade")]).await;
    assert_eq!((socket.status.as_u16(), socket.text()), (200, "users"), "the service does not switch");
    let grpc = client.ask(Method::POST, "/x.Y/Z", &[("content-type", "application/grpc")]).await;
    assert_eq!((grpc.status.as_u16(), &grpc.headers["grpc-status"]), (200, &"12".parse().unwrap()));
    let head = client.ask(Method::HEAD, "/nope", &[]).await;
    assert_eq!((head.status.as_u16(), head.text()), (404, ""));
    let tunnel =
        raw(stage.address(), b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", |t| t.contains("}")).await;
    assert!(tunnel.starts_with("HTTP/1.1 501 "), "{tunnel}");
    assert_eq!(stage.handle.stats().by_class, [0, 2, 0, 4, 1]);
    let asked = b"OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let able = raw(stage.address(), asked, |text| text.contains("\r\n\r\n")).await;
    assert!(able.starts_with("HTTP/1.1 204 ") && able.contains("allow: GET, HEAD, POST"), "{able}");
    stage.stop().await;
}

/// The lines of the mirror that do not change from run to run.
fn stable(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|l| !l.starts_with("traceparent: 00-") && !l.starts_with("madang-timeout: "))
        .collect()
}

#[tokio::test]
async fn the_service_sees_one_form_of_the_request_and_no_field_of_the_clients_making() {
    let stage = Stage::new(&["- /** -> mirror"]).await.with("mirror", mirror(Protocol::Http).await);
    let mut client = stage.client().await;
    let answer = client
        .ask(
            Method::GET,
            "/a/../%62/./c?q=../x",
            &[
                ("host", "shop.example"),
                ("madang-caller", "payments"),
                ("x-forwarded-for", "10.0.0.1"),
                ("x_real_ip", "10.0.0.1"),
                ("connection", "x-forwarded-for, x-drop"),
                ("x-drop", "1"),
                ("x-request-id", "r-1"),
                ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ],
        )
        .await;
    assert_eq!(
        stable(answer.text()),
        [
            "GET /b/c?q=../x HTTP/1.1",
            "host: shop.example",
            "madang-service: mirror",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: shop.example",
            "x-forwarded-proto: http",
            "x-request-id: r-1",
        ]
    );
    let trace = answer.text().lines().find(|l| l.starts_with("traceparent: ")).unwrap();
    assert!(
        trace.contains("0af7651916cd43dd8448eb211c80319c") && !trace.contains("b7ad6b7169203331"),
        "{trace}"
    );
    assert_eq!(answer.headers["x-request-id"], "r-1");
    stage.stop().await;
}

#[tokio::test]
async fn http2_comes_in_and_goes_out() {
    let mut stage = Stage::new(&["- /one/** -> one", "- /two/** -> two"]).await;
    stage.add("one", mirror(Protocol::Http).await, Protocol::Http);
    stage.add("two", mirror(Protocol::H2c).await, Protocol::H2c);
    let address = stage.address();
    let mut client = http2(address).await;
    for (path, first) in [
        ("/one/../one/a?b", "GET /one/a?b HTTP/1.1"),
        ("/two/a?b", "GET http://shop.example/two/a?b HTTP/2.0"),
    ] {
        let request =
            http::Request::get(format!("http://shop.example{path}")).body(Default::default()).unwrap();
        let answer = Answer::read(client.send_request(request).await.unwrap()).await.unwrap();
        assert_eq!(answer.text().lines().next(), Some(first));
        assert!(answer.text().contains("x-forwarded-host: shop.example"), "{}", answer.text());
    }
    let mut client = Client::new(address).await;
    assert!(client.get("/two/a").await.text().starts_with(&format!("GET http://{address}/two/a HTTP/2.0")));
    stage.stop().await;
}

#[tokio::test]
async fn requests_are_split_by_weight() {
    let stage = Stage::new(&["- /** -> old=3,new=1,off=0"])
        .await
        .with("old", saying("old").await)
        .with("new", saying("new").await)
        .with("off", saying("off").await);
    let mut client = stage.client().await;
    let mut new = 0;
    for _ in 0..400 {
        match client.get("/").await.text() {
            "new" => new += 1,
            "old" => {}
            other => panic!("{other}"),
        }
    }
    // 100 expected with a deviation of 8.7: eight of them are never seen.
    assert!((30..170).contains(&new), "{new}");
    stage.stop().await;
}

#[tokio::test]
async fn a_services_own_listener_leads_to_it_alone_and_lets_callers_shorten_their_time() {
    let mut system = system(&["- /users/** -> users"]);
    let listener = Listener::from_std(std::net::TcpListener::bind(ANY).unwrap()).unwrap();
    let door = listener.local_addr();
    system.services.get_mut("users").unwrap().listen = Some(door);
    let stage = Stage::start(config(), system, vec![listener]).await;
    let stage = stage.with("users", mirror(Protocol::Http).await);
    let mut client = Client::new(door).await;
    let answer =
        client.ask(Method::GET, "/anything", &[("madang-timeout", "60"), ("madang-caller", "root")]).await;
    let timeout = answer.text().lines().find_map(|l| l.strip_prefix("madang-timeout: ")).unwrap();
    assert!(timeout.parse::<u64>().unwrap() <= 60, "{timeout}");
    assert!(!answer.text().contains("madang-caller"), "{}", answer.text());
    let longer = client.ask(Method::GET, "/", &[("madang-timeout", "60000")]).await;
    let timeout = longer.text().lines().find_map(|l| l.strip_prefix("madang-timeout: ")).unwrap();
    assert!(timeout.parse::<u64>().unwrap() <= 5000, "{timeout}");
    stage.stop().await;
}

#[tokio::test]
async fn time_runs_out_by_the_routes_own_limit() {
    let mut system = system(&["- /slow -> slow", "- /** -> slow"]);
    system.routes[0].policy = timeout(Duration::from_millis(50));
    let stage = Stage::start(config(), system, Vec::new())
        .await
        .with("slow", serve(|_| std::future::pending()).await);
    let answer = stage.client().await.get("/slow").await;
    assert_eq!((answer.status.as_u16(), &*answer.problem().code), (504, "MDG-CALL-003"));
    stage.stop().await;
}

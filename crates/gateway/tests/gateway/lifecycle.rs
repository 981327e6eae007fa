//! Connections that are slow, idle or many, and a gateway that stops.

use std::{net::SocketAddr, time::Duration};

use http::{Request, Response};
use madang_calls::Body;
use madang_gateway::{Config, Error, Listener};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

use crate::stage::{ANY, Answer, Client, Stage, config, http2, raw, saying, serve, system, until};

/// Reads until the other side closes; panics if it does not within a few seconds.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut came = Vec::new();
    let read = timeout(Duration::from_secs(5), stream.read_to_end(&mut came)).await.expect("an end");
    // A reset is an end too: the gateway owes a client that it cuts off nothing.
    let _ = read;
    String::from_utf8_lossy(&came).into_owned()
}

#[tokio::test]
async fn a_client_that_never_ends_its_head_is_cut_off() {
    let stage = Stage::new(&["- /** -> a"]).await.with("a", saying("a").await);
    for (asks_first, part) in
        [(false, "G"), (false, "PRI * HTTP/2.0\r\n"), (false, HEAD), (true, "G"), (true, HEAD)]
    {
        let mut slow = TcpStream::connect(stage.address()).await.unwrap();
        if asks_first {
            slow.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let mut answer = [0; 512];
            assert!(slow.read(&mut answer).await.unwrap() > 0);
        }
        slow.write_all(part.as_bytes()).await.unwrap();
        let begin = Instant::now();
        let said = read_to_end(&mut slow).await;
        if !part.starts_with("PRI") {
            let (head, problem) = said.split_once("\r\n\r\n").expect("an answer");
            assert!(head.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{said}");
            assert!(head.contains("\r\nconnection: close"), "{said}");
            assert!(problem.contains("MDG-GW-003") && problem.contains("in time"), "{said}");
        }
        // A head has 300 ms here; an idle connection would have had 5 s.
        assert!(begin.elapsed() < Duration::from_secs(3), "{part:?} after {:?}", begin.elapsed());
    }
    stage.stop().await;
}

const HEAD: &str = "GET / HTTP/1.1\r\nhost: a\r\nx: ";

/// Some say that they are done by ending their side, and still want the answer. Whoever is gone does the same.
#[tokio::test]
async fn a_client_that_ends_its_side_is_answered_and_one_that_is_gone_leaves_the_service_soon() {
    struct Gone(mpsc::UnboundedSender<()>);
    impl Drop for Gone {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (gone, mut left) = mpsc::unbounded_channel();
    let service = serve(move |request| {
        let gone = (request.uri().path() == "/hang").then(|| Gone(gone.clone()));
        async move {
            if gone.is_some() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            Response::new(Body::from("answered"))
        }
    });
    let stage = Stage::new(&["- /** -> a"]).await.with("a", service.await);
    let mut client = TcpStream::connect(stage.address()).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    client.shutdown().await.unwrap();
    let answer = read_to_end(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("answered"), "{answer}");

    let mut client = TcpStream::connect(stage.address()).await.unwrap();
    client.write_all(b"GET /hang HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    drop(client);
    timeout(Duration::from_secs(4), left.recv()).await.expect("the service is let go");
    stage.stop().await;
}

#[tokio::test]
async fn a_slow_answer_is_no_slow_head() {
    let stage = Stage::new(&["- /** -> a"]).await;
    let stage = stage.with(
        "a",
        serve(|_| async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            Response::new(Body::from("late"))
        })
        .await,
    );
    assert_eq!(stage.client().await.get("/").await.text(), "late");
    stage.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let quick = Config { idle_time: Duration::from_millis(200), ..config() };
    let stage = Stage::start(quick, system(&["- /** -> a"]), Vec::new()).await.with("a", saying("a").await);
    let mut idle = TcpStream::connect(stage.address()).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let said = read_to_end(&mut idle).await;
    assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
    until(|| stage.handle.stats().connections == 0).await;
    stage.stop().await;
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_room() {
    let few = Config { connections: 2, ..config() };
    let stage = Stage::start(few, system(&["- /** -> a"]), Vec::new()).await.with("a", saying("a").await);
    let (mut first, mut second) = (stage.client().await, stage.client().await);
    assert_eq!(
        (first.get("/").await.status, second.get("/").await.status),
        (http::StatusCode::OK, http::StatusCode::OK)
    );
    let mut third = stage.client().await;
    let third = tokio::spawn(async move { third.get("/").await.status });
    assert_eq!(first.get("/").await.status, 200);
    assert_eq!(stage.handle.stats().connections, 2);
    drop(first);
    assert_eq!(third.await.unwrap(), 200);
    stage.stop().await;
}

#[tokio::test]
async fn workers_share_the_connections() {
    let stage = Stage::new(&["- /** -> a"]).await.with("a", saying("a").await);
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = stage.client().await;
        client.get("/").await;
        clients.push(client);
    }
    assert_eq!(stage.handle.stats().connections, 6);
    drop(clients);
    until(|| stage.handle.stats().connections == 0).await;
    stage.stop().await;
}

/// A service that says when it was asked, and answers when it is told to.
pub async fn held() -> (SocketAddr, mpsc::Receiver<oneshot::Sender<&'static str>>) {
    let (asked, was_asked) = mpsc::channel(8);
    let address = serve(move |_| {
        let asked = asked.clone();
        async move {
            let (answer, told) = oneshot::channel();
            asked.send(answer).await.unwrap();
            Response::new(Body::from(told.await.unwrap()))
        }
    })
    .await;
    (address, was_asked)
}

#[tokio::test]
async fn stopping_lets_requests_end_and_takes_no_new_ones() {
    let (address, mut asked) = held().await;
    let stage = Stage::new(&["- /** -> a"]).await.with("a", address);
    let gateway = stage.address();
    let mut client = Client::new(gateway).await;
    let one = tokio::spawn(async move { client.get("/").await });
    let mut sender = http2(gateway).await;
    let two = tokio::spawn(async move {
        let request = Request::get("http://a/").body(Default::default()).unwrap();
        Answer::read(sender.send_request(request).await.unwrap()).await.unwrap()
    });
    let (first, second) = (asked.recv().await.unwrap(), asked.recv().await.unwrap());
    let mut idle = TcpStream::connect(gateway).await.unwrap();
    let stopping = stage.stop_soon();
    assert_eq!(read_to_end(&mut idle).await, "", "an idle connection is closed at once");
    assert!(TcpStream::connect(gateway).await.is_err(), "nothing listens any more");
    first.send("in time").unwrap();
    second.send("in time").unwrap();
    let (one, two) = (one.await.unwrap(), two.await.unwrap());
    assert_eq!((one.text(), two.text()), ("in time", "in time"));
    assert_eq!(one.headers["connection"], "close");
    timeout(Duration::from_secs(5), stopping)
        .await
        .expect("it stops once the last request has ended")
        .unwrap();
}

#[tokio::test]
async fn an_http2_client_is_told_to_go_away() {
    let stage = Stage::new(&["- /** -> a"]).await.with("a", saying("a").await);
    let mut client = TcpStream::connect(stage.address()).await.unwrap();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // Its settings show that the connection is one of HTTP/2 by now.
    let mut came = [0; 9];
    client.read_exact(&mut came).await.unwrap();
    let stopping = stage.stop_soon();
    let mut rest = came.to_vec();
    timeout(Duration::from_secs(5), client.read_to_end(&mut rest)).await.unwrap().unwrap();
    let mut frames = Vec::new();
    while let Some((&[a, b, c, kind, ..], after)) = rest.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        frames.push((kind, after[..length].to_vec()));
        rest = after[length..].to_vec();
    }
    let goes = |(kind, told): &(u8, Vec<u8>)| *kind == 7 && told[4..8] == [0; 4];
    assert!(frames.iter().any(goes), "GOAWAY, without an error: {frames:?}");
    stopping.await.unwrap();
}

/// A gateway before `orders`, which asks `users` at its door once it is told to, and the address of that door.
async fn calling_back() -> (Stage, SocketAddr, mpsc::Receiver<oneshot::Sender<()>>) {
    let listener = Listener::from_std(std::net::TcpListener::bind(ANY).unwrap()).unwrap();
    let door = listener.local_addr();
    let mut system = system(&["- /** -> orders", "- /users -> users"]);
    system.services.get_mut("users").unwrap().listen = Some(door);
    let (asked, was_asked) = mpsc::channel(8);
    let orders = serve(move |_| {
        let asked = asked.clone();
        async move {
            let (go_on, told) = oneshot::channel();
            asked.send(go_on).await.unwrap();
            told.await.unwrap();
            let answer = Client::new(door).await.get("/").await;
            Response::new(Body::from(format!("{} of {}", answer.status, answer.text())))
        }
    })
    .await;
    let stage = Stage::start(config(), system, vec![listener]).await;
    (stage.with("orders", orders).with("users", saying("users").await), door, was_asked)
}

#[tokio::test]
async fn a_service_reaches_the_others_until_the_last_request_has_ended() {
    for in_two_steps in [true, false] {
        let (stage, door, mut asked) = calling_back().await;
        let gateway = stage.address();
        let mut client = Client::new(gateway).await;
        let request = tokio::spawn(async move { client.get("/").await });
        let go_on = asked.recv().await.unwrap();
        let stopping = tokio::spawn(async move {
            if in_two_steps {
                stage.drain().await;
                assert!(matches!(stage.apply().await, Err(Error::Stopped)), "nothing opens again");
                assert_eq!(Client::new(door).await.get("/").await.text(), "users");
            }
            stage.stop().await;
        });
        until(|| std::net::TcpStream::connect(gateway).is_err()).await;
        assert!(!stopping.is_finished());
        go_on.send(()).unwrap();
        assert_eq!(request.await.unwrap().text(), "200 OK of users");
        timeout(Duration::from_secs(5), stopping).await.expect("it stops").unwrap();
        assert!(TcpStream::connect(door).await.is_err(), "nothing listens any more");
    }
}

#[tokio::test]
async fn a_drain_waits_for_requests_at_an_address_that_the_gateway_has_left() {
    let (mut stage, _, mut asked) = calling_back().await;
    let mut client = stage.client().await;
    let request = tokio::spawn(async move { client.get("/").await });
    let go_on = asked.recv().await.unwrap();
    stage.system.gateway.listen = "127.0.0.2:0".parse().unwrap();
    stage.apply().await.unwrap();
    let mut draining = Box::pin(stage.drain());
    assert!(timeout(Duration::from_millis(300), &mut draining).await.is_err(), "a request is in flight");
    go_on.send(()).unwrap();
    timeout(Duration::from_secs(5), draining).await.expect("it ends with the request");
    assert_eq!(request.await.unwrap().text(), "200 OK of users");
    stage.stop().await;
}

#[tokio::test]
async fn a_drain_does_not_wait_for_ever() {
    let (address, mut asked) = held().await;
    let brief = Config { drain_time: Duration::from_millis(200), ..config() };
    let stage = Stage::start(brief, system(&["- /** -> a"]), Vec::new()).await.with("a", address);
    let cut = tokio::spawn(raw_get(stage.address()));
    let _never = asked.recv().await.unwrap();
    timeout(Duration::from_secs(3), stage.drain()).await.expect("it ends when the time is over");
    assert_eq!(cut.await.unwrap(), "");
    stage.stop().await;
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let (address, mut asked) = held().await;
    let brief = Config { drain_time: Duration::from_millis(200), ..config() };
    let stage = Stage::start(brief, system(&["- /** -> a"]), Vec::new()).await.with("a", address);
    let gateway = stage.address();
    let cut = tokio::spawn(raw_get(gateway));
    let _never = asked.recv().await.unwrap();
    timeout(Duration::from_secs(3), stage.stop()).await.expect("it stops when the time is over");
    assert_eq!(cut.await.unwrap(), "");
}

async fn raw_get(gateway: SocketAddr) -> String {
    raw(gateway, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", |_| false).await
}

#[tokio::test]
async fn what_happened_is_recorded() {
    let stage = Stage::new(&["- /users/{id} -> users"]).await.with("users", saying("u").await);
    let mut client = stage.client().await;
    client.ask(http::Method::GET, "/users/7", &[("x-request-id", "r-7")]).await;
    client.ask(http::Method::GET, "/nope", &[("x-request-id", "r-8")]).await;
    let mut records = Vec::new();
    until(|| {
        records.extend(stage.handle.records());
        records.len() == 2
    })
    .await;
    let shown: Vec<_> = records
        .iter()
        .map(|r| {
            (
                r.request_id.to_str().unwrap(),
                r.route.as_deref(),
                r.service.as_deref(),
                r.status,
                r.code.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("r-7", Some("/users/{id}"), Some("users"), 200, None),
            ("r-8", None, None, 404, Some("MDG-GW-001")),
        ]
    );
    assert_eq!(stage.handle.stats().requests, 2);
    stage.stop().await;
}

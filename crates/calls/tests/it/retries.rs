//! What is tried again over real connections, and what is not.

use std::{
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http_body_util::BodyExt;
use madang_calls::{CallError, ClientConfig, Policy};
use madang_model::Protocol;
use madang_wire::Hop;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::*;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Reads one request, whose body is short, if one comes.
async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = vec![0; 4096];
    let length = stream.read(&mut bytes).await.ok().filter(|length| *length > 0)?;
    Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

/// Each connection answers once; a second request on it is read and then dropped without an answer, as by a
/// server whose keep-alive ran out as it arrived.
async fn closes_as_the_second_request_arrives() -> Server {
    Server::raw(Protocol::Http, |_, mut stream| async move {
        if read(&mut stream).await.is_some() {
            stream.write_all(ANSWER).await.unwrap();
            read(&mut stream).await;
        }
    })
    .await
}

#[tokio::test]
async fn the_keep_alive_race_is_invisible_to_a_get() {
    let server = closes_as_the_second_request_arrives().await;
    let caller = Caller::new();
    caller.rotate(&[&server]);
    for _ in 0..10 {
        assert_eq!(caller.get("/").await, (200, "ok".to_owned()));
    }
    assert!(server.connections() > 5, "{}", server.connections());
}

#[tokio::test]
async fn a_post_that_was_sent_is_not_sent_twice() {
    let server = closes_as_the_second_request_arrives().await;
    let caller = Caller::new();
    caller.rotate(&[&server]);
    assert_eq!(caller.get("/").await.0, 200);
    let error = caller.send(request("POST", "/", "x")).await.unwrap_err();
    assert!(matches!(error, CallError::Broken { .. }), "{error:?}");
    assert!(error.outcome_unknown() && !error.retryable());
    assert_eq!(error.code().status, 502);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_post_with_a_key_is_sent_again() {
    let server = closes_as_the_second_request_arrives().await;
    let caller = Caller::new();
    caller.rotate(&[&server]);
    assert_eq!(caller.get("/").await.0, 200);
    let mut post = request("POST", "/", "x");
    post.headers_mut().insert("idempotency-key", "\"k\"".parse().unwrap());
    assert_eq!(caller.send(post).await.unwrap().status(), 200);
    assert_eq!(server.connections(), 2);
}

/// The server is a thread of its own and the test blocks while it closes, so that the next request is handed to
/// the connection's task before that has noticed.
#[tokio::test]
async fn a_post_that_met_a_closed_connection_was_not_sent_and_goes_over_a_new_one() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (close, closes) = std::sync::mpsc::channel::<()>();
    let (closed, is_closed) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        let mut served = 0;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(ANSWER).unwrap();
            served += 1;
            if closes.recv().is_err() {
                break;
            }
            drop(stream);
            closed.send(()).unwrap();
        }
        served
    });
    // One attempt only: that nothing was sent is found out below the layer that tries again.
    let policy = Policy { attempts: 1, ..Policy::default() };
    let caller = Caller::with(ClientConfig::new(Hop::Gateway), policy);
    caller.rotate_to(address, Protocol::Http);
    for round in 0..5 {
        if round > 0 {
            close.send(()).unwrap();
            is_closed.recv().unwrap();
            // The runtime looks at its sockets, and comes back here before it runs the connection's task.
            tokio::task::yield_now().await;
        }
        let response = caller.send(request("POST", "/", "x")).await.unwrap();
        assert_eq!(text(response).await, (200, "ok".to_owned()));
    }
    drop(close);
    assert_eq!(server.join().unwrap(), 5);
}

#[tokio::test]
async fn an_instance_killed_in_the_middle_is_replaced_by_the_other() {
    let broken = Server::raw(Protocol::Http, |_, mut stream| async move {
        read(&mut stream).await;
    })
    .await;
    let sound = Server::start(Protocol::Http, |request: http::Request<_>| async move {
        let attempt = request.headers().get("madang-attempt");
        ok(attempt.map_or("first", |number| number.to_str().unwrap()).to_owned())
    })
    .await;
    let caller = Caller::new();
    caller.rotate(&[&broken, &sound]);
    for _ in 0..20 {
        let (status, attempt) = caller.get("/").await;
        assert!(status == 200 && (attempt == "first" || attempt == "2"), "{status} {attempt}");
    }
    assert!(broken.connections() > 0);
}

#[tokio::test]
async fn with_one_instance_calls_wait_until_it_is_back() {
    let server = Server::start(Protocol::Http, |_| async { ok("old") }).await;
    let caller = Arc::new(Caller::new());
    caller.rotate(&[&server]);
    caller.get("/").await;
    drop(server);
    tokio::task::yield_now().await;
    // Still in rotation: connecting is refused at first. Even a POST is safe, because nothing was sent.
    let calls: Vec<_> = (0..20)
        .map(|n| {
            let caller = caller.clone();
            let method = if n % 2 == 0 { "GET" } else { "POST" };
            tokio::spawn(async move { text(caller.send(request(method, "/", "x")).await.unwrap()).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(60)).await;
    caller.rotate(&[]);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let again = Server::start(Protocol::Http, |_| async { ok("new") }).await;
    caller.rotate(&[&again]);
    for call in calls {
        assert_eq!(call.await.unwrap(), (200, "new".to_owned()));
    }
    let (records, _) = caller.client.drain_records();
    assert!(records.iter().any(|record| record.parked_us > 10_000));
}

#[tokio::test]
async fn those_who_wait_go_on_as_soon_as_one_of_them_gets_through() {
    let server = Server::start(Protocol::Http, |_| async { ok("old") }).await;
    let caller = Arc::new(Caller::new());
    caller.rotate(&[&server]);
    let address = server.address;
    drop(server);
    tokio::task::yield_now().await;
    let call = |caller: Arc<Caller>| tokio::spawn(async move { caller.get("/").await });
    let calls: Vec<_> = (0..20).map(|_| call(caller.clone())).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let _again = Server::start_at(address, Protocol::Http, |_| async { ok("new") }).await;
    let begin = tokio::time::Instant::now();
    for call in calls {
        assert_eq!(call.await.unwrap(), (200, "new".to_owned()));
    }
    // The last pause before it came back is 200 ms at most, and those who only wait need none.
    assert!(begin.elapsed() < Duration::from_millis(700), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn an_instance_that_keeps_refusing_is_reported_after_the_time_to_connect() {
    let server = Server::start(Protocol::Http, |_| async { ok("") }).await;
    let policy = Policy { connect_timeout: Duration::from_millis(150), ..Policy::default() };
    let caller = Caller::with(ClientConfig::new(Hop::Gateway), policy);
    caller.rotate(&[&server]);
    let address = server.address;
    drop(server);
    tokio::task::yield_now().await;
    let begin = tokio::time::Instant::now();
    let error = caller.send(request("POST", "/", "x")).await.unwrap_err();
    assert!(matches!(error, CallError::Connect { .. }), "{error:?}");
    let (records, _) = caller.client.drain_records();
    let tried = (records[0].instance.as_deref(), records[0].release.as_deref());
    assert_eq!(
        tried,
        (Some(&*format!("users-{}", address.port())), Some("r1")),
        "nobody answered, but it was tried"
    );
    assert!(error.retryable() && !error.outcome_unknown());
    assert!(begin.elapsed() >= Duration::from_millis(100), "{:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

/// A listener whose queue is full, so that the kernel leaves whoever connects without an answer; and what fills it.
async fn black_hole() -> (tokio::net::TcpListener, Vec<TcpStream>) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(0).unwrap();
    let mut waiting = Vec::new();
    let connect = || TcpStream::connect(listener.local_addr().unwrap());
    while let Ok(connected) = timeout(Duration::from_millis(200), connect()).await {
        waiting.push(connected.unwrap());
        assert!(waiting.len() < 16, "the queue has no end");
    }
    (listener, waiting)
}

#[tokio::test]
async fn an_instance_that_answers_no_connect_is_reported_after_the_time_to_connect() {
    let (hole, _waiting) = black_hole().await;
    let time = Duration::from_millis(600);
    for (protocol, attempts) in [(Protocol::Http, 1), (Protocol::H2c, 1), (Protocol::Http, 3)] {
        let policy = Policy { connect_timeout: time, attempts, ..Policy::default() };
        let caller = Caller::with(ClientConfig::new(Hop::Gateway), policy);
        caller.rotate_to(hole.local_addr().unwrap(), protocol);
        let begin = tokio::time::Instant::now();
        let error = caller.send(request("POST", "/", "x")).await.unwrap_err();
        let took = begin.elapsed();
        assert!(matches!(error, CallError::Connect { .. }), "{error:?}");
        assert!(error.retryable() && !error.outcome_unknown());
        // The time is for all attempts together; the rest is for a busy machine.
        let most = time + Duration::from_millis(500);
        assert!(time <= took && took < most, "{attempts} attempts, {took:?}");
    }
}

/// The time to connect is for all attempts: the first leaves enough of it for another instance.
#[tokio::test]
async fn an_instance_that_answers_no_connect_leaves_time_for_another() {
    let (hole, _waiting) = black_hole().await;
    let hole = hole.local_addr().unwrap();
    for protocol in [Protocol::Http, Protocol::H2c] {
        let server = Server::start(protocol, |_| async { ok("here") }).await;
        let mut met = 0;
        for seed in 0..12 {
            let policy = Policy { connect_timeout: Duration::from_millis(600), ..Policy::default() };
            let caller = Caller::with(ClientConfig { seed, ..ClientConfig::new(Hop::Gateway) }, policy);
            caller.apply(vec![(hole, protocol), (server.address, protocol)]);
            let begin = tokio::time::Instant::now();
            let answer = caller.send(request("POST", "/", "x")).await;
            let answer = answer.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
            assert_eq!(text(answer).await, (200, "here".to_owned()));
            met += usize::from(begin.elapsed() >= Duration::from_millis(290));
        }
        assert!(met > 0, "no call met the black hole");
    }
}

#[tokio::test]
async fn a_body_sent_again_is_the_same_body() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let server = Server::start(Protocol::Http, move |request: http::Request<hyper::body::Incoming>| {
        let number = counted.fetch_add(1, SeqCst);
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let mut response = ok(body);
            if number == 0 {
                *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            }
            response
        }
    })
    .await;
    let caller = Caller::new();
    caller.rotate(&[&server]);
    let (feed, body) = fed();
    for part in ["a", "b", "c"] {
        feed.send(data(part)).await.unwrap();
    }
    drop(feed);
    let response = caller.send(request("PUT", "/", body)).await.unwrap();
    assert_eq!(text(response).await, (200, "abc".to_owned()));
    assert_eq!(asked.load(SeqCst), 2);
}

#[tokio::test]
async fn a_body_too_long_to_keep_arrives_whole_and_once() {
    const PART: &str = "0123456789abcdef";
    let parts = 10_000;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let server = Server::start(Protocol::Http, move |request: http::Request<hyper::body::Incoming>| {
        counted.fetch_add(1, SeqCst);
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let mut response = ok(body);
            *response.status_mut() = http::StatusCode::BAD_GATEWAY;
            response
        }
    })
    .await;
    let caller = Caller::new();
    caller.rotate(&[&server]);
    let (feed, body) = fed();
    let feeding = tokio::spawn(async move {
        for _ in 0..parts {
            feed.send(data(PART)).await.unwrap();
        }
    });
    let response = caller.send(request("PUT", "/", body)).await.unwrap();
    feeding.await.unwrap();
    let (status, got) = text(response).await;
    assert!((status, got.as_str()) == (502, &*PART.repeat(parts)), "{status}, {} bytes", got.len());
    assert_eq!(asked.load(SeqCst), 1);
}

/// The first attempt was heard and may have had its effect; that the second could not even connect does not
/// undo it.
#[tokio::test]
async fn once_an_attempt_was_heard_a_later_failure_to_connect_leaves_the_outcome_unknown() {
    let heard = Server::raw(Protocol::Http, |_, mut stream| async move {
        read(&mut stream).await;
    })
    .await;
    let gone = Server::start(Protocol::Http, |_| async { ok("") }).await;
    let policy = Policy { connect_timeout: Duration::from_millis(150), ..Policy::default() };
    let caller = Arc::new(Caller::with(ClientConfig::new(Hop::Gateway), policy));
    caller.rotate(&[&heard]);
    let mut post = request("POST", "/", "x");
    post.headers_mut().insert("idempotency-key", "\"k\"".parse().unwrap());
    let calling = caller.clone();
    let call = tokio::spawn(async move { calling.send(post).await });
    while heard.connections() == 0 {
        tokio::task::yield_now().await;
    }
    caller.rotate(&[&gone]);
    drop(gone);
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::Broken { .. }), "{error:?}");
    assert!(error.outcome_unknown() && !error.retryable());
}

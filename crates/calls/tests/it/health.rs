//! Instances taken out of use by what they answer over real connections, and services that are not called.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::Response;
use http_body_util::BodyExt;
use madang_calls::{Body, CallError, ClientConfig, Policy};
use madang_model::{
    Protocol,
    policy::{Breaker, Ejection},
};
use madang_wire::Hop;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::*;

fn caller(policy: Policy) -> Caller {
    Caller::with(ClientConfig { seed: 5, ..ClientConfig::new(Hop::Gateway) }, policy)
}

/// One attempt, and out of use for so long at first.
fn ejects(base: Duration) -> Policy {
    Policy { attempts: 1, ejection: Some(Ejection { base, ..Ejection::default() }), ..Policy::default() }
}

/// A server that is well or answers this, and how often it was asked.
async fn moody(
    protocol: Protocol,
    well: &Arc<AtomicBool>,
    bad: impl Fn() -> Response<Body> + Clone + Send + Sync + 'static,
) -> (Server, Arc<AtomicUsize>) {
    let (well, asked) = (well.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = asked.clone();
    let server = Server::start(protocol, move |_| {
        counted.fetch_add(1, SeqCst);
        let answer = match (well.load(SeqCst), protocol) {
            (true, Protocol::Http) => ok("fine"),
            (true, _) => good(),
            (false, _) => bad(),
        };
        async { answer }
    })
    .await;
    (server, asked)
}

fn grpc(body: Body) -> Response<Body> {
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

fn good() -> Response<Body> {
    let (feed, body) = fed();
    feed.try_send(data("x")).unwrap();
    feed.try_send(trailers("grpc-status", "0")).unwrap();
    grpc(body)
}

fn unavailable_at_the_end() -> Response<Body> {
    let (feed, body) = fed();
    feed.try_send(data("x")).unwrap();
    feed.try_send(trailers("grpc-status", "14")).unwrap();
    grpc(body)
}

fn unavailable_at_once() -> Response<Body> {
    let mut response = grpc(Body::empty());
    response.headers_mut().insert("grpc-status", "14".parse().unwrap());
    response
}

fn breaks_off() -> Response<Body> {
    let (feed, body) = fed();
    feed.try_send(data("x")).unwrap();
    feed.try_send(Err("as told".into())).unwrap();
    ok(body)
}

async fn send(caller: &Caller) {
    if let Ok(response) = caller.send(request("POST", "/users.Users/Get", "x")).await {
        let _ = response.into_body().collect().await;
    }
}

/// A sick instance beside a well one is asked five times and then only now and again, until it is well.
async fn is_ejected_and_comes_back(protocol: Protocol, bad: fn() -> Response<Body>) {
    let caller = caller(ejects(Duration::from_millis(200)));
    let (sick_is_well, well) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
    let (sick, sick_asked) = moody(protocol, &sick_is_well, bad).await;
    let (other, other_asked) = moody(protocol, &well, bad).await;
    caller.rotate(&[&sick, &other]);
    let many = || futures_util::future::join_all((0..100).map(|_| send(&caller)));
    many().await;
    let asked = sick_asked.swap(0, SeqCst);
    assert!(asked >= 5, "{asked}");
    many().await;
    let asked = sick_asked.swap(0, SeqCst);
    assert!(asked <= 1, "but for a probe: {asked}");
    assert!(other_asked.load(SeqCst) >= 99);
    sick_is_well.store(true, SeqCst);
    while sick_asked.load(SeqCst) < 20 {
        many().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Alone it stays in use whatever it answers.
    sick_is_well.store(false, SeqCst);
    caller.rotate(&[&sick]);
    sick_asked.store(0, SeqCst);
    many().await;
    assert_eq!(sick_asked.load(SeqCst), 100);
}

#[tokio::test]
async fn a_grpc_status_in_the_trailers_ejects() {
    is_ejected_and_comes_back(Protocol::H2c, unavailable_at_the_end).await;
}

#[tokio::test]
async fn a_grpc_status_in_the_head_ejects() {
    is_ejected_and_comes_back(Protocol::H2c, unavailable_at_once).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_ejects() {
    is_ejected_and_comes_back(Protocol::H2c, breaks_off).await;
    is_ejected_and_comes_back(Protocol::Http, breaks_off).await;
}

#[tokio::test]
async fn a_hung_instance_costs_a_few_attempts_and_then_nothing() {
    let hung = Server::raw(Protocol::Http, |_, _stream| std::future::pending()).await;
    let well = Server::start(Protocol::Http, |_| async { ok("fine") }).await;
    let attempt_timeout = Duration::from_millis(500);
    let caller = caller(Policy { attempts: 3, attempt_timeout, ..ejects(Duration::from_secs(30)) });
    caller.rotate(&[&hung, &well]);
    for burst in 0..3 {
        let calls = futures_util::future::join_all((0..100).map(|_| caller.get("/"))).await;
        assert!(calls.iter().all(|answer| answer.0 == 200), "another attempt goes to the other");
        let (records, _) = caller.client.drain_records();
        let tried_again = records.iter().filter(|record| record.attempts > 1).count();
        assert_eq!(tried_again > 0, burst == 0, "{tried_again}");
    }
}

#[tokio::test]
async fn an_open_breaker_answers_at_once_and_closes_after_a_call_that_goes_well() {
    let well = Arc::new(AtomicBool::new(false));
    let (server, asked) = moody(Protocol::Http, &well, || ok_with(500)).await;
    let open = Duration::from_millis(200);
    let caller =
        caller(Policy { breaker: Some(Breaker { open, ..Breaker::default() }), ..Policy::default() });
    caller.rotate(&[&server]);
    for _ in 0..5 {
        send(&caller).await;
    }
    for _ in 0..20 {
        let error = caller.send(request("GET", "/", "")).await.unwrap_err();
        assert!(matches!(error, CallError::Open { .. }), "{error:?}");
        assert_eq!((error.code().id, error.retryable()), ("MDG-CALL-008", true));
    }
    assert_eq!(asked.load(SeqCst), 5);
    well.store(true, SeqCst);
    tokio::time::sleep(open).await;
    assert_eq!(caller.get("/").await.0, 200);
    assert_eq!(caller.get("/").await.0, 200);
}

fn ok_with(status: u16) -> Response<Body> {
    let mut response = ok("no");
    *response.status_mut() = status.try_into().unwrap();
    response
}

/// A connection that is closed for being idle, as a request arrives, is the server's right.
#[tokio::test]
async fn the_keep_alive_race_ejects_nobody() {
    async fn answers_once(mut stream: TcpStream) {
        let mut bytes = [0; 4096];
        let _ = stream.read(&mut bytes).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        let _ = stream.read(&mut bytes).await;
    }
    let servers = [
        Server::raw(Protocol::Http, |_, it| answers_once(it)).await,
        Server::raw(Protocol::Http, |_, it| answers_once(it)).await,
    ];
    let caller = caller(ejects(Duration::from_secs(60)));
    caller.rotate(&[&servers[0], &servers[1]]);
    for _ in 0..60 {
        assert_eq!(caller.get("/").await, (200, "ok".to_owned()));
    }
    assert!(servers.iter().all(|server| server.connections() > 10));
}

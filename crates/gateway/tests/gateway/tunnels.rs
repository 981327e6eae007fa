//! Connections that switch to another protocol: when bytes pass, for how long, and what does not touch them.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use madang_gateway::Config;
use madang_model::Limits;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use crate::stage::{ANY, Stage, config, manifest, raw, system, until};

/// What must happen does so within this time.
const PATIENCE: Duration = Duration::from_secs(10);

pub const UPGRADE: &str = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A service without a parser, which switches at `/echo` and then sends back what it gets.
#[derive(Clone)]
pub struct Service {
    pub address: SocketAddr,
    /// Every byte that came, a text for each connection.
    came: Arc<Mutex<Vec<String>>>,
    /// Whether it may answer.
    gate: Arc<Semaphore>,
}

impl Service {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(ANY).await.unwrap();
        let (address, came) = (listener.local_addr().unwrap(), Arc::default());
        let service = Self { address, came, gate: Arc::new(Semaphore::new(1_000)) };
        let serving = service.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        service
    }

    fn keep(&self, index: usize, bytes: &[u8]) -> String {
        let mut came = self.came.lock().unwrap();
        came[index].push_str(&String::from_utf8_lossy(bytes));
        came[index].clone()
    }

    async fn serve(self, mut stream: TcpStream) {
        let index = {
            let mut came = self.came.lock().unwrap();
            came.push(String::new());
            came.len() - 1
        };
        let mut chunk = [0; 4096];
        let head = loop {
            let Ok(count @ 1..) = stream.read(&mut chunk).await else { return };
            let text = self.keep(index, &chunk[..count]);
            if text.contains("\r\n\r\n") {
                break text;
            }
        };
        self.gate.acquire().await.unwrap().forget();
        let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap_or_default();
        let accept = match head.starts_with("GET /lies ") {
            true => "bGllcw==".to_owned(),
            false => STANDARD.encode(digest(
                &SHA1_FOR_LEGACY_USE_ONLY,
                format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes(),
            )),
        };
        let answer = match head.split(' ').nth(1).unwrap() {
            "/no" => {
                "HTTP/1.1 426 Upgrade Required\r\nupgrade: other\r\ncontent-length: 2\r\n\r\nno".to_owned()
            }
            "/200" => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned(),
            _ => format!(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-accept: {accept}\r\nx-own: 1\r\n\r\nfirst"
            ),
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
        while let Ok(count @ 1..) = stream.read(&mut chunk).await {
            self.keep(index, &chunk[..count]);
            if stream.write_all(&chunk[..count]).await.is_err() {
                return;
            }
        }
        // The client has said all; the service has not.
        let _ = stream.write_all(b"last").await;
    }
}

async fn stage_with(config: Config) -> (Stage, Service) {
    let service = Service::start().await;
    let stage = Stage::start(config, system(&["- /** -> users"]), Vec::new()).await;
    (stage.with("users", service.address), service)
}

/// A connection on which this was asked, and what was read up to the end of the head and `then`.
async fn open(gateway: SocketAddr, path: &str, then: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n{UPGRADE}").as_bytes()).await.unwrap();
    let head = read_to(&mut stream, then).await;
    (stream, head)
}

async fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut came = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&came).ends_with(end) {
            assert_ne!(stream.read_buf(&mut came).await.unwrap(), 0, "{}", String::from_utf8_lossy(&came));
        }
    };
    timeout(PATIENCE, read).await.expect("bytes in time");
    String::from_utf8(came).unwrap()
}

async fn echoes(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    assert_eq!(read_to(stream, text).await, text);
}

async fn ends(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it ends");
    rest
}

#[tokio::test]
async fn bytes_pass_both_ways_once_the_service_has_switched() {
    let (stage, service) = stage_with(config()).await;
    let (mut stream, head) = open(stage.address(), "/echo", "first").await;
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    for field in ["connection: upgrade", "upgrade: websocket", "x-own: 1"] {
        assert!(head.contains(&format!("\r\n{field}\r\n")), "{field}: {head}");
    }
    assert!(head.contains("\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    let asked = service.came.lock().unwrap()[0].clone();
    for field in ["connection: upgrade", "upgrade: websocket", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="]
    {
        assert!(asked.contains(&format!("\r\n{field}\r\n")), "{field}: {asked}");
    }
    // What looks like HTTP is bytes now.
    echoes(&mut stream, "GET /smuggled HTTP/1.1\r\n\r\n").await;
    echoes(&mut stream, &"x".repeat(300_000)).await;
    assert_eq!(stage.handle.stats().tunnels, 1);
    stream.shutdown().await.unwrap();
    assert_eq!(ends(&mut stream).await, b"last", "one side has said all, the other has not");
    until(|| stage.handle.stats().tunnels == 0).await;
    until(|| stage.handle.stats().connections == 0).await;
    assert_eq!(service.came.lock().unwrap().len(), 1);
    stage.stop().await;
}

#[tokio::test]
async fn nothing_of_the_client_passes_before_the_service_has_switched() {
    let (stage, service) = stage_with(config()).await;
    service.gate.forget_permits(1_000);
    let mut stream = TcpStream::connect(stage.address()).await.unwrap();
    stream.write_all(format!("GET /echo HTTP/1.1\r\nhost: a\r\n{UPGRADE}early").as_bytes()).await.unwrap();
    until(|| service.came.lock().unwrap().first().is_some_and(|came| came.contains("\r\n\r\n"))).await;
    // However long it waits: a second request has gone all the way meanwhile.
    service.gate.add_permits(1);
    let head = read_to(&mut stream, "firstearly").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let came = service.came.lock().unwrap()[0].clone();
    assert!(came.ends_with("\r\n\r\nearly"), "{came}");
    stage.stop().await;
}

/// A service that does not switch is asked nothing more, and what the client sends next is a request.
#[tokio::test]
async fn a_refusal_is_an_answer_and_what_follows_is_http() {
    let (stage, service) = stage_with(config()).await;
    let (mut stream, head) = open(stage.address(), "/no", "no").await;
    assert!(head.starts_with("HTTP/1.1 426 ") && !head.contains("upgrade:"), "{head}");
    stream.write_all(b"GET /200 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(read_to(&mut stream, "ok").await.starts_with("HTTP/1.1 200 "));
    assert_eq!(stage.handle.stats().tunnels, 0);
    let asked = service.came.lock().unwrap().concat();
    assert_eq!(asked.matches("upgrade: websocket").count(), 1, "{asked}");
    stage.stop().await;
}

#[tokio::test]
async fn a_service_that_switches_unasked_is_broken() {
    let (stage, _) = stage_with(config()).await;
    let asked = b"GET /echo HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: close\r\n\r\nbytes";
    let answer = raw(stage.address(), asked, |_| false).await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && !answer.contains("first"), "{answer}");
    stage.stop().await;
}

#[tokio::test]
async fn a_request_with_a_body_is_not_for_another_protocol() {
    let (stage, service) = stage_with(config()).await;
    let asked = format!("GET /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n{UPGRADE}abc");
    let answer = raw(stage.address(), asked.as_bytes(), |text| text.ends_with('}')).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(service.came.lock().unwrap().is_empty());
    stage.stop().await;
}

fn silence(time: &str) -> Limits {
    manifest(&format!("[policy]\nidle_timeout = \"{time}\"\n")).policy
}

#[tokio::test]
async fn a_silent_tunnel_ends_and_one_that_speaks_does_not() {
    let (mut stage, _) = stage_with(config()).await;
    stage.system.policy = silence("1s");
    stage.apply().await.unwrap();
    let (mut silent, _) = open(stage.address(), "/echo", "first").await;
    let (mut speaks, _) = open(stage.address(), "/echo", "first").await;
    let ended = tokio::spawn(async move { ends(&mut silent).await });
    while !ended.is_finished() {
        echoes(&mut speaks, "still here").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(ended.await.unwrap(), b"");
    assert_eq!(stage.handle.stats().tunnels_silent, 1);
    echoes(&mut speaks, "still here").await;
    stage.stop().await;
}

#[tokio::test]
async fn no_change_touches_an_open_tunnel() {
    let (mut stage, service) = stage_with(config()).await;
    let (mut stream, _) = open(stage.address(), "/echo", "first").await;
    stage.system = system(&["- /other -> orders"]);
    stage.apply().await.unwrap();
    let instances = stage.instances.clone();
    assert_eq!(instances["users"][0].address, service.address);
    stage.remove("users", service.address);
    echoes(&mut stream, "still here").await;
    let answer =
        raw(stage.address(), b"GET /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", |_| false).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "the change is in force: {answer}");
    echoes(&mut stream, "still here").await;
    stage.stop().await;
}

#[tokio::test]
async fn a_stop_gives_a_tunnel_the_drain_time() {
    let brief = Config { drain_time: Duration::from_secs(1), ..config() };
    let (stage, _) = stage_with(brief).await;
    let address = stage.address();
    let (mut stream, _) = open(address, "/echo", "first").await;
    let stopping = stage.stop_soon();
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    echoes(&mut stream, "while it stops").await;
    assert_eq!(ends(&mut stream).await, b"");
    timeout(PATIENCE, stopping).await.expect("it stops").unwrap();
}

#[tokio::test]
async fn tunnels_have_a_bound_of_their_own() {
    let (stage, _) = stage_with(Config { tunnels: 4, ..config() }).await;
    let mut open_ones = Vec::new();
    let refused = loop {
        let asked = format!("GET /echo HTTP/1.1\r\nhost: a\r\n{UPGRADE}");
        let mut stream = TcpStream::connect(stage.address()).await.unwrap();
        stream.write_all(asked.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"first") && !answer.ends_with(b"}") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
        let answer = String::from_utf8(answer).unwrap();
        if answer.starts_with("HTTP/1.1 503 ") {
            break answer;
        }
        open_ones.push(stream);
        assert!(open_ones.len() <= 4);
    };
    assert!(refused.contains("MDG-GW-010") && refused.contains("\r\nretry-after: 1\r\n"), "{refused}");
    let stats = stage.handle.stats();
    assert_eq!((stats.tunnels, stats.tunnels_refused), (open_ones.len() as u64, 1));
    open_ones.clear();
    until(|| stage.handle.stats().tunnels == 0).await;
    let (_, head) = open(stage.address(), "/echo", "first").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "there is room again");
    stage.stop().await;
}

type Http2 = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

async fn http2(gateway: SocketAddr) -> Http2 {
    let stream = TokioIo::new(TcpStream::connect(gateway).await.unwrap());
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    // After an answer the settings of the server are known, among them that it takes such requests.
    let first = Request::get(format!("http://{gateway}/200")).body(Empty::new()).unwrap();
    assert_eq!(client.send_request(first).await.unwrap().status(), 200);
    client
}

async fn connect(
    client: &mut Http2,
    gateway: SocketAddr,
    path: &str,
    protocol: &'static str,
) -> http::Response<hyper::body::Incoming> {
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://{gateway}{path}"))
        .extension(Protocol::from_static(protocol))
        .header("sec-websocket-version", "13")
        .body(Empty::new());
    client.send_request(request.unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_websocket_is_a_stream_of_http2() {
    let (stage, service) = stage_with(config()).await;
    let gateway = stage.address();
    let mut client = http2(gateway).await;
    let answer = connect(&mut client, gateway, "/echo", "websocket").await;
    assert_eq!((answer.status(), answer.headers().get("x-own").is_some()), (StatusCode::OK, true));
    for field in ["sec-websocket-accept", "upgrade", "connection"] {
        assert!(!answer.headers().contains_key(field), "{field}");
    }
    let mut stream = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    let mut first = [0; 5];
    stream.read_exact(&mut first).await.unwrap();
    stream.write_all(b"over one stream").await.unwrap();
    let mut echo = [0; 15];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!((&first, &echo), (b"first", b"over one stream"));
    let asked = service.came.lock().unwrap().concat();
    assert!(asked.contains("GET /echo HTTP/1.1\r\n") && asked.contains("\r\nsec-websocket-key: "), "{asked}");
    // The connection goes on beside it.
    let second = Request::get(format!("http://{gateway}/200")).body(Empty::new()).unwrap();
    assert_eq!(client.send_request(second).await.unwrap().status(), 200);
    assert_eq!(stage.handle.stats().tunnels, 1);
    drop(stream);
    until(|| stage.handle.stats().tunnels == 0).await;
    stage.stop().await;
}

/// A success that is no switch would open a tunnel that ends nowhere; another answer passes.
#[tokio::test]
async fn over_http2_only_a_switch_is_a_success() {
    let (stage, _) = stage_with(config()).await;
    let gateway = stage.address();
    let mut client = http2(gateway).await;
    for (path, protocol, expected) in [
        ("/200", "websocket", 502),
        ("/lies", "websocket", 502),
        ("/no", "websocket", 426),
        ("/echo", "other", 501),
    ] {
        let answer = connect(&mut client, gateway, path, protocol).await;
        assert_eq!(answer.status(), expected, "{path} {protocol}");
        let _ = answer.into_body().collect().await.unwrap();
    }
    until(|| stage.handle.stats().tunnels == 0).await;
    stage.stop().await;
}

#[tokio::test]
async fn what_is_said_of_answers_holds_for_the_one_that_opens_a_tunnel() {
    let service = Service::start().await;
    let text = r#"
        [services.users]
        run = false
        routes = ["/**"]
        [services.users.edge]
        rate_limit = "2/h"
        answer_headers = { remove = ["x-own"], set = { x-gate = "{route}" } }
        compress = true
        problems = true
    "#;
    let stage = Stage::start(config(), manifest(text), Vec::new()).await.with("users", service.address);
    let (mut stream, head) = open(stage.address(), "/echo", "first").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    for field in
        ["ratelimit-policy: \"address\";q=2;w=3600", "ratelimit: \"address\";r=1;t=1800", "x-gate: /**"]
    {
        assert!(head.contains(&format!("\r\n{field}\r\n")), "{field}: {head}");
    }
    assert!(!head.contains("x-own"), "{head}");
    echoes(&mut stream, "still a tunnel").await;
    // Who does not switch is answered as everybody is.
    let (_, head) = open(stage.address(), "/no", "}").await;
    assert!(head.contains("\r\ncontent-type: application/problem+json\r\n"), "{head}");
    assert!(head.contains("\r\nratelimit: \"address\";r=0;"), "{head}");
    let (_, head) = open(stage.address(), "/echo", "}").await;
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    drop(stream);
    stage.stop().await;
}

//! How connections over TLS end, and what they outlive.

use std::{num::NonZeroUsize, pin::pin, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use madang_gateway::Config;
use madang_model::Protocol;
use rustls::version::TLS13;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use super::{Authority, connect, get, shown, stage};
use crate::{
    lifecycle::held,
    stage::{Stage, config, saying, system},
    tunnels::{Service, UPGRADE},
};

/// What must happen does so within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// A gateway over TLS before this service, and its authority.
async fn before(config: Config, service: std::net::SocketAddr) -> (Stage, Authority) {
    let authority = Authority::new();
    let mut stage = stage(config, shown(vec![authority.certificate("shop.example")])).await;
    let first = stage.instances["users"][0].address;
    stage.remove("users", first);
    stage.add("users", service, Protocol::Http);
    (stage, authority)
}

async fn speaking(stage: &Stage, authority: &Authority, alpn: &str) -> TlsStream<TcpStream> {
    connect(stage, "shop.example", authority.trusting(&[alpn], &[&TLS13], None)).await.unwrap()
}

/// What is still said, and whether it ends as TLS does: a connection that just stops could have been cut by anybody.
async fn rest(stream: &mut TlsStream<TcpStream>) -> (String, bool) {
    let mut came = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut came)).await.expect("it ends");
    (String::from_utf8_lossy(&came).into_owned(), ended.is_ok())
}

#[tokio::test]
async fn a_stop_waits_for_the_answer_and_says_that_it_is_the_last() {
    let (address, mut asked) = held().await;
    // One worker, so that all connections are told at once.
    let (stage, authority) = before(Config { workers: NonZeroUsize::new(1), ..config() }, address).await;
    let mut idle = speaking(&stage, &authority, "http/1.1").await;
    let mut stream = speaking(&stage, &authority, "http/1.1").await;
    stream.write_all(b"GET /x HTTP/1.1\r\nhost: shop.example\r\n\r\n").await.unwrap();
    let answer = asked.recv().await.unwrap();
    let stopping = stage.stop_soon();
    assert_eq!(rest(&mut idle).await, (String::new(), true), "nothing is under way there");
    answer.send("in time").unwrap();
    let (said, orderly) = rest(&mut stream).await;
    assert!(said.contains("\r\nconnection: close\r\n") && said.ends_with("in time"), "{said}");
    assert!(orderly, "it says that it is over");
    timeout(PATIENCE, stopping).await.expect("it stops").unwrap();
}

/// It is told while a request is under way, which is answered; nothing new begins after it.
#[tokio::test]
async fn a_client_of_http2_is_told_to_go_away() {
    let (address, mut asked) = held().await;
    let patient = Config { drain_time: Duration::from_secs(600), ..config() };
    let (stage, authority) = before(patient, address).await;
    let io = TokioIo::new(speaking(&stage, &authority, "h2").await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = || Request::get("https://shop.example/x").body(Empty::<Bytes>::new()).unwrap();
    let first = tokio::spawn(sender.send_request(request()));
    let answer = asked.recv().await.unwrap();
    let stopping = stage.stop_soon();
    let told = async {
        loop {
            let mut asking = pin!(sender.send_request(request()));
            tokio::select! {
                answer = &mut asking => return assert!(answer.is_err(), "it was refused by the connection"),
                // It has come before that was said.
                another = asked.recv() => {
                    another.unwrap().send("early").unwrap();
                    asking.await.unwrap();
                }
            }
        }
    };
    timeout(PATIENCE, told).await.expect("it is told");
    answer.send("in time").unwrap();
    let answer = timeout(PATIENCE, first).await.expect("an answer").unwrap().unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "in time");
    let ended = timeout(PATIENCE, connection).await.expect("it ends").unwrap();
    assert!(ended.is_ok(), "it was cut: {ended:?}");
    timeout(PATIENCE, stopping).await.expect("it stops").unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let (address, mut asked) = held().await;
    let brief = Config { drain_time: Duration::from_millis(200), ..config() };
    let (stage, authority) = before(brief, address).await;
    let mut stream = speaking(&stage, &authority, "http/1.1").await;
    stream.write_all(b"GET /x HTTP/1.1\r\nhost: shop.example\r\n\r\n").await.unwrap();
    let _never = asked.recv().await.unwrap();
    timeout(PATIENCE, stage.stop()).await.expect("it stops when the time is over");
    assert_eq!(rest(&mut stream).await.0, "");
}

/// While routes and certificates change, whoever comes is let in, and whoever is there stays.
#[tokio::test]
async fn a_change_shuts_nobody_out() {
    let (stage, authority) = before(config(), saying("a").await).await;
    let mut open = speaking(&stage, &authority, "http/1.1").await;
    for round in 0..20 {
        let coming = tokio::join!(
            speaking(&stage, &authority, "h2"),
            async { stage.apply().await.unwrap() },
            async {
                let shop = authority.certificate("shop.example");
                stage.tls.as_ref().unwrap().replace(shown(vec![shop])).unwrap();
            },
            speaking(&stage, &authority, "http/1.1"),
        );
        for stream in [coming.0, coming.3] {
            assert_eq!(get(stream, "shop.example").await.0, 200, "round {round}");
        }
        open.write_all(b"GET /x HTTP/1.1\r\nhost: shop.example\r\n\r\n").await.unwrap();
        assert!(read_to(&mut open, "\r\n\r\na").await.starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(stage.handle.stats().handshakes_failed, 0);
    stage.stop().await;
}

/// A WebSocket over TLS is bytes like any other; a change of routes, instances or certificates does not touch it, and a
/// stop gives it its time.
#[tokio::test]
async fn a_websocket_passes_over_tls_and_outlives_changes() {
    let service = Service::start().await;
    let brief = Config { drain_time: Duration::from_secs(1), ..config() };
    let (mut stage, authority) = before(brief, service.address).await;
    let gateway = stage.address();
    let mut stream = speaking(&stage, &authority, "http/1.1").await;
    stream
        .write_all(format!("GET /echo HTTP/1.1\r\nhost: shop.example\r\n{UPGRADE}").as_bytes())
        .await
        .unwrap();
    let head = read_to(&mut stream, "first").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    echoes(&mut stream, &"x".repeat(300_000)).await;
    let tls = stage.system.gateway.tls.clone();
    stage.system = system(&["- /other -> orders"]);
    stage.system.gateway.tls = tls;
    stage.apply().await.unwrap();
    stage.remove("users", service.address);
    let another = Authority::new();
    stage.tls.as_ref().unwrap().replace(shown(vec![another.certificate("shop.example")])).unwrap();
    let new = speaking(&stage, &another, "http/1.1").await;
    assert_eq!(get(new, "shop.example").await.0, 404, "the changes are in force");
    echoes(&mut stream, "still here").await;
    let stopping = stage.stop_soon();
    while TcpStream::connect(gateway).await.is_ok() {
        tokio::task::yield_now().await;
    }
    echoes(&mut stream, "while it stops").await;
    assert_eq!(rest(&mut stream).await.0, "");
    timeout(PATIENCE, stopping).await.expect("it stops").unwrap();
}

async fn read_to(stream: &mut TlsStream<TcpStream>, end: &str) -> String {
    let mut came = Vec::new();
    let read = async {
        while !came.ends_with(end.as_bytes()) {
            assert_ne!(stream.read_buf(&mut came).await.unwrap(), 0, "{}", String::from_utf8_lossy(&came));
        }
    };
    timeout(PATIENCE, read).await.expect("bytes in time");
    String::from_utf8(came).unwrap()
}

async fn echoes(stream: &mut TlsStream<TcpStream>, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    assert_eq!(read_to(stream, text).await, text);
}

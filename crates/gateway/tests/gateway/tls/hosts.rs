//! Requests that come by the connection of another host.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::version::TLS13;

use super::{Authority, connect, get, shown, stage};
use crate::stage::{Stage, config};

/// A gateway with a certificate for its address, which is shown to those who name no host, and two others.
async fn of_two_hosts(authority: &Authority) -> Stage {
    let certificates = ["127.0.0.1", "shop.example", "pay.example"].map(|name| authority.certificate(name));
    stage(config(), shown(certificates.into())).await
}

/// What is answered to a request for `host` by a connection for `name`, as agreed on.
async fn ask(
    stage: &Stage,
    authority: &Authority,
    alpn: &str,
    name: &'static str,
    host: &str,
) -> (u16, String) {
    let stream = connect(stage, name, authority.trusting(&[alpn], &[&TLS13], None)).await.unwrap();
    get(stream, host).await
}

#[tokio::test]
async fn a_request_for_a_host_that_another_certificate_is_for_is_not_answered_there() {
    let authority = Authority::new();
    let stage = of_two_hosts(&authority).await;
    for alpn in ["h2", "http/1.1"] {
        let (status, body) = ask(&stage, &authority, alpn, "shop.example", "pay.example").await;
        assert!(status == 421 && body.contains("MDG-GW-032"), "{alpn}: {status} {body}");
        for (host, why) in [
            ("shop.example", "it is its own"),
            ("SHOP.EXAMPLE:443", "it is its own, written otherwise"),
            ("other.example", "nobody else could answer"),
        ] {
            assert_eq!(ask(&stage, &authority, alpn, "shop.example", host).await.0, 200, "{why}");
        }
        // Such a client has verified nobody, and has nowhere else to go.
        assert_eq!(ask(&stage, &authority, alpn, "127.0.0.1", "pay.example").await.0, 200);
    }
    stage.stop().await;
}

/// One that is refused is the concern of nobody else on the connection.
#[tokio::test]
async fn a_connection_goes_on_after_a_request_for_another_host() {
    let authority = Authority::new();
    let stage = of_two_hosts(&authority).await;
    let stream = connect(&stage, "shop.example", authority.trusting(&["h2"], &[&TLS13], None)).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for (host, expected) in [("pay.example", 421), ("shop.example", 200), ("pay.example", 421)] {
        let request = Request::get(format!("https://{host}/x")).body(Empty::<Bytes>::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), expected);
        answer.into_body().collect().await.unwrap();
    }
    stage.stop().await;
}

#[tokio::test]
async fn where_there_is_one_certificate_every_host_is_answered() {
    let authority = Authority::new();
    let stage = stage(config(), shown(vec![authority.certificate("shop.example")])).await;
    for host in ["shop.example", "pay.example"] {
        assert_eq!(ask(&stage, &authority, "h2", "shop.example", host).await.0, 200);
    }
    stage.stop().await;
}

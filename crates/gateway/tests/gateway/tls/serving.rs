//! What is shown to whom, what is spoken, and what a change or a crowd does to it.

use std::time::Duration;

use madang_gateway::{Config, Credentials};
use madang_model::TlsVersion;
use rustls::{
    HandshakeKind, ProtocolVersion,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{Authority, connect, get, reserved, shown, stage};
use crate::stage::{Client, Stage, config, raw, until};

/// What must happen does so within this time.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn http_is_what_the_client_agrees_on_and_the_service_is_told_of_https() {
    let authority = Authority::new();
    let stage = stage(config(), shown(vec![authority.certificate("shop.example")])).await;
    for (alpn, versions, spoken) in [
        (&["h2", "http/1.1"][..], &[&TLS13][..], Some(&b"h2"[..])),
        (&["h2"], &[&TLS12], Some(b"h2")),
        (&["http/1.1"], &[&TLS13, &TLS12], Some(b"http/1.1")),
        (&[], &[&TLS13], None),
    ] {
        let config = authority.trusting(alpn, versions, None);
        let stream = connect(&stage, "shop.example", config).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), spoken);
        let (status, mirrored) = get(stream, "shop.example").await;
        assert_eq!(status, 200);
        assert!(mirrored.contains("\nx-forwarded-proto: https"), "{mirrored}");
        assert!(mirrored.contains("\nx-forwarded-host: shop.example"), "{mirrored}");
    }
    let other = authority.trusting(&["spdy/3"], &[&TLS13], None);
    assert!(connect(&stage, "shop.example", other).await.is_err(), "nothing is agreed on");
    stage.stop().await;
}

#[tokio::test]
async fn older_versions_than_the_manifest_wants_are_refused() {
    let authority = Authority::new();
    let credentials =
        Credentials { min_version: TlsVersion::V1_3, ..shown(vec![authority.certificate("shop.example")]) };
    let stage = stage(config(), credentials).await;
    let old = authority.trusting(&[], &[&TLS12], None);
    assert!(connect(&stage, "shop.example", old).await.is_err());
    let new =
        connect(&stage, "shop.example", authority.trusting(&[], &[&TLS12, &TLS13], None)).await.unwrap();
    assert_eq!(new.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    until(|| stage.handle.stats().handshakes == 1).await;
    assert_eq!(stage.handle.stats().handshakes_failed, 1);
    stage.stop().await;
}

#[tokio::test]
async fn each_client_is_shown_what_it_asks_for() {
    let authority = Authority::new();
    let certificates = ["shop.example", "pay.example"].map(|name| authority.certificate(name));
    let stage = stage(config(), shown(certificates.into())).await;
    let config = || authority.trusting(&["h2"], &[&TLS13], None);
    for name in ["shop.example", "pay.example"] {
        let stream = connect(&stage, name, config()).await.unwrap();
        assert_eq!(get(stream, name).await.0, 200);
    }
    assert!(connect(&stage, "other.example", config()).await.is_err(), "the first is not for this host");
    stage.stop().await;
}

/// A connection that is open goes on with what it was shown; the next one sees the new certificate.
#[tokio::test]
async fn a_new_certificate_is_shown_from_the_next_connection_on() {
    let (before, after) = (Authority::new(), Authority::new());
    let stage = stage(config(), shown(vec![before.certificate("shop.example")])).await;
    let config = |authority: &Authority| authority.trusting(&["http/1.1"], &[&TLS13], None);
    let open = connect(&stage, "shop.example", config(&before)).await.unwrap();
    stage.tls.as_ref().unwrap().replace(shown(vec![after.certificate("shop.example")])).unwrap();
    assert!(connect(&stage, "shop.example", config(&before)).await.is_err());
    let new = connect(&stage, "shop.example", config(&after)).await.unwrap();
    assert_eq!(get(new, "shop.example").await.0, 200);
    assert_eq!(get(open, "shop.example").await.0, 200);
    stage.stop().await;
}

/// With two workers, so that a session goes on at either.
#[tokio::test]
async fn a_session_goes_on_at_any_worker_and_over_a_change() {
    let authority = Authority::new();
    let stage = stage(config(), shown(vec![authority.certificate("shop.example")])).await;
    for versions in [&[&TLS13][..], &[&TLS12]] {
        let config = authority.trusting(&["http/1.1"], versions, None);
        let mut kinds = Vec::new();
        for _ in 0..4 {
            let mut stream = connect(&stage, "shop.example", config.clone()).await.unwrap();
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
            stream.write_all(b"GET /x HTTP/1.1\r\nhost: shop.example\r\n\r\n").await.unwrap();
            // In TLS 1.3 the ticket comes with what is answered.
            assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
            let shop = authority.certificate("shop.example");
            stage.tls.as_ref().unwrap().replace(shown(vec![shop])).unwrap();
        }
        assert_eq!(kinds[0], HandshakeKind::Full);
        assert!(kinds[1..].iter().all(|kind| *kind == HandshakeKind::Resumed), "{kinds:?}");
    }
    stage.stop().await;
}

#[tokio::test]
async fn what_comes_in_plain_is_told_so_and_a_handshake_has_its_time() {
    let authority = Authority::new();
    let stage = stage(config(), shown(vec![authority.certificate("shop.example")])).await;
    let answer = raw(stage.address(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", |_| false).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("TLS is spoken here"), "{answer}");
    for first in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"\x00\x01\x02\x03\x04"] {
        let mut stalled = TcpStream::connect(stage.address()).await.unwrap();
        stalled.write_all(first).await.unwrap();
        let mut rest = Vec::new();
        let ended = timeout(PATIENCE, stalled.read_to_end(&mut rest)).await;
        let _ = ended.expect("the gateway closes, however little came");
    }
    until(|| stage.handle.stats().handshakes_failed == 4).await;
    stage.stop().await;
}

/// As the node does that runs it; whoever else is there is not believed.
#[tokio::test]
async fn a_node_speaks_to_its_own_gateway() {
    let authority = Authority::new();
    let [stage, other] = [
        stage(config(), shown(vec![authority.certificate("shop.example")])).await,
        stage(config(), shown(vec![authority.certificate("shop.example")])).await,
    ];
    let tls = stage.tls.clone().unwrap();
    let connect = async |stage: &Stage| tls.connect(TcpStream::connect(stage.address()).await.unwrap()).await;
    assert_eq!(get(connect(&stage).await.unwrap(), "shop.example").await.0, 200);
    assert!(connect(&other).await.is_err());
    stage.stop().await;
    other.stop().await;
}

/// The scheme that a request names is that of its connection.
#[tokio::test]
async fn a_request_for_http_over_tls_is_refused() {
    let authority = Authority::new();
    let stage = stage(config(), shown(vec![authority.certificate("shop.example")])).await;
    let mut stream = connect(&stage, "shop.example", authority.trusting(&[], &[&TLS13], None)).await.unwrap();
    let request = b"GET http://shop.example/ HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("another scheme than https"), "{answer}");
    stage.stop().await;
}

/// As many as may be about to agree on TLS are; who comes then takes the place of the first, so that nobody who only
/// begins keeps others out.
#[tokio::test]
async fn those_who_only_begin_give_way() {
    let authority = Authority::new();
    let patient = Config { handshakes: 4, head_time: Duration::from_secs(600), ..config() };
    let stage = stage(patient, shown(vec![authority.certificate("shop.example")])).await;
    let mut stalled = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(stage.address()).await.unwrap();
        stream.write_all(b"\x16\x03\x01").await.unwrap();
        stalled.push(stream);
    }
    until(|| stage.handle.stats().handshakes_dropped == 36).await;
    let config = authority.trusting(&["h2"], &[&TLS13], None);
    let stream = timeout(PATIENCE, connect(&stage, "shop.example", config)).await.expect("room").unwrap();
    assert_eq!(get(stream, "shop.example").await.0, 200);
    let first = timeout(PATIENCE, stalled[0].read(&mut [0; 1])).await.expect("it was closed");
    assert!(matches!(first, Ok(0) | Err(_)));
    until(|| stage.handle.stats().connections == 4).await;
    drop(stalled);
    stage.stop().await;
}

#[tokio::test]
async fn requests_without_tls_are_sent_on_to_https() {
    let authority = Authority::new();
    let mut stage = stage(config(), shown(vec![authority.certificate("shop.example")])).await;
    let (plain, listener) = reserved();
    stage.system.gateway.tls.as_mut().unwrap().redirect = Some(plain);
    // The address by which the gateway's own listener is known is the one that was asked for.
    let port = stage.system.gateway.listen.port();
    stage.apply_with(vec![listener]).await.unwrap();
    let mut client = Client::new(plain).await;
    let answer = client.ask(http::Method::POST, "/a/../b?c=d", &[("host", "shop.example:80")]).await;
    assert_eq!(answer.status, 308);
    assert_eq!(answer.headers["location"], format!("https://shop.example:{port}/b?c=d"));
    assert!(answer.body.is_empty() && answer.headers.contains_key("x-request-id"));
    let tunnel =
        raw(plain, b"GET https://a/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", |_| false).await;
    assert!(tunnel.starts_with("HTTP/1.1 400 "), "{tunnel}");
    stage.system.gateway.tls.as_mut().unwrap().redirect = None;
    stage.apply().await.unwrap();
    assert!(TcpStream::connect(plain).await.is_err());
    stage.stop().await;
}

/// A stop ends connections over TLS as it does others: after the request in flight, with an orderly end.
#[tokio::test]
async fn a_stop_ends_the_session_and_not_the_stream_alone() {
    let authority = Authority::new();
    let stage = stage(config(), shown(vec![authority.certificate("shop.example")])).await;
    let mut stream = connect(&stage, "shop.example", authority.trusting(&[], &[&TLS13], None)).await.unwrap();
    stream.write_all(b"GET /x HTTP/1.1\r\nhost: shop.example\r\n\r\n").await.unwrap();
    assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
    let stopping = stage.stop_soon();
    let mut rest = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it ends");
    assert!(ended.is_ok(), "without a close_notify it could have been cut: {ended:?}");
    stopping.await.unwrap();
}

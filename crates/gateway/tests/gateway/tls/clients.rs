//! Clients that prove who they are by a certificate.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use madang_gateway::{Clients, Credentials, Revoked, Tls};
use madang_model::{Auth, ClaimPath, Demand, Require};
use rustls::{
    HandshakeKind,
    version::{TLS12, TLS13},
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Authority, Own, connect, get, shown, stage};
use crate::stage::{Stage, config};

/// A gateway that takes the certificates of `clients`.
async fn asking(server: &Authority, clients: &Authority, required: bool) -> Stage {
    let clients = Some(Clients { authorities: clients.authorities(), required, revoked: None });
    stage(config(), Credentials { clients, ..shown(vec![server.certificate("shop.example")]) }).await
}

/// What is answered over a connection with this certificate; nothing if there is none.
async fn ask(stage: &Stage, server: &Authority, own: Option<Own>) -> Option<(u16, String)> {
    let config = server.trusting(&["http/1.1"], &[&TLS13], own);
    let mut stream = connect(stage, "shop.example", config).await.ok()?;
    // In TLS 1.3 a client learns that its certificate is not taken when it reads.
    stream.write_all(b"GET /x HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n").await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer))
}

fn principal(mirrored: &str) -> Value {
    let signed = mirrored.lines().find_map(|line| line.strip_prefix("madang-principal: ")).expect("somebody");
    let claims = URL_SAFE_NO_PAD.decode(signed.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

fn by_certificate() -> Auth {
    Auth { issuers: Vec::new(), keys: None, certificates: true, leeway: Duration::ZERO }
}

#[tokio::test]
async fn where_a_certificate_is_required_only_those_of_the_authority_come_in() {
    let (server, clients) = (Authority::new(), Authority::new());
    let stage = asking(&server, &clients, true).await;
    assert_eq!(ask(&stage, &server, Some(clients.client("orders", None))).await.unwrap().0, 200);
    assert_eq!(ask(&stage, &server, None).await, None);
    assert_eq!(ask(&stage, &server, Some(server.client("orders", None))).await, None, "of another authority");
    stage.stop().await;
}

#[tokio::test]
async fn a_certificate_says_for_whom_a_request_is() {
    let (server, clients) = (Authority::new(), Authority::new());
    let mut stage = asking(&server, &clients, false).await;
    stage.system.gateway.auth = Some(by_certificate());
    stage.apply().await.unwrap();
    let (status, answer) = ask(&stage, &server, None).await.unwrap();
    assert!(status == 401 && answer.contains("MDG-AUTH-001"), "{answer}");
    let (status, answer) = ask(&stage, &server, Some(clients.client("orders", None))).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    let told = principal(&answer);
    assert_eq!((&told["sub"], &told["from"]), (&json!("CN=orders"), &json!("certificate")));
    let workload = clients.client("orders", Some("spiffe://shop.example/orders"));
    let (_, answer) = ask(&stage, &server, Some(workload)).await.unwrap();
    assert_eq!(principal(&answer)["sub"], "spiffe://shop.example/orders");
    stage.stop().await;
}

#[tokio::test]
async fn a_route_asks_for_what_a_certificate_says() {
    let (server, clients) = (Authority::new(), Authority::new());
    let mut stage = asking(&server, &clients, false).await;
    stage.system.gateway.auth = Some(by_certificate());
    let wanted = ["spiffe://shop.example/orders".to_owned()].into();
    let claim = BTreeMap::from([(ClaimPath("uri".to_owned()), wanted)]);
    stage.system.routes[0].require = Some(Require::Of(Demand { claim, ..Demand::default() }));
    stage.apply().await.unwrap();
    for (uri, expected) in
        [(Some("spiffe://shop.example/orders"), 200), (Some("spiffe://shop.example/carts"), 403), (None, 403)]
    {
        let (status, answer) = ask(&stage, &server, Some(clients.client("a", uri))).await.unwrap();
        assert_eq!(status, expected, "{answer}");
    }
    stage.stop().await;
}

/// A certificate that the handshake takes says nothing where the manifest has not said that it does.
#[tokio::test]
async fn without_leave_a_certificate_says_nothing() {
    let (server, clients) = (Authority::new(), Authority::new());
    let mut stage = asking(&server, &clients, true).await;
    stage.system.gateway.auth = Some(Auth { certificates: false, ..by_certificate() });
    stage.apply().await.unwrap();
    let (status, _) = ask(&stage, &server, Some(clients.client("orders", None))).await.unwrap();
    assert_eq!(status, 401);
    stage.stop().await;
}

/// A session would go on although the certificate, or who signs them, is not taken any more.
#[tokio::test]
async fn sessions_of_clients_with_certificates_begin_anew() {
    let (server, clients) = (Authority::new(), Authority::new());
    let stage = asking(&server, &clients, true).await;
    for version in [&TLS13, &TLS12] {
        let config = server.trusting(&["http/1.1"], &[version], Some(clients.client("orders", None)));
        for _ in 0..2 {
            let stream = connect(&stage, "shop.example", config.clone()).await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
            assert_eq!(get(stream, "shop.example").await.0, 200);
        }
    }
    let others = Authority::new();
    let changed = Credentials {
        clients: Some(Clients { authorities: others.authorities(), required: true, revoked: None }),
        ..shown(vec![server.certificate("shop.example")])
    };
    stage.tls.as_ref().map(|tls: &Tls| tls.replace(changed).unwrap()).unwrap();
    assert_eq!(ask(&stage, &server, Some(clients.client("orders", None))).await, None);
    stage.stop().await;
}

/// From the next connection on; and an authority whose list is missing might have taken back anything.
#[tokio::test]
async fn a_certificate_that_was_taken_back_lets_nobody_in() {
    let (server, clients) = (Authority::new(), Authority::new());
    let credentials = |revoked| {
        let clients = Clients { authorities: clients.authorities(), required: true, revoked };
        Credentials { clients: Some(clients), ..shown(vec![server.certificate("shop.example")]) }
    };
    let stage = stage(config(), credentials(None)).await;
    let status = async |number| {
        let own = clients.numbered("orders", None, Some(number));
        ask(&stage, &server, Some(own)).await.map(|(status, _)| status)
    };
    assert_eq!((status(7).await, status(8).await), (Some(200), Some(200)));
    let tls = stage.tls.clone().unwrap();
    tls.replace(credentials(Some(clients.revoked(&[7])))).unwrap();
    assert_eq!((status(7).await, status(8).await), (None, Some(200)));
    tls.replace(credentials(Some(clients.revoked(&[])))).unwrap();
    assert_eq!(status(7).await, Some(200));
    tls.replace(credentials(Some(server.revoked(&[])))).unwrap();
    assert_eq!(status(8).await, None, "it is another's list");
    stage.stop().await;
}

#[test]
fn a_list_is_one() {
    for (pem, expected) in [
        ("", "there is no list"),
        ("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n", "it is no list"),
    ] {
        let error = Revoked::read(pem.as_bytes()).map(drop).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

//! For whom a request is made, on its way through a running gateway.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use madang_gateway::KeySource;
use madang_model::{Auth, ClaimPath, Demand, Issuer, Protocol, Require};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::stage::{Client, Stage, config, http2, mirror, system, until};

const ISSUER: &str = "https://id.example";

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap()
}

fn token(scope: &str) -> String {
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let ends = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 300;
    let claims = json!({ "iss": ISSUER, "aud": "test", "sub": "alice", "exp": ends, "scope": scope });
    let message = format!("{}.{}", part(&json!({ "alg": "EdDSA", "kid": "a" })), part(&claims));
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(pair().sign(message.as_bytes())))
}

/// Answers with the key once it may.
struct Source {
    gate: Semaphore,
    asked: AtomicU32,
}

impl KeySource for Source {
    fn fetch<'a>(&'a self, _: &'a Issuer) -> BoxFuture<'a, Result<Bytes, String>> {
        async {
            self.asked.fetch_add(1, Relaxed);
            self.gate.acquire().await.unwrap().forget();
            let x = URL_SAFE_NO_PAD.encode(pair().public_key());
            Ok(json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": x }] }).to_string().into())
        }
        .boxed()
    }
}

/// A gateway that asks for the scope `read` on the way to `users`, which mirrors what reaches it.
async fn stage(protocol: Protocol) -> (Stage, Arc<Source>) {
    let mut system = system(&["- /** -> users", "- /orders -> orders"]);
    let issuer = Issuer {
        issuer: ISSUER.to_owned(),
        discovery: format!("{ISSUER}/.well-known/openid-configuration").parse().unwrap(),
        jwks: None,
        audience: ["test".to_owned()].into(),
        roles: ClaimPath::roles(),
        claims: [].into(),
    };
    system.gateway.auth = Some(Auth {
        issuers: vec![issuer],
        keys: None,
        certificates: false,
        leeway: Duration::from_secs(60),
    });
    system.routes[0].require =
        Some(Require::Of(Demand { scope: ["read".to_owned()].into(), ..Demand::default() }));
    let mut stage = Stage::start(config(), system, Vec::new()).await;
    stage.add("users", mirror(protocol).await, protocol);
    let source = Arc::new(Source { gate: Semaphore::new(0), asked: AtomicU32::new(0) });
    tokio::spawn(stage.identity.clone().run(source.clone()));
    (stage, source)
}

fn field<'a>(mirrored: &'a str, name: &str) -> Option<&'a str> {
    mirrored.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test]
async fn a_request_waits_for_the_key_of_its_token() {
    let (stage, source) = stage(Protocol::Http).await;
    let bearer = format!("Bearer {}", token("read"));
    let asking = {
        let (mut client, bearer) = (stage.client().await, bearer.clone());
        tokio::spawn(async move { client.ask(Method::GET, "/1", &[("authorization", &bearer)]).await })
    };
    until(|| source.asked.load(Relaxed) == 1).await;
    assert!(!asking.is_finished());
    source.gate.add_permits(1);
    let answer = asking.await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let signed = field(answer.text(), "madang-principal").unwrap().to_owned();
    assert_eq!((signed.split('.').count(), field(answer.text(), "authorization")), (3, None));
    let again = stage.client().await.ask(Method::GET, "/2", &[("authorization", &bearer)]).await;
    assert_eq!(again.status, 200, "and the next one does not");
    assert_eq!(source.asked.load(Relaxed), 1);
    stage.stop().await;
}

#[tokio::test]
async fn a_refusal_is_a_problem_with_a_challenge_and_a_record_that_names_nobody() {
    let (stage, source) = stage(Protocol::Http).await;
    source.gate.add_permits(1);
    let mut client = stage.client().await;
    let nobody = client.get("/1").await;
    assert_eq!((nobody.status.as_u16(), &*nobody.problem().code), (401, "MDG-AUTH-001"));
    assert_eq!(nobody.headers["www-authenticate"], "Bearer realm=\"test\"");
    let bearer = format!("Bearer {}", token("write"));
    let lacks = client.ask(Method::GET, "/1", &[("authorization", &bearer)]).await;
    assert_eq!((lacks.status.as_u16(), &*lacks.problem().code), (403, "MDG-AUTH-003"));
    let challenge = "Bearer realm=\"test\", error=\"insufficient_scope\", scope=\"read\"";
    assert_eq!(lacks.headers["www-authenticate"], challenge);
    let mut records = Vec::new();
    until(|| {
        records.extend(stage.handle.records());
        records.len() >= 2
    })
    .await;
    let codes: Vec<_> = records.iter().map(|record| record.code.as_deref()).collect();
    assert_eq!(codes, [Some("MDG-AUTH-001"), Some("MDG-AUTH-003")]);
    let kept = serde_json::to_string(&records).unwrap();
    assert!(!kept.contains("alice") && !kept.contains("eyJ"), "{kept}");
    stage.stop().await;
}

#[tokio::test]
async fn grpc_is_told_in_its_own_terms() {
    let (stage, source) = stage(Protocol::Grpc).await;
    source.gate.add_permits(1);
    let mut client = http2(stage.address()).await;
    for (bearer, status) in [(None, "16"), (Some("x.y.z".to_owned()), "16"), (Some(token("write")), "7")] {
        let mut request = Request::post(format!("http://{}/shop.Users/Get", stage.address()))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(bearer) = &bearer {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        let answer = client.send_request(request.body(Full::default()).unwrap()).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["grpc-status"]),
            (200, &status.parse::<http::HeaderValue>().unwrap())
        );
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(body.is_empty(), "{bearer:?}");
    }
    stage.stop().await;
}

/// A door is for services, which are not asked; it hands on what they were told.
#[tokio::test]
async fn a_door_hands_a_principal_on_and_asks_nobody() {
    let (mut stage, _) = stage(Protocol::Http).await;
    let door = stage.open_door(&["orders"], "users").await;
    let mut client = Client::new(door).await;
    let answer = client.ask(Method::GET, "/1", &[("madang-principal", "e30.e30.c2ln")]).await;
    assert_eq!(
        (answer.status.as_u16(), field(answer.text(), "madang-principal")),
        (200, Some("e30.e30.c2ln"))
    );
    let answer = client.ask(Method::GET, "/1", &[("authorization", "Basic eDp5")]).await;
    assert_eq!(field(answer.text(), "authorization"), Some("Basic eDp5"), "what is between services stays");
    assert_eq!(field(answer.text(), "madang-principal"), None);
    stage.stop().await;
}

//! A request before a guard, from its headers to who it is for.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName};
use madang_model::{ServiceName, System};
use madang_wire::principal::PrincipalClaims;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, yield_now};

use super::{
    ApiKey, Identity,
    cache::Cache,
    denied::{Bad, Denied, Reason},
    guard::{Admission, Guard, Visitor},
    identity::guard,
    testing::{NOW, Signer, Source, document},
};

const MANIFEST: &str = r#"
[system]
name = "shop"

[gateway.auth]
keys = true
issuers = [{ issuer = "https://id.example", audience = "shop", claims = ["tenant"] }]

[services.users]
run = false
routes = [
    "/closed",
    { path = "/open", require = "none" },
    { path = "/write", require = { scope = ["write"] } },
    { path = "/acme", require = { claim = { tenant = "acme" } } },
]
"#;

struct Stage {
    identity: Identity,
    system: System,
    clock: Arc<AtomicU64>,
    cache: Mutex<Cache>,
    task: JoinHandle<()>,
}

impl Stage {
    async fn new(signers: &[&Signer]) -> Self {
        let clock = Arc::new(AtomicU64::new(NOW));
        let time = clock.clone();
        let identity = Identity::at(&[1; 32], Arc::new(move || time.load(Relaxed)));
        let source = Source::new(Ok(document(signers)));
        source.release(1000);
        let system = system(MANIFEST);
        identity.follow(identity.gatekeeper(&system));
        let task = tokio::spawn(identity.clone().run(source));
        for _ in 0..20 {
            yield_now().await;
        }
        Self { identity, system, clock, cache: Mutex::default(), task }
    }

    fn guard(&self, path: &str) -> Option<Arc<Guard>> {
        let route = self.system.routes.iter().find(|route| route.path == path).unwrap();
        let gatekeeper = self.identity.gatekeeper(&self.system);
        guard(gatekeeper.as_ref(), &self.system, Some(route), &"users".parse::<ServiceName>().unwrap())
    }

    /// What comes of these headers on the way to a path: what the service is told, or why not.
    fn ask(&self, path: &str, headers: &mut HeaderMap) -> Result<PrincipalClaims, Reason> {
        self.ask_from("192.0.2.1", path, headers)
    }

    fn ask_from(&self, client: &str, path: &str, headers: &mut HeaderMap) -> Result<PrincipalClaims, Reason> {
        let visitor = Visitor { address: client.parse::<IpAddr>().unwrap(), cache: &self.cache, peer: None };
        match self.guard(path).unwrap().admit(&http::Method::GET, headers, visitor, true) {
            Admission::As(known) => Ok(told(known.principal.signed().to_str().unwrap())),
            Admission::Not(Denied { realm, reason }) => {
                assert_eq!(&*realm, "shop");
                Err(reason)
            }
            Admission::Wait(_) | Admission::Nobody => panic!("the keys are there, and it asks"),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn system(manifest: &str) -> System {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("madang.toml"), manifest).unwrap();
    madang_model::manifest::load(folder.path(), &|_| None).unwrap().system
}

fn told(signed: &str) -> PrincipalClaims {
    let payload = signed.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn bearer(token: &str) -> HeaderMap {
    [(http::header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())].into_iter().collect()
}

#[tokio::test]
async fn a_good_token_says_who_it_is_and_goes_no_further() {
    let signer = Signer::new("a");
    let stage = Stage::new(&[&signer]).await;
    let more = json!({ "scope": "read write", "roles": ["clerk"], "tenant": "acme", "email": "a@b.example" });
    for path in ["/closed", "/write", "/acme"] {
        let mut headers = bearer(&signer.token(&more));
        headers.insert("x-other", "stays".parse().unwrap());
        let told = stage.ask(path, &mut headers).unwrap();
        assert_eq!((told.sub.as_str(), told.from.as_str()), ("alice", "https://id.example"));
        assert_eq!((told.scope.as_str(), told.roles), ("read write", vec!["clerk".to_owned()]));
        assert_eq!(told.claims, [("tenant".to_owned(), json!("acme"))].into(), "and no other claim");
        assert_eq!((told.iat, told.exp), (NOW, NOW + 600));
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-other"], "the token stays here");
    }
}

/// Each row is a request that is not let in, and why.
#[tokio::test]
async fn nobody_else_is_let_in() {
    let (signer, stranger) = (Signer::new("a"), Signer::new("stranger"));
    let stage = Stage::new(&[&signer]).await;
    let of = |changes: Value| bearer(&signer.token(&changes));
    let good = signer.token(&json!({}));
    let (head, signature) = good.rsplit_once('.').unwrap();
    let forged = stranger.sign(
        &json!({ "alg": "EdDSA", "kid": "a" }),
        &json!({ "iss": "https://id.example", "aud": "shop", "sub": "root", "exp": NOW + 9 }),
    );
    let secret =
        format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), head.split('.').nth(1).unwrap());
    // Signed with what everybody may know: the key as bytes, and as its document has it.
    let by_public = |key: &[u8]| {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","kid":"a"}"#);
        let message = format!("{header}.{}", head.split('.').nth(1).unwrap());
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
        bearer(&format!("{message}.{}", URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, message.as_bytes()))))
    };
    let without = |name: &str| {
        let mut claims =
            json!({ "iss": "https://id.example", "aud": "shop", "sub": "alice", "exp": NOW + 300 });
        claims.as_object_mut().unwrap().remove(name);
        bearer(&signer.sign(&json!({ "alg": "EdDSA", "kid": "a" }), &claims))
    };
    let jwk = signer.jwk();
    let public = URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap();
    for (headers, expected) in [
        (HeaderMap::new(), Reason::Nobody),
        (by_public(&public), Bad::Algorithm.into()),
        (by_public(jwk.to_string().as_bytes()), Bad::Algorithm.into()),
        (without("iss"), Bad::Issuer.into()),
        (without("aud"), Bad::Audience.into()),
        (without("exp"), Bad::NoEnd.into()),
        (of(json!({ "exp": NOW - 60 })), Bad::Expired.into()),
        (of(json!({ "nbf": NOW + 61 })), Bad::Early.into()),
        (of(json!({ "aud": "another-shop" })), Bad::Audience.into()),
        (of(json!({ "iss": "https://evil.example" })), Bad::Issuer.into()),
        (of(json!({ "sub": null })), Bad::Subject.into()),
        (bearer(&forged), Bad::Signature.into()),
        (
            bearer(&format!(
                "{head}.{}",
                signature.replacen(&signature[..1], if signature.starts_with('A') { "B" } else { "A" }, 1)
            )),
            Bad::Signature.into(),
        ),
        (bearer(&secret), Bad::Algorithm.into()),
        (bearer(&stranger.token(&json!({}))), Bad::UnknownKey.into()),
        (bearer("mk_0011_secret"), Bad::ApiKey.into()),
        (bearer(""), Bad::Form.into()),
    ] {
        let mut given = headers.clone();
        assert_eq!(stage.ask("/closed", &mut given), Err(expected), "{headers:?}");
        assert_eq!(given, headers, "what is refused is not changed");
    }
    assert!(stage.guard("/open").is_none(), "nobody is asked there");
}

/// What the gateway signs is for services: outside it is worth nothing.
#[tokio::test]
async fn what_services_are_told_lets_nobody_in() {
    let signer = Signer::new("a");
    let stage = Stage::new(&[&signer]).await;
    let visitor = Visitor { address: "192.0.2.1".parse().unwrap(), cache: &stage.cache, peer: None };
    let token = signer.token(&json!({}));
    let admitted =
        stage.guard("/closed").unwrap().admit(&http::Method::GET, &mut bearer(&token), visitor, true);
    let Admission::As(known) = admitted else { panic!("a good token") };
    let replayed = known.principal.signed().to_str().unwrap();
    assert_eq!(stage.ask("/closed", &mut bearer(replayed)), Err(Bad::Kind.into()));
}

#[tokio::test]
async fn a_route_is_told_what_it_asks_for() {
    let signer = Signer::new("a");
    let stage = Stage::new(&[&signer]).await;
    let mut headers = bearer(&signer.token(&json!({ "scope": "read", "tenant": "other" })));
    let Err(Reason::Lacks { lacks, scopes }) = stage.ask("/write", &mut headers) else {
        panic!("it lacks one")
    };
    assert_eq!((lacks.as_str(), scopes), ("the scope write", ["write".to_owned()].into()));
    assert!(matches!(stage.ask("/acme", &mut headers), Err(Reason::Lacks { .. })));
    assert!(stage.ask("/closed", &mut headers).is_ok());
}

#[tokio::test]
async fn what_was_verified_ends_with_the_token_and_is_verified_anew_in_between() {
    let signer = Signer::new("a");
    let stage = Stage::new(&[&signer]).await;
    let token = signer.token(&json!({ "exp": NOW + 700 }));
    assert_eq!(stage.ask("/closed", &mut bearer(&token)).unwrap().iat, NOW);
    stage.clock.store(NOW + 299, Relaxed);
    assert_eq!(stage.ask("/closed", &mut bearer(&token)).unwrap().iat, NOW, "it is known");
    stage.clock.store(NOW + 300, Relaxed);
    assert_eq!(stage.ask("/closed", &mut bearer(&token)).unwrap().iat, NOW + 300, "and looked at again");
    stage.clock.store(NOW + 599, Relaxed);
    assert!(stage.ask("/closed", &mut bearer(&token)).is_ok());
    stage.clock.store(NOW + 760, Relaxed);
    assert_eq!(stage.ask("/closed", &mut bearer(&token)), Err(Bad::Expired.into()));
}

#[tokio::test]
async fn an_api_key_is_good_until_it_is_revoked() {
    let stage = Stage::new(&[&Signer::new("a")]).await;
    let text = ApiKey::text("0011", "secret");
    let key = ApiKey {
        id: "0011".to_owned(),
        name: "ci".to_owned(),
        hash: ApiKey::hash(&text),
        scopes: ["write".to_owned()].into(),
        expires: Some(NOW + 100),
    };
    stage.identity.take_api_keys([key.clone()]);
    let name = HeaderName::from_static("x-api-key");
    for mut headers in [bearer(&text), [(name, text.parse().unwrap())].into_iter().collect()] {
        let told = stage.ask("/write", &mut headers).unwrap();
        assert_eq!((told.sub.as_str(), told.from.as_str(), told.scope.as_str()), ("key:ci", "key", "write"));
        assert!(headers.is_empty());
    }
    assert!(matches!(stage.ask("/acme", &mut bearer(&text)), Err(Reason::Lacks { .. })));
    stage.identity.take_api_keys([]);
    assert_eq!(stage.ask("/write", &mut bearer(&text)), Err(Bad::ApiKey.into()), "at once");
    stage.identity.take_api_keys([key]);
    stage.clock.store(NOW + 100, Relaxed);
    assert_eq!(stage.ask("/write", &mut bearer(&text)), Err(Bad::Expired.into()));
}

#[tokio::test(start_paused = true)]
async fn bad_signatures_cost_their_client_and_nobody_who_is_known() {
    let (signer, stranger) = (Signer::new("a"), Signer::new("stranger"));
    let stage = Stage::new(&[&signer]).await;
    let known = signer.token(&json!({}));
    assert!(stage.ask("/closed", &mut bearer(&known)).is_ok());
    let bad = |n: u64| {
        let claims =
            json!({ "iss": "https://id.example", "aud": "shop", "sub": "x", "exp": NOW + 9, "n": n });
        bearer(&stranger.sign(&json!({ "alg": "EdDSA", "kid": "a" }), &claims))
    };
    let looked_at = (0..500).filter(|n| stage.ask("/closed", &mut bad(*n)) == Err(Bad::Signature.into()));
    assert_eq!(looked_at.count(), 50, "the rest is not verified at all");
    let fresh = signer.token(&json!({ "jti": "fresh" }));
    assert!(matches!(stage.ask("/closed", &mut bearer(&fresh)), Err(Reason::TooMany { .. })));
    assert!(stage.ask("/closed", &mut bearer(&known)).is_ok(), "whoever is known does not notice");
    assert!(stage.ask_from("198.51.100.7", "/closed", &mut bearer(&fresh)).is_ok(), "nor do others");
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    let again = signer.token(&json!({ "jti": "again" }));
    assert!(stage.ask("/closed", &mut bearer(&again)).is_ok(), "it earns them back");
}

#[tokio::test]
async fn an_edit_that_changes_nothing_of_it_forgets_nobody() {
    let signer = Signer::new("a");
    let mut stage = Stage::new(&[&signer]).await;
    let token = signer.token(&json!({}));
    stage.ask("/closed", &mut bearer(&token)).unwrap();
    let before = stage.identity.gatekeeper(&stage.system).unwrap();
    stage.system.routes.remove(0);
    stage.system.routes[0].path = "/closed".to_owned();
    stage.system.routes[0].require = None;
    let after = stage.identity.gatekeeper(&stage.system).unwrap();
    assert!(Arc::ptr_eq(&before, &after));
    stage.clock.store(NOW + 1, Relaxed);
    assert_eq!(stage.ask("/closed", &mut bearer(&token)).unwrap().iat, NOW, "from the cache");

    let auth = stage.system.gateway.auth.as_mut().unwrap();
    auth.issuers[0].audience = ["cart".to_owned()].into();
    stage.identity.follow(stage.identity.gatekeeper(&stage.system));
    let asked = stage.ask("/closed", &mut bearer(&token));
    assert_eq!(asked, Err(Bad::Audience.into()), "what is known is asked anew where it may matter");
    stage.system.gateway.auth = None;
    assert!(stage.identity.gatekeeper(&stage.system).is_none());
}

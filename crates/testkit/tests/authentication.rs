//! Who clients are, from outside: through the real gateway, with an issuer of the tests' own.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{Json, Router, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Method;
use madang_testkit::{Answer, Placement, Prepared, TestSystem};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const PROGRAM: &str = include_str!("programs/service.py");

const SYSTEM: &str = r#"
    [gateway]
    listen = "127.0.0.1:{gateway}"

    [gateway.auth]
    keys = true
    issuers = [{ issuer = "{issuer}", audience = "shop", roles = "realm_access.roles", claims = ["tenant"] }]

    [services.users]
    run = "python3 service.py"

    [services.orders]
    run = "python3 service.py"
    calls = ["users"]
    routes = [
        "/**",
        { path = "/open/**", require = "none" },
        { path = "/admin/**", require = { role = "admin" } },
        { path = "/orders/**", require = { scope = "orders" } },
    ]
"#;

/// An issuer: its document of discovery, its keys, and how often these were asked for.
struct Issuer {
    url: String,
    kid: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

fn pair(kid: &str) -> Ed25519KeyPair {
    let mut seed = [0; 32];
    seed[..kid.len()].copy_from_slice(kid.as_bytes());
    Ed25519KeyPair::from_seed_unchecked(&seed).unwrap()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Issuer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let url = format!("http://{address}/realms/shop");
        let (kid, asked) = (Arc::new(Mutex::new("first".to_owned())), Arc::<AtomicUsize>::default());
        let found = json!({ "issuer": url, "jwks_uri": format!("http://{address}/keys") });
        let keys = {
            let (kid, asked) = (kid.clone(), asked.clone());
            move || {
                asked.fetch_add(1, Relaxed);
                let kid = kid.lock().unwrap().clone();
                let x = URL_SAFE_NO_PAD.encode(pair(&kid).public_key());
                async move { Json(json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x }] })) }
            }
        };
        let router = Router::new()
            .route("/realms/shop/.well-known/openid-configuration", get(|| async { Json(found) }))
            .route("/keys", get(keys));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, kid, asked }
    }

    /// From now on it has another key, and not the one before.
    fn rotate(&self, kid: &str) {
        kid.clone_into(&mut self.kid.lock().unwrap());
    }

    /// A token for `shop`, good for five minutes, with these claims besides, signed by the key that it has.
    fn token(&self, more: &Value) -> String {
        let mut claims = json!({ "iss": self.url, "aud": "shop", "sub": "alice", "exp": now() + 300 });
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let kid = self.kid.lock().unwrap().clone();
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&json!({ "alg": "EdDSA", "kid": kid })), part(&claims));
        let signature = URL_SAFE_NO_PAD.encode(pair(&kid).sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

async fn start(issuer: &Issuer) -> TestSystem {
    let prepared = Prepared::with(&SYSTEM.replace("{issuer}", &issuer.url));
    prepared.write("service.py", PROGRAM);
    prepared.start(Placement::Processes).await
}

async fn ask(system: &TestSystem, path: &str, headers: &[(&str, &str)]) -> Answer {
    system.client().send(Method::GET, path, headers, "").await.unwrap()
}

async fn with(system: &TestSystem, path: &str, token: &str) -> Answer {
    ask(system, path, &[("authorization", &format!("Bearer {token}"))]).await
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str, challenge: &str) {
    assert_eq!(
        (answer.status.as_u16(), answer.json()["code"].as_str()),
        (status, Some(code)),
        "{}",
        answer.text()
    );
    let given = answer.headers.get("www-authenticate").map_or("", |value| value.to_str().unwrap());
    assert!(given.contains(challenge), "{given}");
}

/// What a service read of whom a request is for, verified as any program would.
fn told(signed: &str, keys: &str) -> Value {
    let keys: Value = serde_json::from_str(keys).unwrap();
    let (message, signature) = signed.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let read = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let header: Value = serde_json::from_slice(&read(header)).unwrap();
    assert_eq!((&header["alg"], &header["typ"]), (&json!("EdDSA"), &json!("madang-principal+jwt")));
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).unwrap();
    let key = UnparsedPublicKey::new(&ED25519, read(key["x"].as_str().unwrap()));
    key.verify(message.as_bytes(), &read(signature)).unwrap();
    serde_json::from_slice(&read(payload)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_an_issuer_opens_the_door_and_nothing_that_is_made_up_does() {
    let issuer = Issuer::start().await;
    let system = start(&issuer).await;
    let good =
        issuer.token(&json!({ "scope": "orders", "tenant": "acme", "realm_access": { "roles": ["clerk"] } }));
    let environment = with(&system, "/env", &good).await.json();
    let keys = environment["MADANG_PRINCIPAL_KEYS"].as_str().unwrap();

    // Somebody who is known, as the service and whoever it calls see them.
    let seen = with(&system, "/orders/7", &good).await.json();
    let signed = seen["headers"]["madang-principal"].as_str().unwrap().to_owned();
    let alice = told(&signed, keys);
    assert_eq!(
        (&alice["sub"], &alice["from"], &alice["scope"]),
        (&json!("alice"), &json!(issuer.url), &json!("orders"))
    );
    assert_eq!((&alice["roles"], &alice["claims"]), (&json!(["clerk"]), &json!({ "tenant": "acme" })));
    assert_eq!(seen["headers"]["authorization"], Value::Null, "the token stays at the gateway");
    let further = with(&system, "/call/users/1", &good).await.json();
    assert_eq!(
        (&further["service"], &further["headers"]["madang-principal"]),
        (&json!("users"), &json!(signed))
    );

    // Nobody, and what is not good.
    refused(&ask(&system, "/x", &[]).await, 401, "MDG-AUTH-001", "Bearer realm=");
    for (more, why) in [
        (json!({ "exp": now() - 120 }), "it has expired"),
        (json!({ "aud": "another" }), "it is for another audience"),
        (json!({ "nbf": now() + 300 }), "it is not valid yet"),
        (json!({ "iss": "https://evil.example" }), "its issuer is none"),
    ] {
        let answer = with(&system, "/x", &issuer.token(&more)).await;
        refused(&answer, 401, "MDG-AUTH-002", why);
        assert!(!answer.text().contains("eyJ"), "nothing of the token is said");
    }
    refused(&with(&system, "/admin/x", &good).await, 403, "MDG-AUTH-003", "error=\"insufficient_scope\"");
    let none = issuer.token(&json!({}));
    refused(&with(&system, "/orders/7", &none).await, 403, "MDG-AUTH-003", "scope=\"orders\"");

    // What the gateway says is not taken from outside, nor good there.
    let forged = format!("{}.{}", signed.rsplit_once('.').unwrap().0, "AAAA");
    for header in [signed.as_str(), &forged, "alice"] {
        let open = ask(&system, "/open/x", &[("madang-principal", header)]).await.json();
        assert_eq!(open["headers"]["madang-principal"], Value::Null, "{header}");
        refused(&ask(&system, "/x", &[("madang-principal", header)]).await, 401, "MDG-AUTH-001", "Bearer");
    }
    let both = [("authorization", &*format!("Bearer {none}")), ("madang-principal", &*signed)];
    let both = ask(&system, "/x", &both).await.json();
    let said = told(both["headers"]["madang-principal"].as_str().unwrap(), keys);
    assert_eq!(said["scope"], Value::Null, "it is the token that says it");
    refused(&with(&system, "/x", &signed).await, 401, "MDG-AUTH-002", "another kind of token");

    // The issuer has a new key: the first token that names it is waited for, the old one is good for nothing.
    assert_eq!(issuer.asked.load(Relaxed), 1);
    issuer.rotate("second");
    assert_eq!(with(&system, "/x", &issuer.token(&json!({}))).await.status, 200);
    assert_eq!(issuer.asked.load(Relaxed), 2);
    refused(&with(&system, "/x", &good).await, 401, "MDG-AUTH-002", "no key of this kid");
    for n in 0..100 {
        issuer.rotate(&format!("bogus-{n}"));
        refused(
            &with(&system, "/x", &issuer.token(&json!({}))).await,
            401,
            "MDG-AUTH-002",
            "no key of this kid",
        );
    }
    assert_eq!(issuer.asked.load(Relaxed), 2, "it cools down");

    let logs = std::fs::read_to_string(system.path().join("up.log")).unwrap();
    assert!(!logs.contains(&good) && !logs.contains(&signed), "no log has a token");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_is_good_until_it_is_revoked_over_a_restart_too() {
    let issuer = Issuer::start().await;
    let mut system = start(&issuer).await;
    let key = system.run(&["key", "create", "ci", "--scope", "orders", "--expires", "90d"]).await;
    let key = key.trim_end();
    assert!(key.starts_with("mk_"), "{key}");
    assert_eq!(with(&system, "/orders/7", key).await.status, 200);
    let seen = ask(&system, "/orders/7", &[("x-api-key", key)]).await.json();
    assert_eq!(seen["headers"]["x-api-key"], Value::Null);
    let environment = with(&system, "/env", key).await.json();
    let said = seen["headers"]["madang-principal"].as_str().unwrap();
    assert_eq!(told(said, environment["MADANG_PRINCIPAL_KEYS"].as_str().unwrap())["sub"], "key:ci");
    refused(&with(&system, "/admin/x", key).await, 403, "MDG-AUTH-003", "insufficient_scope");
    let mut wrong = key.to_owned();
    wrong.replace_range(key.len() - 1.., if key.ends_with('0') { "1" } else { "0" });
    refused(&with(&system, "/orders/7", &wrong).await, 401, "MDG-AUTH-002", "no such API key");

    system.kill_node().await;
    system.up(Placement::Processes).await;
    assert_eq!(with(&system, "/orders/7", key).await.status, 200, "it is kept");
    let again = with(&system, "/env", key).await.json();
    assert_eq!(again["MADANG_PRINCIPAL_KEYS"], environment["MADANG_PRINCIPAL_KEYS"]);
    let listed: Value =
        serde_json::from_str(&system.run(&["key", "list", "--format", "json"]).await).unwrap();
    assert_eq!((&listed[0]["name"], &listed[0]["scopes"]), (&json!("ci"), &json!(["orders"])));
    assert!(!listed.to_string().contains(key.rsplit('_').next().unwrap()));

    system.run(&["key", "revoke", "ci"]).await;
    refused(&with(&system, "/orders/7", key).await, 401, "MDG-AUTH-002", "no such API key");
    let audit = system.run(&["audit"]).await;
    assert!(audit.contains("make an API key") && audit.contains("revoke the API key ci"), "{audit}");
}

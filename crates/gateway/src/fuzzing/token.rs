//! Who is let in: by tokens that were signed by the key and say what is asked for, and by nothing else.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use http::{HeaderMap, HeaderValue, Method, header::AUTHORIZATION};
use serde_json::{Map, Value, json};

use crate::auth::{
    Identity,
    cache::Cache,
    guard::{Admission, Guard, Visitor},
    identity::guard,
    jwk::Keys,
    testing::{NOW, Signer, Source, document},
};

const MANIFEST: &str = r#"
[system]
name = "shop"
[gateway.auth]
issuers = [{ issuer = "https://id.example", audience = "shop" }]
[services.users]
run = false
routes = ["/**"]
"#;

/// Longer ones are refused before anything looks at them.
const LONGEST: usize = 8 * 1024;

/// The first byte says how the rest is meant: as a token, as places where a good token is changed, as the header and the
/// claims of one that is signed, or as a document of keys.
///
/// # Panics
/// If somebody is let in who should not be, or anything panics.
pub fn token(bytes: &[u8]) {
    thread_local! {
        static STAGE: Stage = Stage::new();
    }
    let Some((how, rest)) = bytes.split_first() else { return };
    STAGE.with(|stage| match how {
        b't' => {
            let text = std::str::from_utf8(rest).unwrap_or_default();
            assert!(stage.asks(text).is_none() || text.trim() == stage.good, "{text}");
        }
        b'c' => {
            let text = changed(&stage.good, rest);
            assert!(stage.asks(&text).is_none() || text == stage.good, "{text}");
        }
        b's' => stage.signed(rest),
        b'k' => drop(Keys::read(rest)),
        _ => {}
    });
}

struct Stage {
    guard: Arc<Guard>,
    signer: Signer,
    good: String,
    /// Counts clients, so that none has sent too many bad ones.
    clients: AtomicU32,
}

impl Stage {
    fn new() -> Self {
        let signer = Signer::new("a");
        let system = super::system(MANIFEST);
        let identity = Identity::at(&[1; 32], Arc::new(|| NOW));
        identity.follow(identity.gatekeeper(&system));
        let source = Source::new(Ok(document(&[&signer])));
        source.release(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("there is a runtime").block_on(async {
            let fetching = tokio::spawn(identity.clone().run(source));
            while identity.counts().keys_fetched == 0 {
                tokio::task::yield_now().await;
            }
            fetching.abort();
        });
        let gatekeeper = identity.gatekeeper(&system);
        let users = "users".parse().expect("a name");
        let guard = guard(gatekeeper.as_ref(), &system, system.routes.first(), &users);
        let good = signer.token(&json!({}));
        let stage = Self {
            guard: guard.expect("the route is closed"),
            signer,
            good: good.clone(),
            clients: AtomicU32::new(0),
        };
        assert!(stage.asks(&good).is_some(), "the good one is let in");
        stage
    }

    /// As whom somebody is let in.
    fn asks(&self, token: &str) -> Option<String> {
        let value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
        let mut headers: HeaderMap = [(AUTHORIZATION, value)].into_iter().collect();
        let address = IpAddr::V4(Ipv4Addr::from(self.clients.fetch_add(1, Relaxed)));
        let visitor = Visitor { address, cache: &Mutex::<Cache>::default(), peer: None };
        match self.guard.admit(&Method::GET, &mut headers, visitor, true) {
            Admission::As(known) => Some(known.who.subject.clone()),
            Admission::Nobody => panic!("nobody is let in without a token"),
            Admission::Wait(_) => panic!("it has waited"),
            Admission::Not(_) => None,
        }
    }

    /// A token that the key has signed lets in whom it names, if it says all that is asked for.
    fn signed(&self, bytes: &[u8]) {
        let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
        let mut json = || serde_json::from_slice::<Value>(parts.next().unwrap_or_default()).ok();
        let (Some(header), Some(claims)) = (json(), json()) else { return };
        let token = self.signer.sign(&header, &claims);
        if let Some(subject) = self.asks(&token) {
            let (Value::Object(header), Value::Object(claims)) = (&header, &claims) else {
                panic!("{token} says nothing")
            };
            assert!(token.len() <= LONGEST && fits(header, claims), "{header:?} {claims:?}");
            assert_eq!(claims["sub"].as_str(), Some(&*subject), "{claims:?}");
        }
    }
}

/// What must be so of a token that lets somebody in, as the standards say it (RFC 7519, RFC 8725).
fn fits(header: &Map<String, Value>, claims: &Map<String, Value>) -> bool {
    let text = |of: &Map<String, Value>, name: &str| of.get(name).and_then(Value::as_str).map(str::to_owned);
    let seconds = |name: &str| claims.get(name).map(|value| value.as_f64().unwrap_or(f64::NAN));
    let now = NOW as f64;
    let for_shop = match claims.get("aud") {
        Some(Value::String(one)) => one == "shop",
        Some(Value::Array(all)) => all.iter().any(|one| one == "shop"),
        _ => false,
    };
    let kind = text(header, "typ").map(|kind| kind.to_ascii_lowercase().replace("application/", ""));
    text(header, "alg").as_deref() == Some("EdDSA")
        && !header.contains_key("crit")
        && header.get("kid").is_none_or(|kid| kid.is_null() || kid == "a")
        && kind.is_none_or(|kind| kind == "jwt" || kind == "at+jwt")
        && text(claims, "iss").as_deref() == Some("https://id.example")
        && for_shop
        && seconds("exp").is_some_and(|ends| ends > now - 61.0)
        && seconds("nbf").is_none_or(|begins| begins < now + 61.0)
        && seconds("iat").is_none_or(|begins| begins < now + 61.0)
        && text(claims, "sub").is_some_and(|name| !name.is_empty())
}

/// The good one with other bytes at some places: two bytes say where, one what.
fn changed(good: &str, changes: &[u8]) -> String {
    let mut text = good.as_bytes().to_vec();
    for change in changes.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % text.len();
        text[at] = change[2];
    }
    String::from_utf8_lossy(&text).into_owned()
}

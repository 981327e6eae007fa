//! An issuer of the bench's own, and what signatures cost.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use madang_gateway::KeySource;
use madang_model::Issuer;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::gateway::ISSUER;

/// Gives out the key of the bench.
pub struct Source;

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[5; 32]).expect("a seed of 32 bytes makes a key")
}

impl KeySource for Source {
    fn fetch<'a>(&'a self, _: &'a Issuer) -> BoxFuture<'a, Result<Bytes, String>> {
        let x = URL_SAFE_NO_PAD.encode(pair().public_key());
        let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": x }] });
        async move { Ok(keys.to_string().into()) }.boxed()
    }
}

/// A token that is good for a day.
pub fn token() -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let claims =
        json!({ "iss": ISSUER, "aud": "bench", "sub": "alice", "exp": now + 86_400, "scope": "read write" });
    let message = format!("{}.{}", part(&json!({ "alg": "EdDSA", "kid": "a" })), part(&claims));
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(pair().sign(message.as_bytes())))
}

/// What it takes to make a signature, and to verify one.
pub fn signatures() -> (Duration, Duration) {
    const MANY: u32 = 5000;
    let (pair, message) = (pair(), token());
    let began = Instant::now();
    let signed: Vec<_> = (0..MANY).map(|_| pair.sign(message.as_bytes())).collect();
    let made = began.elapsed() / MANY;
    let key = UnparsedPublicKey::new(&ED25519, pair.public_key());
    let began = Instant::now();
    let good =
        signed.iter().filter(|signature| key.verify(message.as_bytes(), signature.as_ref()).is_ok()).count();
    assert_eq!(good, signed.len(), "a signature is verified by the key that made it");
    (made, began.elapsed() / MANY)
}

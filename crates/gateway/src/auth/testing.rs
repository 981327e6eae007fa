//! An issuer of the tests' own: keys, tokens, and how often it was asked.

use std::sync::{Arc, Mutex};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use madang_model::{ClaimPath, Issuer};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{
    keyring::KeySource,
    sealed::{Seal, Sealed},
    who::Who,
};

/// The time in these tests, in seconds since 1970.
pub(crate) const NOW: u64 = 1_800_000_000;

/// An issuer whose tokens are for `shop`.
pub(crate) fn issuer(name: &str) -> Issuer {
    Issuer {
        issuer: name.to_owned(),
        discovery: format!("{name}/.well-known/openid-configuration").parse().unwrap(),
        jwks: None,
        audience: ["shop".to_owned()].into(),
        roles: ClaimPath::roles(),
        claims: [].into(),
    }
}

/// Somebody of this name, as verified.
pub(crate) fn sealed(subject: &str) -> Arc<Sealed> {
    let claims = super::claims::Claims([("sub".to_owned(), subject.into())].into_iter().collect());
    let who = Who::of_token(&issuer("https://id.example"), &claims, &[].into()).unwrap();
    Seal::new(&[1; 32]).seal(who, NOW, NOW + 60, Default::default(), None).unwrap()
}

/// A key that signs tokens.
pub(crate) struct Signer {
    pair: Ed25519KeyPair,
    pub(crate) kid: String,
}

impl Signer {
    /// The same for the same id.
    pub(crate) fn new(kid: &str) -> Self {
        let mut seed = [0; 32];
        seed[..kid.len()].copy_from_slice(kid.as_bytes());
        Self { pair: Ed25519KeyPair::from_seed_unchecked(&seed).unwrap(), kid: kid.to_owned() }
    }

    pub(crate) fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key());
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": x })
    }

    /// A token with this header and these claims.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    /// A token of `https://id.example` for `shop`, good for five minutes, with these claims besides.
    pub(crate) fn token(&self, more: &Value) -> String {
        let mut claims =
            json!({ "iss": "https://id.example", "aud": "shop", "sub": "alice", "exp": NOW + 300 });
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        self.sign(&json!({ "alg": "EdDSA", "kid": self.kid, "typ": "at+jwt" }), &claims)
    }
}

/// A document of keys.
pub(crate) fn document(signers: &[&Signer]) -> Bytes {
    json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() }).to_string().into()
}

/// Answers as it is told, and counts how often it is asked.
pub(crate) struct Source {
    answer: Mutex<Result<Bytes, String>>,
    asked: Mutex<u32>,
    /// A permit for each answer, so that a test says when one comes.
    gate: Semaphore,
}

impl Source {
    pub(crate) fn new(answer: Result<Bytes, String>) -> Arc<Self> {
        Arc::new(Self { answer: Mutex::new(answer), asked: Mutex::new(0), gate: Semaphore::new(0) })
    }

    pub(crate) fn answer(&self, answer: Result<Bytes, String>) {
        *self.answer.lock().unwrap() = answer;
    }

    /// Lets so many answers go.
    pub(crate) fn release(&self, answers: usize) {
        self.gate.add_permits(answers);
    }

    pub(crate) fn asked(&self) -> u32 {
        *self.asked.lock().unwrap()
    }
}

impl KeySource for Source {
    fn fetch<'a>(&'a self, _: &'a Issuer) -> BoxFuture<'a, Result<Bytes, String>> {
        async {
            *self.asked.lock().unwrap() += 1;
            self.gate.acquire().await.unwrap().forget();
            self.answer.lock().unwrap().clone()
        }
        .boxed()
    }
}

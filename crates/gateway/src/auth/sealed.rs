//! Somebody who is known, as services are told of them: signed, so that services need not believe each other
//! ([`madang_wire::principal`]).

use std::{collections::BTreeSet, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use madang_calls::Principal;
use madang_wire::principal::{ISSUER, PrincipalClaims, TYPE};
use ring::{
    digest::{SHA256, digest},
    signature::{Ed25519KeyPair, KeyPair},
};
use serde_json::json;

use super::who::Who;

/// How long what was verified is believed, in seconds. After it a token is verified again.
pub(crate) const BELIEVED: u64 = 300;

/// How much longer a service may be told of it, in seconds: a request that waits must not lose whom it is for.
const MARGIN: u64 = 300;

/// The size of a seed in bytes.
pub const SEED: usize = 32;

/// The longest that a service is told, in bytes; servers take heads of eight kilobytes or more.
const LONGEST: usize = 4096;

/// Signs who somebody is.
pub(crate) struct Seal {
    pair: Ed25519KeyPair,
    /// What every token begins with, to its first dot.
    header: String,
    key: String,
}

/// Somebody who is known, ready to be handed on.
pub(crate) struct Sealed {
    pub(crate) who: Who,
    pub(crate) principal: Principal,
    /// In seconds since 1970.
    until: u64,
    by: VerifiedBy,
    /// The session that it is of, if it is of one.
    pub(crate) session: Option<Box<str>>,
}

/// Which gatekeeper verified something, and by which generation of keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct VerifiedBy {
    pub(crate) gatekeeper: u64,
    pub(crate) generation: u64,
}

// === impl Seal ===

impl Seal {
    /// With a key that is made of this seed.
    pub(crate) fn new(seed: &[u8; SEED]) -> Self {
        // A seed of this size is a key; there is no bad one.
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed of 32 bytes makes a key");
        let public = pair.public_key().as_ref();
        let key = URL_SAFE_NO_PAD.encode(&digest(&SHA256, public).as_ref()[..12]);
        let header = json!({ "alg": "EdDSA", "typ": TYPE, "kid": key });
        Self { header: URL_SAFE_NO_PAD.encode(header.to_string()), key, pair }
    }

    /// The keys by which others verify what is signed, as a JSON Web Key Set.
    pub(crate) fn keys(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key());
        let key =
            json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.key, "use": "sig", "alg": "EdDSA" });
        json!({ "keys": [key] }).to_string()
    }

    /// Signs somebody who is known until `ends`; `now` and `ends` in seconds since 1970. Nothing if there is more to say
    /// of them than a service could read.
    pub(crate) fn seal(
        &self,
        who: Who,
        now: u64,
        ends: u64,
        by: VerifiedBy,
        session: Option<&str>,
    ) -> Option<Arc<Sealed>> {
        let until = ends.min(now + BELIEVED);
        let list = |words: &BTreeSet<String>| words.iter().cloned().collect::<Vec<_>>();
        let claims = PrincipalClaims {
            iss: ISSUER.to_owned(),
            sub: who.subject.clone(),
            from: who.from.clone(),
            iat: now,
            exp: until + MARGIN,
            scope: list(&who.scopes).join(" "),
            roles: list(&who.roles),
            claims: who.told.clone(),
        };
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).ok()?);
        let message = format!("{}.{payload}", self.header);
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(message.as_bytes()));
        let signed = format!("{message}.{signature}");
        if signed.len() > LONGEST {
            return None;
        }
        let principal = Principal::new(HeaderValue::try_from(signed).ok()?)?;
        Some(Arc::new(Sealed { who, principal, until, by, session: session.map(Box::from) }))
    }
}

// === impl Sealed ===

impl Sealed {
    /// Whether it still holds, at a time in seconds since 1970 and for whoever asks.
    pub(crate) fn holds(&self, now: u64, by: VerifiedBy) -> bool {
        now < self.until && self.by == by
    }
}

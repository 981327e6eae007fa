//! Who a request is made for, as a handler sees it.
//!
//! The gateway says it in a header that it signs ([`madang_wire::principal`]); doors and calls hand it on. What is not
//! signed by the node's key is believed by nobody, whoever sent it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::request::Parts;
use madang_wire::{
    Code, Problem,
    principal::{ISSUER, KEYS, PrincipalClaims, TYPE},
};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;

use crate::{Error, Result, grpc};

/// Who a request is made for: whoever the gateway let in, and what it knows of them.
///
/// As an argument of a handler it refuses requests that are made for nobody (401, `MDG-AUTH-001`); as
/// `Option<Principal>` it is absent then. One that is forged or has expired is refused either way (`MDG-AUTH-002`).
///
/// ```
/// use madang::{Error, Principal, Result};
///
/// async fn cancel(principal: Principal) -> Result<String> {
///     principal.require_role("clerk")?;
///     Ok(format!("cancelled by {}", principal.subject()))
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Principal(Arc<PrincipalClaims>);

/// Verifies what headers say of principals. Without keys nobody is believed.
#[derive(Default)]
pub(crate) struct Principals {
    keys: BTreeMap<String, UnparsedPublicKey<Vec<u8>>>,
    /// What was verified, by the whole header: the gateway says the same of somebody for minutes.
    verified: Mutex<HashMap<Vec<u8>, Principal>>,
}

/// How many verified headers are kept.
const KEPT: usize = 1024;

/// By how many seconds the clocks of the gateway's machine and this one may differ.
const LEEWAY: u64 = 60;

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    kid: String,
    kty: String,
    crv: String,
    x: String,
}

// === impl Principal ===

impl Principal {
    /// Who it is: the issuer's name for them, or `key:` and the name of an API key.
    pub fn subject(&self) -> &str {
        &self.0.sub
    }

    /// Who says so: the URL of the issuer, or `key` for an API key. Two issuers may give two people one name.
    pub fn issuer(&self) -> &str {
        &self.0.from
    }

    /// The scopes that were granted.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.0.scope.split_ascii_whitespace()
    }

    /// Whether a scope was granted.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes().any(|granted| granted == scope)
    }

    /// The roles.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.0.roles.iter().map(String::as_str)
    }

    /// Whether it has a role.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles().any(|given| given == role)
    }

    /// A claim that the manifest says services are told of (`claims` of the issuer), by its path there.
    pub fn claim(&self, path: &str) -> Option<&Value> {
        self.0.claims.get(path)
    }

    /// Refuses whoever was not granted a scope: 403, `MDG-AUTH-003`.
    pub fn require_scope(&self, scope: &str) -> Result<()> {
        if self.has_scope(scope) { Ok(()) } else { Err(lacks(format!("the scope {scope}"))) }
    }

    /// Refuses whoever has not a role: 403, `MDG-AUTH-003`.
    pub fn require_role(&self, role: &str) -> Result<()> {
        if self.has_role(role) { Ok(()) } else { Err(lacks(format!("the role {role}"))) }
    }

    fn of(parts: &Parts) -> Result<Option<Self>> {
        let context = parts.extensions.get::<madang_calls::Context>();
        let Some(principal) = context.and_then(|context| context.principal.as_ref()) else { return Ok(None) };
        let principals = grpc::resources(&parts.extensions)?.principals().clone();
        let verified = principals.verify(principal.signed().as_bytes(), now());
        verified.map(Some).map_err(|why| Error::problem(Problem::new(Code::BAD_CREDENTIAL).detail(why)))
    }
}

fn lacks(what: String) -> Error {
    Error::problem(Problem::new(Code::NOT_ALLOWED).detail(format!("the principal lacks {what}")))
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        Self::of(parts)?.ok_or_else(|| {
            let detail =
                "the request is made for nobody: it came past the gateway, or over a route that asks nobody";
            Error::problem(Problem::new(Code::NO_CREDENTIAL).detail(detail))
        })
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Principal {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>> {
        Self::of(parts)
    }
}

// === impl Principals ===

impl Principals {
    /// With the keys of a JSON Web Key Set; nothing if it is none. Without keys nobody is believed.
    pub(crate) fn read(keys: Option<&str>) -> Option<Self> {
        let set: KeySet = match keys {
            Some(text) => serde_json::from_str(text).ok()?,
            None => KeySet { keys: Vec::new() },
        };
        let usable = set.keys.into_iter().filter(|key| key.kty == "OKP" && key.crv == "Ed25519");
        let key =
            |key: Key| Some((key.kid, UnparsedPublicKey::new(&ED25519, URL_SAFE_NO_PAD.decode(key.x).ok()?)));
        Some(Self { keys: usable.map(key).collect::<Option<_>>()?, verified: Mutex::default() })
    }

    /// Who a header says it is, at a time in seconds since 1970.
    fn verify(&self, signed: &[u8], now: u64) -> Result<Principal, String> {
        let verified = || self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let known = verified().get(signed).cloned();
        let principal = match known {
            Some(known) => known,
            None => {
                let principal = Principal(Arc::new(self.claims(signed)?));
                let mut verified = verified();
                if verified.len() >= KEPT {
                    verified.retain(|_, principal| principal.0.exp > now);
                }
                if verified.len() >= KEPT {
                    verified.clear();
                }
                verified.insert(signed.to_vec(), principal.clone());
                principal
            }
        };
        match principal.0.exp.saturating_add(LEEWAY) > now {
            true => Ok(principal),
            false => Err("what the gateway said of the principal has expired".to_owned()),
        }
    }

    fn claims(&self, signed: &[u8]) -> Result<PrincipalClaims, String> {
        let forged = || "the principal is not signed by the gateway of this system".to_owned();
        if self.keys.is_empty() {
            return Err(format!("nobody can be believed: the variable {KEYS} is not set"));
        }
        let text = std::str::from_utf8(signed).map_err(|_| forged())?;
        let (message, signature) = text.rsplit_once('.').ok_or_else(forged)?;
        let (header, payload) = message.split_once('.').ok_or_else(forged)?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| forged());
        let header: Header = serde_json::from_slice(&decoded(header)?).map_err(|_| forged())?;
        let key = self.keys.get(&header.kid).filter(|_| header.alg == "EdDSA" && header.typ == TYPE);
        let key = key.ok_or_else(forged)?;
        key.verify(message.as_bytes(), &decoded(signature)?).map_err(|_| forged())?;
        let claims: PrincipalClaims = serde_json::from_slice(&decoded(payload)?).map_err(|_| forged())?;
        if claims.iss == ISSUER { Ok(claims) } else { Err(forged()) }
    }
}

impl std::fmt::Debug for Principals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Principals").field("keys", &self.keys.keys()).finish_non_exhaustive()
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A principal in tests, without a gateway: signed by a key that [`crate::test::TestApp`] believes.
pub(crate) mod signed {
    use ring::signature::{Ed25519KeyPair, KeyPair};
    use serde_json::json;

    use super::*;

    const KID: &str = "test";

    fn pair() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[42; 32]).expect("a seed of 32 bytes makes a key")
    }

    /// The keys by which it is verified.
    pub(crate) fn keys() -> String {
        let x = URL_SAFE_NO_PAD.encode(pair().public_key());
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": KID, "x": x }] }).to_string()
    }

    /// The header's value.
    pub(crate) fn header(subject: &str, scopes: &[&str], roles: &[&str], exp: u64) -> String {
        let claims = PrincipalClaims {
            iss: ISSUER.to_owned(),
            sub: subject.to_owned(),
            from: "https://id.example".to_owned(),
            iat: exp.saturating_sub(600),
            exp,
            scope: scopes.join(" "),
            roles: BTreeSet::from_iter(roles).into_iter().map(|&role| role.to_owned()).collect(),
            claims: BTreeMap::new(),
        };
        sign(&json!({ "alg": "EdDSA", "typ": TYPE, "kid": KID }), &claims)
    }

    /// For an hour from now on.
    pub(crate) fn for_an_hour(subject: &str, scopes: &[&str], roles: &[&str]) -> String {
        header(subject, scopes, roles, now() + 3600)
    }

    pub(super) fn sign(header: &Value, claims: &PrincipalClaims) -> String {
        let payload = serde_json::to_vec(claims).unwrap_or_default();
        let message =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(pair().sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn principals() -> Principals {
        Principals::read(Some(&signed::keys())).unwrap()
    }

    #[test]
    fn what_the_gateway_signed_is_believed_for_its_time() {
        let principals = principals();
        let header = signed::header("alice", &["read", "write"], &["clerk"], 1000);
        for _ in 0..2 {
            let alice = principals.verify(header.as_bytes(), 1000).unwrap();
            assert_eq!((alice.subject(), alice.issuer()), ("alice", "https://id.example"));
            assert!(alice.has_scope("read") && !alice.has_scope("rea") && alice.has_role("clerk"));
            assert!(alice.require_scope("write").is_ok() && alice.require_role("clerk").is_ok());
            assert_eq!(alice.require_scope("x").unwrap_err().as_problem().code, "MDG-AUTH-003");
            assert_eq!(alice.require_role("x").unwrap_err().status(), 403);
        }
        assert!(principals.verify(header.as_bytes(), 1000 + LEEWAY).is_err(), "also if it was known");
        assert!(self::principals().verify(header.as_bytes(), 1000 + LEEWAY).is_err());
    }

    #[test]
    fn what_somebody_else_signed_is_not() {
        let good = signed::header("alice", &[], &[], 1000);
        let payload = URL_SAFE_NO_PAD.encode(
            json!({ "iss": ISSUER, "sub": "root", "from": "key", "iat": 0, "exp": 1000 }).to_string(),
        );
        let parts: Vec<&str> = good.split('.').collect();
        let claims = |iss: &str| PrincipalClaims {
            iss: iss.to_owned(),
            ..(*principals().verify(good.as_bytes(), 0).unwrap().0).clone()
        };
        let none = URL_SAFE_NO_PAD.encode(json!({ "alg": "none", "typ": TYPE, "kid": "test" }).to_string());
        for forged in [
            format!("{}.{payload}.{}", parts[0], parts[2]),
            format!("{none}.{payload}."),
            format!("{none}.{payload}.{}", parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            "a.b.c".to_owned(),
            signed::sign(&json!({ "alg": "EdDSA", "typ": "JWT", "kid": "test" }), &claims(ISSUER)),
            signed::sign(&json!({ "alg": "EdDSA", "typ": TYPE, "kid": "other" }), &claims(ISSUER)),
            signed::sign(
                &json!({ "alg": "EdDSA", "typ": TYPE, "kid": "test" }),
                &claims("https://id.example"),
            ),
        ] {
            assert!(principals().verify(forged.as_bytes(), 0).is_err(), "{forged}");
        }
        let without = Principals::read(None).unwrap();
        assert!(without.verify(good.as_bytes(), 0).unwrap_err().contains(KEYS));
        assert!(Principals::read(Some("no set")).is_none());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let principals = principals();
        for n in 0..2 * KEPT as u64 {
            let header = signed::header(&format!("user-{n}"), &[], &[], 1000 + n);
            principals.verify(header.as_bytes(), 0).unwrap();
            assert!(principals.verified.lock().unwrap().len() <= KEPT);
        }
    }
}

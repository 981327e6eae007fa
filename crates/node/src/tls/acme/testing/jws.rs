//! What clients sign (RFC 7515, as RFC 8555 section 6.2 wants it): ES256 alone, which is what the client uses.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    digest::{SHA256, digest},
    hmac::{self, HMAC_SHA256},
    signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey},
};
use serde_json::Value;

/// An account's key, as the two halves of a point.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct Account {
    x: String,
    y: String,
}

/// A request whose signature is good.
pub(super) struct Signed {
    pub(super) payload: Value,
    pub(super) nonce: String,
    pub(super) url: String,
    /// Which account has signed it, from 0.
    pub(super) account: Option<usize>,
    /// The key that it brings, where there is no account yet.
    pub(super) new_key: Option<Account>,
}

pub(super) fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap_or_default()
}

/// Reads a request; the kind of problem and why if it cannot be believed.
pub(super) fn read(
    body: &[u8],
    accounts: &[Account],
    base: &str,
) -> Result<Signed, (&'static str, &'static str)> {
    let whole: Value = serde_json::from_slice(body).map_err(|_| ("malformed", "it is no JSON"))?;
    let part = |name: &str| whole[name].as_str().unwrap_or_default().to_owned();
    let (protected, payload) = (part("protected"), part("payload"));
    let head: Value =
        serde_json::from_slice(&decode(&protected)).map_err(|_| ("malformed", "it has no head"))?;
    if head["alg"] != "ES256" {
        return Err(("badSignatureAlgorithm", "it is not ES256"));
    }
    let new_key = head.get("jwk").map(|jwk| Account {
        x: jwk["x"].as_str().unwrap_or_default().to_owned(),
        y: jwk["y"].as_str().unwrap_or_default().to_owned(),
    });
    let account = match head["kid"].as_str() {
        None => None,
        Some(url) => {
            let number = url.strip_prefix(&format!("{base}/account/")).and_then(|n| n.parse::<usize>().ok());
            let number = number.filter(|number| (1..=accounts.len()).contains(number));
            Some(number.ok_or(("accountDoesNotExist", "nobody has this account"))? - 1)
        }
    };
    let key = account.map(|number| accounts[number].clone()).or_else(|| new_key.clone());
    let key = key.filter(|_| account.is_some() != new_key.is_some()).ok_or(("malformed", "it has no key"))?;
    let verified = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.point())
        .verify(format!("{protected}.{payload}").as_bytes(), &decode(&part("signature")));
    verified.map_err(|_| ("unauthorized", "the signature is not good"))?;
    let text = |name: &str| head[name].as_str().unwrap_or_default().to_owned();
    let payload = serde_json::from_slice(&decode(&payload)).unwrap_or_default();
    Ok(Signed { payload, nonce: text("nonce"), url: text("url"), account, new_key })
}

/// Whether the account of this new key is bound to this external one, by whoever has its key (RFC 8555, section 7.3.4).
pub(super) fn is_bound(
    binding: &Value,
    new_key: &Account,
    (id, key): (&str, &[u8]),
    url: &str,
) -> Result<(), (&'static str, &'static str)> {
    if binding.is_null() {
        return Err(("externalAccountRequired", "we know no strangers"));
    }
    let part = |name: &str| binding[name].as_str().unwrap_or_default();
    let json = |name: &str| serde_json::from_slice::<Value>(&decode(part(name))).unwrap_or_default();
    let (head, bound) = (json("protected"), json("payload"));
    if head != serde_json::json!({ "alg": "HS256", "kid": id, "url": url }) {
        return Err(("malformed", "it is bound to somebody else, or for something else"));
    }
    if bound["x"] != *new_key.x || bound["y"] != *new_key.y {
        return Err(("malformed", "another account is bound"));
    }
    let signed = format!("{}.{}", part("protected"), part("payload"));
    hmac::verify(&hmac::Key::new(HMAC_SHA256, key), signed.as_bytes(), &decode(part("signature")))
        .map_err(|_| ("unauthorized", "it is bound with another key"))
}

impl Account {
    fn point(&self) -> Vec<u8> {
        [vec![4], decode(&self.x), decode(&self.y)].concat()
    }

    /// RFC 7638.
    pub(super) fn thumbprint(&self) -> String {
        let Self { x, y } = self;
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
    }
}

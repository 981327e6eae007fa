//! The keys of an issuer (RFC 7517), each with the one algorithm that it is for.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;
use serde_json::Value;

use super::{algorithm::Algorithm, jws::Unverified, roca};

/// The most keys that are kept of one issuer.
const MOST: usize = 64;

/// The least bits of an RSA key, and the most that are worth their time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The keys of an issuer; nothing about them ever changes.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    keys: Vec<Key>,
    /// How many there were that are of no use here.
    pub(crate) left_out: usize,
}

/// A key and what it is for.
#[derive(Debug)]
pub(crate) struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    public: Public,
}

enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Point(UnparsedPublicKey<Vec<u8>>),
}

/// How a look for a token's key ended.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    Key(&'a Key),
    /// There is a key of this id, and it is for another algorithm.
    OtherAlgorithm,
    Unknown,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

// === impl Keys ===

impl Keys {
    /// Reads a document. Keys that are of no use are left out: they are for encryption, of an algorithm that is not
    /// known here, too small, secret, or not what they say.
    ///
    /// # Errors
    /// If it is no document of keys, or one without any that is of use.
    pub(crate) fn read(document: &[u8]) -> Result<Self, String> {
        let Document { keys: given } =
            serde_json::from_slice(document).map_err(|error| format!("it is no set of keys: {error}"))?;
        let read = |value: &Value| Key::of(Jwk::deserialize(value).ok()?);
        let mut keys: Vec<Key> = given.iter().filter_map(read).collect();
        keys.truncate(MOST);
        if keys.is_empty() {
            return Err(format!("of its {} keys none can verify a token here", given.len()));
        }
        Ok(Self { left_out: given.len() - keys.len(), keys })
    }

    /// The key that a token names; of a token that names none, the only one that is for its algorithm.
    pub(crate) fn find(&self, token: &Unverified<'_>) -> Found<'_> {
        let Some(id) = &token.key else {
            let mut fitting = self.keys.iter().filter(|key| key.algorithm == token.algorithm);
            return match (fitting.next(), fitting.next()) {
                (Some(key), None) => Found::Key(key),
                _ => Found::Unknown,
            };
        };
        let named = self.keys.iter().filter(|key| key.id.as_ref() == Some(id));
        let mut fitting = named.clone().filter(|key| key.algorithm == token.algorithm);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Found::Key(key),
            // Of two keys with one name neither is the one that is meant.
            (Some(_), Some(_)) => Found::Unknown,
            (None, _) if named.count() > 0 => Found::OtherAlgorithm,
            (None, _) => Found::Unknown,
        }
    }
}

// === impl Key ===

impl Key {
    fn of(jwk: Jwk) -> Option<Self> {
        let signs = jwk.usage.as_deref().is_none_or(|usage| usage == "sig");
        let verifies = jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !signs || !verifies {
            return None;
        }
        let part = |part: &Option<String>| URL_SAFE_NO_PAD.decode(part.as_ref()?).ok();
        let point = |size: usize| {
            let (x, y) = (part(&jwk.x)?, part(&jwk.y)?);
            (x.len() == size && y.len() == size).then(|| [&[4][..], &x, &y].concat())
        };
        let (usual, public) = match (&*jwk.kty, jwk.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (part(&jwk.n)?, part(&jwk.e)?);
                let leading = n.iter().position(|byte| *byte != 0)?;
                let bits = (n.len() - leading) * 8 - n[leading].leading_zeros() as usize;
                if !RSA_BITS.contains(&bits) || matches!(*e, [] | [1]) || roca::is_weak(&n) {
                    return None;
                }
                // Of a key that does not say, it is what all issuers that leave it out mean.
                (Algorithm::Rs256, Public::Rsa { n: n[leading..].to_vec(), e })
            }
            ("EC", Some("P-256")) => (Algorithm::Es256, Public::point(Algorithm::Es256, point(32)?)?),
            ("EC", Some("P-384")) => (Algorithm::Es384, Public::point(Algorithm::Es384, point(48)?)?),
            ("OKP", Some("Ed25519")) => {
                let x = part(&jwk.x).filter(|x| x.len() == 32)?;
                (Algorithm::EdDsa, Public::point(Algorithm::EdDsa, x)?)
            }
            _ => return None,
        };
        let algorithm = match &jwk.alg {
            Some(name) => Algorithm::named(name)?,
            None => usual,
        };
        let fits = match public {
            Public::Rsa { .. } => algorithm.of_rsa().is_some(),
            Public::Point(_) => algorithm == usual,
        };
        fits.then_some(Self { id: jwk.kid, algorithm, public })
    }

    /// Whether it signed this token. Costs tens of microseconds.
    pub(crate) fn signed(&self, token: &Unverified<'_>) -> bool {
        let (message, signature) = token.signed();
        self.verify(message, signature)
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match (&self.public, self.algorithm.of_rsa()) {
            (Public::Rsa { n, e }, Some(parameters)) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }
            (Public::Point(key), _) => key.verify(message, signature).is_ok(),
            (Public::Rsa { .. }, None) => false,
        }
    }
}

// === impl Public ===

impl Public {
    fn point(algorithm: Algorithm, bytes: Vec<u8>) -> Option<Self> {
        let how: &'static dyn VerificationAlgorithm = algorithm.of_curve()?;
        Some(Self::Point(UnparsedPublicKey::new(how, bytes)))
    }
}

impl std::fmt::Debug for Public {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rsa { .. } => "Rsa",
            Self::Point(_) => "Point",
        })
    }
}

#[cfg(test)]
mod tests;

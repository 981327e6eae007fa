//! The keys that sign tokens: one signs, others are published, because they will, or because tokens of theirs are still
//! good.
//!
//! ES256, which every client takes and `ring` can make. A new key is published an hour before it signs, so that whoever
//! verifies has fetched it; after 30 days there is the next.

use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use madang_store::{Store, rusqlite};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
    },
};
use serde_json::{Value, json};

use crate::{Error, random};

/// How long a key signs, how long it is published before, and how long after, in seconds.
const SIGNS: u64 = 30 * 86_400;
const AHEAD: u64 = 3600;
const AFTER: u64 = 86_400;

/// How many are published at most; a key that is turned out before its time takes its tokens with it.
const MOST: usize = 8;

/// The keys, in the order in which they sign.
pub(crate) struct Keys {
    state: Store,
    all: ArcSwap<Vec<Key>>,
    /// Held while they change.
    changing: tokio::sync::Mutex<()>,
}

/// A key that signs.
#[derive(Clone)]
struct Key {
    kid: String,
    pair: Arc<EcdsaKeyPair>,
    signs_from: u64,
}

// === impl Keys ===

impl Keys {
    /// Those that are kept; the first is made. `now` in seconds since 1970.
    pub(crate) async fn open(state: &Store, now: u64) -> Result<Self, Error> {
        let read = |conn: &rusqlite::Connection| {
            let mut all =
                conn.prepare("SELECT kid, pkcs8, signs_from FROM issuer_keys ORDER BY signs_from")?;
            let row = |row: &rusqlite::Row<'_>| {
                Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, i64>(2)?))
            };
            all.query_map([], row)?.collect::<Result<Vec<_>, _>>()
        };
        let kept = state.read(read).await?.into_iter();
        let kept: Option<Vec<Key>> =
            kept.map(|(kid, pkcs8, from)| Key::of(kid, &pkcs8, from.unsigned_abs())).collect();
        let keys = Self {
            state: state.clone(),
            all: ArcSwap::from_pointee(kept.ok_or(Error::Key)?),
            changing: tokio::sync::Mutex::default(),
        };
        if keys.all.load().is_empty() {
            keys.add(now, now).await?;
        }
        Ok(keys)
    }

    /// Makes a key that signs from then on; by which id it is known.
    pub(crate) async fn add(&self, signs_from: u64, now: u64) -> Result<String, Error> {
        let _changing = self.changing.lock().await;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let pkcs8 = pkcs8.map_err(|_| getrandom::Error::UNSUPPORTED)?;
        let mut kid = random::text()?;
        kid.truncate(16);
        let key = Key::of(kid, pkcs8.as_ref(), signs_from).ok_or(Error::Key)?;
        let mut all: Vec<Key> = (**self.all.load()).clone();
        all.push(key.clone());
        all.sort_by_key(|key| key.signs_from);
        let ended = |at: usize| all.get(at + 1).is_some_and(|next| next.signs_from + AFTER <= now);
        let ended: Vec<String> = (0..all.len())
            .filter(|at| ended(*at) || at + MOST < all.len())
            .map(|at| all[at].kid.clone())
            .collect();
        all.retain(|key| !ended.contains(&key.kid));
        let (kid, bytes) = (key.kid.clone(), pkcs8.as_ref().to_vec());
        let write = move |tx: &rusqlite::Transaction<'_>| {
            let row = (kid, bytes, i64::try_from(signs_from).unwrap_or(i64::MAX));
            tx.execute("INSERT INTO issuer_keys VALUES (?1, ?2, ?3)", row)?;
            ended
                .iter()
                .try_for_each(|kid| tx.execute("DELETE FROM issuer_keys WHERE kid = ?1", [kid]).map(drop))
        };
        self.state.write(write).await?;
        self.all.store(Arc::new(all));
        Ok(key.kid)
    }

    /// Makes the next key if it is time.
    pub(crate) async fn keep(&self, now: u64) -> Result<(), Error> {
        let newest = self.all.load().last().map_or(0, |key| key.signs_from);
        if newest + SIGNS > now { Ok(()) } else { self.add(now + AHEAD, now).await.map(drop) }
    }

    /// All that are published, as a JSON Web Key Set (RFC 7517).
    pub(crate) fn published(&self) -> Value {
        json!({ "keys": self.all.load().iter().map(Key::public).collect::<Vec<_>>() })
    }

    /// A token of this kind with these claims, signed by the key whose turn it is.
    pub(crate) fn sign(&self, kind: &str, claims: &Value, now: u64) -> Option<String> {
        let all = self.all.load();
        let key = all.iter().rev().find(|key| key.signs_from <= now).or(all.first())?;
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({ "alg": "ES256", "typ": kind, "kid": key.kid });
        let message = format!("{}.{}", part(&header), part(claims));
        let signature = key.pair.sign(&SystemRandom::new(), message.as_bytes()).ok()?;
        Some(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The claims of a token of this kind that one of these keys signed; whether they still hold is another question.
    pub(crate) fn verified(&self, kind: &str, token: &str) -> Option<Value> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let read = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header: Value = serde_json::from_slice(&read(header)?).ok()?;
        if header["alg"] != "ES256" || header["typ"] != kind {
            return None;
        }
        let all = self.all.load();
        let key = all.iter().find(|key| header["kid"] == key.kid.as_str())?;
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.pair.public_key());
        public.verify(message.as_bytes(), &read(signature)?).ok()?;
        serde_json::from_slice(&read(payload)?).ok()
    }
}

// === impl Key ===

impl Key {
    fn of(kid: String, pkcs8: &[u8], signs_from: u64) -> Option<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new());
        Some(Self { kid, pair: Arc::new(pair.ok()?), signs_from })
    }

    fn public(&self) -> Value {
        // Uncompressed: a four, and both coordinates (SEC 1, section 2.3.3).
        let point = self.pair.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]));
        json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self.kid, "use": "sig", "alg": "ES256" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    async fn keys(folder: &std::path::Path, now: u64) -> Keys {
        let state = Store::open(&format!("sqlite:{}", folder.join("state.db").display())).unwrap();
        state.migrate("issuer", &[crate::issuer::SCHEMA]).await.unwrap();
        Keys::open(&state, now).await.unwrap()
    }

    fn published(keys: &Keys) -> usize {
        keys.published()["keys"].as_array().unwrap().len()
    }

    fn signed_by(keys: &Keys, now: u64) -> Value {
        let token = keys.sign("JWT", &json!({ "a": 1 }), now).unwrap();
        assert_eq!(keys.verified("JWT", &token).unwrap(), json!({ "a": 1 }));
        assert!(keys.verified("at+jwt", &token).is_none(), "it is of another kind");
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn the_next_key_is_published_before_it_signs_and_the_last_until_its_tokens_have_ended() {
        let folder = tempfile::tempdir().unwrap();
        let all = keys(folder.path(), NOW).await;
        let first = signed_by(&all, NOW);
        all.keep(NOW + SIGNS - 1).await.unwrap();
        assert_eq!(published(&all), 1);
        let then = NOW + SIGNS;
        all.keep(then).await.unwrap();
        assert_eq!((published(&all), signed_by(&all, then + AHEAD - 1)), (2, first.clone()));
        let second = signed_by(&all, then + AHEAD);
        assert_ne!(first["kid"], second["kid"]);
        let old = all.sign("JWT", &json!({}), NOW).unwrap();
        assert!(all.verified("JWT", &old).is_some(), "what was signed before stays good");
        drop(all);

        let all = keys(folder.path(), then).await;
        assert_eq!((published(&all), signed_by(&all, then + AHEAD)), (2, second), "they are kept");
        let later = then + AHEAD + SIGNS;
        all.keep(later).await.unwrap();
        assert_eq!(published(&all), 2, "the first is gone");
        assert!(all.verified("JWT", &old).is_none());
    }

    #[tokio::test]
    async fn however_often_keys_are_changed_there_are_no_more_than_so_many() {
        let folder = tempfile::tempdir().unwrap();
        let all = keys(folder.path(), NOW).await;
        for second in 0..20 {
            all.add(NOW + second, NOW + second).await.unwrap();
        }
        assert_eq!(published(&all), MOST);
        drop(all);
        assert_eq!(published(&keys(folder.path(), NOW).await), MOST);
    }

    #[tokio::test]
    async fn a_token_that_was_changed_is_nobodys() {
        let folder = tempfile::tempdir().unwrap();
        let all = keys(folder.path(), NOW).await;
        let token = all.sign("JWT", &json!({ "sub": "1" }), NOW).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let payload = URL_SAFE_NO_PAD.encode(json!({ "sub": "2" }).to_string());
        let none = URL_SAFE_NO_PAD.encode(json!({ "alg": "none", "typ": "JWT" }).to_string());
        for bad in [
            format!("{}.{payload}.{}", parts[0], parts[2]),
            format!("{none}.{}.", parts[1]),
            format!("{}.{}.", parts[0], parts[1]),
            String::new(),
        ] {
            assert!(all.verified("JWT", &bad).is_none(), "{bad}");
        }
    }
}

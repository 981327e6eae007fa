//! The API keys in force, by their ids. Of each there is a hash only.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use ring::digest::{SHA256, digest};

use super::{credential::KEY, denied::Bad};

/// An API key: `mk_`, its id, `_` and a secret of 256 random bits.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// What it is found by.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The SHA-256 of the whole text. A secret that nobody can guess needs no slow hash.
    pub hash: [u8; 32],
    /// The scopes that it has.
    pub scopes: BTreeSet<String>,
    /// When it ends, in seconds since 1970.
    pub expires: Option<u64>,
}

/// Those in force.
#[derive(Default)]
pub(crate) struct ApiKeys(HashMap<String, ApiKey>);

// === impl ApiKey ===

impl ApiKey {
    /// The text of a key.
    pub fn text(id: &str, secret: &str) -> String {
        format!("{KEY}{id}_{secret}")
    }

    /// What is kept of a text.
    pub fn hash(text: &str) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        hash
    }
}

// === impl ApiKeys ===

impl ApiKeys {
    pub(crate) fn new(keys: impl IntoIterator<Item = ApiKey>) -> Self {
        Self(keys.into_iter().map(|key| (key.id.clone(), key)).collect())
    }

    /// The key of this text, at a time in seconds since 1970. How long it takes to find that two hashes differ tells of
    /// the hash, from which no text can be made.
    pub(crate) fn find(&self, text: &str, now: u64) -> Result<&ApiKey, Bad> {
        let id = text.strip_prefix(KEY).and_then(|rest| rest.split_once('_')).ok_or(Bad::ApiKey)?.0;
        let key = self.0.get(id).filter(|key| key.hash == ApiKey::hash(text)).ok_or(Bad::ApiKey)?;
        if key.expires.is_some_and(|end| end <= now) { Err(Bad::Expired) } else { Ok(key) }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_whole_text_until_its_end() {
        let text = ApiKey::text("0011", "secret");
        let key = ApiKey {
            id: "0011".to_owned(),
            name: "ci".to_owned(),
            hash: ApiKey::hash(&text),
            scopes: BTreeSet::new(),
            expires: Some(100),
        };
        let keys = ApiKeys::new([key.clone()]);
        assert_eq!(keys.find(&text, 99), Ok(&key));
        assert_eq!(keys.find(&text, 100), Err(Bad::Expired));
        for wrong in [
            "",
            "mk_",
            "mk_0011",
            "mk_0011_",
            "mk_0011_secre",
            "mk_0011_secret2",
            "mk_0012_secret",
            "0011_secret",
        ] {
            assert_eq!(keys.find(wrong, 99), Err(Bad::ApiKey), "{wrong}");
        }
        assert!(!format!("{key:?}").contains(&format!("{:?}", key.hash)));
    }
}

//! API keys: made, listed and revoked by the admin API, kept as hashes in the state, in force at the gateway.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use madang_gateway::{ApiKey, Identity};
use madang_store::{Store, rusqlite};
use madang_wire::keys::KeyView;

use crate::hex;

const SCHEMA: &[&str] = &["CREATE TABLE api_keys (name TEXT PRIMARY KEY, key TEXT NOT NULL) STRICT"];

/// How many keys there may be.
pub(crate) const MOST: usize = 10_000;

/// The keys in the node's state. Cloning gives the same.
#[derive(Clone)]
pub(crate) struct Keys {
    state: Store,
    identity: Identity,
    known: Arc<RwLock<BTreeMap<String, Kept>>>,
    /// Held while the keys change, so that nothing older comes after what is newer.
    changing: Arc<tokio::sync::Mutex<()>>,
}

/// What is kept of a key.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Kept {
    view: KeyView,
    /// The SHA-256 of its text.
    hash: String,
}

/// Why a key is not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotMade {
    #[error("there is a key of this name: revoke it, or choose another name")]
    Taken,
    #[error("there are {MOST} keys: revoke one first")]
    Full,
    #[error("the key cannot be kept, and is not in force")]
    State(#[from] madang_store::Error),
    #[error("no random bytes can be had")]
    Randomness(getrandom::Error),
}

// === impl Keys ===

impl Keys {
    /// Those that were kept, in force.
    pub(crate) async fn open(state: &Store, identity: &Identity) -> Result<Self, madang_store::Error> {
        state.migrate("api_keys", SCHEMA).await?;
        let read = |conn: &rusqlite::Connection| {
            let mut all = conn.prepare("SELECT key FROM api_keys")?;
            all.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()
        };
        let kept = state.read(read).await?;
        let kept = kept.iter().filter_map(|text| serde_json::from_str::<Kept>(text).ok());
        let keys = Self {
            state: state.clone(),
            identity: identity.clone(),
            known: Arc::new(RwLock::new(kept.map(|kept| (kept.view.name.clone(), kept)).collect())),
            changing: Arc::default(),
        };
        keys.put_in_force();
        Ok(keys)
    }

    /// Makes a key, whose id and text are new; the rest of it is given. Once this returns it is kept and in force.
    pub(crate) async fn make(&self, mut view: KeyView) -> Result<(KeyView, String), NotMade> {
        let _changing = self.changing.lock().await;
        match self.list() {
            list if list.iter().any(|known| known.name == view.name) => return Err(NotMade::Taken),
            list if list.len() >= MOST => return Err(NotMade::Full),
            _ => {}
        }
        let (mut id, mut secret) = ([0; 8], [0; 32]);
        getrandom::fill(&mut id).and_then(|()| getrandom::fill(&mut secret)).map_err(NotMade::Randomness)?;
        view.id = hex::encode(&id);
        let text = ApiKey::text(&view.id, &hex::encode(&secret));
        let kept = Kept { view: view.clone(), hash: hex::encode(&ApiKey::hash(&text)) };
        let row = (view.name.clone(), serde_json::to_string(&kept).unwrap_or_default());
        self.state.write(move |tx| tx.execute("INSERT INTO api_keys VALUES (?1, ?2)", row)).await?;
        self.change(|known| known.insert(view.name.clone(), kept));
        Ok((view, text))
    }

    /// Revokes a key by its name or id. Once this returns it is good for nothing any more, over a restart too.
    pub(crate) async fn revoke(&self, name: &str) -> Result<Option<KeyView>, madang_store::Error> {
        let _changing = self.changing.lock().await;
        let Some(view) = self.list().into_iter().find(|view| view.name == name || view.id == name) else {
            return Ok(None);
        };
        let row = [view.name.clone()];
        self.state.write(move |tx| tx.execute("DELETE FROM api_keys WHERE name = ?1", row)).await?;
        self.change(|known| known.remove(&view.name));
        Ok(Some(view))
    }

    /// All of them, by name; also those that have expired.
    pub(crate) fn list(&self) -> Vec<KeyView> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.values().map(|kept| kept.view.clone()).collect()
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Kept>) -> T) {
        change(&mut self.known.write().unwrap_or_else(PoisonError::into_inner));
        self.put_in_force();
    }

    fn put_in_force(&self) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        self.identity.take_api_keys(known.values().filter_map(Kept::in_force));
    }
}

impl Kept {
    fn in_force(&self) -> Option<ApiKey> {
        Some(ApiKey {
            id: self.view.id.clone(),
            name: self.view.name.clone(),
            hash: hex::decode(&self.hash)?.try_into().ok()?,
            scopes: self.view.scopes.iter().cloned().collect(),
            expires: self.view.expires_at.map(|end| end / 1000),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(name: &str) -> KeyView {
        let (id, scopes, by) = (String::new(), vec!["orders".to_owned()], "user 0".to_owned());
        KeyView { name: name.to_owned(), id, scopes, created_at: 1, by, expires_at: Some(9_000) }
    }

    #[tokio::test]
    async fn a_key_is_kept_as_a_hash_until_it_is_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("state.db").display());
        let state = Store::open(&url).unwrap();
        let keys = Keys::open(&state, &Identity::new(&[1; 32])).await.unwrap();
        let (made, text) = keys.make(view("ci")).await.unwrap();
        assert!(text.starts_with(&format!("mk_{}_", made.id)) && text.len() == 3 + 16 + 1 + 64, "{text}");
        assert!(matches!(keys.make(view("ci")).await, Err(NotMade::Taken)));
        let (other, _) = keys.make(view("app")).await.unwrap();
        assert_ne!(made.id, other.id);

        let again = Keys::open(&state, &Identity::new(&[1; 32])).await.unwrap();
        assert_eq!(again.list(), [other.clone(), made.clone()]);
        let kept = again.known.read().unwrap()["ci"].in_force().unwrap();
        assert_eq!((kept.hash, kept.expires), (ApiKey::hash(&text), Some(9)));
        let secret = text.rsplit('_').next().unwrap();
        let file = std::fs::read(folder.path().join("state.db")).unwrap();
        let log = std::fs::read(folder.path().join("state.db-wal")).unwrap_or_default();
        for bytes in [file, log] {
            assert!(
                !bytes.windows(16).any(|part| part == &secret.as_bytes()[..16]),
                "no file has the secret"
            );
        }

        assert_eq!(again.revoke("nobody").await.unwrap(), None);
        assert_eq!(again.revoke(&made.id).await.unwrap(), Some(made));
        assert_eq!(again.revoke("app").await.unwrap(), Some(other));
        assert_eq!(Keys::open(&state, &Identity::new(&[1; 32])).await.unwrap().list(), []);
    }
}

//! The keys by which the gateway seals the sessions of browsers: in the state, so that nobody has to log in again after a
//! restart, and others after a while.

use std::time::Duration;

use madang_gateway::Identity;
use madang_store::{Store, rusqlite};
use tokio::time::sleep;
use tracing::warn;

use crate::{StartError, node};

const SCHEMA: &[&str] = &["CREATE TABLE session_keys (key BLOB NOT NULL, made_at INTEGER NOT NULL) STRICT"];

/// How long a key seals, and how much longer it opens, in milliseconds: no session lasts longer than that.
const SEALS: u64 = 7 * 86_400_000;
const OPENS: u64 = 30 * 86_400_000;

/// How often that is looked at.
const PERIOD: Duration = Duration::from_secs(3600);

/// The keys in the node's state.
pub(crate) struct SessionKeys {
    state: Store,
    identity: Identity,
}

impl SessionKeys {
    /// Those that are kept, in force; a new one if it is time for it.
    pub(crate) async fn open(state: &Store, identity: &Identity) -> Result<Self, StartError> {
        state.migrate("session_keys", SCHEMA).await?;
        let keys = Self { state: state.clone(), identity: identity.clone() };
        keys.keep(node::now()).await?;
        Ok(keys)
    }

    /// Looks after them for as long as it is polled.
    pub(crate) async fn run(self) {
        loop {
            sleep(PERIOD).await;
            if let Err(error) = self.keep(node::now()).await {
                warn!(%error, "the keys of sessions are not looked after");
            }
        }
    }

    /// Makes the next key if it is time, forgets what opens nothing any more, and puts the rest in force.
    async fn keep(&self, now: u64) -> Result<(), StartError> {
        let mut next = [0; 32];
        getrandom::fill(&mut next).map_err(StartError::Randomness)?;
        let write = move |tx: &rusqlite::Transaction<'_>| {
            let at = |millis: u64| i64::try_from(millis).unwrap_or(i64::MAX);
            tx.execute(
                "DELETE FROM session_keys WHERE made_at <= ?1",
                [at(now.saturating_sub(SEALS + OPENS))],
            )?;
            let young = "SELECT count(*) FROM session_keys WHERE made_at > ?1";
            let seals: i64 = tx.query_row(young, [at(now.saturating_sub(SEALS))], |row| row.get(0))?;
            if seals == 0 {
                tx.execute("INSERT INTO session_keys VALUES (?1, ?2)", (next.as_slice(), at(now)))?;
            }
            let mut all = tx.prepare("SELECT key FROM session_keys ORDER BY made_at DESC")?;
            all.query_map([], |row| row.get::<_, Vec<u8>>(0))?.collect::<Result<Vec<_>, _>>()
        };
        let keys = self.state.write(write).await?;
        let keys: Vec<[u8; 32]> = keys.into_iter().filter_map(|key| key.try_into().ok()).collect();
        self.identity.take_session_keys(&keys);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_next_key_comes_after_a_week_and_the_first_opens_for_a_month_more() {
        let folder = tempfile::tempdir().unwrap();
        let state = Store::open(&format!("sqlite:{}", folder.path().join("state.db").display())).unwrap();
        let keys = SessionKeys::open(&state, &Identity::new(&[1; 32])).await.unwrap();
        let kept = async || {
            let read = |conn: &rusqlite::Connection| {
                let mut all = conn.prepare("SELECT key FROM session_keys ORDER BY made_at DESC")?;
                all.query_map([], |row| row.get::<_, Vec<u8>>(0))?.collect::<Result<Vec<_>, _>>()
            };
            state.read(read).await.unwrap()
        };
        let (first, began) = (kept().await, node::now());
        assert_eq!(first.len(), 1);
        keys.keep(began + SEALS - 60_000).await.unwrap();
        assert_eq!(kept().await, first);
        keys.keep(began + SEALS + 60_000).await.unwrap();
        let both = kept().await;
        assert!(both.len() == 2 && both[1] == first[0]);
        keys.keep(began + SEALS + OPENS + 60_000).await.unwrap();
        assert!(!kept().await.contains(&first[0]), "what it sealed has ended");
    }
}

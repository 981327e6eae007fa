//! The units that somebody stopped. They stay so until somebody starts or restarts them, or the system as a whole is
//! stopped: over a node that was killed too, whose successor must not start what was stopped for a reason.

use std::collections::BTreeMap;

use madang_model::UnitName;
use madang_store::{Store, rusqlite};
use tracing::warn;

const SCHEMA: &[&str] = &["CREATE TABLE stops_units (unit TEXT PRIMARY KEY, why TEXT NOT NULL) STRICT"];

/// The units that are stopped, in the node's state.
#[derive(Clone)]
pub(crate) struct Stops(Store);

// === impl Stops ===

impl Stops {
    pub(crate) async fn open(state: &Store) -> Result<Self, madang_store::Error> {
        state.migrate("stops", SCHEMA).await?;
        Ok(Self(state.clone()))
    }

    /// Those that a node before this one left stopped, and why.
    pub(crate) async fn all(&self) -> Result<BTreeMap<UnitName, String>, madang_store::Error> {
        let read = |conn: &rusqlite::Connection| {
            let mut all = conn.prepare("SELECT unit, why FROM stops_units")?;
            all.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?.collect()
        };
        let all: Vec<(String, String)> = self.0.read(read).await?;
        Ok(all.into_iter().filter_map(|(unit, why)| Some((unit.parse().ok()?, why))).collect())
    }

    /// # Errors
    /// If it cannot be kept; then nothing should be stopped.
    pub(crate) async fn keep(&self, unit: &UnitName, why: &str) -> Result<(), madang_store::Error> {
        let row = (unit.to_string(), why.to_owned());
        let insert =
            "INSERT INTO stops_units VALUES (?1, ?2) ON CONFLICT (unit) DO UPDATE SET why = excluded.why";
        self.0.write(move |tx| tx.execute(insert, row)).await.map(drop)
    }

    /// One that cannot be forgotten is started nevertheless, and is stopped again by the next node.
    pub(crate) async fn forget(&self, unit: &UnitName) {
        let unit = unit.to_string();
        self.delete("DELETE FROM stops_units WHERE unit = ?1", vec![unit]).await;
    }

    /// The system is stopped as a whole: when it is started, all of it is.
    pub(crate) async fn forget_all(&self) {
        self.delete("DELETE FROM stops_units", Vec::new()).await;
    }

    async fn delete(&self, delete: &'static str, of: Vec<String>) {
        let done = self.0.write(move |tx| tx.execute(delete, rusqlite::params_from_iter(of))).await;
        if let Err(error) = done {
            warn!(%error, "failed to forget that a unit was stopped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn they_are_kept_until_they_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let state = Store::open(&format!("sqlite:{}", folder.path().join("state.db").display())).unwrap();
        let stops = Stops::open(&state).await.unwrap();
        let (users, orders): (UnitName, UnitName) = ("users".parse().unwrap(), "orders".parse().unwrap());
        stops.keep(&users, "stopped by user 0").await.unwrap();
        stops.keep(&users, "stopped by user 1").await.unwrap();
        stops.keep(&orders, "stopped by user 0").await.unwrap();
        let again = Stops::open(&state).await.unwrap();
        assert_eq!(again.all().await.unwrap()[&users], "stopped by user 1");
        again.forget(&users).await;
        assert_eq!(again.all().await.unwrap().into_keys().collect::<Vec<_>>(), [orders]);
        again.forget_all().await;
        assert!(again.all().await.unwrap().is_empty());
    }
}

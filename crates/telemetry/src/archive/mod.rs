//! What is kept over restarts, in one file: `telemetry.db`.
//!
//! Each part of it owns tables of its own and says in its [`Part`] what they are and how the oldest of it is deleted.
//! The bounds are those of the file: what is older than [`ArchiveConfig::oldest`] is deleted, and while it is larger
//! than [`ArchiveConfig::largest`] allows everything before one moment is, whichever part it belongs to, so that what is
//! left of one part can still be laid beside what is left of another.

mod retention;
#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc, time::Duration};

use madang_store::{
    Error, Settings, Store, WAL,
    rusqlite::{self, Connection, Transaction},
};

use crate::{
    annotations, logs, traces,
    writing::{self, Said},
};

/// The parts there are.
const PARTS: &[Part] = &[annotations::PART, logs::PART, traces::PART];

/// How often it is looked whether something is too old.
const AGE: Duration = Duration::from_secs(10);

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveConfig {
    /// The size on disk in bytes that is never exceeded, the write-ahead log included.
    pub largest: u64,
    /// How long anything is kept at most.
    pub oldest: Duration,
}

impl Default for ArchiveConfig {
    fn default() -> Self {
        Self { largest: 512 << 20, oldest: Duration::from_secs(7 * 24 * 60 * 60) }
    }
}

/// One kind of what is kept.
pub(crate) struct Part {
    /// The name under which its migrations are counted.
    pub(crate) name: &'static str,
    /// Its tables; each is a step from the version before, and a published one never changes.
    pub(crate) migrations: &'static [&'static str],
    /// The table with a row for each thing that is kept, in the order in which it came.
    pub(crate) table: &'static str,
    /// Its indexed column with a time, in microseconds since 1970.
    pub(crate) time: &'static str,
    /// Deletes what is older than this time, the oldest first and so many rows of the table at most; and says how many
    /// it deleted.
    pub(crate) delete: fn(&Connection, i64, u32) -> rusqlite::Result<usize>,
}

/// The file. Clones share it.
#[derive(Clone)]
pub struct Archive {
    store: Store,
    config: ArchiveConfig,
    parts: &'static [Part],
    /// Held by whoever deletes.
    trimming: Arc<tokio::sync::Mutex<()>>,
}

// === impl Archive ===

impl Archive {
    /// Opens the file, and makes it where there is none.
    ///
    /// # Errors
    /// If it cannot be opened, or a newer version of the program wrote it.
    pub async fn open(file: &Path, config: ArchiveConfig) -> Result<Self, Error> {
        Self::open_parts(file, config, PARTS).await
    }

    async fn open_parts(file: &Path, config: ArchiveConfig, parts: &'static [Part]) -> Result<Self, Error> {
        let settings = Settings { lossy: true, largest: Some(config.largest.saturating_sub(WAL)) };
        let store = Store::open_with(&format!("sqlite:{}", file.display()), settings)?;
        for part in parts {
            store.migrate(part.name, part.migrations).await?;
        }
        Ok(Self { store, config, parts, trimming: Arc::default() })
    }

    /// Writes, and makes room again where that left little of it: whoever writes faster than can be deleted waits.
    ///
    /// # Errors
    /// If `write` fails, or cannot be committed. There is room again when this returns if that was why.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let written = self.store.write(move |tx| Ok((write(tx)?, retention::size(tx)?))).await;
        match written {
            Ok((value, size)) if size <= self.room() => Ok(value),
            Ok((value, _)) => self.trim().await.map(|()| value),
            // That there was no room is the most likely cause.
            Err(error) => self.trim().await.and(Err(error)),
        }
    }

    /// Makes tables for what has bounds of its own.
    ///
    /// # Errors
    /// If that fails, or a newer version of the program made them.
    pub(crate) async fn migrate(&self, name: &str, migrations: &[&str]) -> Result<(), Error> {
        self.store.migrate(name, migrations).await
    }

    /// The size in bytes that the file never exceeds.
    pub(crate) fn largest(&self) -> u64 {
        self.config.largest
    }

    /// Reads.
    ///
    /// # Errors
    /// If `query` fails.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.store.read(query).await
    }

    /// Deletes what is too old, until `shutdown` ends.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let said = Said {
            fails: "telemetry that is too old is not deleted",
            recovers: "telemetry that is too old is deleted again",
        };
        writing::each(shutdown, AGE, said, || self.trim()).await;
    }

    /// Deletes what is too old, and the oldest while the file is too large.
    pub(crate) async fn trim(&self) -> Result<(), Error> {
        let _one = self.trimming.lock().await;
        retention::trim(&self.store, self.parts, self.config.oldest, self.room()).await
    }

    /// The size in bytes up to which nothing is deleted: what is left to the hard bound is for whoever writes before
    /// there is room again.
    fn room(&self) -> u64 {
        self.config.largest.saturating_sub(WAL) / 10 * 9
    }
}

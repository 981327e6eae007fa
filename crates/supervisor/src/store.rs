//! What is recorded of each instance, so that a node that comes after this one knows whom it left.
//!
//! A record that cannot be written, because the disk is full, is kept here and written later, by
//! [`Records::flush`]: there are as many as there are instances, and no more.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use madang_model::{InstanceId, ReleaseId, UnitName};
use madang_store::{
    Error, Store,
    rusqlite::{self, Connection, Row, params},
};

const SCHEMA: &[&str] = &[
    "
    CREATE TABLE supervisor_instances (
        instance TEXT PRIMARY KEY,
        unit TEXT NOT NULL,
        release TEXT NOT NULL,
        boot TEXT NOT NULL,
        pid INTEGER,
        started_ticks INTEGER,
        port INTEGER,
        log TEXT NOT NULL,
        started_at INTEGER NOT NULL
    ) STRICT;
    ",
    "
    ALTER TABLE supervisor_instances ADD COLUMN slice TEXT NOT NULL DEFAULT '';
    ALTER TABLE supervisor_instances ADD COLUMN told TEXT NOT NULL DEFAULT '';
    ALTER TABLE supervisor_instances ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0;
    ",
];

/// One instance as it is recorded: before its process is started without one, then with its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) instance: InstanceId,
    pub(crate) unit: UnitName,
    pub(crate) release: ReleaseId,
    /// The boot of the machine in which the pid means something.
    pub(crate) boot: String,
    pub(crate) process: Option<Identity>,
    pub(crate) port: Option<u16>,
    pub(crate) log: PathBuf,
    /// Milliseconds since 1970.
    pub(crate) started_at: u64,
    /// The slice of the manifest that its release was made of.
    pub(crate) slice: String,
    /// Digests of what its environment told it, see [`crate::told`].
    pub(crate) told: String,
    /// How often its unit had been restarted when it was started.
    pub(crate) restarts: u32,
}

/// A process, unmistakably, within one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// When it started, in clock ticks since boot.
    pub(crate) started: u64,
}

/// The recorded instances. Cloning gives the same.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    store: Store,
    unwritten: Arc<Mutex<Unwritten>>,
    /// One writes at a time, whatever all have changed until then.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// The last change of each instance that is not on the disk: its record, or that it is gone.
#[derive(Debug, Default)]
struct Unwritten {
    changes: BTreeMap<InstanceId, Change>,
    count: u64,
}

#[derive(Debug, Clone)]
struct Change {
    number: u64,
    record: Option<Record>,
}

// === impl Records ===

impl Records {
    pub(crate) async fn open(store: Store) -> Result<Self, Error> {
        store.migrate("supervisor", SCHEMA).await?;
        Ok(Self { store, unwritten: Arc::default(), turn: Arc::default() })
    }

    /// Those that no one has said are gone.
    pub(crate) async fn all(&self) -> Result<Vec<Record>, Error> {
        let all = self.store.read(|conn| {
            let rows = "SELECT * FROM supervisor_instances ORDER BY started_at, instance";
            conn.prepare(rows)?.query_map([], |row| Ok(record(row)))?.collect::<Result<Vec<_>, _>>()
        });
        all.await?.into_iter().collect::<Result<_, _>>().map_err(Error::from)
    }

    /// Records an instance, in the place of what was recorded of it before.
    pub(crate) async fn put(&self, record: Record) -> Result<(), Error> {
        self.change(record.instance.clone(), Some(record)).await
    }

    /// Forgets an instance that is gone.
    pub(crate) async fn remove(&self, instance: InstanceId) -> Result<(), Error> {
        self.change(instance, None).await
    }

    async fn change(&self, instance: InstanceId, record: Option<Record>) -> Result<(), Error> {
        {
            let mut unwritten = self.unwritten();
            unwritten.count += 1;
            let number = unwritten.count;
            unwritten.changes.insert(instance, Change { number, record });
        }
        self.flush().await
    }

    /// Writes what is not written yet. Changes that wait at the same time share a commit.
    pub(crate) async fn flush(&self) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let changes = self.unwritten().changes.clone();
        if changes.is_empty() {
            return Ok(());
        }
        let batch = changes.clone();
        self.store.write(move |tx| batch.iter().try_for_each(|(id, one)| write(tx, id, one))).await?;
        let written = |id: &InstanceId, one: &Change| changes.get(id).is_some_and(|w| w.number == one.number);
        self.unwritten().changes.retain(|id, one| !written(id, one));
        Ok(())
    }

    fn unwritten(&self) -> MutexGuard<'_, Unwritten> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(tx: &Connection, id: &InstanceId, change: &Change) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM supervisor_instances WHERE instance = ?1", [&*id.0])?;
    let Some(record) = &change.record else { return Ok(()) };
    let insert = "INSERT INTO supervisor_instances
        (instance, unit, release, boot, pid, started_ticks, port, log, started_at, slice, told, restarts)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    tx.prepare_cached(insert)?
        .execute(params![
            &*id.0,
            record.unit.as_str(),
            &*record.release.0,
            record.boot,
            record.process.map(|process| process.pid),
            record.process.map(|process| process.started.cast_signed()),
            record.port,
            record.log.to_string_lossy(),
            record.started_at.cast_signed(),
            record.slice,
            record.told,
            record.restarts,
        ])
        .map(drop)
}

fn record(row: &Row<'_>) -> Result<Record, rusqlite::Error> {
    let unit: String = row.get("unit")?;
    let unit = unit.parse::<UnitName>().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error))
    })?;
    let pid: Option<i32> = row.get("pid")?;
    let started: Option<i64> = row.get("started_ticks")?;
    Ok(Record {
        instance: InstanceId(row.get::<_, String>("instance")?.into()),
        unit,
        release: ReleaseId(row.get::<_, String>("release")?.into()),
        boot: row.get("boot")?,
        process: pid.zip(started).map(|(pid, started)| Identity { pid, started: started.cast_unsigned() }),
        port: row.get("port")?,
        log: row.get::<_, String>("log")?.into(),
        started_at: row.get::<_, i64>("started_at")?.cast_unsigned(),
        slice: row.get("slice")?,
        told: row.get("told")?,
        restarts: row.get("restarts")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced() -> Record {
        Record {
            instance: InstanceId("users-a".into()),
            unit: "users".parse().unwrap(),
            release: ReleaseId("0123456789ab".into()),
            boot: "this".into(),
            process: None,
            port: Some(20001),
            log: "/logs/users/users-a.log".into(),
            started_at: 1_700_000_000_000,
            slice: "{}".into(),
            told: "PORT=0".into(),
            restarts: 2,
        }
    }

    #[tokio::test]
    async fn gives_back_what_was_recorded_until_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("state.db").display());
        let records = Records::open(Store::open(&url).unwrap()).await.unwrap();
        records.put(announced()).await.unwrap();
        assert_eq!(records.all().await.unwrap(), [announced()]);

        let identified = Record { process: Some(Identity { pid: 77, started: 4242 }), ..announced() };
        records.put(identified.clone()).await.unwrap();
        let reopened = Records::open(Store::open(&url).unwrap()).await.unwrap();
        assert_eq!(reopened.all().await.unwrap(), std::slice::from_ref(&identified));

        records.remove(identified.instance).await.unwrap();
        assert_eq!(records.all().await.unwrap(), []);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_written_later_as_it_is_then() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("state.db").display());
        let store = Store::open(&url).unwrap();
        let records = Records::open(store.clone()).await.unwrap();
        // A table that is away stands for a disk that is full.
        let rename = |from: &str, to: &str| format!("ALTER TABLE {from} RENAME TO {to}");
        let away = rename("supervisor_instances", "away");
        store.write(move |tx| tx.execute_batch(&away)).await.unwrap();
        records.put(announced()).await.unwrap_err();
        let gone = InstanceId("users-b".into());
        records.put(Record { instance: gone.clone(), ..announced() }).await.unwrap_err();
        records.remove(gone).await.unwrap_err();
        records.flush().await.unwrap_err();

        let back = rename("away", "supervisor_instances");
        store.write(move |tx| tx.execute_batch(&back)).await.unwrap();
        records.flush().await.unwrap();
        assert_eq!(records.all().await.unwrap(), [announced()]);
        assert!(records.unwritten().changes.is_empty());
    }
}

//! What is recorded of each instance, so that a node that comes after this one knows whom it left.

use std::path::PathBuf;

use madang_model::{InstanceId, ReleaseId, UnitName};
use madang_store::{Error, Store, rusqlite::Row};

const SCHEMA: &[&str] = &["
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
"];

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
}

/// A process, unmistakably, within one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// When it started, in clock ticks since boot.
    pub(crate) started: u64,
}

/// The recorded instances.
#[derive(Debug, Clone)]
pub(crate) struct Records(Store);

// === impl Records ===

impl Records {
    pub(crate) async fn open(store: Store) -> Result<Self, Error> {
        store.migrate("supervisor", SCHEMA).await?;
        Ok(Self(store))
    }

    /// Those that no one has said are gone.
    pub(crate) async fn all(&self) -> Result<Vec<Record>, Error> {
        let all = self.0.read(|conn| {
            let columns = "SELECT instance, unit, release, boot, pid, started_ticks, port, log, started_at
                           FROM supervisor_instances ORDER BY started_at";
            conn.prepare(columns)?.query_map([], |row| Ok(record(row)))?.collect::<Result<Vec<_>, _>>()
        });
        all.await?.into_iter().collect::<Result<_, _>>().map_err(Error::from)
    }

    /// Records an instance that is about to be started.
    pub(crate) async fn announce(&self, record: Record) -> Result<(), Error> {
        let insert = "INSERT INTO supervisor_instances (instance, unit, release, boot, port, log, started_at)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let write = self.0.write(move |tx| {
            let Record { instance, unit, release, boot, port, log, started_at, .. } = &record;
            let (log, at) = (log.to_string_lossy(), started_at.cast_signed());
            tx.execute(insert, (&*instance.0, unit.as_str(), &*release.0, boot, port, log, at))
        });
        write.await.map(drop)
    }

    /// Records the process of an instance; does nothing if it is gone already.
    pub(crate) async fn identify(&self, instance: InstanceId, process: Identity) -> Result<(), Error> {
        let update = "UPDATE supervisor_instances SET pid = ?2, started_ticks = ?3 WHERE instance = ?1";
        let write = self
            .0
            .write(move |tx| tx.execute(update, (&*instance.0, process.pid, process.started.cast_signed())));
        write.await.map(drop)
    }

    /// Forgets an instance that is gone.
    pub(crate) async fn remove(&self, instance: InstanceId) -> Result<(), Error> {
        let delete = "DELETE FROM supervisor_instances WHERE instance = ?1";
        self.0.write(move |tx| tx.execute(delete, [&*instance.0])).await.map(drop)
    }
}

fn record(row: &Row<'_>) -> Result<Record, madang_store::rusqlite::Error> {
    let unit: String = row.get("unit")?;
    let unit = unit.parse::<UnitName>().map_err(|error| {
        let text = madang_store::rusqlite::types::Type::Text;
        madang_store::rusqlite::Error::FromSqlConversionFailure(1, text, Box::new(error))
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
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gives_back_what_was_recorded_until_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("state.db").display());
        let records = Records::open(Store::open(&url).unwrap()).await.unwrap();
        let announced = Record {
            instance: InstanceId("users-a".into()),
            unit: "users".parse().unwrap(),
            release: ReleaseId("0123456789ab".into()),
            boot: "this".into(),
            process: None,
            port: Some(20001),
            log: "/logs/users/users-a.log".into(),
            started_at: 1_700_000_000_000,
        };
        records.announce(announced.clone()).await.unwrap();
        assert_eq!(records.all().await.unwrap(), std::slice::from_ref(&announced));

        let process = Identity { pid: 77, started: 4242 };
        records.identify(announced.instance.clone(), process).await.unwrap();
        let identified = Record { process: Some(process), ..announced };
        let reopened = Records::open(Store::open(&url).unwrap()).await.unwrap();
        assert_eq!(reopened.all().await.unwrap(), std::slice::from_ref(&identified));

        records.remove(identified.instance).await.unwrap();
        assert_eq!(records.all().await.unwrap(), []);
    }
}

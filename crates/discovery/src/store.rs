//! What is on the disk: versions that only grow, at the price of one write per life of a node, and who joined.

use std::{net::SocketAddr, time::Duration};

use madang_model::{InstanceId, Protocol, ServiceName};
use madang_store::Store;
use madang_wire::service::Endpoint;
use tokio::time::Instant;

use crate::{
    Error, Lease,
    lease::{Held, Key},
};

const SCHEMA: &[&str] = &[
    "
    CREATE TABLE discovery_versions (next INTEGER NOT NULL) STRICT;
    INSERT INTO discovery_versions (next) VALUES (1);
    ",
    "
    CREATE TABLE discovery_leases (
        service TEXT NOT NULL,
        instance TEXT NOT NULL,
        address TEXT NOT NULL,
        protocol TEXT NOT NULL,
        length_ms INTEGER NOT NULL,
        PRIMARY KEY (service, instance)
    ) STRICT, WITHOUT ROWID;
    ",
];

/// How many versions one life of a node may use: ten changes a second for three thousand years.
const BLOCK: u64 = 1 << 40;

/// What is kept of a lease: all but when it ends, which a clock that stops with the machine cannot say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) length: Duration,
}

/// What differs from what is on the disk.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Whether nothing of what is there counts.
    pub(crate) anew: bool,
    pub(crate) put: Vec<(Key, Row)>,
    pub(crate) gone: Vec<Key>,
}

/// Reserves a block of versions for this life of the node and gives the first of it.
pub(crate) async fn reserve_versions(state: &Store) -> Result<u64, Error> {
    let failed = |source| Error::Versions { source };
    state.migrate("discovery", SCHEMA).await.map_err(failed)?;
    let first = state.write(|tx| {
        let next = "UPDATE discovery_versions SET next = next + ?1 RETURNING next - ?1";
        tx.query_row(next, [BLOCK as i64], |row| row.get::<_, i64>(0))
    });
    Ok(first.await.map_err(failed)?.cast_unsigned())
}

/// The leases of the life before, each for its whole length from now.
pub(crate) async fn leases(state: &Store) -> Result<Held, Error> {
    let rows = state.read(|conn| {
        let mut all =
            conn.prepare("SELECT service, instance, address, protocol, length_ms FROM discovery_leases")?;
        let rows = all.query_map([], |row| {
            let texts: [String; 4] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
            Ok((texts, row.get::<_, i64>(4)?))
        });
        rows?.collect::<Result<Vec<_>, _>>()
    });
    let rows = rows.await.map_err(|source| Error::Read { source })?;
    let now = Instant::now();
    // What this version does not understand, it cannot call: that instance registers again.
    Ok(rows.into_iter().filter_map(|row| lease(row, now)).collect())
}

fn lease(
    ([service, instance, address, protocol], length): ([String; 4], i64),
    now: Instant,
) -> Option<(Key, Lease)> {
    let service: ServiceName = service.parse().ok()?;
    let instance = InstanceId(instance.into());
    let protocol = serde_json::from_value(protocol.into()).ok()?;
    // Who joined is of no release.
    let address = address.parse().ok()?;
    let endpoint = Endpoint { instance: instance.clone(), address, protocol, release: None };
    let length = Duration::from_millis(length.try_into().ok()?);
    let lease = Lease { service: service.clone(), endpoint, length, ends: now + length, since: now };
    Some(((service, instance), lease))
}

/// Writes what differs, in one transaction.
pub(crate) async fn save(state: &Store, changes: Changes) -> Result<(), Error> {
    let write = state.write(move |tx| {
        if changes.anew {
            tx.execute("DELETE FROM discovery_leases", [])?;
        }
        let mut delete =
            tx.prepare_cached("DELETE FROM discovery_leases WHERE service = ?1 AND instance = ?2")?;
        for (service, instance) in &changes.gone {
            delete.execute([service.as_str(), &instance.0])?;
        }
        let mut put =
            tx.prepare_cached("INSERT OR REPLACE INTO discovery_leases VALUES (?1, ?2, ?3, ?4, ?5)")?;
        for ((service, instance), row) in &changes.put {
            let length = row.length.as_millis() as i64;
            put.execute((
                service.as_str(),
                &*instance.0,
                row.address.to_string(),
                row.protocol.as_str(),
                length,
            ))?;
        }
        Ok(())
    });
    write.await.map_err(|source| Error::Keep { source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn versions_of_a_later_life_are_greater() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("state.db").display());
        let first = reserve_versions(&Store::open(&url).unwrap()).await.unwrap();
        let second = reserve_versions(&Store::open(&url).unwrap()).await.unwrap();
        assert_eq!(second, first + BLOCK);
    }
}

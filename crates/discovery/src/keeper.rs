//! Has those who joined outlive the node: the disk follows what is in memory, and nobody waits for it.

use std::{collections::BTreeMap, time::Duration};

use madang_store::Store;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    Error, Registry,
    lease::Key,
    store::{self, Changes, Row},
};

/// How long to wait before a write that failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Keeps the leases of a registry in the node's state: who joined, and for how long, but not each renewal.
pub struct Keeper {
    registry: Registry,
    state: Store,
    /// What is on the disk as far as is known; nothing is before the first write.
    saved: Option<BTreeMap<Key, Row>>,
}

// === impl Keeper ===

impl Keeper {
    /// A keeper of this registry's leases.
    pub fn new(registry: Registry, state: Store) -> Self {
        Self { registry, state, saved: None }
    }

    /// Keeps them until told to stop. While the state cannot be written, what is in memory stays in force.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut changed = self.registry.watch_leases();
        let mut failing = false;
        loop {
            changed.mark_unchanged();
            match self.save().await {
                Ok(()) if std::mem::take(&mut failing) => info!("the leases are kept again"),
                Ok(()) => {}
                Err(error) if !std::mem::replace(&mut failing, true) => {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    warn!(%error, source, "leases hold until the node ends, and are forgotten then");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = changed.changed() => if changed.is_err() { return },
                () = sleep(AGAIN), if failing => {}
            }
        }
    }

    /// Writes what changed since the last time, if anything did.
    async fn save(&mut self) -> Result<(), Error> {
        let held: BTreeMap<Key, Row> = self.registry.leases().into_iter().map(row).collect();
        let changes = changes(self.saved.as_ref(), &held);
        if changes.anew || !changes.put.is_empty() || !changes.gone.is_empty() {
            store::save(&self.state, changes).await?;
            self.saved = Some(held);
        }
        Ok(())
    }
}

fn row(lease: crate::Lease) -> (Key, Row) {
    let row =
        Row { address: lease.endpoint.address, protocol: lease.endpoint.protocol, length: lease.length };
    ((lease.service, lease.endpoint.instance), row)
}

fn changes(saved: Option<&BTreeMap<Key, Row>>, held: &BTreeMap<Key, Row>) -> Changes {
    let put = held.iter().filter(|(key, row)| saved.and_then(|saved| saved.get(key)) != Some(row));
    let gone = saved.into_iter().flatten().map(|(key, _)| key).filter(|key| !held.contains_key(key));
    Changes {
        anew: saved.is_none(),
        put: put.map(|(key, row)| (key.clone(), row.clone())).collect(),
        gone: gone.cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use madang_model::{InstanceId, ServiceName};
    use madang_wire::service::Endpoint;
    use tokio::time::{advance, timeout};

    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    fn orders() -> ServiceName {
        "orders".parse().unwrap()
    }

    fn endpoint(id: &str, port: u16) -> Endpoint {
        let address = ([127, 0, 0, 1], port).into();
        Endpoint {
            instance: InstanceId(id.into()),
            address,
            protocol: madang_model::Protocol::H2c,
            release: None,
        }
    }

    fn state(folder: &tempfile::TempDir) -> Store {
        Store::open(&format!("sqlite:{}", folder.path().join("state.db").display())).unwrap()
    }

    fn known(registry: &Registry) -> Vec<Endpoint> {
        registry.snapshot().services.get(&orders()).cloned().unwrap_or_default().instances
    }

    #[tokio::test]
    async fn who_joined_has_a_whole_lease_to_renew_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        {
            let state = state(&folder);
            let registry = Registry::open(&state).await.unwrap();
            let mut keeper = Keeper::new(registry.clone(), state);
            for (id, port) in [("a", 4001), ("b", 4002), ("c", 4003)] {
                registry.join(&orders(), endpoint(id, port), LEASE).unwrap();
            }
            keeper.save().await.unwrap();
            registry.join(&orders(), endpoint("b", 4012), LEASE).unwrap();
            registry.leave(&orders(), &InstanceId("c".into()));
            keeper.save().await.unwrap();
        }
        let state = state(&folder);
        let registry = Registry::open(&state).await.unwrap();
        assert_eq!(known(&registry), [endpoint("a", 4001), endpoint("b", 4012)]);
        tokio::time::pause();
        advance(LEASE - Duration::from_millis(1)).await;
        assert_eq!(registry.expire(), []);
        assert!(registry.renew(&orders(), &InstanceId("a".into())).is_some());
        advance(Duration::from_millis(2)).await;
        registry.expire();
        assert_eq!(known(&registry), [endpoint("a", 4001)], "only one has renewed its lease");
    }

    #[tokio::test]
    async fn a_renewal_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let state = state(&folder);
        let registry = Registry::open(&state).await.unwrap();
        let mut keeper = Keeper::new(registry.clone(), state.clone());
        registry.join(&orders(), endpoint("a", 4001), LEASE).unwrap();
        keeper.save().await.unwrap();
        let commits = state.commits();
        registry.join(&orders(), endpoint("a", 4001), LEASE).unwrap();
        registry.renew(&orders(), &InstanceId("a".into())).unwrap();
        keeper.save().await.unwrap();
        assert_eq!(state.commits(), commits);
    }

    #[tokio::test]
    async fn what_is_known_stays_in_force_while_the_state_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let state = state(&folder);
        let registry = Registry::open(&state).await.unwrap();
        let mut keeper = Keeper::new(registry.clone(), state.clone());
        registry.join(&orders(), endpoint("a", 4001), LEASE).unwrap();
        keeper.save().await.unwrap();
        state.write(|tx| tx.execute("ALTER TABLE discovery_leases RENAME TO away", [])).await.unwrap();
        registry.join(&orders(), endpoint("b", 4002), LEASE).unwrap();
        keeper.save().await.unwrap_err();
        assert_eq!(known(&registry).len(), 2);

        state.write(|tx| tx.execute("ALTER TABLE away RENAME TO discovery_leases", [])).await.unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(keeper.run(shutdown.clone()));
        let kept = async {
            while store::leases(&state).await.unwrap().len() < 2 {
                tokio::task::yield_now().await;
            }
        };
        timeout(AGAIN, kept).await.expect("it is kept once it can be");
        shutdown.cancel();
        running.await.unwrap();
    }
}

//! Leases: instances that nobody here started are in rotation for as long as they go on saying that they live.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use madang_model::{InstanceId, ServiceName};
use madang_wire::service::Endpoint;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// How many instances of one service may join.
pub const MOST_JOINED: usize = 1_000;

/// The place of one instance in rotation, until it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The service that it serves.
    pub service: ServiceName,
    /// The instance, and where it listens.
    pub endpoint: Endpoint,
    /// How long it lasts from each renewal.
    pub length: Duration,
    /// When it ends unless it is renewed.
    pub ends: Instant,
    /// Since when it is held without a gap in this life of the node.
    pub since: Instant,
}

/// Why an instance may not join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its id is that of an instance that is in rotation without a lease.
    #[error("the id is that of an instance that is in rotation without a lease")]
    Taken,
    /// As many have joined as may.
    #[error("{MOST_JOINED} instances of the service have joined, and no more may")]
    Full,
}

pub(crate) type Key = (ServiceName, InstanceId);
pub(crate) type Held = BTreeMap<Key, Lease>;

/// All leases that have not ended.
pub(crate) struct Leases {
    held: Mutex<Held>,
    /// Told when a lease comes, goes, says something else or ends sooner; that one ends later is found in time.
    changed: watch::Sender<()>,
}

// === impl Leases ===

impl Leases {
    pub(crate) fn new(held: Held) -> Self {
        Self { held: Mutex::new(held), changed: watch::Sender::new(()) }
    }

    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        // Each change of it is one insertion or removal, so that it is whole whatever happens.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell(&self) {
        self.changed.send_replace(());
    }

    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Waits until a lease may have ended.
    pub(crate) async fn ended(&self) {
        let mut changed = self.watch();
        loop {
            let next = self.held().values().map(|lease| lease.ends).min();
            let end = async {
                match next {
                    Some(end) => sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = end => return,
                _ = changed.changed() => {}
            }
        }
    }
}

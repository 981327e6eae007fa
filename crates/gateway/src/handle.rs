//! What the rest of a node does with a running gateway.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    panic::resume_unwind,
    sync::{Arc, PoisonError, RwLock},
};

use madang_wire::{RequestRecord, admin::RouteView, cache::CacheView};
use tokio::sync::{Mutex, Notify, mpsc};

use crate::{
    Error, LimitConnector, LimitStats, LimitStoreStats, Listener, MirrorStats, Purge, Snapshot, Stats,
    acceptor::Opened, listeners::Listeners, policies::Kept, worker::Worker,
};

/// A running gateway. Cloning it is cheap and gives the same one.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    workers: Vec<Arc<Worker>>,
    snapshot: RwLock<Snapshot>,
    /// Locked while a snapshot is applied, never by requests.
    listeners: Mutex<Listeners>,
    /// Told when a snapshot has come into force.
    applied: Notify,
}

impl Handle {
    pub(crate) fn new(
        workers: Vec<Arc<Worker>>,
        snapshot: Snapshot,
        opened: mpsc::UnboundedSender<Opened>,
    ) -> Self {
        let (snapshot, listeners) = (RwLock::new(snapshot), Mutex::new(Listeners::new(opened)));
        Self { shared: Arc::new(Shared { workers, snapshot, listeners, applied: Notify::new() }) }
    }

    /// Puts a snapshot into force. Listeners that are new open, those that stay are not touched, those that are
    /// gone stop accepting and their connections end after the requests in flight; when this returns their
    /// addresses are free. Requests that come after it take the new routes. Where a listener that goes is in the
    /// way of one that comes, it goes first, and connecting fails for a moment. Sockets that are open already are used
    /// for the addresses that they listen on.
    ///
    /// # Errors
    /// If an address cannot be listened on, or the gateway drains or has stopped; then nothing has changed.
    pub async fn apply(&self, snapshot: Snapshot, listeners: Vec<Listener>) -> Result<(), Error> {
        // A task of its own, because a caller that leaves must not leave it half done.
        let handle = self.clone();
        let applied = tokio::spawn(async move { handle.change(snapshot, listeners).await }).await;
        applied
            .unwrap_or_else(|lost| lost.try_into_panic().map_or(Err(Error::Stopped), |it| resume_unwind(it)))
    }

    /// The socket that listens at this very address, once more, if one does: for who is to listen there when the gateway
    /// does not any more. It listens in between.
    ///
    /// # Errors
    /// If there is no descriptor left for it.
    pub async fn socket(&self, address: SocketAddr) -> io::Result<Option<TcpListener>> {
        self.shared.listeners.lock().await.socket(address)
    }

    pub(crate) async fn change(&self, snapshot: Snapshot, given: Vec<Listener>) -> Result<(), Error> {
        snapshot.kept.adopt(&self.kept());
        self.shared.listeners.lock().await.change(&snapshot.fronts, given).await?;
        snapshot.is_in_force();
        *self.shared.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
        self.shared.applied.notify_one();
        Ok(())
    }

    /// The routes in force, in order of precedence.
    pub fn routes(&self) -> Vec<RouteView> {
        self.shared.snapshot.read().unwrap_or_else(PoisonError::into_inner).describe()
    }

    /// Takes the request records that the workers have kept since the last time.
    pub fn records(&self) -> Vec<RequestRecord> {
        let mut records = Vec::new();
        self.shared.workers.iter().for_each(|worker| worker.take_records(&mut records));
        records
    }

    /// What each rate limit in force did since it began to count, by its scope and name.
    pub fn limits(&self) -> Vec<LimitStats> {
        self.kept().limits()
    }

    /// What became of the copies of requests, by the service that gets them.
    pub fn mirrors(&self) -> Vec<MirrorStats> {
        self.kept().mirrors()
    }

    /// How the store of shared limits does, if limits are shared.
    pub fn limit_store(&self) -> Option<LimitStoreStats> {
        self.kept().limit_store()
    }

    /// Shares the limits that are to be shared with other gateways, for as long as it is polled. Once is enough.
    pub async fn share_limits(self, connector: Arc<dyn LimitConnector>) {
        crate::policies::limit::shared::run(self, connector).await;
    }

    /// Waits until another snapshot is in force.
    pub(crate) async fn changed(&self) {
        self.shared.applied.notified().await;
    }

    /// What is kept of answers, and what the cache did over each route that has one.
    pub fn cache(&self) -> CacheView {
        self.kept().answers().map(|store| store.view()).unwrap_or_default()
    }

    /// Forgets what is kept of answers; says how many that were.
    pub fn purge(&self, purge: &Purge) -> u64 {
        self.kept().answers().map_or(0, |store| store.purge(purge))
    }

    pub(crate) fn kept(&self) -> Arc<Kept> {
        self.shared.snapshot.read().unwrap_or_else(PoisonError::into_inner).kept.clone()
    }

    /// What it has done since it started.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        self.shared.workers.iter().for_each(|worker| worker.add_to(&mut stats));
        stats
    }

    /// Closes the gateway's own listeners, and waits until the connections that came in there have ended.
    pub(crate) async fn drain(&self) {
        let ending = self.shared.listeners.lock().await.close_gateway().await;
        for unused in ending {
            let _ = unused.await;
        }
    }

    /// Closes every listener for good.
    pub(crate) async fn close(&self) {
        self.shared.listeners.lock().await.close_all().await;
    }
}

//! What the rest of a node does with a running gateway.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
};

use madang_calls::Counters;
use madang_model::ServiceName;
use madang_wire::{RequestRecord, admin::RouteView};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::{
    Error, Listener, Snapshot, Stats,
    acceptor::Opened,
    worker::{Port, Worker},
};

/// A running gateway. Cloning it is cheap and gives the same one.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    workers: Vec<Arc<Worker>>,
    snapshot: RwLock<Snapshot>,
    /// The open listeners by the address asked for; locked while a snapshot is applied, never by requests.
    open: Mutex<Listeners>,
}

struct Listeners {
    by_address: BTreeMap<SocketAddr, OpenListener>,
    /// Where listeners are sent to be accepted on; absent once the gateway stops.
    opened: Option<mpsc::UnboundedSender<Opened>>,
}

struct OpenListener {
    local: SocketAddr,
    port: Arc<Port>,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl Handle {
    pub(crate) fn new(
        workers: Vec<Arc<Worker>>,
        snapshot: Snapshot,
        opened: mpsc::UnboundedSender<Opened>,
    ) -> Self {
        let open = Mutex::new(Listeners { by_address: BTreeMap::new(), opened: Some(opened) });
        Self { shared: Arc::new(Shared { workers, snapshot: RwLock::new(snapshot), open }) }
    }

    /// Puts a snapshot into force. Listeners that are new open, those that stay are not touched, those that are
    /// gone stop accepting and their connections end after the requests in flight; when this returns their
    /// addresses are free. Requests that come after it take the new routes.
    ///
    /// # Errors
    /// If an address cannot be listened on; then nothing has changed.
    pub async fn apply(&self, snapshot: Snapshot) -> Result<(), Error> {
        self.apply_with(snapshot, Vec::new()).await
    }

    /// The same, with sockets that are open already.
    pub(crate) async fn apply_with(&self, snapshot: Snapshot, given: Vec<Listener>) -> Result<(), Error> {
        let mut open = self.shared.open.lock().await;
        let Some(opened) = open.opened.clone() else { return Err(Error::Stopped) };
        let mut given: BTreeMap<_, _> = given.into_iter().map(|l| (l.asked(), l)).collect();
        let missing = snapshot.fronts.keys().filter(|address| !open.by_address.contains_key(address));
        let fresh = missing
            .map(|&address| given.remove(&address).map_or_else(|| Listener::bind(address), Ok))
            .collect::<Result<Vec<_>, _>>()?;

        let gone: Vec<_> =
            open.by_address.extract_if(.., |address, _| !snapshot.fronts.contains_key(address)).collect();
        for (address, front) in &snapshot.fronts {
            if let Some(listener) = open.by_address.get(address) {
                listener.port.front.store(front.clone());
            }
        }
        for listener in fresh {
            let front = snapshot.fronts[&listener.asked()].clone();
            let (address, listener) = start(listener, front, &opened);
            open.by_address.insert(address, listener);
        }
        *self.shared.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
        for (_, listener) in gone {
            listener.stop().await;
        }
        Ok(())
    }

    /// Where it listens: for each address asked for, the one that was given.
    pub async fn listeners(&self) -> BTreeMap<SocketAddr, SocketAddr> {
        let open = self.shared.open.lock().await;
        open.by_address.iter().map(|(asked, listener)| (*asked, listener.local)).collect()
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

    /// What was counted of the calls to each service since it started.
    pub fn calls(&self) -> BTreeMap<ServiceName, Counters> {
        let mut calls = BTreeMap::new();
        self.shared.workers.iter().for_each(|worker| worker.add_calls_to(&mut calls));
        calls
    }

    /// What it has done since it started.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        self.shared.workers.iter().for_each(|worker| worker.add_to(&mut stats));
        stats
    }

    /// Closes every listener for good.
    pub(crate) async fn close(&self) {
        let mut open = self.shared.open.lock().await;
        open.opened = None;
        for (_, listener) in std::mem::take(&mut open.by_address) {
            listener.stop().await;
        }
    }
}

fn start(
    listener: Listener,
    front: Arc<crate::snapshot::Front>,
    opened: &mpsc::UnboundedSender<Opened>,
) -> (SocketAddr, OpenListener) {
    let (asked, local) = (listener.asked(), listener.local_addr());
    let port = Arc::new(Port::new(local, front));
    let (stop, stopped) = oneshot::channel();
    let (ended, has_ended) = oneshot::channel();
    let listener = Arc::new(listener);
    // If the acceptor is gone so is the gateway, and whoever runs it is told.
    let _ = opened.send(Opened { listener, port: port.clone(), stop: stopped, ended });
    (asked, OpenListener { local, port, stop, ended: has_ended })
}

impl OpenListener {
    async fn stop(self) {
        drop(self.stop);
        let _ = self.ended.await;
    }
}

//! The upstream connections of one worker.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use hyper::client::conn::{http1, http2};
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep},
};

use crate::{Body, client::Worker, endpoint::Endpoint, exchange::Exchange};

/// The upstream connections of one worker: idle HTTP/1.1 connections, the one used last first, and one
/// shared HTTP/2 connection per endpoint.
pub(crate) struct Pool {
    idle_limit: Duration,
    shelves: Mutex<Shelves>,
}

#[derive(Default)]
struct Shelves {
    by_endpoint: BTreeMap<u64, Shelf>,
    sweeping: bool,
}

/// The connections to one endpoint.
struct Shelf {
    endpoint: Arc<Endpoint>,
    idle: Vec<(Connection, Instant)>,
    shared: Option<http2::SendRequest<Body>>,
}

/// An HTTP/1.1 connection; closed when it is dropped.
pub(crate) struct Connection {
    pub(crate) sender: http1::SendRequest<Body>,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) task: AbortHandle,
}

/// A connection in use by an answer's body; it goes back only if the body says that it ended.
pub(crate) struct Lease {
    pub(crate) connection: Connection,
    pub(crate) exchange: Arc<Exchange>,
}

// === impl Pool ===

impl Pool {
    /// An empty pool; connections are closed once they have been idle for this long.
    pub(crate) fn new(idle_limit: Duration) -> Self {
        Self { idle_limit, shelves: Mutex::default() }
    }

    /// An idle connection, if there is one that is still open.
    pub(crate) fn take(&self, endpoint: &Endpoint, now: Instant) -> Option<Connection> {
        let mut shelves = self.shelves();
        let idle = &mut shelves.by_endpoint.get_mut(&endpoint.number)?.idle;
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            let (connection, since) = &idle[at];
            if connection.sender.is_closed() || now.saturating_duration_since(*since) >= self.idle_limit {
                idle.swap_remove(at);
            } else if connection.sender.is_ready() {
                return Some(idle.swap_remove(at).0);
            }
        }
        None
    }

    /// The shared connection, if it is still open.
    pub(crate) fn shared(&self, endpoint: &Endpoint) -> Option<http2::SendRequest<Body>> {
        let shelves = self.shelves();
        let shared = shelves.by_endpoint.get(&endpoint.number)?.shared.as_ref()?;
        (!shared.is_closed()).then(|| shared.clone())
    }

    /// Replaces the shared connection.
    pub(crate) fn share(worker: &Arc<Worker>, endpoint: &Arc<Endpoint>, sender: http2::SendRequest<Body>) {
        worker.pool.put(worker, endpoint, |shelf| shelf.shared = Some(sender));
    }

    fn put(&self, worker: &Arc<Worker>, endpoint: &Arc<Endpoint>, change: impl FnOnce(&mut Shelf)) {
        let mut shelves = self.shelves();
        change(shelves.by_endpoint.entry(endpoint.number).or_insert_with(|| Shelf::new(endpoint)));
        if !shelves.sweeping {
            shelves.sweeping = true;
            tokio::spawn(sweep(Arc::downgrade(worker), self.idle_limit / 4));
        }
    }

    /// Closes what has been idle for too long or whose endpoint left; whether anything is left to sweep.
    fn sweep(&self) -> bool {
        let mut shelves = self.shelves();
        shelves.by_endpoint.retain(|_, shelf| {
            shelf.idle.retain(|(connection, since)| {
                !connection.sender.is_closed() && since.elapsed() < self.idle_limit
            });
            shelf.shared.take_if(|shared| shared.is_closed());
            shelf.endpoint.in_rotation() && !(shelf.idle.is_empty() && shelf.shared.is_none())
        });
        shelves.sweeping = !shelves.by_endpoint.is_empty();
        shelves.sweeping
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        // Held for a few lines that do not panic, and each shelf is whole at any of them.
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sweeps until there is nothing left, or nobody who could use it.
async fn sweep(worker: Weak<Worker>, pause: Duration) {
    loop {
        sleep(pause).await;
        let left = worker.upgrade().is_some_and(|worker| worker.pool.sweep());
        if !left {
            return;
        }
    }
}

impl Shelf {
    fn new(endpoint: &Arc<Endpoint>) -> Self {
        Self { endpoint: endpoint.clone(), idle: Vec::new(), shared: None }
    }
}

// === impl Connection ===

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Lease ===

impl Lease {
    /// The answer's body ended as it should.
    pub(crate) fn ended(self) {
        let Self { connection, exchange } = self;
        let endpoint = connection.endpoint.clone();
        let reusable = exchange.upload.ended() && endpoint.in_rotation() && !connection.sender.is_closed();
        if reusable {
            // Idle since the head of its answer, which is early, so that it is never kept too long.
            let since = exchange.started + Duration::from_micros(exchange.trail.answered_us());
            exchange.worker.pool.put(&exchange.worker, &endpoint, |shelf| {
                shelf.idle.push((connection, since));
            });
            endpoint.free_slot();
        }
    }
}

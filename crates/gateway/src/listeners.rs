//! The open listeners of a gateway: which come, which go, and in what order.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use tokio::sync::{mpsc, oneshot};

use crate::{Error, Listener, acceptor::Opened, snapshot::Front, worker::Port};

/// The open listeners by the address asked for.
pub(crate) struct Listeners {
    open: BTreeMap<SocketAddr, Open>,
    /// Where listeners are sent to be accepted on; absent once all are closed for good.
    opened: Option<mpsc::UnboundedSender<Opened>>,
    /// Whether the gateway stops, so that nothing is opened any more.
    stopping: bool,
    /// One for each listener that is gone and may have connections left; it resolves with the last of them.
    ending: Vec<oneshot::Receiver<()>>,
}

struct Open {
    local: SocketAddr,
    port: Arc<Port>,
    /// Resolves once nothing uses the port.
    unused: oneshot::Receiver<()>,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

// === impl Listeners ===

impl Listeners {
    pub(crate) fn new(opened: mpsc::UnboundedSender<Opened>) -> Self {
        Self { open: BTreeMap::new(), opened: Some(opened), stopping: false, ending: Vec::new() }
    }

    /// Has these fronts, and no others, at their addresses; sockets that are given are used first.
    pub(crate) async fn change(
        &mut self,
        fronts: &BTreeMap<SocketAddr, Arc<Front>>,
        given: Vec<Listener>,
    ) -> Result<(), Error> {
        let Some(opened) = self.opened.clone().filter(|_| !self.stopping) else { return Err(Error::Stopped) };
        let fresh = self.bind(fronts, given)?;

        let gone: Vec<_> =
            self.open.extract_if(.., |address, _| !fronts.contains_key(address)).map(|(_, it)| it).collect();
        for (address, listener) in &self.open {
            listener.port.front.store(fronts[address].clone());
        }
        for listener in fresh {
            let front = fronts[&listener.asked()].clone();
            self.open.insert(listener.asked(), Open::start(listener, front, &opened));
        }
        self.close(gone).await;
        Ok(())
    }

    /// For each address asked for, the one that was given.
    pub(crate) fn addresses(&self) -> BTreeMap<SocketAddr, SocketAddr> {
        self.open.iter().map(|(asked, listener)| (*asked, listener.local)).collect()
    }

    /// Closes the gateway's own listeners and has no more opened; those of services stay. What is returned
    /// resolves as the connections end that are left of listeners that are gone.
    pub(crate) async fn close_gateway(&mut self) -> Vec<oneshot::Receiver<()>> {
        self.stopping = true;
        let gone = self.open.extract_if(.., |_, listener| !listener.port.front.load().is_door());
        let gone = gone.map(|(_, listener)| listener).collect();
        self.close(gone).await;
        std::mem::take(&mut self.ending)
    }

    /// Closes every listener for good.
    pub(crate) async fn close_all(&mut self) {
        self.opened = None;
        let gone = std::mem::take(&mut self.open).into_values().collect();
        self.close(gone).await;
    }

    /// Binds what is not open yet.
    fn bind(
        &self,
        fronts: &BTreeMap<SocketAddr, Arc<Front>>,
        given: Vec<Listener>,
    ) -> Result<Vec<Listener>, Error> {
        let mut given: BTreeMap<_, _> = given.into_iter().map(|l| (l.asked(), l)).collect();
        let missing = fronts.keys().filter(|address| !self.open.contains_key(address));
        missing.map(|&address| given.remove(&address).map_or_else(|| Listener::bind(address), Ok)).collect()
    }

    /// Closes listeners and has their connections finish; afterwards their addresses are free.
    async fn close(&mut self, gone: Vec<Open>) {
        self.ending
            .retain_mut(|unused| matches!(unused.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        // All are told before one is waited for, so that it is also done if nobody waits any more.
        let told: Vec<_> = gone.into_iter().map(Open::tell).collect();
        for (ended, unused) in told {
            let _ = ended.await;
            self.ending.push(unused);
        }
    }
}

// === impl Open ===

impl Open {
    fn start(listener: Listener, front: Arc<Front>, opened: &mpsc::UnboundedSender<Opened>) -> Self {
        let local = listener.local_addr();
        let (used, unused) = oneshot::channel();
        let port = Arc::new(Port::new(local, front, used));
        let (stop, stopped) = oneshot::channel();
        let (ended, has_ended) = oneshot::channel();
        let listener = Arc::new(listener);
        // If the acceptor is gone so is the gateway, and whoever runs it is told.
        let _ = opened.send(Opened { listener, port: port.clone(), stop: stopped, ended });
        Self { local, port, unused, stop, ended: has_ended }
    }

    /// Tells the acceptor and the connections to end; returns when the first, and when the last of them has.
    fn tell(self) -> (oneshot::Receiver<()>, oneshot::Receiver<()>) {
        self.port.close();
        drop(self.stop);
        (self.ended, self.unused)
    }
}

//! The open listeners of a gateway: which come, which go, and in what order.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Weak},
};

use tokio::sync::{mpsc, oneshot};
use tracing::error;

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
    /// Absent while it is paused.
    accepting: Option<Accepting>,
}

struct Accepting {
    /// Whoever accepts holds it, so that it closes with that.
    listener: Weak<Listener>,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

// === impl Listeners ===

impl Listeners {
    pub(crate) fn new(opened: mpsc::UnboundedSender<Opened>) -> Self {
        Self { open: BTreeMap::new(), opened: Some(opened), stopping: false, ending: Vec::new() }
    }

    /// Has these fronts, and no others, at their addresses; sockets that are given are used first. On an error
    /// nothing has changed.
    pub(crate) async fn change(
        &mut self,
        fronts: &BTreeMap<SocketAddr, Arc<Front>>,
        given: Vec<Listener>,
    ) -> Result<(), Error> {
        let Some(opened) = self.opened.clone().filter(|_| !self.stopping) else { return Err(Error::Stopped) };
        let fresh = self.bind(fronts, given, &opened).await?;

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

    /// The socket that listens at this very address, once more.
    pub(crate) fn socket(&self, address: SocketAddr) -> io::Result<Option<TcpListener>> {
        let open = self.open.values().find(|listener| listener.local == address);
        let listener = open.and_then(|open| open.accepting.as_ref()?.listener.upgrade());
        listener.map(|listener| listener.duplicate()).transpose()
    }

    /// Closes the gateway's own listeners and has no more opened; those for services stay. What is returned
    /// resolves as the connections end that are left of listeners that are gone.
    pub(crate) async fn close_gateway(&mut self) -> Vec<oneshot::Receiver<()>> {
        self.stopping = true;
        let gone = self.open.extract_if(.., |_, listener| !listener.port.front.load().is_inside());
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

    /// Binds what is not open yet. Where only a listener that leaves is in the way, that one gives way first.
    async fn bind(
        &mut self,
        fronts: &BTreeMap<SocketAddr, Arc<Front>>,
        given: Vec<Listener>,
        opened: &mpsc::UnboundedSender<Opened>,
    ) -> Result<Vec<Listener>, Error> {
        let mut given: BTreeMap<_, _> = given.into_iter().map(|l| (l.asked(), l)).collect();
        let (mut fresh, mut blocked) = (Vec::new(), Vec::new());
        let missing = fronts.keys().filter(|address| !self.open.contains_key(address));
        for address in missing.copied().collect::<Vec<_>>() {
            match given.remove(&address).map_or_else(|| Listener::bind(address), Ok) {
                Ok(listener) => fresh.push(listener),
                Err(error) if error.is_in_use() && self.leaving(fronts).any(|it| it.blocks(address)) => {
                    blocked.push(address);
                }
                Err(error) => return Err(error),
            }
        }
        for address in blocked {
            for listener in self.leaving(fronts).filter(|it| it.blocks(address)) {
                listener.pause().await;
            }
            match Listener::bind(address) {
                Ok(listener) => fresh.push(listener),
                Err(error) => {
                    drop(fresh);
                    self.reopen(opened);
                    return Err(error);
                }
            }
        }
        Ok(fresh)
    }

    fn leaving(&mut self, fronts: &BTreeMap<SocketAddr, Arc<Front>>) -> impl Iterator<Item = &mut Open> {
        self.open.iter_mut().filter(|(address, _)| !fronts.contains_key(address)).map(|(_, it)| it)
    }

    /// Undoes every pause. A listener whose address was taken meanwhile is lost.
    fn reopen(&mut self, opened: &mpsc::UnboundedSender<Opened>) {
        self.open.retain(|_, listener| {
            let reopened = listener.resume(opened);
            if let Err(error) = &reopened {
                error!(%error, "failed to reopen a listener");
                listener.port.close();
            }
            reopened.is_ok()
        });
    }

    /// Closes listeners and has their connections finish; afterwards their addresses are free.
    async fn close(&mut self, gone: Vec<Open>) {
        self.ending
            .retain_mut(|unused| matches!(unused.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        // All are told before one is waited for, so that it is also done if nobody waits any more.
        let told: Vec<_> = gone.into_iter().map(Open::tell).collect();
        for (ended, unused) in told {
            if let Some(ended) = ended {
                let _ = ended.await;
            }
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
        let accepting = Some(Accepting::start(listener, port.clone(), opened));
        Self { local, port, unused, accepting }
    }

    /// Whether its socket can be why this address is taken; one of all addresses is in the way of any.
    fn blocks(&self, address: SocketAddr) -> bool {
        let (own, other) = (self.local.ip().to_canonical(), address.ip().to_canonical());
        let overlap = own == other || own.is_unspecified() || other.is_unspecified();
        self.local.port() == address.port() && overlap
    }

    /// Frees the address; the connections go on.
    async fn pause(&mut self) {
        if let Some(Accepting { stop, ended, .. }) = self.accepting.take() {
            drop(stop);
            let _ = ended.await;
        }
    }

    /// Listens again if it is paused.
    fn resume(&mut self, opened: &mpsc::UnboundedSender<Opened>) -> Result<(), Error> {
        if self.accepting.is_none() {
            let listener = Listener::bind(self.local)?;
            self.accepting = Some(Accepting::start(listener, self.port.clone(), opened));
        }
        Ok(())
    }

    /// Tells the acceptor and the connections to end; returns when the first, if it has not, and when the last
    /// of them has.
    fn tell(self) -> (Option<oneshot::Receiver<()>>, oneshot::Receiver<()>) {
        self.port.close();
        (self.accepting.map(|accepting| accepting.ended), self.unused)
    }
}

// === impl Accepting ===

impl Accepting {
    fn start(listener: Listener, port: Arc<Port>, opened: &mpsc::UnboundedSender<Opened>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (ended, has_ended) = oneshot::channel();
        let listener = Arc::new(listener);
        let kept = Arc::downgrade(&listener);
        // If the acceptor is gone so is the gateway, and whoever runs it is told.
        let _ = opened.send(Opened { listener, port, stop: stopped, ended });
        Self { listener: kept, stop, ended: has_ended }
    }
}

//! Where the built-in issuer listens, over all edits of the manifest.
//!
//! An edit opens the new listener first, so that one that cannot be opened changes nothing. Requests that are under way at
//! the old one end there. Where the gateway is that leaves in the same edit its socket is taken over, and the other way
//! round, so that nothing has to close before it is known that all can open.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use madang_gateway::{Listener, Snapshot};
use madang_issuer::Issuer;
use madang_model::System;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{StartError, holder};

/// Where it listens now, and how that is changed.
pub(crate) struct Listening {
    at: Mutex<Option<At>>,
    changes: mpsc::UnboundedSender<Option<Open>>,
}

/// A place where it listens.
struct At {
    address: SocketAddr,
    /// Its socket, for as long as it is served.
    socket: Weak<Socket>,
}

/// A listener that is open, and its socket once more, for whoever is to listen there next.
pub(crate) struct Open {
    listener: TcpListener,
    socket: Arc<Socket>,
}

/// A socket that listens.
pub(crate) type Socket = std::net::TcpListener;

/// What becomes of it, ready to be done.
pub(crate) struct Change(Option<(At, Open)>);

/// The other end of a [`Listening`].
pub(crate) type Changes = mpsc::UnboundedReceiver<Option<Open>>;

// === impl Listening ===

impl Listening {
    /// Nowhere yet.
    pub(crate) fn new() -> (Self, Changes) {
        let (changes, told) = mpsc::unbounded_channel();
        (Self { at: Mutex::default(), changes }, told)
    }

    /// What is to be done for a system; nothing if it listens where it should. The socket is one that somebody leaves at
    /// its address.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub(crate) async fn plan(
        &self,
        system: &System,
        left: Option<Socket>,
    ) -> Result<Option<Change>, StartError> {
        let wanted = system.issuer.as_ref().map(|issuer| issuer.listen);
        if wanted == self.at.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|at| at.address) {
            return Ok(None);
        }
        let Some(address) = wanted else { return Ok(Some(Change(None))) };
        let failed = |source: io::Error| match holder::taken_at(address, &source) {
            Some(taken) => StartError::PortTaken(taken),
            None => StartError::IssuerListener { address, source },
        };
        let socket = match left {
            Some(socket) => Ok(socket),
            None => TcpListener::bind(address).await.and_then(TcpListener::into_std),
        };
        let open = socket.and_then(Open::of).map_err(failed)?;
        Ok(Some(Change(Some((At { address, socket: Arc::downgrade(&open.socket) }, open)))))
    }

    /// The socket that a change leaves, once more, if the gateway is to listen there.
    ///
    /// # Errors
    /// If there is no descriptor left for it.
    pub(crate) fn left(
        &self,
        change: Option<&Change>,
        next: &Snapshot,
    ) -> Result<Option<Listener>, StartError> {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let leaves = at.as_ref().filter(|at| change.is_some() && next.listens_at(at.address));
        let Some((address, socket)) = leaves.and_then(|at| Some((at.address, at.socket.upgrade()?))) else {
            return Ok(None);
        };
        let listener = socket.try_clone().and_then(Listener::from_std);
        listener.map(Some).map_err(|source| StartError::IssuerListener { address, source })
    }

    pub(crate) fn commit(&self, change: Option<Change>) {
        let Some(Change(change)) = change else { return };
        let (at, open) = change.unzip();
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = at;
        // Nobody listens any more once the node stops.
        let _ = self.changes.send(open);
    }
}

// === impl Open ===

impl Open {
    fn of(socket: Socket) -> io::Result<Self> {
        let listener = TcpListener::from_std(socket.try_clone()?)?;
        Ok(Self { listener, socket: Arc::new(socket) })
    }
}

/// Serves the issuer, wherever it is to be, until told to stop.
pub(crate) async fn run(issuer: Issuer, mut changes: Changes, shutdown: CancellationToken) -> io::Result<()> {
    let mut serving = JoinSet::new();
    let mut current = shutdown.child_token();
    loop {
        tokio::select! {
            changed = changes.recv() => {
                current.cancel();
                let Some(open) = changed else { break };
                current = shutdown.child_token();
                if let Some(open) = open {
                    serving.spawn(serve(issuer.clone(), open, current.clone()));
                }
            }
            Some(ended) = serving.join_next() => ended.map_err(io::Error::other)??,
            () = shutdown.cancelled() => break,
        }
    }
    while let Some(ended) = serving.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    Ok(())
}

/// Looks after its keys, too, for as long as anybody can ask for them.
async fn serve(issuer: Issuer, open: Open, shutdown: CancellationToken) -> io::Result<()> {
    let Open { listener, socket } = open;
    let keys = issuer.clone().run();
    let serve = crate::http::serve_as_is::<SocketAddr, _>(listener, issuer.router(), shutdown.clone());
    // Before requests have ended that are under way: the address is to be free.
    let close = async {
        shutdown.cancelled().await;
        drop(socket);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = serve => ended,
        () = keys => Ok(()),
        () = close => Ok(()),
    }
}

//! Where the built-in issuer listens, over all edits of the manifest.
//!
//! An edit opens the new listener first, so that one that cannot be opened changes nothing. Requests that are under way at
//! the old one end there.

use std::{
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use madang_issuer::Issuer;
use madang_model::System;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{StartError, holder};

/// Where it listens now, and how that is changed.
pub(crate) struct Listening {
    at: Mutex<Option<SocketAddr>>,
    changes: mpsc::UnboundedSender<Option<TcpListener>>,
}

/// What becomes of it, ready to be done.
pub(crate) struct Change {
    at: Option<SocketAddr>,
    listener: Option<TcpListener>,
}

/// The other end of a [`Listening`].
pub(crate) type Changes = mpsc::UnboundedReceiver<Option<TcpListener>>;

// === impl Listening ===

impl Listening {
    /// Nowhere yet.
    pub(crate) fn new() -> (Self, Changes) {
        let (changes, told) = mpsc::unbounded_channel();
        (Self { at: Mutex::default(), changes }, told)
    }

    /// What is to be done for a system; nothing if it listens where it should.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub(crate) async fn plan(&self, system: &System) -> Result<Option<Change>, StartError> {
        let wanted = system.issuer.as_ref().map(|issuer| issuer.listen);
        if wanted == *self.at.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(None);
        }
        let Some(address) = wanted else { return Ok(Some(Change { at: None, listener: None })) };
        match TcpListener::bind(address).await {
            Ok(listener) => Ok(Some(Change { at: wanted, listener: Some(listener) })),
            Err(source) => Err(match holder::taken_at(address, &source) {
                Some(taken) => StartError::PortTaken(taken),
                None => StartError::IssuerListener { address, source },
            }),
        }
    }

    pub(crate) fn commit(&self, change: Option<Change>) {
        let Some(Change { at, listener }) = change else { return };
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = at;
        // Nobody listens any more once the node stops.
        let _ = self.changes.send(listener);
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
                let Some(listener) = changed else { break };
                current = shutdown.child_token();
                if let Some(listener) = listener {
                    serving.spawn(serve(issuer.clone(), listener, current.clone()));
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
async fn serve(issuer: Issuer, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
    let keys = issuer.clone().run();
    let serve = crate::http::serve_as_is::<SocketAddr, _>(listener, issuer.router(), shutdown);
    tokio::select! {
        ended = serve => ended,
        () = keys => Ok(()),
    }
}

//! The thread that accepts connections and hands each to the worker that has the fewest.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
    time::sleep,
};
use tracing::warn;

use crate::{
    listener::Listener,
    worker::{Accepted, Port, Worker},
};

/// The pause after an accept failed for want of descriptors or memory, which only time can mend.
const PAUSE: Duration = Duration::from_millis(50);

/// A listener that starts to accept.
pub(crate) struct Opened {
    pub(crate) listener: Arc<Listener>,
    pub(crate) port: Arc<Port>,
    /// Ends it, when dropped or sent.
    pub(crate) stop: oneshot::Receiver<()>,
    /// Dropped once nothing accepts on it any more.
    pub(crate) ended: oneshot::Sender<()>,
}

/// Who connections are handed to.
#[derive(Clone)]
pub(crate) struct Crew {
    pub(crate) workers: Arc<[(Arc<Worker>, mpsc::UnboundedSender<Accepted>)]>,
    /// One permit for each connection that may still open: what bounds the queues too.
    pub(crate) outside: Arc<Semaphore>,
    /// The same for the system's own services, to which a crowd outside must leave room.
    pub(crate) inside: Arc<Semaphore>,
}

/// Accepts on every listener that is opened, until no more can be and all have been stopped.
pub(crate) async fn run(mut opened: mpsc::UnboundedReceiver<Opened>, crew: Crew) {
    let mut accepting = JoinSet::new();
    loop {
        tokio::select! {
            next = opened.recv() => match next {
                Some(next) => drop(accepting.spawn(accept(next, crew.clone()))),
                None => break,
            },
            Some(_) = accepting.join_next(), if !accepting.is_empty() => {}
        }
    }
    while accepting.join_next().await.is_some() {}
}

async fn accept(opened: Opened, crew: Crew) {
    let Opened { listener, port, mut stop, ended } = opened;
    let local = listener.local_addr();
    let socket = match listener.to_async() {
        Ok(socket) => socket,
        Err(error) => return warn!(%local, %error, "failed to wait for connections"),
    };
    loop {
        let accepted = tokio::select! {
            accepted = crew.accept(&socket, &port) => accepted,
            _ = &mut stop => break,
        };
        if let Err(error) = accepted {
            warn!(%local, %error, "failed to accept a connection");
            sleep(PAUSE).await;
        }
    }
    // Whoever connected before the end is served, as far as there is room.
    while let Ok(permit) = crew.room(&port).try_acquire_owned()
        && let Ok((stream, peer)) = listener.accept_waiting()
    {
        crew.hand_over(Accepted { stream, peer, port: port.clone(), permit });
    }
    drop((socket, listener));
    drop(ended);
}

impl Crew {
    /// Accepts one connection, once there is room for it.
    async fn accept(&self, socket: &TcpListener, port: &Arc<Port>) -> io::Result<()> {
        let Ok(permit) = self.room(port).acquire_owned().await else {
            return std::future::pending().await;
        };
        match socket.accept().await {
            Ok((stream, peer)) => {
                // A worker's reactor takes it over.
                let stream = stream.into_std()?;
                self.hand_over(Accepted { stream, peer, port: port.clone(), permit });
                Ok(())
            }
            // The client left while it waited.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn room(&self, port: &Port) -> Arc<Semaphore> {
        let room = if port.front.load().is_inside() { &self.inside } else { &self.outside };
        room.clone()
    }

    fn hand_over(&self, accepted: Accepted) {
        let Some((worker, queue)) = self.workers.iter().min_by_key(|(worker, _)| worker.connections()) else {
            return;
        };
        worker.connection_begins();
        if queue.send(accepted).is_err() {
            // The worker's thread is gone; stopping the gateway reports it.
            worker.connection_ended();
        }
    }
}

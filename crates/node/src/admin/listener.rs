//! Where the admin API and the dashboard listen beside the unix socket: on loopback, for a bounded number of
//! connections, each of which ends when nobody reads at its other end.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::serve::Listener;
use madang_model::{AdminListener, System};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::patience::Patient;
use crate::{
    StartError, holder,
    ports::{KeptPorts, insisted_on},
};

/// How many connections there may be at once; more wait to be accepted.
const MOST: usize = 256;

/// A listener that accepts no more connections than there is room for.
pub(crate) struct Bounded {
    listener: TcpListener,
    room: Arc<Semaphore>,
}

/// A connection, which takes a place while it lives.
pub(crate) struct Connection {
    stream: Patient<TcpStream>,
    _place: OwnedSemaphorePermit,
}

/// Opens what the manifest asks for. One that runs isolated keeps away from the usual port: it is that of the system
/// itself.
///
/// # Errors
/// If an address that the manifest names cannot be had, or no port is left.
pub(crate) async fn open(
    system: &System,
    isolated: bool,
    ports: &KeptPorts,
) -> Result<Option<TcpListener>, StartError> {
    let listener = match system.admin {
        AdminListener::Off => return Ok(None),
        AdminListener::At(address) if !isolated => {
            TcpListener::bind(address).await.map_err(|source| match source.kind() {
                io::ErrorKind::AddrInUse => StartError::PortTaken(holder::in_words(address)),
                _ => StartError::AdminListener { address: address.to_string(), source },
            })?
        }
        AdminListener::Usual | AdminListener::At(_) => {
            let usual = AdminListener::USUAL;
            let free = !isolated && !insisted_on(system).contains(&usual.port());
            match if free { TcpListener::bind(usual).await.ok() } else { None } {
                Some(listener) => listener,
                None => {
                    let kept = ports.listener("admin", system).await;
                    let address = "a port of loopback".to_owned();
                    kept.map_err(|source| StartError::AdminListener { address, source })?.0
                }
            }
        }
    };
    Ok(Some(listener))
}

// === impl Bounded ===

impl Bounded {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Self { listener, room: Arc::new(Semaphore::new(MOST)) }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let place = self.room.clone().acquire_owned().await;
        // Nobody closes it.
        let Ok(place) = place else { std::future::pending().await };
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let _ = stream.set_nodelay(true);
        (Connection { stream: Patient::new(stream), _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

// === impl Connection ===

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

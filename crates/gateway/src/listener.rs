//! Sockets that wait for connections: made apart from any configuration, so that they outlive it.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use crate::Error;

/// How many connections wait in the kernel until they are accepted.
const BACKLOG: i32 = 1024;

/// How long a client may be silent until the kernel asks whether it is still there, how often it then asks, and
/// how many times. Whoever answers none of it is gone: its connection breaks, with the requests on it.
const SILENCE: Duration = Duration::from_secs(30);
const PROBE: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// An exclusive listening socket. It closes when it is dropped.
#[derive(Debug)]
pub struct Listener {
    /// What it is known by: the address asked for, whose port may be 0.
    asked: SocketAddr,
    local: SocketAddr,
    socket: TcpListener,
}

impl Listener {
    /// Listens on an address; on port 0, on a free port.
    ///
    /// # Errors
    /// If the address is taken, is not of this machine or may not be used.
    pub fn bind(address: SocketAddr) -> Result<Self, Error> {
        let failed = |source: std::io::Error| Error::Listen { address, source };
        let socket = open(address).map_err(|errno| failed(errno.into()))?;
        Self::from_socket(address, TcpListener::from(socket)).map_err(failed)
    }

    /// Takes over a socket that listens already.
    ///
    /// # Errors
    /// If it is not a listening socket.
    pub fn from_std(socket: TcpListener) -> std::io::Result<Self> {
        Self::from_socket(socket.local_addr()?, socket)
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The socket once more: it listens for as long as any of them is open.
    pub(crate) fn duplicate(&self) -> std::io::Result<TcpListener> {
        self.socket.try_clone()
    }

    pub(crate) fn asked(&self) -> SocketAddr {
        self.asked
    }

    fn from_socket(asked: SocketAddr, socket: TcpListener) -> std::io::Result<Self> {
        socket.set_nonblocking(true)?;
        probe_clients(&socket)?;
        Ok(Self { asked, local: socket.local_addr()?, socket })
    }

    /// Takes a connection that waits already; `WouldBlock` if none does.
    pub(crate) fn accept_waiting(&self) -> std::io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.socket.accept()?;
        stream.set_nonblocking(true)?;
        Ok((stream, peer))
    }

    /// The same socket, for the reactor of the current runtime.
    pub(crate) fn to_async(&self) -> std::io::Result<tokio::net::TcpListener> {
        tokio::net::TcpListener::from_std(self.socket.try_clone()?)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn open(address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    // Only for the connections of a predecessor that linger; the listener itself stays exclusive.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Connections take this over from the socket that they are accepted on. It needs neither a timer nor a protocol
/// in which a client can be asked.
fn probe_clients(socket: &TcpListener) -> rustix::io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, SILENCE)?;
    sockopt::set_tcp_keepintvl(socket, PROBE)?;
    sockopt::set_tcp_keepcnt(socket, PROBES)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn an_address_has_one_listener() {
        let first = Listener::bind(ANY).unwrap();
        let taken = Listener::bind(first.local_addr()).unwrap_err();
        assert!(matches!(taken, Error::Listen { address, .. } if address == first.local_addr()));
        let address = first.local_addr();
        drop(first);
        Listener::bind(address).unwrap();
    }

    #[tokio::test]
    async fn takes_over_a_socket_that_listens() {
        let listener = Listener::from_std(TcpListener::bind(ANY).unwrap()).unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr()).unwrap();
        let (stream, peer) = listener.to_async().unwrap().accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        let probed = sockopt::socket_keepalive(&stream).unwrap();
        assert!(
            probed && sockopt::tcp_keepidle(&stream).unwrap() == SILENCE,
            "clients that vanish are found out"
        );
    }
}

//! Ports for systems whose manifests need a number.

use std::sync::atomic::{AtomicU16, Ordering};

use tokio::net::TcpSocket;

/// Below the ports that Linux gives out by itself and below those that Madang assigns, so that nobody takes
/// one between the moment it is chosen and the moment it is bound.
const RANGE: std::ops::Range<u16> = 12_000..19_000;

/// A port on loopback that nobody listens on; not given twice by this process.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let width = RANGE.end - RANGE.start;
    // Processes of one test run begin far apart.
    let start = (std::process::id().wrapping_mul(97) % u32::from(width)) as u16;
    loop {
        let port = RANGE.start + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % width;
        if is_free(port) {
            return port;
        }
    }
}

/// Whether nobody listens. It never listens itself: what another test starts at this moment has a copy of the socket
/// until it is that program, and a listener would be in the way of whoever is told the port.
fn is_free(port: u16) -> bool {
    let bind = || {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(([127, 0, 0, 1], port).into())
    };
    bind().is_ok()
}

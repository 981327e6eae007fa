//! Ports for systems whose manifests need a number.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
};

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
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

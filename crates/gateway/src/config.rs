//! How a gateway is set up; none of it can change while it runs.

use std::{num::NonZeroUsize, thread, time::Duration};

/// How a gateway is set up. What the manifest says is in [`crate::Snapshot`].
#[derive(Debug, Clone)]
pub struct Config {
    /// How many threads answer requests; one per core if absent.
    pub workers: Option<NonZeroUsize>,
    /// How many connections may be open at once from outside, and as many from services; further ones wait in the
    /// listener's queue.
    pub connections: usize,
    /// How many request records each worker keeps until somebody takes them.
    pub records: usize,
    /// The time from the first byte of a request to the end of its head.
    pub head_time: Duration,
    /// The time that a connection may stay open without a request.
    pub idle_time: Duration,
    /// The time that requests in flight get to end, once the gateway stops or their listener is gone.
    pub drain_time: Duration,
    /// The size of a request's head, in bytes.
    pub head_bytes: usize,
    /// How many requests may have become tunnels, such as WebSockets: fewer than connections, to which they must leave room.
    pub tunnels: usize,
    /// How many clients may be about to agree on TLS at once; those that began first give way to more.
    pub handshakes: usize,
    /// How many requests an HTTP/2 connection may have in flight.
    pub streams: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: None,
            connections: 10_000,
            records: 4096,
            head_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(75),
            drain_time: Duration::from_secs(10),
            head_bytes: 32 * 1024,
            tunnels: 5_000,
            handshakes: 1024,
            streams: 128,
        }
    }
}

impl Config {
    pub(crate) fn worker_count(&self) -> usize {
        let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.workers.unwrap_or_else(cores).get()
    }
}

//! What is counted of requests: by each worker for itself, added up when it is read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::StatusCode;

/// What a gateway did since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests answered, by this gateway or by a service.
    pub requests: u64,
    /// The same by class of status: `[0]` counts 1xx, `[4]` counts 5xx.
    pub by_class: [u64; 5],
    /// Connections open now.
    pub connections: u64,
    /// Connections on which TLS was agreed.
    pub handshakes: u64,
    /// Connections that ended without, and those of them that gave way to others.
    pub handshakes_failed: u64,
    /// See [`Stats::handshakes_failed`].
    pub handshakes_dropped: u64,
    /// Requests that have become tunnels and are open now.
    pub tunnels: u64,
    /// Requests that asked to become tunnels.
    pub tunnels_asked: u64,
    /// Those of them that found no room, and those that ended because nobody said anything.
    pub tunnels_refused: u64,
    /// See [`Stats::tunnels_refused`].
    pub tunnels_silent: u64,
    /// Request records dropped because nobody took them in time.
    pub records_dropped: u64,
}

/// The counters of one worker.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    by_class: [AtomicU64; 5],
    handshakes: AtomicU64,
    handshakes_failed: AtomicU64,
    handshakes_dropped: AtomicU64,
    tunnels_asked: AtomicU64,
    tunnels_refused: AtomicU64,
    tunnels_silent: AtomicU64,
}

impl Counters {
    /// Counts an answer. Only its own worker does, so that no other thread's write is lost.
    pub(crate) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        count(&self.by_class[class]);
    }

    /// Counts a handshake, and whether TLS was agreed on.
    pub(crate) fn shaken(&self, agreed: bool) {
        count(if agreed { &self.handshakes } else { &self.handshakes_failed });
    }

    /// Counts a request that asks to become a tunnel, and whether there is room.
    pub(crate) fn tunnel(&self, room: bool) {
        count(&self.tunnels_asked);
        if !room {
            count(&self.tunnels_refused);
        }
    }

    /// Counts a tunnel that ended because nobody said anything.
    pub(crate) fn tunnel_was_silent(&self) {
        count(&self.tunnels_silent);
    }

    /// Counts a handshake that gives way to another.
    pub(crate) fn gave_way(&self) {
        count(&self.handshakes_dropped);
    }

    pub(crate) fn add_to(&self, stats: &mut Stats) {
        for (sum, count) in stats.by_class.iter_mut().zip(&self.by_class) {
            *sum += count.load(Relaxed);
        }
        stats.handshakes += self.handshakes.load(Relaxed);
        stats.handshakes_failed += self.handshakes_failed.load(Relaxed);
        stats.handshakes_dropped += self.handshakes_dropped.load(Relaxed);
        stats.tunnels_asked += self.tunnels_asked.load(Relaxed);
        stats.tunnels_refused += self.tunnels_refused.load(Relaxed);
        stats.tunnels_silent += self.tunnels_silent.load(Relaxed);
        stats.requests = stats.by_class.iter().sum();
    }
}

/// One writer per counter: a load and a store cost less than a locked addition.
fn count(counter: &AtomicU64) {
    counter.store(counter.load(Relaxed) + 1, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_in_one_class() {
        let counters = [Counters::default(), Counters::default()];
        for (worker, status) in [(0, 200), (1, 200), (1, 404), (1, 999)] {
            counters[worker].answered(StatusCode::from_u16(status).unwrap());
        }
        let mut stats = Stats::default();
        counters.iter().for_each(|c| c.add_to(&mut stats));
        assert_eq!((stats.requests, stats.by_class), (4, [0, 2, 0, 1, 1]));
    }
}

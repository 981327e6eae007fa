//! The wall clock, which tests move by hand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::Notify;

/// The wall clock: what is written to the database must mean the same after a restart.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    ByHand(Arc<ByHand>),
}

#[derive(Debug)]
struct ByHand {
    now: AtomicI64,
    moved: Notify,
}

impl Clock {
    /// The clock of the machine.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still at this time, in milliseconds since 1970, until it is moved.
    pub fn by_hand(now: i64) -> Self {
        Self(Source::ByHand(Arc::new(ByHand { now: AtomicI64::new(now), moved: Notify::new() })))
    }

    /// The time, in milliseconds since 1970.
    pub fn now(&self) -> i64 {
        match &self.0 {
            Source::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                millis(since)
            }
            Source::ByHand(clock) => clock.now.load(Ordering::SeqCst),
        }
    }

    /// Moves a clock that stands still; the clock of the machine is left alone.
    pub fn advance(&self, by: Duration) {
        if let Source::ByHand(clock) = &self.0 {
            clock.now.fetch_add(millis(by), Ordering::SeqCst);
            clock.moved.notify_one();
        }
    }

    /// Waits until somebody moves the clock by hand.
    pub(crate) async fn moved(&self) {
        match &self.0 {
            Source::System => std::future::pending().await,
            Source::ByHand(clock) => clock.moved.notified().await,
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

/// A time span in whole milliseconds.
pub(crate) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

//! Writing what came, now and then until the end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use madang_store::Error;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

/// What the log says once that writing fails, and once that it does no more.
pub(crate) struct Said {
    pub(crate) fails: &'static str,
    pub(crate) recovers: &'static str,
}

/// Whether it fails, so that the log says so once.
struct Log {
    said: Said,
    failing: bool,
}

/// Does something each `period` until `shutdown` ends.
pub(crate) async fn each<W: Future<Output = Result<(), Error>>>(
    shutdown: impl Future<Output = ()>,
    period: Duration,
    said: Said,
    work: impl Fn() -> W,
) {
    Log::new(said).each(shutdown, period, &work).await;
}

/// Writes each `period` until `shutdown` ends, and once more then.
pub(crate) async fn until<W: Future<Output = Result<(), Error>>>(
    shutdown: impl Future<Output = ()>,
    period: Duration,
    said: Said,
    write: impl Fn() -> W,
) {
    let mut log = Log::new(said);
    log.each(shutdown, period, &write).await;
    log.note(&write().await);
}

impl Log {
    fn new(said: Said) -> Self {
        Self { said, failing: false }
    }

    async fn each<W: Future<Output = Result<(), Error>>>(
        &mut self,
        shutdown: impl Future<Output = ()>,
        period: Duration,
        work: &impl Fn() -> W,
    ) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                _ = ticks.tick() => self.note(&work().await),
            }
        }
    }

    fn note(&mut self, outcome: &Result<(), Error>) {
        match (outcome, self.failing) {
            (Err(error), false) => {
                let source = std::error::Error::source(error);
                warn!(%error, ?source, "{}", self.said.fails);
            }
            (Ok(()), true) => info!("{}", self.said.recovers),
            _ => {}
        }
        self.failing = outcome.is_err();
    }
}

/// Now, in milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

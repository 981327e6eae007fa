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

/// Writes each `period` until `shutdown` ends, and once more then.
pub(crate) async fn until<W: Future<Output = Result<(), Error>>>(
    shutdown: impl Future<Output = ()>,
    period: Duration,
    said: Said,
    write: impl Fn() -> W,
) {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        let ended = tokio::select! {
            () = &mut shutdown => true,
            _ = ticks.tick() => false,
        };
        let outcome = write().await;
        match (&outcome, failing) {
            (Err(error), false) => {
                let source = std::error::Error::source(error);
                warn!(%error, ?source, "{}", said.fails);
            }
            (Ok(()), true) => info!("{}", said.recovers),
            _ => {}
        }
        failing = outcome.is_err();
        if ended {
            return;
        }
    }
}

/// Now, in milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

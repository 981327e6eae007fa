//! What is done now and then: logs are kept bounded, the process table free of adopted orphans, and what could not be
//! recorded is.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tracing::{error, warn};

use crate::{family, handle::Board, instance::Surroundings, logfile};

/// How often.
const SWEEP: Duration = Duration::from_secs(5);

/// Sweeps until it is aborted.
pub(crate) async fn run(around: Arc<Surroundings>, board: Arc<Board>) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = around.records.flush().await {
            warn!(%error, "failed to record instances: it is tried again");
        }
        let limit = around.config.log_limit;
        let logs: Vec<PathBuf> = board.rows().into_iter().filter_map(|row| row.log.map(Into::into)).collect();
        let swept = spawn_blocking(move || {
            family::reap_orphans();
            for log in logs {
                // One whose instance did not start has not been made.
                if log.exists()
                    && let Err(error) = logfile::trim(&log, limit)
                {
                    warn!(log = %log.display(), %error, "failed to give the head of a log back");
                }
            }
        });
        if let Err(error) = swept.await {
            error!(%error, "sweeping failed");
        }
    }
}

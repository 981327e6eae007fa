//! Notes up to when telemetry is whole, and says so after a node that was killed.

use std::{sync::Arc, time::Duration};

use madang_telemetry::{Cut, Lifetime};
use madang_wire::admin::{Event, EventKind};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::node::{Shared, now};

/// How often it is noted. Together with the time that a write takes it is less than a second.
const NOTED: Duration = Duration::from_millis(500);

/// Notes it until the node has stopped, and then that it ends as it should: once its last events are `recorded`, and its
/// last lines `read`.
pub(crate) async fn run(
    shared: Arc<Shared>,
    lifetime: Lifetime,
    recorded: CancellationToken,
    read: CancellationToken,
) {
    let mut ticks = interval(NOTED);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    while shared.stopped.run_until_cancelled(ticks.tick()).await.is_some() {
        let noted = note(&shared, &lifetime).await;
        if let (Err(error), false) = (&noted, failing) {
            warn!(%error, "it is not noted up to when telemetry is whole");
        }
        failing = noted.is_err();
    }
    recorded.cancelled().await;
    read.cancelled().await;
    let ended = async {
        // Nobody is left who sends lines.
        write_all(&shared).await?;
        lifetime.end(now()).await
    };
    if let Err(error) = ended.await {
        warn!(%error, "the end of the node is not noted: the next one takes it for killed");
    }
}

/// Writes all that came by now. What cannot be written is counted where it is dropped; nothing is noted then.
async fn note(shared: &Shared, lifetime: &Lifetime) -> Result<(), madang_store::Error> {
    let until = now();
    match write_all(shared).await? {
        true => lifetime.whole(until).await,
        false => Ok(()),
    }
}

/// Whether nothing waits any more of what came before.
async fn write_all(shared: &Shared) -> Result<bool, madang_store::Error> {
    shared.drain_records();
    let Shared { traces, metrics, external, annotations, logs, .. } = shared;
    // All of it, also where one fails.
    let (traces, metrics, external, annotations, lines) =
        tokio::join!(traces.flush(), metrics.flush(), external.flush(), annotations.flush(), logs.flush());
    traces.and(metrics).and(external).and(annotations).map(|()| lines)
}

/// The event that tells of a node that was killed, at the moment up to which its telemetry is whole.
pub(crate) fn killed(system: &str, cut: &Cut) -> Event {
    let (unit, message) = (system.to_owned(), cut.to_string());
    Event { at: cut.whole_until, unit, instance: None, release: None, kind: EventKind::NodeKilled, message }
}

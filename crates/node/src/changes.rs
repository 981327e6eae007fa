//! What changes between services while requests are answered, as far as they pass this node: breakers and ejections. Those
//! in the processes of services with the SDK come with their records.

use std::{sync::Arc, time::Duration};

use madang_calls::Changes;
use tokio::time::{MissedTickBehavior, interval};

use crate::node::{Shared, now};

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(250);

/// Looks until the node has stopped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut changes = Changes::default();
    loop {
        tokio::select! {
            () = shared.stopped.cancelled() => return,
            _ = ticks.tick() => {}
        }
        for mut event in changes.look(&shared.directory.health(), now()) {
            event.release = event.instance.as_deref().and_then(|instance| {
                let views = shared.supervisor.instances();
                views.into_iter().find(|view| view.name == instance)?.release
            });
            shared.journal.record(event);
        }
    }
}

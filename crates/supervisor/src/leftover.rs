//! Instances that a node before this one left running, because it was killed.
//!
//! They are stopped, and started anew by the ordinary way. Whoever adopts them instead has here all that it
//! needs: who they are, beyond doubt, and where they listen.

use std::{future::Future, sync::Arc};

use madang_wire::admin::EventKind;
use tokio::task::JoinSet;
use tracing::warn;

use crate::{
    events::Events,
    family::Family,
    handle::Board,
    instance::Surroundings,
    proc,
    store::{Identity, Record},
};

/// Stops whoever is left, all at once, and forgets them.
pub(crate) async fn stop<F>(around: &Arc<Surroundings>, board: &Arc<Board>, hurry: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let records = match around.records.all().await {
        Ok(records) => records,
        Err(error) => return warn!(%error, "failed to read what a node before this one left"),
    };
    let mut stops = JoinSet::new();
    for record in records {
        let (around, board, hurry) = (around.clone(), board.clone(), hurry());
        stops.spawn(async move { stop_one(&around, &board.events, record, hurry).await });
    }
    while stops.join_next().await.is_some() {}
}

async fn stop_one(around: &Surroundings, events: &Events, record: Record, hurry: impl Future<Output = ()>) {
    let Record { instance, unit, boot, process, .. } = record;
    if boot == around.boot {
        let family = Family::of(&instance, group_of(process));
        if family.is_alive().await {
            let pid = process.map(|process| format!(" (pid {})", process.pid)).unwrap_or_default();
            let message =
                format!("was left running{pid} by a node that is gone: it is stopped and started anew");
            events.emit(&unit, Some(&instance), EventKind::Stopping, message);
            family.stop(around.config.drain, hurry).await;
            events.emit(
                &unit,
                Some(&instance),
                EventKind::Stopped,
                "what a node before this one left is gone",
            );
        }
    }
    if let Err(error) = around.records.remove(instance).await {
        warn!(%error, "failed to forget an instance");
    }
}

/// Its process group, if the process that led it is still the same one.
fn group_of(process: Option<Identity>) -> Option<i32> {
    let Identity { pid, started } = process?;
    proc::stat(pid).filter(|stat| stat.started == started).map(|stat| stat.pid)
}

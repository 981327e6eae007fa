//! Instances that nobody watches any more: those that a node before this one left running, because it was
//! killed, and those whose task failed.
//!
//! They are stopped, and started anew by the ordinary way. Whoever adopts what a node left instead has here all
//! that it needs: who they are, beyond doubt, and where they listen.

use std::{future::Future, sync::Arc};

use madang_model::InstanceId;
use madang_wire::admin::EventKind;
use tokio::task::JoinSet;
use tracing::{error, warn};

use crate::{
    events::Events,
    family::Family,
    handle::Board,
    instance::{Ended, Surroundings},
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
    forget(around, instance).await;
}

/// Kills what is left of an instance whose task failed, and forgets it.
pub(crate) async fn clear(around: Arc<Surroundings>, instance: InstanceId) -> Ended {
    let clear = async move {
        // Its group was killed with its task, so that the group's number may be another's by now.
        Family::of(&instance, None).kill().await;
        forget(&around, instance).await;
    };
    // In a task of its own: if this fails as well, the instance ends all the same.
    if let Err(error) = tokio::spawn(clear).await {
        error!(%error, "failed to clear away an instance");
    }
    let how = "was lost: the task that watched it failed".to_owned();
    Ended { told: false, ready_for: None, hopeless: false, how, output: String::new() }
}

async fn forget(around: &Surroundings, instance: InstanceId) {
    if let Err(error) = around.records.remove(instance).await {
        warn!(%error, "failed to forget an instance");
    }
}

/// Its process group, if the process that led it is still the same one.
fn group_of(process: Option<Identity>) -> Option<i32> {
    let Identity { pid, started } = process?;
    proc::stat(pid).filter(|stat| stat.started == started).map(|stat| stat.pid)
}

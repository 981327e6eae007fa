//! The disk: said when there is no room on it, or the state cannot be written, and when that is over.
//!
//! Nothing here makes room or waits for it. Requests need no disk; what instances write to their logs is lost while
//! there is no room, and what must be recorded is written by whoever has it once there is.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
    time::Duration,
};

use madang_store::Store;
use madang_wire::admin::EventKind;
use tokio::{task::spawn_blocking, time::interval};

use crate::node::{Shared, with_causes};

/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Less than this, in bytes, is no room: a page or two of the state and a few lines of a log.
const LEAST: u64 = 64 << 10;

/// Looks at it until the node has stopped.
pub(crate) async fn run(shared: Arc<Shared>, data: PathBuf, state: Store) {
    let mut ticks = interval(LOOK);
    loop {
        tokio::select! {
            () = shared.stopped.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let trouble = match trouble(&data, &state).await {
            None => shared.supervisor.record().await.err().map(|error| unwritten(&error)),
            trouble => trouble,
        };
        let before = {
            let mut shown = shared.degraded.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *shown, trouble.clone())
        };
        match (before, trouble) {
            (None, Some(trouble)) => shared.announce(EventKind::Degraded, &trouble),
            (Some(_), None) => shared.announce(EventKind::Recovered, "there is room on the disk again"),
            _ => {}
        }
    }
}

async fn trouble(data: &Path, state: &Store) -> Option<String> {
    let folder = data.to_owned();
    let room = spawn_blocking(move || room(&folder)).await.ok().flatten();
    if room.is_some_and(|room| room < LEAST) {
        return Some(format!(
            "the disk of {} is full: requests are answered, what services say is lost, and what Madang records waits",
            data.display()
        ));
    }
    // There is room again, or it failed for another reason.
    state.failing()?;
    state.check().await.err().map(|error| unwritten(&error))
}

fn unwritten(error: &madang_store::Error) -> String {
    format!("{}: requests are answered, and what Madang records waits", with_causes(error))
}

/// How many bytes this process may still write to a file system, where that can be told.
fn room(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    let blocks = if rustix::process::geteuid().is_root() { found.f_bfree } else { found.f_bavail };
    Some(blocks.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_state_that_cannot_be_written_is_named_until_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let state = Store::open(&format!("sqlite:{}", folder.path().join("state.db").display())).unwrap();
        assert_eq!(trouble(folder.path(), &state).await, None);
        // Failing because of what was to be written, not of where: over as soon as it is tried again.
        state.write(|tx| tx.execute_batch("ROLLBACK")).await.unwrap_err();
        assert!(state.failing().is_some());
        assert_eq!(trouble(folder.path(), &state).await, None);
        assert!(state.failing().is_none());
    }
}

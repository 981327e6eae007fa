//! What changes below the folder of the logs, as the kernel tells of it.

use std::{
    fs, io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::Error;

/// Watches folders: what is written into their files, and which names come and go.
pub(super) struct Watch {
    watcher: Mutex<RecommendedWatcher>,
    pending: Arc<Pending>,
}

/// What happened since the last look: events add up here instead of in a queue, so that a flood of writes
/// costs a slow reader no memory.
#[derive(Default)]
struct Pending {
    any: Notify,
    names: AtomicBool,
}

/// What happened since the last look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changes {
    /// A file or folder came, went or was replaced, or the kernel lost count: look at everything.
    pub(super) names: bool,
}

impl Watch {
    /// Watches the folder of the logs, which is made if it does not exist.
    pub(super) fn new(root: &Path) -> Result<Self, Error> {
        let pending = Arc::new(Pending::default());
        let told = pending.clone();
        let watcher = fs::create_dir_all(root).map_err(Error::watch(root)).and_then(|()| {
            notify::recommended_watcher(move |event| told.note(&event)).map_err(|error| refused(root, error))
        })?;
        let watch = Self { watcher: Mutex::new(watcher), pending };
        watch.add(root)?;
        Ok(watch)
    }

    /// Watches a folder; once more is no harm. One that has gone meanwhile is none of ours.
    pub(super) fn add(&self, folder: &Path) -> Result<(), Error> {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        match watcher.watch(folder, RecursiveMode::NonRecursive) {
            Err(error) if folder.exists() => Err(refused(folder, error)),
            _ => Ok(()),
        }
    }

    /// Waits for a change since the last time that this returned.
    pub(super) async fn changes(&self) -> Changes {
        self.pending.any.notified().await;
        Changes { names: self.pending.names.swap(false, Ordering::AcqRel) }
    }
}

impl Pending {
    fn note(&self, event: &notify::Result<notify::Event>) {
        match event.as_ref().map(|event| event.kind) {
            // Reading, ours too, changes nothing.
            Ok(EventKind::Access(_)) => return,
            Ok(EventKind::Modify(notify::event::ModifyKind::Data(_))) => {}
            _ => self.names.store(true, Ordering::Release),
        }
        self.any.notify_one(); // kept for the next look if nobody waits
    }
}

fn refused(folder: &Path, error: notify::Error) -> Error {
    let source = match error.kind {
        notify::ErrorKind::Io(source) => source,
        _ => io::Error::other(error),
    };
    Error::watch(folder)(source)
}

//! The manifest is read again when one of its files changes, appears or goes.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{node::Shared, reload::Reload};

/// Editors write a file in several steps: an edit is over when nothing has followed for this long.
const SETTLED: Duration = Duration::from_millis(50);

/// How soon an edit that something was in the way of is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// An edit is read after this long although more follows.
const LONGEST: Duration = Duration::from_secs(1);

/// Applies edits until told to stop.
pub(crate) async fn run(shared: Arc<Shared>, shutdown: CancellationToken) {
    // One place is enough: what changes while an edit is being applied makes one more.
    let (changed, mut edits) = mpsc::channel(1);
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.map_or(true, |event| concerns_manifests(&event)) {
            let _ = changed.try_send(());
        }
    });
    let mut watcher = match watcher {
        Ok(watcher) => watcher,
        Err(error) => {
            warn!(%error, "failed to watch the manifest: edits need a restart");
            return shutdown.cancelled().await;
        }
    };
    loop {
        // What changed before its folder was watched is seen by reading once more after watching it.
        let read = loop {
            watch_folders(&mut watcher, &shared);
            let read = shared.reload().await;
            if read != Reload::Changed {
                break read;
            }
            settled(&mut edits).await;
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            // Nothing tells that a port is free again.
            () = sleep(AGAIN), if read == Reload::Hindered => continue,
            edit = edits.recv() => if edit.is_none() { return },
        }
        settled(&mut edits).await;
    }
}

/// Waits until an edit is over. A file that is being written is empty at first, and that is a manifest too.
async fn settled(edits: &mut mpsc::Receiver<()>) {
    let quiet = async { while let Ok(Some(())) = timeout(SETTLED, edits.recv()).await {} };
    let _ = timeout(LONGEST, quiet).await;
}

/// Folders rather than files, since most editors replace a file by renaming another over it. All of them each
/// time: one that was removed and made again is another folder by the same name.
fn watch_folders(watcher: &mut RecommendedWatcher, shared: &Shared) {
    let system = shared.system.borrow().clone();
    let of_files = system.files.iter().filter_map(|file| file.parent()).map(Path::to_owned);
    let wanted: BTreeSet<PathBuf> = of_files.chain(folders_below(&system.root)).collect();
    for folder in wanted.into_iter().filter(|folder| folder.exists()) {
        if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
            warn!(folder = %folder.display(), %error, "failed to watch for edits");
        }
    }
}

/// Where a new service's file may appear: the system's folder and those right below it.
fn folders_below(root: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let visible = folders.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    std::iter::once(root.to_owned()).chain(visible.map(|entry| entry.path()))
}

fn concerns_manifests(event: &notify::Event) -> bool {
    let is_manifest = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    let folder_came = matches!(event.kind, EventKind::Create(notify::event::CreateKind::Folder));
    !matches!(event.kind, EventKind::Access(_)) && (folder_came || event.paths.iter().any(is_manifest))
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_edit_is_over_once_nothing_follows_or_it_takes_too_long() {
        for (steps, expected) in [(0, SETTLED), (3, SETTLED * 3 / 2 + SETTLED), (1000, LONGEST)] {
            let (changed, mut edits) = mpsc::channel(1);
            let editor = tokio::spawn(async move {
                for _ in 0..steps {
                    sleep(SETTLED / 2).await;
                    let _ = changed.try_send(());
                }
                std::future::pending::<()>().await;
                drop(changed);
            });
            let began = Instant::now();
            settled(&mut edits).await;
            assert_eq!(began.elapsed().as_millis(), expected.as_millis(), "{steps}");
            editor.abort();
        }
    }
}

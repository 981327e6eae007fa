//! One node a system: a lock on the folder of what it keeps, released by the kernel however the node ends.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use madang_model::System;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::{node::now, place::Place};

/// The file that is locked.
const LOCK: &str = "node.lock";

/// How long an owner that was killed may take to let go: the kernel closes its files after its memory is given back,
/// and a process that it was just starting has them until that runs its program.
const LEAVING: Duration = Duration::from_millis(500);

/// How often it is looked whether it has.
const AGAIN: Duration = Duration::from_millis(10);

/// How many parents a process is looked for a node among.
const ANCESTORS: usize = 64;

/// Holds a system for this process while it lives.
pub(crate) struct Owner {
    _lock: File,
    data: PathBuf,
}

/// Who has a system, as the lock says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incumbent {
    /// The system's name.
    pub system: String,
    /// Its folder.
    pub root: String,
    /// Its name among those that run isolated, if it does.
    pub isolated: Option<String>,
    /// The process that runs it.
    pub pid: u32,
    /// Since when, in milliseconds since 1970.
    pub since: u64,
}

/// Why a system cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// Another node runs it.
    #[error("{0}")]
    Taken(Incumbent),
    /// Another node is about to run it.
    #[error("another process is just starting the system in {root}")]
    Starting {
        /// The system's folder.
        root: String,
    },
    /// Its folder cannot be written.
    #[error("failed to prepare {path}")]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

// === impl Owner ===

impl Owner {
    /// Takes the system at a place, or says who has it. One that was killed may still be on its way out. `system` is
    /// what is run, unless it is only looked at.
    pub(crate) async fn take(place: &Place, system: Option<&System>) -> Result<Self, OwnerError> {
        let deadline = Instant::now() + LEAVING;
        loop {
            match Self::try_take(place, system) {
                Err(OwnerError::Taken(_) | OwnerError::Starting { .. }) if Instant::now() < deadline => {
                    sleep(AGAIN).await;
                }
                taken => return taken,
            }
        }
    }

    fn try_take(place: &Place, system: Option<&System>) -> Result<Self, OwnerError> {
        let data = place.data();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OwnerError::Folder { path, source }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&data).map_err(failed(&data))?;
        let shared = place.shared_data();
        ignore_in_git(&shared).map_err(failed(&shared))?;
        let path = data.join(LOCK);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed(&path))?;
        let root = place.root().display().to_string();
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut said = String::new();
            let _ = lock.read_to_string(&mut said);
            let incumbent = serde_json::from_str(&said);
            return Err(incumbent.map_or(OwnerError::Starting { root }, OwnerError::Taken));
        }
        let incumbent = Incumbent {
            system: system.map(|system| system.name.to_string()).unwrap_or_default(),
            root,
            isolated: place.isolated().map(str::to_owned),
            pid: std::process::id(),
            since: now(),
        };
        write(&mut lock, &incumbent).map_err(failed(&path))?;
        Ok(Self { _lock: lock, data })
    }

    /// The folder for what the node keeps.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }
}

fn write(lock: &mut File, incumbent: &Incumbent) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    lock.write_all(serde_json::to_string(incumbent)?.as_bytes())
}

/// What a node keeps is nobody's source code.
fn ignore_in_git(data: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).open(data.join(".gitignore")) {
        Ok(mut file) => file.write_all(b"*\n"),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

// === impl Incumbent ===

impl Incumbent {
    /// The system that a process runs, if it is a node that can be seen.
    pub(crate) fn of_process(pid: i32) -> Option<Self> {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        let files = open.filter_map(|entry| fs::read_link(entry.path()).ok());
        let lock = files.into_iter().find(|file| file.file_name().is_some_and(|name| name == LOCK))?;
        let incumbent: Self = serde_json::from_str(&fs::read_to_string(lock).ok()?).ok()?;
        incumbent.is(pid).then_some(incumbent)
    }

    /// The system of which a process is the node, or one that a node started.
    pub(crate) fn around_process(pid: i32) -> Option<Self> {
        let parent = |pid: &i32| madang_supervisor::parent_of(*pid);
        std::iter::successors(Some(pid), parent).take(ANCESTORS).find_map(Self::of_process)
    }

    /// Whether this process is the node.
    pub(crate) fn is(&self, pid: i32) -> bool {
        self.pid.cast_signed() == pid
    }

    /// The options by which a command means it.
    pub fn options(&self) -> String {
        match &self.isolated {
            Some(name) => format!("--isolated={name} {}", self.root),
            None => self.root.clone(),
        }
    }
}

impl fmt::Display for Incumbent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (system, root, options) = (&self.system, &self.root, self.options());
        let seconds = now().saturating_sub(self.since) / 1000;
        write!(
            f,
            "{system} in {root} is already run by process {}, up for {}: `madang ps {options}` shows it and `madang \
             down {options}` stops it; `madang up --isolated` runs a second one beside it",
            self.pid,
            match seconds {
                0..120 => format!("{seconds} s"),
                120..7200 => format!("{} min", seconds / 60),
                _ => format!("{} h", seconds / 3600),
            }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_system_has_one_owner_at_a_time_and_is_another_isolated() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::new(root.path(), None);
        let first = Owner::take(&place, None).await.unwrap();
        let Err(OwnerError::Taken(incumbent)) = Owner::take(&place, None).await else {
            panic!("taken twice")
        };
        assert_eq!(incumbent.pid, std::process::id());
        assert_eq!(Incumbent::of_process(std::process::id().cast_signed()), Some(incumbent));

        let beside = Place::new(root.path(), Some("ci"));
        let isolated = Owner::take(&beside, None).await.unwrap();
        let Err(OwnerError::Taken(incumbent)) = Owner::take(&beside, None).await else {
            panic!("taken twice")
        };
        let said = incumbent.to_string();
        assert!(said.contains(&format!("`madang down --isolated=ci {}`", root.path().display())), "{said}");
        drop((first, isolated));
        beside.clear();
        assert!(
            !beside.data().exists() && place.data().exists() && Place::isolated_in(root.path()).is_empty()
        );
        Owner::take(&place, None).await.unwrap();
    }

    #[tokio::test]
    async fn one_that_is_leaving_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::new(root.path(), None);
        let first = Owner::take(&place, None).await.unwrap();
        let leaves = async move {
            sleep(LEAVING / 2).await;
            drop(first);
        };
        let (second, ()) = tokio::join!(Owner::take(&place, None), leaves);
        second.unwrap();
    }
}

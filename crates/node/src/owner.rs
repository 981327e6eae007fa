//! One node a system: a lock on the system's folder, released by the kernel however the node ends.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use tokio::time::{Instant, sleep};

/// The folder below a system's root in which a node keeps what is its own.
pub(crate) const DATA: &str = ".madang";

/// How long an owner that was killed may take to let go: the kernel closes its files after its memory is given back,
/// and a process that it was just starting has them until that runs its program.
const LEAVING: Duration = Duration::from_millis(500);

/// How often it is looked whether it has.
const AGAIN: Duration = Duration::from_millis(10);

/// Holds a system for this process while it lives.
pub(crate) struct Owner {
    _lock: File,
    data: PathBuf,
}

/// Why a system cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// Another node runs it.
    #[error("the system in {root} is already run by process {pid}: stop it with `madang down {root}`")]
    Taken {
        /// The system's folder.
        root: String,
        /// The process that runs it.
        pid: String,
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

impl Owner {
    /// Takes the system in `root`, or says who has it. One that was killed may still be on its way out.
    pub(crate) async fn take(root: &Path) -> Result<Self, OwnerError> {
        let deadline = Instant::now() + LEAVING;
        loop {
            match Self::try_take(root) {
                Err(OwnerError::Taken { .. }) if Instant::now() < deadline => sleep(AGAIN).await,
                taken => return taken,
            }
        }
    }

    fn try_take(root: &Path) -> Result<Self, OwnerError> {
        let data = root.join(DATA);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OwnerError::Folder { path, source }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&data).map_err(failed(&data))?;
        ignore_in_git(&data).map_err(failed(&data))?;
        let path = data.join("node.lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed(&path))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            let _ = lock.read_to_string(&mut pid);
            return Err(OwnerError::Taken { root: root.display().to_string(), pid: pid.trim().to_owned() });
        }
        write_pid(&mut lock).map_err(failed(&path))?;
        Ok(Self { _lock: lock, data })
    }

    /// The folder for what the node keeps.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }
}

fn write_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

/// What a node keeps is nobody's source code.
fn ignore_in_git(data: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).open(data.join(".gitignore")) {
        Ok(mut file) => file.write_all(b"*\n"),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_system_has_one_owner_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let first = Owner::take(root.path()).await.unwrap();
        let Err(OwnerError::Taken { pid, .. }) = Owner::take(root.path()).await else {
            panic!("taken twice")
        };
        assert_eq!(pid, std::process::id().to_string());
        drop(first);
        Owner::take(root.path()).await.unwrap();
    }

    #[tokio::test]
    async fn one_that_is_leaving_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let first = Owner::take(root.path()).await.unwrap();
        let leaves = async move {
            sleep(LEAVING / 2).await;
            drop(first);
        };
        let (second, ()) = tokio::join!(Owner::take(root.path()), leaves);
        second.unwrap();
    }
}

//! What the node itself logs while it runs: a file beside those of the services, bounded.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Mutex,
};

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// The size at which a new file is begun, in bytes; one old file is kept.
const LARGEST: u64 = 8 * 1024 * 1024;

/// The file of the node's own log in the folder of the logs.
pub fn path(logs: &Path) -> PathBuf {
    logs.join("madang.log")
}

/// Opens the file to append to it, and to read it; folders are made if they are missing.
pub fn open(logs: &Path) -> io::Result<File> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(logs)?;
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path(logs))
}

/// Has everything that this process logs appended to the file; `MADANG_LOG` chooses what, as in `info,hyper=debug`.
pub fn start(logs: &Path) -> io::Result<()> {
    let writer = Rotating::open(logs)?;
    let said = std::env::var("MADANG_LOG").ok().and_then(|said| said.parse::<Targets>().ok());
    let filter = said.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    // A line that cannot be written, as on a full disk, is lost. To say so on stderr would panic where that is the
    // same file, and take down whoever had something to say.
    let lines = tracing_subscriber::fmt::layer()
        .log_internal_errors(false)
        .with_ansi(false)
        .with_writer(Mutex::new(writer));
    // Already set only if this is called twice.
    tracing_subscriber::registry().with(filter).with(lines).try_init().map_err(io::Error::other)
}

/// Appends to the file and begins a new one when it is large.
struct Rotating {
    logs: PathBuf,
    file: File,
    size: u64,
}

// === impl Rotating ===

impl Rotating {
    fn open(logs: &Path) -> io::Result<Self> {
        let file = open(logs)?;
        let size = file.metadata()?.len();
        Ok(Self { logs: logs.to_owned(), file, size })
    }
}

impl Write for Rotating {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.size >= LARGEST {
            fs::rename(path(&self.logs), path(&self.logs).with_extension("log.1"))?;
            *self = Self::open(&self.logs)?;
        }
        let written = self.file.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_log_makes_room_for_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        fs::create_dir(&logs).unwrap();
        File::create(path(&logs)).unwrap().set_len(LARGEST).unwrap();
        let mut log = Rotating::open(&logs).unwrap();
        log.write_all(b"after\n").unwrap();
        assert_eq!(fs::read_to_string(path(&logs)).unwrap(), "after\n");
        assert_eq!(fs::metadata(logs.join("madang.log.1")).unwrap().len(), LARGEST);
    }
}

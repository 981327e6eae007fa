//! What can go wrong while logs are read and kept.

use std::{io, path::PathBuf};

/// Why lines of a log could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A log file could not be opened or read; the others go on.
    #[error("failed to read the log {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel does not tell of changes in the folder of the logs, so that they cannot be followed.
    #[error("failed to watch {path} for new lines")]
    Watch {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The archive could not be read or written.
    #[error("failed to use what is kept of the logs")]
    Keep(#[source] madang_store::Error),
}

impl Error {
    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source }
    }

    pub(crate) fn watch(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Watch { path, source }
    }
}

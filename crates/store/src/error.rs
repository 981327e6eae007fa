//! What can go wrong with the state of a node.

use std::{io, path::PathBuf, sync::Arc};

/// Why the state could not be opened, read or written. Cheap to clone: a failed commit is everybody's.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The URL names no place for the state.
    #[error("\"{url}\" is no place for the state: expected \"sqlite:\" and the absolute path of a file")]
    Url {
        /// The URL as it was given.
        url: String,
    },
    /// The URL names an engine that this build has no code for.
    #[error(
        "failed to open the state at a \"{scheme}:\" URL: that engine is not built in yet, \"sqlite:\" is"
    )]
    NotBuiltIn {
        /// The URL's scheme.
        scheme: String,
    },
    /// The file or its folder could not be made.
    #[error("failed to create {path}")]
    Create {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The file could not be opened as a database.
    #[error("failed to open the state {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Arc<rusqlite::Error>,
    },
    /// The thread that writes could not be started.
    #[error("failed to start the thread that writes the state")]
    Thread {
        /// Why.
        source: Arc<io::Error>,
    },
    /// A read or a write failed; nothing that this write did is kept.
    #[error("failed to run a statement on the state")]
    Statement {
        /// Why.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The commit failed, and with it every write that shared it; nothing of them is kept.
    #[error("failed to commit to the state")]
    Commit {
        /// Why.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// One of the writes that shared a commit ended their common transaction; nothing of them is kept.
    #[error("failed to commit to the state: a write ended the transaction that it shared with others")]
    TransactionEnded,
    /// The state was written by a newer version of the program.
    #[error("the tables of {engine} are at version {found} and this program knows {known}: run a newer one")]
    Newer {
        /// The engine whose tables they are.
        engine: String,
        /// The version in the file.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// A read or a write panicked; nothing that it did is kept.
    #[error("a read or write of the state panicked")]
    Panicked,
    /// The store is closed.
    #[error("the state is closed")]
    Closed,
}

impl From<rusqlite::Error> for Error {
    fn from(source: rusqlite::Error) -> Self {
        Self::Statement { source: Arc::new(source) }
    }
}

//! What can go wrong while a supervisor starts. What goes wrong with a unit later is an event, not an error.

use std::io;

/// Why a supervisor did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node's state could not be read or written.
    #[error("failed to read the instances that a previous node recorded")]
    Records(#[from] madang_store::Error),
    /// The kernel refused to make this process the parent of orphans.
    #[error("failed to become the parent of processes whose parent is gone")]
    Subreaper(#[source] io::Error),
    /// The machine's boot could not be told from others.
    #[error("failed to read the id of this boot")]
    BootId(#[source] io::Error),
}

//! `state.db`: everything of a node that is kept and queried, in one file.
//!
//! [`Store`] opens it by URL, migrates each engine's tables forward, and writes through one thread that lets
//! many transactions share one commit. Knows nothing of what the engines keep in it.
//!
//! Map: `store.rs` is the handle, `writer.rs` the group commit, `readers.rs` the connections that read,
//! `migrate.rs` the schema versions, `file.rs` the URL, the file and its settings.

mod error;
mod file;
mod migrate;
mod readers;
mod store;
#[cfg(test)]
mod tests;
mod writer;

pub use error::Error;
pub use file::{Settings, WAL};
pub use rusqlite;
pub use store::Store;

//! The lines in the archive.
//!
//! - [`schema`]: the tables;
//! - [`write`]: from a batch into the tables, with how far the files were read, in one transaction;
//! - [`shelves`]: the index of words, in pieces that are dropped whole;
//! - [`filter`]: which lines are wanted;
//! - [`find`]: which these are, and what they say.

pub(super) mod filter;
pub(super) mod find;
pub(super) mod schema;
pub(super) mod shelves;
pub(super) mod write;

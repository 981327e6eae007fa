//! A whole node in this process, as its owner and others reach it.

mod edits;
mod foreign;
mod owner;
mod workers;

//! A whole node in this process, as its owner and others reach it.

mod foreign;
mod owner;
mod workers;

//! `madang up`: a system that runs, in this process or in one in the background.
//!
//! Both show the same: what the node tells over its admin API until every unit is ready.

pub mod detached;
pub mod foreground;
mod signals;
mod start;
mod summary;

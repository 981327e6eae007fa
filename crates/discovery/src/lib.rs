//! Who runs where: the registry of ready instances, with versions and a watch.
//!
//! Whoever starts instances registers one when it is ready and takes it out the moment it is gone; whoever
//! calls them watches. A change is in force as soon as the call that made it returns: it swaps a snapshot in
//! memory and never waits for the disk. Knows nothing of processes, probes, routes or HTTP.
//!
//! Map: [`Registry`] is the handle; `store.rs` keeps the versions growing over restarts.

mod error;
mod registry;
mod store;

pub use error::Error;
pub use registry::{Instance, Registry, Watch};

//! Who runs where: the registry of ready instances, with versions and a watch.
//!
//! Whoever starts instances registers one when it is ready and takes it out the moment it is gone; an instance that
//! nobody here started joins with a lease, and is out when that ends; whoever calls them watches. A change is in
//! force as soon as the call that made it returns: it swaps a snapshot in memory and never waits for the disk, which
//! follows. Knows nothing of processes, probes, routes or HTTP.
//!
//! Map: [`Registry`] is the handle; `lease.rs` is what it knows of those who joined, and [`Keeper`] has that outlive
//! the node; `store.rs` is what is on the disk.

mod error;
mod keeper;
mod lease;
mod registry;
mod store;

pub use error::Error;
pub use keeper::Keeper;
pub use lease::{Lease, MOST_JOINED, Refused};
pub use registry::{Instance, Registry, Watch};

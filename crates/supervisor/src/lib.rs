//! The supervisor: runs the units of a system as processes, and keeps what runs equal to what should.
//!
//! It builds programs, starts them in the order of their dependencies, tells a [`Rotation`] who can be called,
//! learns of an exit at once, starts again, gives up, and stops to the last grandchild. Knows nothing of
//! manifests as text, of requests, of who asks, or of machines other than this one.
//!
//! Map: `reconcile.rs` decides (pure); `world.rs` is what it decides from; `service.rs` acts on it. `requires.rs`
//! finds whom to leave out.
//! `prepare.rs` and `build.rs` make a release, `instance.rs` is the life of one instance of it, `launch.rs`
//! what it is started with, `process.rs` and `family.rs` its processes, `proc.rs` what the kernel says of them.
//! `store.rs` records who runs and `told.rs` what they were told, and `takeover.rs` finds whom a node before this one
//! left, who go on where they can. `by_hand.rs` awaits what a person runs in the place of this.

mod backoff;
mod build;
mod by_hand;
mod command;
mod config;
mod error;
mod events;
mod family;
mod handle;
mod instance;
mod launch;
mod logfile;
mod ports;
mod prepare;
mod probe;
mod proc;
mod process;
mod reconcile;
mod requires;
mod rotation;
mod service;
mod spec;
mod store;
mod sweep;
mod takeover;
#[cfg(test)]
mod testing;
mod told;
mod views;
mod world;

pub use by_hand::{ByHand, by_hand, told_at};
pub use config::{Backoff, Config, Probing};
pub use error::Error;
pub use handle::Handle;
pub use ports::holder;
pub use proc::parent_of;
pub use requires::left_out;
pub use rotation::{Environment, InstanceRef, Quiet, ReadyInstance, Rotation};
pub use service::Supervisor;
pub use takeover::{InstanceOf, Left, left};

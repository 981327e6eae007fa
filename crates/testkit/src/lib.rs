//! Starts a whole system in a test, as its users would, and breaks it on purpose.
//!
//! A [`TestSystem`] is a copy of a system's manifests in a temporary folder, on ports of its own, run by the
//! real `madang` with real processes. Whatever it started is gone when it is dropped.

mod browser;
mod chromium;
mod client;
mod html;
mod load;
mod ports;
mod processes;
mod system;

/// How long anything that a test waits for may take on a busy machine.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

pub use browser::{Browser, EventStream, Page, ServerSent};
pub use chromium::{Chromium, Tab};
pub use client::{Answer, Client};
pub use html::Form;
pub use load::{Load, LoadReport};
pub use ports::free_port;
pub use processes::{kill, processes_of, signal, stop};
pub use system::{Placement, Prepared, TestSystem, binary, library};

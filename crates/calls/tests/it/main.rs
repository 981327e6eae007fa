//! Calls over real connections on the loopback, and into this process.
//!
//! Time is real here, because a paused clock runs ahead while the kernel carries bytes; what depends on time is
//! tested beside the layers, where nothing leaves the process.

#![allow(missing_docs)]

mod elsewhere;
mod health;
mod http1;
mod http2;
mod load;
mod local;
mod retries;
mod support;

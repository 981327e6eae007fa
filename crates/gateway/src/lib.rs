//! Listeners, workers and routes.
#![allow(dead_code)]
mod error;
mod path;
mod router;
mod template;
pub use error::Error;
pub use template::InvalidTemplate;

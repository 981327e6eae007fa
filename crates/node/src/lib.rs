//! The composition: from a manifest to a running node, and the two APIs that it serves.
//!
//! `build.rs` is the one place where engines meet. Everything else here is the edge of a node: who owns the
//! system on this machine, the admin API on its unix socket, the service API with a token per instance, and
//! the manifest that is read again when its files change. Knows nothing of terminals.

mod admin;
mod api_keys;
mod build;
mod by_hand;
mod changes;
mod difference;
mod disk;
mod doors;
mod edits;
mod elsewhere;
mod environment;
mod error;
mod faults;
mod forward;
mod gauges;
mod hex;
mod holder;
mod http;
mod identity;
mod isolation;
mod issuer;
mod join;
mod journal;
mod left;
mod lifetime;
mod limits;
mod manifest;
mod missing;
mod node;
mod owner;
mod peer;
mod place;
mod ports;
mod reload;
mod remote;
mod rotation;
mod scrape;
pub mod secrets;
mod service_api;
mod session_keys;
pub mod socket;
mod stops;
mod tls;
mod tokens;
mod views;

pub use admin::AdminApi;
pub use build::NodeConfig;
pub use by_hand::{ExceptError, excepted};
pub use doors::DoorError;
pub use error::StartError;
pub use isolation::IsolationError;
pub use left::Leftovers;
pub use madang_supervisor::left_out;
pub use manifest::load;
pub use node::{Node, PartFailed};
pub use owner::{Incumbent, OwnerError};
pub use place::Place;
pub use service_api::ServiceApiDocument;
pub use tls::CertificateError;

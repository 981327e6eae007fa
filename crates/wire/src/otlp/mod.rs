//! OTLP, the protocol of OpenTelemetry: its messages, which come as protobuf or as JSON.
//!
//! The messages are generated of `proto/`, which holds version 1.9.0 of
//! <https://github.com/open-telemetry/opentelemetry-proto>; a test of `xtask` sees to it that they agree. Protobuf is
//! read and written by [`prost::Message`], JSON is read by serde (`json` has what is particular to it).

#[allow(missing_docs, clippy::all, rustdoc::all)]
#[rustfmt::skip]
mod generated;
pub(crate) mod json;
mod retry;
mod value;

pub use generated::{collector, common, logs, metrics, resource, trace};
pub use prost::{DecodeError, Message};
pub use retry::retry_delay;
pub use value::{attribute, text, to_json};

//! Every type that crosses a process: the admin API, the service API, problems, traces and request records,
//! and OpenTelemetry's protocol.
//!
//! Types and their JSON only. Knows nothing of servers, clients or storage.

pub mod admin;
pub mod audit;
pub mod cache;
pub mod dashboard;
pub mod headers;
mod ids;
pub mod keys;
pub mod log;
pub mod login;
pub mod metrics;
pub mod otlp;
pub mod principal;
mod problem;
mod record;
pub mod service;
pub mod telemetry;
pub mod trace;
pub mod why;

pub use ids::{SpanId, TraceId};
pub use problem::{Code, FieldError, PROBLEM_JSON, Problem};
pub use record::{CacheUse, Fallback, Hop, RequestRecord, grpc_failed, is_cut};

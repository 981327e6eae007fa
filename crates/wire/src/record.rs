//! What one hop knew of one request, once it was over.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a request was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Hop {
    /// At the gateway, from outside.
    Gateway,
    /// At a listener of Madang's for one service.
    Door,
    /// In the process of a service that called another.
    Sdk,
}

/// What one hop knew of one request, once it was over. Durations are in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestRecord {
    /// When it arrived, in milliseconds since 1970.
    pub at: u64,
    /// Where it was seen.
    pub hop: Hop,
    /// The request's id.
    #[schema(value_type = String)]
    pub request_id: Arc<str>,
    /// The trace's id: 32 hexadecimal digits.
    #[schema(value_type = String)]
    pub trace_id: Arc<str>,
    /// The span of this hop: 16 hexadecimal digits.
    #[schema(value_type = String)]
    pub span_id: Arc<str>,
    /// The route's template, never the path itself.
    #[schema(value_type = Option<String>)]
    pub route: Option<Arc<str>>,
    /// The service that called.
    #[schema(value_type = Option<String>)]
    pub caller: Option<Arc<str>>,
    /// The service that was called.
    #[schema(value_type = Option<String>)]
    pub service: Option<Arc<str>>,
    /// The instance that answered last.
    #[schema(value_type = Option<String>)]
    pub instance: Option<Arc<str>>,
    /// The method.
    #[schema(value_type = String)]
    pub method: Arc<str>,
    /// The status answered; 0 if the client left before.
    pub status: u16,
    /// The code of the problem that this hop answered itself.
    #[schema(value_type = Option<String>)]
    pub code: Option<Arc<str>>,
    /// How often an instance was tried.
    pub attempts: u32,
    /// The time from arrival to the end of the answer's head.
    pub duration_us: u64,
    /// The part of it that the service took.
    pub upstream_us: u64,
    /// The part of it spent waiting for an instance.
    pub parked_us: u64,
}

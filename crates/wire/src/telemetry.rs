//! What is missing in all that a node tells of its system: `GET /v1/telemetry`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::ForwardView;

/// What the node knows to be missing in its telemetry. What is not in this list is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TelemetryView {
    /// Since when it is counted: when the node started, in milliseconds since 1970.
    pub since: u64,
    /// Each kind by reason, also those of which nothing is missing.
    pub missing: Vec<Missing>,
    /// How telemetry is forwarded, if the manifest names a back end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<ForwardView>,
}

/// How much of one kind is missing for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Missing {
    /// What is missing.
    pub kind: MissingKind,
    /// For which reason, in a word that stays the same; the label `reason` of `madang_telemetry_dropped_total`.
    pub reason: String,
    /// Of which unit, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// How much.
    pub count: u64,
    /// The reason in words.
    pub why: String,
}

/// What may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MissingKind {
    /// Records of requests, or their place among the series.
    Requests,
    /// Points of the metrics of calls.
    Points,
    /// Seconds of the finest metrics.
    Seconds,
    /// Metrics that services measure themselves.
    External,
    /// Spans.
    Spans,
    /// Lines of logs.
    Lines,
    /// Events.
    Events,
    /// What is there and was not forwarded.
    Forwarded,
}

// === impl MissingKind ===

impl MissingKind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Points => "points",
            Self::Seconds => "seconds",
            Self::External => "external",
            Self::Spans => "spans",
            Self::Lines => "lines",
            Self::Events => "events",
            Self::Forwarded => "forwarded",
        }
    }
}

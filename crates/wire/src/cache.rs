//! What the gateway keeps of answers: `/v1/cache`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// All that is kept: `GET /v1/cache`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CacheView {
    /// How many bytes it takes, those on their way included.
    pub used: u64,
    /// How many bytes it may take.
    pub size: u64,
    /// Each route whose answers are kept, by the service that it leads to.
    pub routes: Vec<CachedRoute>,
}

/// What is kept of one route, and what was done with it since the route has a cache.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CachedRoute {
    /// The route's template.
    pub route: String,
    /// The service that it leads to.
    pub service: String,
    /// Answers that are kept.
    pub entries: u64,
    /// What they take, in bytes.
    pub bytes: u64,
    /// Requests that were given a fresh answer.
    pub hits: u64,
    /// Requests that were given one that was not fresh any more.
    pub stale: u64,
    /// Requests that were given one of which the service had said that it is still good.
    pub revalidated: u64,
    /// Requests that the service answered.
    pub misses: u64,
    /// Answers that made room for others.
    pub evicted: u64,
    /// Answers that were purged, or became invalid because something was changed.
    pub purged: u64,
    /// Answers that might have been kept, and were too long or found no room.
    pub left_out: u64,
}

/// What is to be forgotten: `POST /v1/cache/purge`. One of them says what; none means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PurgeSpec {
    /// What was asked for at this path, with any query unless it has one itself; below it, if it ends in `/**`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What came over the routes with this template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// What came from this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What has this tag: the route's, or one that the answer has in `Cache-Groups` (RFC 9875).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// What was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Purged {
    /// How many answers.
    pub entries: u64,
}

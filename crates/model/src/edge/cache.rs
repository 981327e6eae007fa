//! Which answers are kept for whoever asks the same.

use std::{collections::BTreeSet, time::Duration};

use serde::{Serialize, Serializer};

use crate::format_duration;

/// How answers are kept (RFC 9111), and for how long where they do not say so themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cache {
    /// How long an answer is fresh that says nothing of it, where a cache may decide that (section 4.2.2); a tenth of
    /// the time since it last changed if absent.
    #[serde(serialize_with = "as_time", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    /// How long any answer is fresh at most.
    #[serde(serialize_with = "as_time", skip_serializing_if = "Option::is_none")]
    pub max_ttl: Option<Duration>,
    /// How long after that an answer that says nothing of it is given while a new one is fetched (RFC 5861, section 3).
    #[serde(serialize_with = "as_time")]
    pub stale_while_revalidate: Option<Duration>,
    /// How long after that an answer that says nothing of it is given in place of a failure (RFC 5861, section 4).
    #[serde(serialize_with = "as_time")]
    pub stale_if_error: Option<Duration>,
    /// The headers of requests that tell answers apart even where `Vary` does not say so; in lower case.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub vary: BTreeSet<String>,
    /// By what all answers over the route can be purged together.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// The longest body that is kept, in bytes.
    #[serde(serialize_with = "super::as_size")]
    pub max_body: u64,
}

impl Cache {
    /// The longest body that is kept unless it is said otherwise, in bytes.
    pub(crate) const MAX_BODY: u64 = 1 << 20;
    /// How much all answers of the gateway take together unless it is said otherwise, in bytes.
    pub const SIZE: u64 = 64 << 20;
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            ttl: None,
            max_ttl: None,
            stale_while_revalidate: None,
            stale_if_error: None,
            vary: BTreeSet::new(),
            tags: BTreeSet::new(),
            max_body: Self::MAX_BODY,
        }
    }
}

fn as_time<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_duration(time.unwrap_or_default()))
}

//! What one hop knew of one request, once it was over. Most records are never read: what they hold becomes text only
//! when they are.

use std::sync::Arc;

use http::HeaderValue;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Code, SpanId, TraceId};

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

/// What was answered in place of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// The answer that the policy gives.
    Static,
    /// The last good one to the same request.
    LastGood,
    /// One that the gateway's cache still had.
    Stale,
}

/// What the gateway's cache did for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CacheUse {
    /// It had a fresh answer.
    Hit,
    /// It had one that was not fresh any more, and gave that.
    Stale,
    /// The service said that the one it had is still good.
    Revalidated,
    /// The service answered.
    Miss,
}

/// What one hop knew of one request, once it was over. Durations are in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestRecord {
    /// When it arrived, in milliseconds since 1970.
    pub at: u64,
    /// How many microseconds later, so that it is in order among the spans of its trace.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub at_us: u16,
    /// Where it was seen.
    pub hop: Hop,
    /// The request's id.
    #[schema(value_type = String)]
    #[serde(with = "text")]
    pub request_id: HeaderValue,
    /// The trace's id: 32 hexadecimal digits.
    #[schema(value_type = String)]
    pub trace_id: TraceId,
    /// The span of this hop: 16 hexadecimal digits.
    #[schema(value_type = String)]
    pub span_id: SpanId,
    /// The span of whoever asked, where it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub parent_span_id: Option<SpanId>,
    /// The route's template, never the path itself.
    #[schema(value_type = Option<String>)]
    pub route: Option<Arc<str>>,
    /// The service that called.
    #[schema(value_type = Option<String>)]
    pub caller: Option<Arc<str>>,
    /// The service that was called.
    #[schema(value_type = Option<String>)]
    pub service: Option<Arc<str>>,
    /// The instance that answered last, or the one that was tried last if none did.
    #[schema(value_type = Option<String>)]
    pub instance: Option<Arc<str>>,
    /// The release of that instance, if Madang started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub release: Option<Arc<str>>,
    /// The method.
    #[schema(value_type = String)]
    pub method: Arc<str>,
    /// The status answered; 0 if the client left before.
    pub status: u16,
    /// The gRPC status: in the head of an answer without a message, or at the end of any other; 1 (CANCELLED) if the
    /// client left before that, and 2 (UNKNOWN) if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<u16>,
    /// The code of the problem that this hop answered itself.
    #[schema(value_type = Option<String>)]
    pub code: Option<Arc<str>>,
    /// The first fault that was injected, by its id; `manifest` for one of the manifest's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub fault: Option<Arc<str>>,
    /// What was answered in place of the failure that `code` tells of, or of the service's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// What the cache did, where the route has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheUse>,
    /// How often an instance was tried.
    pub attempts: u32,
    /// The time from arrival to the end of the answer's head.
    pub duration_us: u64,
    /// The part of it that the service took.
    pub upstream_us: u64,
    /// The part of it spent waiting for an instance, or for other calls to end.
    pub parked_us: u64,
}

fn is_zero(number: &u16) -> bool {
    *number == 0
}

// === impl CacheUse ===

impl CacheUse {
    /// As it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
        }
    }
}

// === impl RequestRecord ===

impl RequestRecord {
    /// Whether the request failed at this hop: answered 5xx, or as gRPC says that, or not at all or not to the end, or with
    /// something in place of a failure.
    pub fn failed(&self) -> bool {
        self.status >= 500
            || self.status == 0
            || self.fallback.is_some()
            || self.grpc_status.is_some_and(grpc_failed)
            || is_cut(self.status, self.code.as_deref())
    }
}

/// Whether an answer whose head said that it went well broke off, or did not come to its end in time.
pub fn is_cut(status: u16, code: Option<&str>) -> bool {
    (1..500).contains(&status) && code.is_some_and(|code| [Code::BROKEN.id, Code::TIMEOUT.id].contains(&code))
}

/// Whether a gRPC status corresponds to an HTTP status of 5xx that speaks of the service: UNKNOWN, DEADLINE_EXCEEDED,
/// INTERNAL, UNAVAILABLE, DATA_LOSS.
pub fn grpc_failed(status: u16) -> bool {
    matches!(status, 2 | 4 | 13 | 14 | 15)
}

/// A header's value as its text.
mod text {
    use http::HeaderValue;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &HeaderValue, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(value.to_str().unwrap_or_default())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HeaderValue, D::Error> {
        HeaderValue::try_from(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_text_in_json() {
        let json = r#"{"at":1,"hop":"gateway","request_id":"abc","trace_id":"0af7651916cd43dd8448eb211c80319c",
            "span_id":"00f067aa0ba902b7","route":null,"caller":null,"service":"users","instance":null,
            "method":"GET","status":200,"code":null,"attempts":1,"duration_us":5,"upstream_us":4,"parked_us":0}"#;
        let record: RequestRecord = serde_json::from_str(json).unwrap();
        assert_eq!(
            (record.trace_id.0, record.span_id.0),
            (0x0af7651916cd43dd8448eb211c80319c, 0xf067aa0ba902b7)
        );
        assert_eq!(record.request_id, "abc");
        let written: serde_json::Value = serde_json::to_value(&record).unwrap();
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(json).unwrap());
    }
}

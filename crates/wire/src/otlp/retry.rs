//! When a server of gRPC wants to be asked again: `google.rpc.RetryInfo` among the details of its status.
//!
//! Source: `google/rpc/status.proto` and `google/rpc/error_details.proto` of <https://github.com/googleapis/googleapis>,
//! of which only this is read; and OTLP's specification, which says what it means for an export.

use std::time::Duration;

use prost::Message;

use super::json::base64;

/// `google.rpc.Status`; its code and message are in headers too.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Span>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// How long a server wants to be left alone, by what its header or trailer `grpc-status-details-bin` says: none if that
/// says nothing of it. One that names no time, or one that is over, may be asked at once.
pub fn retry_delay(details: &str) -> Option<Duration> {
    // Some write it with padding, and some without.
    let details = base64(details.trim_end_matches('=').as_bytes())?;
    let status = Status::decode(&*details).ok()?;
    let is_it = |any: &&Any| any.type_url.rsplit('/').next() == Some("google.rpc.RetryInfo");
    let info = status.details.iter().find(is_it)?;
    let Span { seconds, nanos } = RetryInfo::decode(&*info.value).ok()?.retry_delay.unwrap_or_default();
    let (seconds, nanos) = (u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).unwrap_or(0));
    // A second of nanoseconds or more is no duration.
    Some(Duration::new(seconds, nanos.min(999_999_999)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_is_read_with_padding_or_without() {
        // Status { code: 8, details: [Any { RetryInfo { retry_delay: 9 s } }] }.
        let of = "CAgaMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIICQ";
        assert_eq!(retry_delay(of), Some(Duration::from_secs(9)));
        assert_eq!(retry_delay(&format!("{of}==")), Some(Duration::from_secs(9)), "with padding");
        assert_eq!(retry_delay("CA4"), None, "a status without details");
        assert_eq!(retry_delay("AA"), None, "no protobuf");
        assert_eq!(retry_delay("!"), None, "no base64");
    }
}

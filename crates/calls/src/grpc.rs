//! What gRPC says in headers: the time that a call has, and a status for an answer of HTTP.
//!
//! Source: "gRPC over HTTP2" and "HTTP to gRPC Status Code Mapping" of the gRPC project's documents.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE};

use crate::trace::ascii;

/// The time that a call has.
pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Whether a message is of gRPC: `application/grpc`, `application/grpc+proto`.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    is_media(headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default())
}

/// Whether this media type is gRPC's.
pub(crate) fn is_media(media: &[u8]) -> bool {
    let rest = media.strip_prefix(b"application/grpc").map(|rest| rest.first());
    matches!(rest, Some(None | Some(b'+' | b';')))
}

/// The time that a gRPC call has, by its header `grpc-timeout`; `None` without a valid one.
pub fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // At most eight digits, so that nothing below overflows.
    let valid = (1..=8).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = valid.then(|| number.parse().ok())??;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// The code for a status, and what a deadline and a server's own failure mean besides.
pub(crate) fn status_of(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 | 500 => 13,       // INTERNAL
        401 => 16,             // UNAUTHENTICATED
        403 => 7,              // PERMISSION_DENIED
        404 | 405 | 501 => 12, // UNIMPLEMENTED
        408 | 504 => 4,        // DEADLINE_EXCEEDED
        413 | 429 => 8,        // RESOURCE_EXHAUSTED
        421 | 502 | 503 => 14, // UNAVAILABLE
        _ => 2,                // UNKNOWN
    }
}

/// The status that gRPC has in a head or in trailers.
pub(crate) fn grpc_status(fields: &HeaderMap) -> Option<u16> {
    fields.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// A text as the header `grpc-message` has it: percent-encoded but for printable ASCII.
pub fn grpc_message(text: &str) -> HeaderValue {
    let mut encoded = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | 0..0x20 | 0x7f.. => {
                encoded.push(b'%');
                encoded.extend([byte >> 4, byte & 15].map(|digit| b"0123456789ABCDEF"[usize::from(digit)]));
            }
            _ => encoded.push(byte),
        }
    }
    ascii(&encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_time_that_a_call_has() {
        let check = |text: &'static str, expected: Option<Duration>| {
            let headers = [(GRPC_TIMEOUT, HeaderValue::from_static(text))].into_iter().collect();
            assert_eq!(grpc_timeout(&headers), expected, "{text}");
        };
        check("3S", Some(Duration::from_secs(3)));
        check("2H", Some(Duration::from_secs(7200)));
        check("1M", Some(Duration::from_secs(60)));
        check("250m", Some(Duration::from_millis(250)));
        check("99999999n", Some(Duration::from_nanos(99_999_999)));
        check("5u", Some(Duration::from_micros(5)));
        for bad in ["", "S", "3", "3s", "123456789S", "-1S", "1.5S", " 1S"] {
            check(bad, None);
        }
    }

    #[test]
    fn knows_its_media_types() {
        let is = |media: &'static str| {
            is_grpc(&[(CONTENT_TYPE, HeaderValue::from_static(media))].into_iter().collect())
        };
        assert!(is("application/grpc") && is("application/grpc+proto") && is("application/grpc;x=1"));
        assert!(!is("application/grpc-web") && !is("application/json") && !is(""));
        assert!(!is_grpc(&HeaderMap::new()));
    }
}

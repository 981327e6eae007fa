//! An export over HTTP, as protobuf and packed with gzip.

use ::http::{
    Request,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use madang_calls::Body;
use madang_telemetry::{
    forward::Carried,
    otlp::{Signal, rejected},
};

use super::Answer;

pub(super) fn request(signal: Signal, path: &str, packed: Vec<u8>) -> Request<Body> {
    let signal = match signal {
        Signal::Traces => "traces",
        Signal::Logs => "logs",
        Signal::Metrics => "metrics",
    };
    let request = Request::post(format!("{path}/v1/{signal}"))
        .header(CONTENT_TYPE, "application/x-protobuf")
        .header(CONTENT_ENCODING, "gzip")
        .body(Body::from(packed));
    // The path was read as one of a URL, so that this cannot fail.
    request.unwrap_or_default()
}

pub(super) fn outcome(signal: Signal, answer: &Answer) -> Carried {
    if !answer.status.is_success() {
        return answer.failed();
    }
    let (rejected, why) = rejected(signal, &answer.body);
    Carried::Taken { rejected, why }
}

//! An export over gRPC, packed with gzip.

use ::http::{
    HeaderMap, Request,
    header::{CONTENT_TYPE, TE},
};
use madang_calls::Body;
use madang_telemetry::{
    forward::Carried,
    otlp::{Signal, rejected},
};
use madang_wire::otlp::retry_delay;

use super::Answer;
use crate::service_api::otlp::grpc_path;

/// What stands before a message.
const PREFIX: usize = 5;

pub(super) fn request(signal: Signal, packed: Vec<u8>) -> Request<Body> {
    let length = u32::try_from(packed.len()).unwrap_or(u32::MAX).to_be_bytes();
    let framed = [&[1], &length[..], &packed].concat();
    let request = Request::post(grpc_path(signal))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header("grpc-encoding", "gzip")
        .header("grpc-accept-encoding", "identity")
        .body(Body::from(framed));
    request.unwrap_or_default()
}

pub(super) fn outcome(signal: Signal, answer: &Answer) -> Carried {
    if !answer.status.is_success() {
        return answer.failed();
    }
    // An answer without a message has its status in the head.
    let text = |name: &str| {
        let of =
            |headers: &HeaderMap| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        of(&answer.trailers).or_else(|| of(&answer.headers))
    };
    let Some(status) = text("grpc-status") else {
        let why = "it does not speak gRPC: its answer has no grpc-status".to_owned();
        return Carried::Refused { why };
    };
    if status == "0" {
        let (rejected, why) = rejected(signal, answer.body.get(PREFIX..).unwrap_or_default());
        return Carried::Taken { rejected, why };
    }
    let after = text("grpc-status-details-bin").and_then(|details| retry_delay(&details));
    let why = format!("it answers grpc-status {status}: {}", text("grpc-message").unwrap_or_default());
    match status.as_str() {
        // CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE and DATA_LOSS, as OTLP has it.
        "1" | "4" | "10" | "11" | "14" | "15" => Carried::Later { why, after },
        // RESOURCE_EXHAUSTED only where the back end says when it has resources again.
        "8" if after.is_some() => Carried::Later { why, after },
        _ => Carried::Refused { why },
    }
}

//! OTLP over gRPC: one message in, one out (`TraceService/Export` and its like), plain or gzip.
//! See "gRPC over HTTP2" of the gRPC project's documents.

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE};
use axum::{
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use madang_calls::grpc_message;
use madang_telemetry::otlp::{Encoding, Partial, Signal};
use madang_wire::{Code, Problem};

use super::{ServiceApi, whole};
use crate::http::Failure;

const MEDIA: &str = "application/grpc";
const PACKING: HeaderName = HeaderName::from_static("grpc-encoding");
const PACKINGS: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// What stands before a message: whether it is packed, and its length.
const PREFIX: usize = 5;

/// Where each signal is exported to, with gRPC.
pub(crate) fn path(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    }
}

pub(super) async fn export(
    signal: Signal,
    State(api): State<ServiceApi>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let media = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !media.starts_with(MEDIA.as_bytes()) {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    match take(signal, &api, &headers, body).await {
        Ok(partial) => answer(&partial.answer(signal, Encoding::Protobuf)),
        Err(failure) => refusal(&failure),
    }
}

async fn take(signal: Signal, api: &ServiceApi, headers: &HeaderMap, body: Body) -> Result<Partial, Failure> {
    let sender = api.sender(headers)?;
    let packing = headers.get(PACKING).map(HeaderValue::as_bytes).unwrap_or(b"identity");
    if !matches!(packing, b"identity" | b"gzip") {
        let packing = String::from_utf8_lossy(packing);
        let detail = format!("the message is packed as \"{packing}\": send gzip, or what is not packed");
        return Err(Problem::new(Code::TELEMETRY_MEDIA).detail(detail).into());
    }
    let _leave = api.intake.leave().await?;
    let (packed, message) = message(whole(body).await?)?;
    if packed && packing == b"identity" {
        return Err(malformed("the message says that it is packed, and the headers not how"));
    }
    api.intake.take(sender, signal, Encoding::Protobuf, packed, message).await
}

/// The one message of a body, and whether it is packed.
fn message(mut body: Bytes) -> Result<(bool, Bytes), Failure> {
    if body.len() < PREFIX {
        return Err(malformed("there is no message"));
    }
    let prefix = body.split_to(PREFIX);
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    match prefix[0] {
        0 | 1 if length == body.len() => Ok((prefix[0] == 1, body)),
        0 | 1 => Err(malformed("the message is not as long as it says, or not the only one")),
        _ => Err(malformed("what stands before the message is not what gRPC writes there")),
    }
}

fn malformed(detail: &str) -> Failure {
    Problem::new(Code::UNREADABLE_TELEMETRY).detail(detail).into()
}

fn answer(message: &[u8]) -> Response {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let framed = Bytes::from([&[0], &length[..], message].concat());
    let trailers: HeaderMap = [(STATUS, HeaderValue::from_static("0"))].into_iter().collect();
    let frames = [Ok::<_, std::convert::Infallible>(Frame::data(framed)), Ok(Frame::trailers(trailers))];
    let body = Body::new(StreamBody::new(stream::iter(frames)));
    ([(CONTENT_TYPE, MEDIA)], body).into_response()
}

/// All of it in the head, as an answer without a message has it.
fn refusal(Failure(problem): &Failure) -> Response {
    let status = match problem.status {
        400 => 3,  // INVALID_ARGUMENT
        401 => 16, // UNAUTHENTICATED
        408 => 4,  // DEADLINE_EXCEEDED
        413 => 8,  // RESOURCE_EXHAUSTED
        415 => 12, // UNIMPLEMENTED
        503 => 14, // UNAVAILABLE
        _ => 13,   // INTERNAL
    };
    let said = format!("{}: {}", problem.code, problem.detail.as_deref().unwrap_or(&problem.title));
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(MEDIA)),
        (STATUS, HeaderValue::from(status)),
        (MESSAGE, grpc_message(&said)),
        (PACKINGS, HeaderValue::from_static("identity,gzip")),
    ];
    (headers, ()).into_response()
}

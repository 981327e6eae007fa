//! OTLP over HTTP: `POST /v1/traces` and its like, as protobuf or JSON, plain or gzip.

use ::http::{
    HeaderMap, HeaderValue,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER},
};
use axum::{
    body::Body,
    extract::State,
    response::{AppendHeaders, IntoResponse, Response},
};
use madang_telemetry::otlp::{Encoding, Signal};
use madang_wire::{Code, Problem};

use super::{ServiceApi, whole};
use crate::http::Failure;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

pub(super) fn path(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "/v1/traces",
        Signal::Logs => "/v1/logs",
        Signal::Metrics => "/v1/metrics",
    }
}

pub(super) async fn export(
    signal: Signal,
    State(api): State<ServiceApi>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match take(signal, &api, &headers, body).await {
        Ok((encoding, answer)) => ([(CONTENT_TYPE, media(encoding))], answer).into_response(),
        Err(failure) => {
            // What a client does about it without being told more.
            let advice = match &*failure.0.code {
                code if code == Code::TOO_MUCH_TELEMETRY.id => Some((RETRY_AFTER, "1")),
                code if code == Code::TELEMETRY_MEDIA.id => Some((ACCEPT_ENCODING, "gzip")),
                _ => None,
            };
            (AppendHeaders(advice), failure).into_response()
        }
    }
}

async fn take(
    signal: Signal,
    api: &ServiceApi,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Encoding, Vec<u8>), Failure> {
    let sender = api.sender(headers)?;
    let encoding = encoding(headers)?;
    let packed = packed(headers)?;
    let _leave = api.intake.leave().await?;
    let body = whole(body).await?;
    let partial = api.intake.take(sender, signal, encoding, packed, body).await?;
    Ok((encoding, partial.answer(signal, encoding)))
}

fn media(encoding: Encoding) -> HeaderValue {
    HeaderValue::from_static(match encoding {
        Encoding::Protobuf => PROTOBUF,
        Encoding::Json => JSON,
    })
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Failure> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = given.split(';').next().unwrap_or_default().trim();
    let known = [(PROTOBUF, Encoding::Protobuf), (JSON, Encoding::Json)];
    let found = known.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(media));
    found.map(|(_, encoding)| encoding).ok_or_else(|| {
        let detail = format!("the content type is \"{given}\": send {PROTOBUF} or {JSON}");
        unsupported(detail)
    })
}

/// Whether it is gzip.
fn packed(headers: &HeaderMap) -> Result<bool, Failure> {
    let given = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes).unwrap_or_default();
    match given.trim_ascii().to_ascii_lowercase().as_slice() {
        b"" | b"identity" => Ok(false),
        b"gzip" | b"x-gzip" => Ok(true),
        other => {
            let detail = format!(
                "the content encoding is \"{}\": send gzip, or what is not packed",
                String::from_utf8_lossy(other)
            );
            Err(unsupported(detail))
        }
    }
}

fn unsupported(detail: String) -> Failure {
    Problem::new(Code::TELEMETRY_MEDIA).detail(detail).into()
}

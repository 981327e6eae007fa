//! Messages of OpenTelemetry's protocol, sent over HTTP.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::Full;
use madang_calls::BoxError;
use madang_wire::otlp::{Message, collector::trace::v1::ExportTraceServiceResponse};
use tokio::time::timeout;

use super::settings::Receiver;
use crate::post::Post;

/// Sends messages to one receiver.
pub(super) struct Sender {
    post: Post,
    receiver: Receiver,
    limit: Duration,
}

/// Why a message was not taken.
#[derive(Debug)]
pub(super) enum Unsent {
    /// It may be taken later, after this time if the receiver says so.
    Later(BoxError, Option<Duration>),
    /// It will never be.
    Never(BoxError),
}

// === impl Sender ===

impl Sender {
    pub(super) fn new(receiver: Receiver, limit: Duration) -> Self {
        Self { post: Post::to(&receiver.authority), receiver, limit }
    }

    /// Sends one message; how many of its items the receiver has refused.
    pub(super) async fn send(&mut self, message: Bytes) -> Result<u64, Unsent> {
        let mut request = Request::new(Full::new(message));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() =
            self.receiver.path.parse().map_err(|error: http::uri::InvalidUri| Unsent::Never(error.into()))?;
        *request.headers_mut() = self.receiver.headers.clone();
        let protobuf = const { http::HeaderValue::from_static("application/x-protobuf") };
        request.headers_mut().insert(header::CONTENT_TYPE, protobuf);
        let answer = timeout(self.limit, self.post.send(request)).await;
        let answer = answer.map_err(BoxError::from).flatten().map_err(|error| Unsent::Later(error, None))?;
        outcome(&answer)
    }
}

/// What an answer says, by <https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>.
fn outcome(answer: &Response<Bytes>) -> Result<u64, Unsent> {
    let status = answer.status();
    if status.is_success() {
        // The three kinds of answers are alike in this.
        let told = ExportTraceServiceResponse::decode(answer.body().clone()).unwrap_or_default();
        let refused = told.partial_success.map_or(0, |partial| partial.rejected_spans);
        return Ok(refused.try_into().unwrap_or(0));
    }
    let error = BoxError::from(format!("the receiver of telemetry answered {status}"));
    Err(match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Unsent::Later(error, retry_after(answer.headers())),
        _ => Unsent::Never(error),
    })
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

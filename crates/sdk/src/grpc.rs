//! gRPC without a transport of its own: the way to another service for a client that `tonic` generates, and what
//! a server needs to answer in its terms.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context as Task, Poll},
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::StreamBody;
use madang_calls::{Body, BoxError, Deadline, Form, grpc_timeout};
use tower::Service;

use crate::{Calls, Error, Resources, Result, calls::To, error::chain};

/// The path of the standard's health check.
pub(crate) const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// Says in the metadata of a failure that the service never heard of the call.
const UNSENT: HeaderName = HeaderName::from_static("madang-unsent");

/// The way to a service that speaks gRPC, for the client that `tonic` generates of its contract:
/// `PaymentsClient::new(calls.to("payments").grpc())`.
///
/// Each call goes the way of all [`Calls`]: it carries the request's context, is balanced, limited in time
/// (`tonic::Request::set_timeout` may shorten it, and ends a stream too), and retried if it has an `idempotency-key` in its metadata.
/// What Madang itself answers is a gRPC status.
#[derive(Clone)]
pub struct Channel {
    to: To,
}

// === impl Channel ===

impl Channel {
    pub(crate) fn new(to: To) -> Self {
        Self { to }
    }
}

impl<B> Service<Request<B>> for Channel
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let to = self.to.clone();
        let deadline = grpc_timeout(request.headers()).map(Deadline::after);
        let request = request.map(Body::new);
        Box::pin(async move {
            let (answer, context) = to.exchange(request, deadline).await;
            Ok(answer.unwrap_or_else(|error| {
                let mut response = error.response(&context, Form::Grpc);
                if !error.outcome_unknown() {
                    response.headers_mut().insert(UNSENT, HeaderValue::from_static("true"));
                }
                response
            }))
        })
    }
}

/// Whether a failed call had no effect for certain, because the service never heard of it; by the metadata of its
/// status (`status.metadata().clone().into_headers()`).
pub fn unsent(metadata: &HeaderMap) -> bool {
    metadata.contains_key(UNSENT)
}

// === servers ===

/// What a gRPC handler has: as a handler of HTTP gets it from extractors, it gets it from
/// `tonic::Request::extensions`.
///
/// # Errors
/// If the routes are served outside of a madang service.
pub fn resources(of: &Extensions) -> Result<&Resources> {
    of.get().ok_or_else(|| Error::internal("the routes are served outside of a madang service"))
}

/// [`Calls`] that carry the context of the request with these extensions.
///
/// # Errors
/// If the routes are served outside of a madang service.
pub fn calls(of: &Extensions) -> Result<Calls> {
    let context = of.get::<madang_calls::Context>().cloned();
    Ok(Calls::on_behalf(resources(of)?.outbound().clone(), context))
}

/// The gRPC status, code and message, of what a handler fails with; the cause of a failure of its own goes to the
/// log.
pub fn status(error: &Error) -> (i32, String) {
    if error.status().is_server_error() {
        let (code, error) = (error.as_problem().code.as_ref(), chain(error));
        tracing::error!(code, error, "request failed");
    }
    (code(error.status()), error.to_string())
}

/// `google.rpc.Code`, by its HTTP mapping.
fn code(status: StatusCode) -> i32 {
    match status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => 3, // INVALID_ARGUMENT
        StatusCode::GATEWAY_TIMEOUT => 4,                                // DEADLINE_EXCEEDED
        StatusCode::NOT_FOUND => 5,                                      // NOT_FOUND
        StatusCode::FORBIDDEN => 7,                                      // PERMISSION_DENIED
        StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE => 8, // RESOURCE_EXHAUSTED
        StatusCode::CONFLICT => 10,                                      // ABORTED
        StatusCode::NOT_IMPLEMENTED => 12,                               // UNIMPLEMENTED
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => 14, // UNAVAILABLE
        StatusCode::UNAUTHORIZED => 16,                                  // UNAUTHENTICATED
        _ => 13,                                                         // INTERNAL
    }
}

/// The answer to the standard's health check (`grpc.health.v1`): SERVING or NOT_SERVING for the process as a
/// whole, which is what the empty name asks for. Other names are not looked at.
pub(crate) fn health(ready: bool) -> Response<Body> {
    // HealthCheckResponse { status = 1: enum, 1 SERVING or 2 NOT_SERVING }, behind the five bytes of a message.
    let mut message = BytesMut::with_capacity(7);
    message.put_u8(0);
    message.put_u32(2);
    message.put_slice(&[0x08, if ready { 1 } else { 2 }]);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [http_body::Frame::data(message.freeze()), http_body::Frame::trailers(trailers)];
    let frames = futures_util::stream::iter(frames.map(Ok::<_, Infallible>));
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

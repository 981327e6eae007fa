//! What the two APIs share: how they are served and end, problems as answers, and documents as lines.

use std::{future::IntoFuture, io, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, connect_info::Connected},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    serve::{IncomingStream, Listener},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{StatusCode, header};
use madang_calls::Context;
use madang_wire::{Code, PROBLEM_JSON, Problem};
use serde::Serialize;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long a reader gets to take what is on its way to it once an API ends. One that has stopped reading must
/// not keep the node from ending.
const READERS: Duration = Duration::from_secs(1);

/// Serves an API until told to stop. Its requests know who asks.
pub(crate) async fn serve<P, L>(listener: L, api: Router, shutdown: CancellationToken) -> io::Result<()>
where
    P: for<'a> Connected<IncomingStream<'a, L>>,
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    serve_as_is::<P, L>(listener, whole(api), shutdown).await
}

/// The same for what is more than an API.
pub(crate) async fn serve_as_is<P, L>(listener: L, api: Router, shutdown: CancellationToken) -> io::Result<()>
where
    P: for<'a> Connected<IncomingStream<'a, L>>,
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let api = api.into_make_service_with_connect_info::<P>();
    let serving = axum::serve(listener, api).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    tokio::select! {
        ended = serving.into_future() => ended,
        () = async { shutdown.cancelled().await; sleep(READERS).await } => Ok(()),
    }
}

/// An API whose every error is a problem, also of paths that it does not know.
pub(crate) fn whole(api: Router) -> Router {
    api.fallback(unknown_path).layer(middleware::from_fn(as_problem))
}

/// A problem as an answer.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Box<Problem>);

impl Failure {
    /// The answer for a parameter that is missing, unknown or not of its form.
    pub(crate) fn parameter(name: &str, expected: &str) -> Self {
        Problem::new(Code::BAD_PARAMETER).field(name, expected).into()
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        (problem.status_code(), [(header::CONTENT_TYPE, PROBLEM_JSON)], problem.to_json()).into_response()
    }
}

async fn unknown_path(uri: http::Uri) -> Failure {
    Problem::new(Code::UNKNOWN_NAME).detail(format!("{} is not part of this API", uri.path())).into()
}

/// The longest error that is read to be told again.
const ERROR_BYTES: usize = 64 * 1024;

/// Gives every error the form of a problem that names its request, also those that the router makes itself.
async fn as_problem(request: Request, next: Next) -> Response {
    let context = Context::from_headers(request.headers(), true);
    let (mut head, body) = next.run(request).await.into_parts();
    if !head.status.is_client_error() && !head.status.is_server_error() {
        return Response::from_parts(head, body);
    }
    let bytes = to_bytes(body, ERROR_BYTES).await.unwrap_or_default();
    let mut problem = serde_json::from_slice(&bytes).unwrap_or_else(|_| {
        let said = String::from_utf8_lossy(&bytes);
        let code = match head.status {
            StatusCode::METHOD_NOT_ALLOWED => Code::METHOD_NOT_ALLOWED,
            _ => Code::BAD_PARAMETER,
        };
        let problem = Problem::new(code).with_status(head.status);
        if said.is_empty() { problem } else { problem.detail(said) }
    });
    problem.request_id = context.request_id.0.to_str().ok().map(str::to_owned);
    problem.trace_id = Some(format!("{:032x}", context.trace.trace_id));
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(PROBLEM_JSON));
    Response::from_parts(head, Body::from(problem.to_json()))
}

/// Answers with one JSON document a line, as they come.
pub(crate) fn lines<T: Serialize>(documents: impl Stream<Item = T> + Send + 'static) -> Response {
    let lines = documents.map(|document| {
        serde_json::to_vec(&document).map(|mut line| {
            line.push(b'\n');
            Bytes::from(line)
        })
    });
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")];
    (StatusCode::OK, headers, Body::from_stream(lines)).into_response()
}

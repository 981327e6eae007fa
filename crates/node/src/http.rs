//! What the two APIs share: problems as answers, and documents as lines.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{StatusCode, header};
use madang_wire::{Code, PROBLEM_JSON, Problem};
use serde::Serialize;

/// A problem as an answer; boxed, so that what may fail stays cheap to hand on.
pub(crate) struct Failure(pub(crate) Box<Problem>);

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

/// The answer for a path that the API does not have.
pub(crate) async fn unknown_path(uri: http::Uri) -> Failure {
    let detail = format!("{} is not part of this API: see /openapi.json", uri.path());
    Problem::new(Code::UNKNOWN_NAME).detail(detail).into()
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

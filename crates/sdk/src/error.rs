//! What a handler fails with, and how it is answered: a problem to the client, the cause chain to the log.

use std::{fmt, sync::Arc, time::Duration};

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use madang_calls::{BoxError, CallError, Context};
use madang_wire::{Code, PROBLEM_JSON, Problem};

use crate::ReplyError;

/// What a handler answers: its value, or an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request is not done: the problem that the client is told, and the cause that only the log is told.
///
/// Answered as `application/problem+json` with the ids of the request and of its trace. An error of a library
/// becomes one with `?` where the conversion exists, else with [`Error::internal`]; the client then learns no
/// more than `MDG-SVC-004`.
pub struct Error(Box<Inner>);

struct Inner {
    problem: Problem,
    retry_after: Option<Duration>,
    cause: Option<BoxError>,
}

/// What a response says of the error behind it, for the layer that fills in the ids and writes the log.
#[derive(Clone)]
pub(crate) struct Failure {
    pub(crate) problem: Problem,
    pub(crate) cause: Option<Arc<BoxError>>,
}

impl Error {
    /// Answers this problem.
    pub fn problem(problem: Problem) -> Self {
        Self(Box::new(Inner { problem, retry_after: None, cause: None }))
    }

    /// 404: what was asked for does not exist. `what` names it: `order 7`.
    pub fn not_found(what: impl fmt::Display) -> Self {
        Self::problem(Problem::new(Code::NOT_FOUND).detail(format!("there is no {what}")))
    }

    /// 422: a field of the request has a bad value. The field is a path such as `lines[0].quantity`.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        let (field, message) = (field.into(), message.into());
        let detail = format!("{field}: {message}");
        Self::problem(Problem::new(Code::INVALID).detail(detail).field(field, message))
    }

    /// 409: the request conflicts with the state of the thing that it is for.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::problem(Problem::new(Code::CONFLICT).detail(detail))
    }

    /// 500: the client learns only that the service failed; the log gets the cause and what caused it.
    pub fn internal(cause: impl Into<BoxError>) -> Self {
        Self::problem(Problem::new(Code::INTERNAL)).caused_by(cause)
    }

    /// Adds a cause for the log.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<BoxError>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Tells the client when it is worth trying again; rounded up to a second.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// The status that it is answered with.
    pub fn status(&self) -> StatusCode {
        self.0.problem.status_code()
    }

    /// The problem that the client is told.
    pub fn as_problem(&self) -> &Problem {
        &self.0.problem
    }
}

// === impl Error ===

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { title, detail, .. } = &self.0.problem;
        f.write_str(detail.as_deref().unwrap_or(title))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error").field("problem", &self.0.problem).field("cause", &self.0.cause).finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as _)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let Inner { problem, retry_after, cause } = *self.0;
        let mut response = problem_response(&problem);
        if let Some(after) = retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.max(1).into());
        }
        response.extensions_mut().insert(Failure { problem, cause: cause.map(Arc::new) });
        response
    }
}

impl From<sqlx::Error> for Error {
    fn from(cause: sqlx::Error) -> Self {
        Self::internal(cause)
    }
}

impl From<serde_json::Error> for Error {
    fn from(cause: serde_json::Error) -> Self {
        Self::internal(cause)
    }
}

impl From<std::io::Error> for Error {
    fn from(cause: std::io::Error) -> Self {
        Self::internal(cause)
    }
}

impl From<BoxError> for Error {
    fn from(cause: BoxError) -> Self {
        Self::internal(cause)
    }
}

impl From<ReplyError> for Error {
    /// What another service answers is no concern of the client's: the client learns only that this one failed.
    fn from(cause: ReplyError) -> Self {
        Self::internal(cause)
    }
}

impl From<CallError> for Error {
    /// The client learns which service did not answer, and why.
    fn from(cause: CallError) -> Self {
        let problem = Problem::new(cause.code());
        let retry_after = cause.retry_after();
        // What is malformed is this service's own mistake; it goes to the log only.
        let problem = match &cause {
            CallError::Malformed { .. } => problem,
            _ => problem.detail(cause.to_string()),
        };
        let mut error = Self::problem(problem).caused_by(cause);
        error.0.retry_after = retry_after;
        error
    }
}

/// A response that says a problem to the request of this context.
pub(crate) fn answer(mut problem: Problem, context: &Context) -> Response {
    problem.request_id = context.request_id.0.to_str().ok().map(str::to_owned);
    problem.trace_id = Some(format!("{:032x}", context.trace.trace_id));
    problem_response(&problem)
}

/// A response that says a problem and nothing else.
fn problem_response(problem: &Problem) -> Response {
    let mut response = Response::new(problem.to_json().into());
    *response.status_mut() = problem.status_code();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    response
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

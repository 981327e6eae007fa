//! The answers that the gateway gives itself: problems, in the form that the asker reads.

use std::time::Duration;

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER},
};
use madang_calls::{Body, CallError, Context};
use madang_wire::{Code, PROBLEM_JSON, Problem};

use crate::inspect::Unfit;

/// Why the gateway answers a request itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error("no route of this system matches the request's host, path and headers")]
    NoRoute,
    #[error("the routes for this path take {}", .0.iter().map(Method::as_str).collect::<Vec<_>>().join(", "))]
    Method(Vec<Method>),
    #[error(transparent)]
    Call(#[from] CallError),
}

/// What decides the form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    /// To `HEAD`: no body.
    HeadOnly,
    /// To a gRPC call: a status in the head, no body.
    Grpc,
}

// === impl Refusal ===

impl Refusal {
    /// The kind of problem that this is.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Unfit(Unfit::Tunnel | Unfit::Upgrade) => Code::NOT_SERVED,
            Self::Unfit(_) => Code::BAD_REQUEST,
            Self::NoRoute => Code::NO_ROUTE,
            Self::Method(_) => Code::METHOD_NOT_ALLOWED,
            Self::Call(error) => error.code(),
        }
    }

    /// The answer to whoever asked.
    pub(crate) fn answer(&self, form: Form, context: &Context) -> Response<Body> {
        let mut problem = match self {
            Self::Call(error) => error.problem(),
            _ => Problem::new(self.code()).detail(self.to_string()),
        };
        problem.request_id = context.request_id.0.to_str().ok().map(str::to_owned);
        problem.trace_id = Some(format!("{:032x}", context.trace.trace_id));
        let mut response = match form {
            Form::Grpc => grpc(&problem),
            Form::Json => json(&problem, problem.to_json().into()),
            Form::HeadOnly => json(&problem, Body::empty()),
        };
        self.add_hints(response.headers_mut());
        response
    }

    /// What the client can do about it, where a field of its own says so.
    fn add_hints(&self, headers: &mut HeaderMap) {
        match self {
            Self::Method(methods) => {
                let list = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
                if let Ok(list) = HeaderValue::from_str(&list) {
                    headers.insert(ALLOW, list);
                }
            }
            Self::Call(CallError::NoInstance { retry_after, .. }) => {
                let up = retry_after.as_millis().div_ceil(Duration::from_secs(1).as_millis()).max(1);
                headers.insert(RETRY_AFTER, HeaderValue::from(u64::try_from(up).unwrap_or(u64::MAX)));
            }
            Self::Call(CallError::ParkingFull { .. }) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(1));
            }
            _ => {}
        }
    }
}

// === impl Form ===

impl Form {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let grpc = |kind: &HeaderValue| kind.as_bytes().starts_with(b"application/grpc");
        if request.headers().get(CONTENT_TYPE).is_some_and(grpc) {
            Self::Grpc
        } else if *request.method() == Method::HEAD {
            Self::HeadOnly
        } else {
            Self::Json
        }
    }
}

fn json(problem: &Problem, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = problem.status_code();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    response
}

/// A response of trailers only: the gRPC status travels in the head, under HTTP status 200.
fn grpc(problem: &Problem) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(grpc_status(problem.status_code())));
    let detail = problem.detail.as_deref().unwrap_or(&problem.title);
    let message = percent_encode(&format!("{}: {detail}", problem.code));
    if let Ok(message) = HeaderValue::from_str(&message) {
        headers.insert("grpc-message", message);
    }
    response
}

/// The gRPC status that stands for an HTTP status (gRPC's `http-grpc-status-mapping.md`, but for 504: there
/// it is known that the deadline passed).
fn grpc_status(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 | 405 | 501 => 12,
        504 => 4,
        429 | 502 | 503 => 14,
        _ => 2,
    }
}

/// As the gRPC protocol has `grpc-message`: everything but visible ASCII and the space is escaped, and `%`.
fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b' '..=b'~' if b != b'%' => out.push(char::from(b)),
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn form(method: Method, content_type: &str) -> Form {
        Form::of(&Request::builder().method(method).header(CONTENT_TYPE, content_type).body(()).unwrap())
    }

    fn context() -> Context {
        let mut context = Context::root();
        context.request_id.0 = HeaderValue::from_static("r-1");
        context.trace.trace_id = 0xabc;
        context
    }

    #[tokio::test]
    async fn a_problem_carries_the_ids_and_the_hints() {
        let refusal = Refusal::Method(vec![Method::GET, Method::HEAD]);
        let response = refusal.answer(Form::Json, &context());
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem.code, "MDG-GW-002");
        assert_eq!(problem.request_id.as_deref(), Some("r-1"));
        assert_eq!(problem.trace_id.as_deref(), Some("00000000000000000000000000000abc"));
    }

    #[tokio::test]
    async fn head_and_grpc_get_no_body() {
        let retry_after = Duration::from_millis(1200);
        let service = "users".parse().unwrap();
        let refusal = Refusal::Call(CallError::NoInstance { service, retry_after });
        let head = refusal.answer(form(Method::HEAD, "text/plain"), &context());
        assert_eq!(
            (head.status(), &head.headers()[RETRY_AFTER]),
            (StatusCode::SERVICE_UNAVAILABLE, &HeaderValue::from(2))
        );
        assert!(head.into_body().collect().await.unwrap().to_bytes().is_empty());

        let grpc = refusal.answer(form(Method::POST, "application/grpc+proto"), &context());
        assert_eq!(grpc.status(), 200);
        assert_eq!(grpc.headers()["grpc-status"], "14");
        assert_eq!(grpc.headers()["grpc-message"], "MDG-CALL-001: no instance of users is ready");
    }

    #[test]
    fn a_grpc_message_is_ascii() {
        assert_eq!(percent_encode("50% 마\n"), "50%25 %EB%A7%88%0A");
    }
}

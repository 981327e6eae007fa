//! The answers that the gateway gives itself: problems, in the form that the asker reads.

use std::{sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, LOCATION, WWW_AUTHENTICATE},
};
use madang_calls::{Body, CallError, Client, Context, Form, TooLarge};
use madang_wire::{Code, Problem};
use tokio::time::Instant;

use crate::{
    auth::denied::Denied,
    inspect::Unfit,
    policies::limit::{Blind, TooMany},
    redirect,
};

/// When it may be tried again to open a tunnel: some end all the time.
const TUNNELS: Duration = Duration::from_secs(1);

/// When it may be tried again where a limit could not be shared: it is tried to reach the store all the time.
const BLIND: Duration = Duration::from_secs(1);

/// Why the gateway answers a request itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// None: what the gateway can do was asked.
    #[error("the request is about the gateway itself")]
    Everything,
    #[error("this is answered at {}", String::from_utf8_lossy(.0.as_bytes()))]
    Elsewhere(HeaderValue),
    /// None: an authority looks whose a host is.
    #[error("this is for an authority")]
    Proof(Arc<str>),
    #[error("no route of this system matches the request's host, path and headers")]
    NoRoute,
    #[error("as many connections speak another protocol than HTTP as may")]
    Tunnels,
    /// None: it is answered where to go instead.
    #[error("the request is sent elsewhere")]
    Redirected(StatusCode, HeaderValue),
    /// None: what a browser asks before a request is answered.
    #[error("pages of this origin may ask")]
    Preflight(Box<HeaderMap>),
    #[error("pages of this origin may not read the answers of this route")]
    ForeignOrigin,
    #[error("{0}")]
    TooMany(#[from] TooMany),
    #[error(transparent)]
    Blind(#[from] Blind),
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error("the request takes only what is kept, and nothing is")]
    NotKept,
    #[error("the routes for this path take {}", list(.0))]
    Method(Vec<Method>),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(transparent)]
    Call(#[from] CallError),
}

/// What decides the form of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    form: Form,
    /// Whether it asked for a head alone.
    head_only: bool,
}

// === impl Refusal ===

impl Refusal {
    /// The kind of problem that this is.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Unfit(Unfit::Tunnel) => Code::NOT_SERVED,
            Self::Tunnels => Code::TOO_MANY_TUNNELS,
            Self::Unfit(Unfit::Misdirected) => Code::MISDIRECTED,
            Self::Unfit(_) => Code::BAD_REQUEST,
            Self::NoRoute
            | Self::Everything
            | Self::Elsewhere(_)
            | Self::Proof(_)
            | Self::Redirected(..)
            | Self::Preflight(_) => Code::NO_ROUTE,
            Self::ForeignOrigin => Code::FOREIGN_ORIGIN,
            Self::TooMany(_) => Code::RATE_LIMITED,
            Self::Blind(_) => Code::LIMIT_NOT_COUNTED,
            Self::TooLarge(_) => Code::BODY_TOO_LARGE,
            Self::NotKept => Code::NOT_CACHED,
            Self::Method(_) => Code::METHOD_NOT_ALLOWED,
            Self::Denied(denied) => denied.code(),
            Self::Call(error) => error.code(),
        }
    }

    /// Leaves a record of it, which is none of a problem where that is not what is answered.
    pub(crate) fn record(&self, client: &Client, context: &Context, method: &Method) {
        let now = Instant::now();
        let status = match self {
            Self::Redirected(status, _) => *status,
            Self::Elsewhere(_) => StatusCode::PERMANENT_REDIRECT,
            Self::Preflight(_) | Self::Everything => StatusCode::NO_CONTENT,
            Self::Proof(_) => StatusCode::OK,
            _ => return client.record_answered(context, method, self.code(), now),
        };
        client.record_served(context, method, status, now);
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Denied(denied) => denied.retry_after(),
            Self::Tunnels => Some(TUNNELS),
            Self::Blind(_) => Some(BLIND),
            Self::TooMany(too_many) => Some(too_many.retry_after),
            _ => None,
        }
    }

    fn denied(&self) -> Option<&Denied> {
        match self {
            Self::Denied(denied) => Some(denied),
            _ => None,
        }
    }

    /// The answer to whoever asked.
    pub(crate) fn answer(&self, asker: Asker, context: &Context) -> Response<Body> {
        let mut response = match self {
            Self::Everything => abilities(),
            Self::Elsewhere(location) => redirect::answer(location),
            Self::Proof(proof) => Response::new(Body::from(proof.as_bytes().to_vec())),
            Self::Redirected(status, location) => redirected(*status, location),
            Self::Preflight(fields) => preflight(fields),
            Self::Call(error) => error.response(context, asker.form),
            _ => {
                let problem = Problem::new(self.code()).detail(self.to_string());
                asker.form.answer(problem, context, self.retry_after())
            }
        };
        if let Some(challenge) = self.denied().and_then(Denied::challenge) {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        if let Self::Method(methods) = self
            && let Ok(methods) = HeaderValue::try_from(list(methods))
        {
            response.headers_mut().insert(ALLOW, methods);
        }
        asker.trim(&mut response);
        response
    }
}

/// What `OPTIONS *` is answered: the gateway is here, and these are the methods that it passes on.
fn abilities() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let methods = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE");
    response.headers_mut().insert(ALLOW, methods);
    response
}

fn redirected(status: StatusCode, location: &HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(LOCATION, location.clone());
    response
}

fn preflight(fields: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = fields.clone();
    response
}

fn list(methods: &[Method]) -> String {
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}

// === impl Asker ===

impl Asker {
    /// The same, of a request that has become a call of gRPC.
    pub(crate) fn of_grpc(self) -> Self {
        Self { form: Form::Grpc, ..self }
    }

    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        Self { form: Form::of(request.headers()), head_only: *request.method() == Method::HEAD }
    }

    /// Whether it understands `application/problem+json`.
    pub(crate) fn reads_problems(self) -> bool {
        self.form == Form::Problem
    }

    /// Leaves the head of an answer if that alone was asked for.
    pub(crate) fn trim(self, response: &mut Response<Body>) {
        if self.head_only {
            *response.body_mut() = Body::empty();
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_TYPE, RETRY_AFTER};
    use http_body_util::BodyExt;

    use super::*;

    /// The answer to a request: its status, one of its fields, and its body.
    async fn answer(refusal: &Refusal, method: Method, media: &str, field: &str) -> (u16, String, String) {
        let request = Request::builder().method(method).header(CONTENT_TYPE, media).body(()).unwrap();
        let response = refusal.answer(Asker::of(&request), &Context::root());
        let field = response.headers().get(field).map_or("", |value| value.to_str().unwrap()).to_owned();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, field, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_refused_method_gets_the_list_of_the_others() {
        let refusal = Refusal::Method(vec![Method::GET, Method::HEAD]);
        let (status, allow, body) = answer(&refusal, Method::POST, "text/plain", ALLOW.as_str()).await;
        assert_eq!((status, &*allow), (405, "GET, HEAD"));
        let problem: Problem = serde_json::from_str(&body).unwrap();
        assert_eq!(problem.code, "MDG-GW-002");
        assert_eq!(problem.detail.as_deref(), Some("the routes for this path take GET, HEAD"));
    }

    #[tokio::test]
    async fn head_and_grpc_get_no_body() {
        let retry_after = Duration::from_millis(1200);
        let service = "users".parse().unwrap();
        let refusal = Refusal::Call(CallError::NoInstance { service, retry_after });
        let head = answer(&refusal, Method::HEAD, "text/plain", RETRY_AFTER.as_str()).await;
        assert_eq!(head, (503, "2".to_owned(), String::new()));
        let grpc = answer(&refusal, Method::POST, "application/grpc+proto", "grpc-status").await;
        assert_eq!(grpc, (200, "14".to_owned(), String::new()));
    }
}

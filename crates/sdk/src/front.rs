//! The front of a process: health, and which of its services a request is for.

use axum::response::Response as AxumResponse;
use http::{HeaderMap, Request, Response, header};
use madang_calls::{Body, Context, Form, LocalService};
use madang_model::ServiceName;
use madang_wire::{Code, Problem, headers};
use tower::ServiceExt;

use crate::{error::answer, grpc, host::Host};

impl Host {
    /// Answers a request from outside of the process.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        match (request.uri().path(), self.is_ready()) {
            ("/livez", _) => Response::new(Body::from("alive\n")),
            ("/healthz", true) => Response::new(Body::from("ready\n")),
            (grpc::HEALTH, ready) => grpc::health(ready),
            (_, false) => unready(request.headers(), "the service is starting"),
            _ => match self.chosen(request.headers()) {
                Some(service) => ask(service, request).await,
                None => self.which(request.headers()),
            },
        }
    }

    /// The service that a request is for: the one that it names, or the only one.
    fn chosen(&self, headers: &HeaderMap) -> Option<LocalService> {
        match headers.get(headers::SERVICE) {
            Some(name) => self.started(name.to_str().ok()?),
            None => match self.names().collect::<Vec<_>>()[..] {
                [alone] => self.started(alone.as_str()),
                _ => None,
            },
        }
    }

    fn which(&self, headers: &HeaderMap) -> Response<Body> {
        let hosted: Vec<_> = self.names().map(ServiceName::as_str).collect();
        let named = match headers.get(headers::SERVICE) {
            Some(name) => format!("it names \"{}\"", String::from_utf8_lossy(name.as_bytes())),
            None => format!("it has no header {}", headers::SERVICE),
        };
        let detail = format!("{named}; here are: {}", hosted.join(", "));
        refuse(headers, Problem::new(Code::WHICH_SERVICE).detail(detail))
    }
}

/// Has a service answer.
pub(crate) async fn ask(service: LocalService, request: Request<Body>) -> Response<Body> {
    match service.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// The answer of a service that is not ready.
pub(crate) fn unready(headers: &HeaderMap, detail: &str) -> Response<Body> {
    let mut response = refuse(headers, Problem::new(Code::NO_INSTANCE).detail(detail));
    response.headers_mut().insert(header::RETRY_AFTER, 1.into());
    response
}

fn refuse(headers: &HeaderMap, problem: Problem) -> Response<Body> {
    let context = Context::from_headers(headers, true);
    match Form::of(headers) {
        Form::Problem => {
            let response: AxumResponse = answer(problem, &context);
            response.map(Body::new)
        }
        form @ Form::Grpc => form.answer(problem, &context, None),
    }
}

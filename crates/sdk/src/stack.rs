//! What every request to a service passes on its way to the handler, and every answer on its way out.

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body::Body as _;
use madang_calls::{Body, Context, Deadline, Form, LocalService};
use madang_wire::{Code, Problem};
use tower::{
    ServiceExt, service_fn,
    util::{BoxCloneSyncService, MapRequestLayer},
};
use tracing::Instrument;

use crate::{
    Error, Resources, Service,
    error::{Failure, answer, chain},
    telemetry::{Failed, Outcome, Route, ServerSpan},
};

/// How long past its deadline a request is still served. Its caller gives up at the deadline itself, and so is
/// the one to say so; this is for a caller that is gone without a sign.
const GRACE: Duration = Duration::from_millis(100);

/// The routes of a service and all that stands before them.
struct Stack {
    resources: Resources,
    routes: Router,
    openapi: Option<Bytes>,
}

/// Makes of a service and its resources what answers requests.
pub(crate) fn stack(service: &Service, resources: Resources) -> LocalService {
    let openapi = service.openapi.clone().map(|mut document| {
        let info = &mut document.info;
        if info.title.is_empty() {
            info.title = service.name.clone();
        }
        if info.version.is_empty() {
            info.version = "0".to_owned();
        }
        Bytes::from(serde_json::to_vec(&document).unwrap_or_default())
    });
    let routes = service.routes.clone().layer(DefaultBodyLimit::max(service.body_limit));
    let routes = routes.layer(MapRequestLayer::new(Route::note)); // inside the router, which finds the route
    let stack = Arc::new(Stack { resources, routes, openapi });
    BoxCloneSyncService::new(service_fn(move |request| {
        let stack = stack.clone();
        async move { Ok::<_, Infallible>(stack.answer(request).await.map(Body::new)) }
    }))
}

impl Stack {
    async fn answer(&self, mut request: Request<Body>) -> Response {
        let context = Context::from_headers(request.headers(), true);
        let form = Form::of(request.headers());
        let server =
            ServerSpan::begin(self.resources.telemetry(), &context, form == Form::Grpc, &mut request);
        let span = tracing::info_span!(
            parent: None,
            "request",
            service = self.resources.service(),
            request_id = context.request_id.0.to_str().unwrap_or_default(),
            trace_id = format!("{:032x}", context.trace.trace_id),
            span_id = format!("{:016x}", context.trace.span_id),
        );
        server.covers(&span);
        request.extensions_mut().insert(context.clone());
        request.extensions_mut().insert(self.resources.clone());
        async {
            let method = request.method().clone();
            let handled = caught(self.handle(request)); // inside the deadline: a panic is answered at once
            let response = within(context.deadline, handled).await;
            let (response, failure) = finish(response, &method, form, &context); // last: whoever made the problem
            server.end(&Outcome { status: response.status(), headers: response.headers(), failure });
            response
        }
        .instrument(span)
        .await
    }

    async fn handle(&self, request: Request<Body>) -> Response {
        if let (&Method::GET, "/openapi.json", Some(document)) =
            (request.method(), request.uri().path(), &self.openapi)
        {
            let mut response = Response::new(document.clone().into());
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            return response;
        }
        match self.routes.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Answers 500 in place of a handler that panicked.
async fn caught(handling: impl Future<Output = Response>) -> Response {
    AssertUnwindSafe(handling)
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Error::internal(Panicked(panic_message(&*panic).to_owned())).into_response())
}

/// The cause of a failure that is a panic.
#[derive(Debug, thiserror::Error)]
#[error("the handler panicked: {0}")]
struct Panicked(String);

/// What a panic says.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

/// Drops a handler whose answer nobody waits for any more.
async fn within(deadline: Option<Deadline>, handling: impl Future<Output = Response>) -> Response {
    let Some(Deadline(at)) = deadline else { return handling.await };
    match tokio::time::timeout_at(at + GRACE, handling).await {
        Ok(response) => response,
        Err(_) => {
            let problem = Problem::new(Code::TIMEOUT).detail("the request's deadline passed");
            Error::problem(problem).into_response()
        }
    }
}

/// Gives every failure the form of a problem with the ids of its request, and logs the service's own. Says what failed.
fn finish(
    mut response: Response,
    method: &Method,
    form: Form,
    context: &Context,
) -> (Response, Option<Failed>) {
    let failure = response.extensions_mut().remove::<Failure>().or_else(|| bare(&response));
    let status = response.status();
    let failed = failure.as_ref().map(|Failure { problem, cause }| {
        let told = cause.as_ref().map(|cause| chain(cause.as_ref().as_ref()));
        Failed {
            code: problem.code.to_string(),
            error: told.or_else(|| problem.detail.clone()),
            panic: cause.as_ref().is_some_and(|cause| cause.is::<Panicked>()),
        }
    });
    if status.is_server_error() {
        let (code, error) = match &failed {
            Some(Failed { code, error, .. }) => (code.as_str(), error.as_deref()),
            None => ("", None),
        };
        tracing::error!(%method, status = status.as_u16(), code, error, "request failed");
    } else {
        tracing::debug!(%method, status = status.as_u16(), "request answered");
    }
    let Some(Failure { problem, .. }) = failure else { return (response, failed) };
    if form == Form::Grpc {
        return (form.answer(problem, context, None).map(axum::body::Body::new), failed);
    }
    let (mut parts, body) = answer(problem, context).into_parts();
    parts.extensions = response.extensions().clone();
    let replaced = [header::CONTENT_TYPE, header::CONTENT_LENGTH];
    for (name, value) in response.headers() {
        if !replaced.contains(name) {
            parts.headers.append(name, value.clone());
        }
    }
    if method == Method::HEAD {
        // The head is that of the answer to a GET; there is no body.
        parts.headers.insert(header::CONTENT_LENGTH, body.size_hint().lower().into());
        return (Response::from_parts(parts, axum::body::Body::empty()), failed);
    }
    (Response::from_parts(parts, body), failed)
}

/// The failure of an error status without a body, as axum answers an unknown path or a wrong method.
fn bare(response: &Response) -> Option<Failure> {
    if !response.body().is_end_stream() {
        return None;
    }
    let problem = match response.status() {
        StatusCode::NOT_FOUND => {
            Problem::new(Code::NOT_FOUND).detail("no route of this service has this path")
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(Code::METHOD_NOT_ALLOWED).detail("the path does not take this method")
        }
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Code::TOO_LARGE),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::new(Code::UNSUPPORTED_MEDIA),
        StatusCode::CONFLICT => Problem::new(Code::CONFLICT),
        status if status.is_server_error() => Problem::new(Code::INTERNAL).with_status(status),
        status if status.is_client_error() => Problem::new(Code::INVALID).with_status(status),
        _ => return None,
    };
    Some(Failure { problem, cause: None })
}

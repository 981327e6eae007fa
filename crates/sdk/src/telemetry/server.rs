//! The span of a request that is answered here: below that of the hop that brought it, above all that is done for it.

use std::sync::{Arc, OnceLock};

use axum::extract::MatchedPath;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use madang_calls::Context;
use tokio::time::Instant;

use super::{
    part::Part,
    place::{self, Place},
    source::Source,
    span::{Kind, Span, now},
};

/// The longest path that is kept, in bytes.
const PATH: usize = 256;

/// The template of the route that a request took, once it has taken one; kept in its extensions.
#[derive(Clone, Default)]
pub(crate) struct Route(Arc<OnceLock<MatchedPath>>);

/// A request under way. One that is dropped before its end is told as left by whoever asked.
pub(crate) struct ServerSpan {
    source: Arc<Source>,
    part: Option<Arc<Part>>,
    id: u64,
    parent: Option<u64>,
    started: Instant,
    start: u64,
    route: Route,
    method: Method,
    path: String,
    grpc: bool,
    request_id: HeaderValue,
    caller: Option<Arc<str>>,
    over: bool,
}

/// How a request was answered.
pub(crate) struct Outcome<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    /// The failure behind the answer, if it is one.
    pub(crate) failure: Option<Failed>,
}

/// A failure: the code of its problem, its cause, and whether that was a panic.
pub(crate) struct Failed {
    pub(crate) code: String,
    pub(crate) error: Option<String>,
    pub(crate) panic: bool,
}

// === impl Route ===

impl Route {
    /// Notes the route that this request has taken.
    pub(crate) fn note<B>(request: Request<B>) -> Request<B> {
        if let (Some(Self(cell)), Some(path)) =
            (request.extensions().get::<Self>(), request.extensions().get::<MatchedPath>())
        {
            let _ = cell.set(path.clone());
        }
        request
    }

    fn get(&self) -> Option<&str> {
        self.0.get().map(MatchedPath::as_str)
    }
}

// === impl ServerSpan ===

impl ServerSpan {
    /// Begins with a request, in whose extensions it leaves a note for its route.
    pub(crate) fn begin<B>(
        source: &Arc<Source>,
        context: &Context,
        grpc: bool,
        request: &mut Request<B>,
    ) -> Self {
        let part = source.part(&context.trace);
        let route = Route::default();
        let mut path = String::new();
        if part.is_some() || source.measured().is_some() {
            request.extensions_mut().insert(route.clone());
        }
        if part.is_some() {
            path.push_str(request.uri().path());
            path.truncate(path.floor_char_boundary(PATH));
        }
        Self {
            source: source.clone(),
            part,
            id: context.trace.span_id,
            parent: context.trace.parent_id,
            started: Instant::now(),
            start: now(),
            route,
            method: request.method().clone(),
            path,
            grpc,
            request_id: context.request_id.0.clone(),
            caller: context.caller.as_ref().map(|caller| caller.as_str().into()),
            over: false,
        }
    }

    /// What happens within this span of `tracing` is below this one.
    pub(crate) fn covers(&self, span: &tracing::Span) {
        if let Some(part) = &self.part {
            place::put(span, Place { part: part.clone(), span: self.id });
        }
    }

    /// Ends with an answer.
    pub(crate) fn end(mut self, outcome: &Outcome<'_>) {
        self.over = true;
        self.count(Some(outcome.status.as_u16()));
        let Some(part) = &self.part else { return };
        let mut span = self.span();
        let Outcome { status, headers, failure } = outcome;
        span.with("http.response.status_code", i64::from(status.as_u16()));
        let grpc = if self.grpc { grpc_status(headers) } else { None };
        if let Some(grpc) = grpc {
            span.with("rpc.grpc.status_code", grpc);
        }
        let message = headers.get("grpc-message").and_then(|message| message.to_str().ok());
        if let Some(Failed { code, .. }) = failure {
            span.with("madang.code", code.clone());
        }
        if status.is_server_error() || grpc.is_some_and(is_failure_of_server) {
            let code = failure.as_ref().map(|failure| failure.code.clone()).filter(|code| !code.is_empty());
            let kind = code.unwrap_or_else(|| match grpc {
                Some(grpc) => grpc.to_string(),
                None => status.as_u16().to_string(),
            });
            let error = failure.as_ref().and_then(|failure| failure.error.clone());
            let error = error.or_else(|| message.map(str::to_owned));
            span.with("error.type", kind.clone());
            if let Some(error) = &error {
                let panic = failure.as_ref().is_some_and(|failure| failure.panic);
                let kind = if panic { "panic".into() } else { kind.clone().into() };
                span.exception = Some((kind, error.clone()));
            }
            span.failed = Some(error.unwrap_or(kind).into());
        }
        part.close(span);
    }

    fn count(&self, status: Option<u16>) {
        if let Some(measured) = self.source.measured() {
            let route = self.route.get().unwrap_or_default();
            measured.request(&self.method, route, status, self.started.elapsed());
        }
    }

    fn span(&self) -> Span {
        let route = self.route.get();
        let place = if self.grpc && !self.path.is_empty() { Some(&self.path[1..]) } else { route };
        let name = match place {
            Some(place) if self.grpc => place.to_owned(),
            Some(place) => format!("{} {place}", self.method),
            None => self.method.to_string(),
        };
        let mut attributes = Vec::with_capacity(8);
        attributes.push(("http.request.method", self.method.to_string().into()));
        attributes.push(("url.path", self.path.clone().into()));
        attributes.extend(route.map(|route| ("http.route", route.to_owned().into())));
        if self.grpc {
            attributes.push(("rpc.system", "grpc".into()));
        }
        let request_id = self.request_id.to_str().unwrap_or_default().to_owned();
        attributes.push(("madang.request_id", request_id.into()));
        attributes.extend(self.caller.clone().map(|caller| ("madang.caller", caller.into())));
        Span {
            id: self.id,
            parent: self.parent,
            name: name.into(),
            kind: Kind::Server,
            start: self.start,
            duration: self.started.elapsed(),
            failed: None,
            attributes,
            exception: None,
        }
    }
}

impl Drop for ServerSpan {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.count(None);
        if let Some(part) = self.part.take() {
            let mut span = self.span();
            span.with("error.type", "cancelled");
            span.failed = Some("whoever asked left before the answer".into());
            part.close(span);
        }
    }
}

/// The status of gRPC, where it is said in the head of the answer, as that of a failure is.
fn grpc_status(headers: &HeaderMap) -> Option<i64> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// Those that are failures of the server by OpenTelemetry's conventions: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED,
/// INTERNAL, UNAVAILABLE and DATA_LOSS.
fn is_failure_of_server(status: i64) -> bool {
    matches!(status, 2 | 4 | 12 | 13 | 14 | 15)
}

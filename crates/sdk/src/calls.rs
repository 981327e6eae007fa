//! Calls to other services, as a handler makes them.

use std::{str::FromStr, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use madang_calls::{Body, CallError, Client, Context, Deadline, Directory, Policy, TraceContext};
use madang_model::ServiceName;
use madang_wire::headers;
use serde::Serialize;

use crate::{
    Reply,
    declared::{Callee, Declared},
    grpc::Channel,
    telemetry::{self, Place, Source},
};

/// Calls to the services that this one declares in the manifest (`calls`).
///
/// Asked for by a handler, they carry the request's context: its id, its trace and its deadline.
#[derive(Clone)]
pub struct Calls {
    outbound: Arc<Outbound>,
    context: Option<Context>,
}

/// What the calls of one service share.
pub(crate) struct Outbound {
    pub(crate) caller: ServiceName,
    pub(crate) client: Client,
    pub(crate) directory: Directory,
    pub(crate) declared: Declared,
    pub(crate) telemetry: Arc<Source>,
}

/// The service to call; next comes the method.
#[derive(Clone)]
pub struct To {
    calls: Calls,
    service: String,
}

/// A call that is being put together; [`Call::send`] makes it.
#[must_use = "a call does nothing until it is sent"]
pub struct Call {
    to: To,
    request: Request<Body>,
    timeout: Option<Duration>,
    mistake: Option<String>,
}

impl Calls {
    pub(crate) fn on_behalf(outbound: Arc<Outbound>, context: Option<Context>) -> Self {
        Self { outbound, context }
    }

    pub(crate) fn background(outbound: Arc<Outbound>) -> Self {
        Self { outbound, context: None }
    }

    /// Calls this service.
    pub fn to(&self, service: impl Into<String>) -> To {
        To { calls: self.clone(), service: service.into() }
    }
}

impl To {
    /// A `GET`. The path starts with a slash and may have a query.
    pub fn get(self, path: impl AsRef<str>) -> Call {
        self.request(Method::GET, path)
    }

    /// A `POST`.
    pub fn post(self, path: impl AsRef<str>) -> Call {
        self.request(Method::POST, path)
    }

    /// A `PUT`.
    pub fn put(self, path: impl AsRef<str>) -> Call {
        self.request(Method::PUT, path)
    }

    /// A `PATCH`.
    pub fn patch(self, path: impl AsRef<str>) -> Call {
        self.request(Method::PATCH, path)
    }

    /// A `DELETE`.
    pub fn delete(self, path: impl AsRef<str>) -> Call {
        self.request(Method::DELETE, path)
    }

    /// A way to it for a gRPC client.
    pub fn grpc(self) -> Channel {
        Channel::new(self)
    }

    /// Sends a request as it is, due no later than this; gives the context besides, in which it was sent.
    pub(crate) async fn exchange(
        self,
        request: Request<Body>,
        deadline: Option<Deadline>,
    ) -> (Result<Response<Body>, CallError>, Context) {
        let outbound = &self.calls.outbound;
        let mut context = outbound.context(self.calls.context);
        context.deadline = context.deadline.into_iter().chain(deadline).min();
        let answer = match self.service.parse() {
            Ok(service) => outbound.call(&service, None, &mut context, request).await,
            Err(error) => Err(malformed(self.service, error.to_string())),
        };
        (answer, context)
    }

    /// Any method.
    pub fn request(self, method: Method, path: impl AsRef<str>) -> Call {
        let path = path.as_ref();
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        let mut call = Call { to: self, request, timeout: None, mistake: None };
        match path.parse() {
            Ok(uri) if path.starts_with('/') => *call.request.uri_mut() = uri,
            _ => call.mistake(format!("\"{path}\" is not a path: it starts with `/` and is percent-encoded")),
        }
        call
    }
}

impl Call {
    /// Sends this value as JSON.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(json) => self.header(header::CONTENT_TYPE.as_str(), "application/json").body(json),
            Err(error) => {
                self.mistake(format!("its body does not fit JSON: {error}"));
                self
            }
        }
    }

    /// Sends this body: bytes, text, or a stream.
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        *self.request.body_mut() = body.into();
        self
    }

    /// Sends this header, in place of one of the same name.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        let (name, value) = (name.as_ref(), value.as_ref());
        match (HeaderName::from_str(name), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => {
                self.request.headers_mut().insert(name, value);
            }
            (Err(_), _) => self.mistake(format!("\"{name}\" is not the name of a header")),
            (_, Err(_)) => self.mistake(format!("the value of the header {name} is not visible ASCII")),
        }
        self
    }

    /// Says that the effect must happen once however often the call is tried; makes a `POST` safe to retry.
    pub fn idempotency_key(self, key: impl AsRef<str>) -> Self {
        self.header(headers::IDEMPOTENCY_KEY, key)
    }

    /// The total time for the answer, retries included, in place of the manifest's. It never outlasts the
    /// request that it is made for.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Makes the call. An answer of any status is a [`Reply`]; an error means that there is none.
    pub async fn send(self) -> Result<Reply, CallError> {
        let Self { to: To { calls, service: name }, request, timeout, mistake } = self;
        let service: ServiceName = match (name.parse(), mistake) {
            (Ok(service), None) => service,
            (Err(error), _) => return Err(malformed(name, error.to_string())),
            (_, Some(mistake)) => return Err(malformed(name, mistake)),
        };
        let outbound = &calls.outbound;
        let mut context = outbound.context(calls.context);
        let response = outbound.call(&service, timeout, &mut context, request).await?;
        Ok(Reply::new(service, response))
    }

    /// Remembers the first mistake, which [`Call::send`] then reports.
    fn mistake(&mut self, mistake: String) {
        self.mistake.get_or_insert(mistake);
    }
}

fn malformed(service: String, reason: String) -> CallError {
    CallError::Malformed { service, reason }
}

// === impl Outbound ===

impl Outbound {
    /// Makes a call in a context, whose deadline it may set.
    async fn call(
        &self,
        service: &ServiceName,
        timeout: Option<Duration>,
        context: &mut Context,
        request: Request<Body>,
    ) -> Result<Response<Body>, CallError> {
        let Callee { lane, mut policy } = self.callee(service, timeout, context).await?;
        if let Some(timeout) = timeout {
            policy = Arc::new(Policy { timeout, attempt_timeout: timeout, ..(*policy).clone() });
        }
        let (head, body) = request.into_parts();
        self.client.call_in(context.clone(), &lane, &policy, head, body).await
    }

    /// The way to this service, if it is declared.
    async fn callee(
        &self,
        service: &ServiceName,
        timeout: Option<Duration>,
        context: &mut Context,
    ) -> Result<Callee, CallError> {
        let known = match self.declared.known() {
            Some(known) => known,
            // Only at the start of the process. The wait is part of the call's time.
            None => {
                let limit = Deadline::after(timeout.unwrap_or(Policy::default().timeout));
                let due = context.deadline.map_or(limit, |deadline| deadline.min(limit));
                context.deadline = Some(due);
                let known = tokio::time::timeout_at(due.0, self.declared.when(|_| true)).await;
                known.map_err(|_| CallError::NoInstance {
                    service: service.clone(),
                    retry_after: Duration::from_secs(1),
                })?
            }
        };
        known.callees.get(service).cloned().ok_or_else(|| CallError::Undeclared {
            caller: self.caller.clone(),
            service: service.clone(),
            calls_at: known.calls_at.clone(),
        })
    }

    /// The context that a call starts from: that of the request it is made for, or a new one. In the trace it is below
    /// what the running code does, if that is told.
    fn context(&self, context: Option<Context>) -> Context {
        let here = telemetry::here();
        let mut context = match (context, &here) {
            (Some(context), _) => context,
            (None, Some(Place { part, span })) => {
                let trace = TraceContext {
                    trace_id: part.trace_id,
                    span_id: *span,
                    flags: part.flags,
                    ..TraceContext::root()
                };
                Context { trace, ..Context::root() }
            }
            (None, None) => return Context { caller: Some(self.caller.clone()), ..Context::root() },
        };
        if let Some(Place { span, .. }) = here.filter(|here| here.part.trace_id == context.trace.trace_id) {
            context.trace.span_id = span;
            context.trace = context.trace.child();
        } else if self.telemetry.keeps(&context.trace) {
            context.trace = context.trace.child();
        }
        Context { caller: Some(self.caller.clone()), ..context }
    }
}

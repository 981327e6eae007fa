//! The time limits of a call: of the whole, and of one attempt at it.
//!
//! A limit covers the head of the answer and, if its length is known, its body. A streaming answer is watched
//! for silence instead. A request body of unknown length may take longer than the limit while it progresses.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Response;
use http_body::Body as _;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::{
    Body, CallError, Policy,
    context::later,
    exchange::{Call, Exchange},
    timer::Sleep,
    watch::Watch,
};

/// Ends a call when its total time is over.
pub(crate) fn total() -> DeadlineLayer {
    DeadlineLayer(Scope::Total)
}

/// Ends an attempt when its time is over.
pub(crate) fn attempt() -> DeadlineLayer {
    DeadlineLayer(Scope::Attempt)
}

/// See [`total`] and [`attempt`].
#[derive(Clone, Copy)]
pub(crate) struct DeadlineLayer(Scope);

/// See [`total`] and [`attempt`].
#[derive(Clone, Copy)]
pub(crate) struct Deadlined<S> {
    inner: S,
    scope: Scope,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Total,
    Attempt,
}

pin_project_lite::pin_project! {
    /// The future of [`Deadlined`].
    pub(crate) struct Limited<F> {
        #[pin]
        inner: F,
        exchange: Arc<Exchange>,
        started: Instant,
        limit: Duration,
        scope: Scope,
        sleep: Option<Sleep>,
    }
}

// === impl Deadlined ===

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadlined<S>;

    fn layer(&self, inner: S) -> Deadlined<S> {
        Deadlined { inner, scope: self.0 }
    }
}

impl<S> Service<Call> for Deadlined<S>
where
    S: Service<Call, Response = Response<Body>, Error = CallError>,
{
    type Response = Response<Body>;
    type Error = CallError;
    type Future = Limited<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let exchange = call.exchange.clone();
        let inner = self.inner.call(call);
        let Policy { timeout, attempt_timeout, .. } = *exchange.policy;
        let (started, limit) = match self.scope {
            Scope::Total => (exchange.started, timeout),
            Scope::Attempt => (Instant::now(), attempt_timeout),
        };
        // An attempt that may last as long as the whole call needs no timer of its own.
        let needed = self.scope == Scope::Total
            || exchange.deadline().is_none_or(|deadline| later(started, limit) < deadline);
        let sleep = needed.then(|| {
            let due = exchange.due(started, limit, started).unwrap_or(started);
            exchange.worker.timer.sleep_until(due)
        });
        Limited { inner, exchange, started, limit, scope: self.scope, sleep }
    }
}

impl<F> Future for Limited<F>
where
    F: Future<Output = Result<Response<Body>, CallError>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(answer) = this.inner.poll(cx) {
            return Poll::Ready(answer.map(|response| match this.sleep.take() {
                Some(sleep) => watched(response, this.exchange, sleep, *this.started, *this.limit, *this.scope),
                None => response,
            }));
        }
        let Some(sleep) = this.sleep else { return Poll::Pending };
        while Pin::new(&mut *sleep).poll(cx).is_ready() {
            match this.exchange.due(*this.started, *this.limit, Instant::now()) {
                Some(due) => sleep.reset(due),
                None => return Poll::Ready(Err(this.exchange.timeout(*this.started))),
            }
        }
        Poll::Pending
    }
}

/// The answer, its body under the limit too; or, if it streams, watched for silence.
fn watched(
    mut response: Response<Body>,
    exchange: &Arc<Exchange>,
    sleep: Sleep,
    started: Instant,
    limit: Duration,
    scope: Scope,
) -> Response<Body> {
    let body = response.body_mut();
    if body.size_hint().exact().is_some() {
        body.watch(|| Watch::total(exchange.clone(), sleep, started, limit));
    } else if scope == Scope::Total {
        body.watch(|| Watch::idle(exchange.clone()));
    }
    response
}

//! Leaves one record of each call, whatever becomes of it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Response;
use tower::{Layer, Service};

use crate::{
    Body, CallError,
    exchange::{Call, Exchange},
};

/// Leaves one record of each call.
pub(crate) fn layer() -> RecordLayer {
    RecordLayer
}

/// See [`layer`].
#[derive(Clone, Copy)]
pub(crate) struct RecordLayer;

/// See [`layer`].
#[derive(Clone, Copy)]
pub(crate) struct Record<S>(S);

pin_project_lite::pin_project! {
    /// The future of [`Record`].
    pub(crate) struct Recorded<F> {
        #[pin]
        inner: F,
        open: Open,
    }
}

/// A call without its record; one that is dropped before its answer is recorded as left by the caller.
struct Open(Option<Arc<Exchange>>);

// === impl Record ===

impl<S> Layer<S> for RecordLayer {
    type Service = Record<S>;

    fn layer(&self, inner: S) -> Record<S> {
        Record(inner)
    }
}

impl<S> Service<Call> for Record<S>
where
    S: Service<Call, Response = Response<Body>, Error = CallError>,
{
    type Response = Response<Body>;
    type Error = CallError;
    type Future = Recorded<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let open = Open(Some(call.exchange.clone()));
        Recorded { inner: self.0.call(call), open }
    }
}

impl<F> Future for Recorded<F>
where
    F: Future<Output = Result<Response<Body>, CallError>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = this.inner.poll(cx);
        match &polled {
            Poll::Ready(Ok(response)) => this.open.close(response.status().as_u16(), None),
            Poll::Ready(Err(error)) => this.open.close(error.code().status, Some(error.code().id)),
            Poll::Pending => {}
        }
        polled
    }
}

// === impl Open ===

impl Open {
    fn close(&mut self, status: u16, code: Option<&'static str>) {
        if let Some(exchange) = self.0.take() {
            exchange.worker.ledger.enter(&exchange, status, code);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close(0, None);
    }
}

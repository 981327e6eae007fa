//! Leaves one record of each call, whatever becomes of it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Response;
use madang_wire::Code;
use tower::{Layer, Service};

use crate::{
    Body, CallError,
    exchange::{Call, Exchange},
    fault,
    grpc::grpc_status,
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
        let mut polled = this.inner.poll(cx);
        match &mut polled {
            Poll::Ready(Ok(response)) => {
                let code = fault::take_mark(response).then_some(Code::FAULT.id);
                this.open.close(response.status().as_u16(), grpc_status(response.headers()), code);
            }
            Poll::Ready(Err(error)) => this.open.close(error.code().status, None, Some(error.code().id)),
            Poll::Pending => {}
        }
        polled
    }
}

// === impl Open ===

impl Open {
    fn close(&mut self, status: u16, grpc: Option<u16>, code: Option<&'static str>) {
        if let Some(exchange) = self.0.take() {
            let grpc = grpc.filter(|_| exchange.grpc);
            exchange.worker.ledger.enter(&exchange, status, grpc, code);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close(0, None, None);
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Request, header::CONTENT_TYPE};
    use tower::service_fn;

    use super::*;
    use crate::testing::Bench;

    /// Whether a call failed that was answered 200 with this gRPC status, as its record and the counters say.
    async fn failed(method: Method, media: &str, status: &str) -> (Option<u16>, bool, u64) {
        let bench = Bench::new(crate::Policy::default());
        let request = Request::builder().method(method).header(CONTENT_TYPE, media).body(Body::empty());
        let answer = Response::builder().header("grpc-status", status).body(Body::empty()).unwrap();
        let answer = std::sync::Mutex::new(Some(answer));
        let inner = service_fn(|_: Call| std::future::ready(Ok(answer.lock().unwrap().take().unwrap())));
        layer().layer(inner).call(bench.call(request.unwrap())).await.unwrap();
        let (records, _) = bench.worker.ledger.drain();
        let failures = bench.worker.ledger.counters()[bench.upstream.name()].failures;
        (records[0].grpc_status, records[0].failed(), failures)
    }

    #[tokio::test]
    async fn a_grpc_call_that_was_answered_200_may_have_failed() {
        let grpc = "application/grpc";
        for (status, counts) in [("0", false), ("5", false), ("13", true), ("14", true), ("4", true)] {
            let expected = (Some(status.parse().unwrap()), counts, counts.into());
            assert_eq!(failed(Method::POST, grpc, status).await, expected, "{status}");
        }
        assert_eq!(failed(Method::POST, grpc, "many").await, (None, false, 0));
        assert_eq!(failed(Method::GET, "text/plain", "13").await, (None, false, 0), "no such call");
    }
}

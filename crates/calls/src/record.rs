//! Leaves one record of each call, whatever becomes of it.
//!
//! It is left when the head of the answer is here, but for an answer of gRPC that has no status in its head: the record of
//! that waits in the answer's body for the end, where the status is.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, Response};
use madang_wire::Code;
use tower::{Layer, Service};

use crate::{
    Body, CallError, Form,
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

/// A call without its record; one that is dropped before its answer, or before the end of one that says there how it went,
/// is recorded as left by the caller.
pub(crate) struct Open {
    exchange: Option<Arc<Exchange>>,
    /// The status of the answer, once its head is here.
    head: Option<u16>,
}

/// Statuses of gRPC.
const CANCELLED: u16 = 1;
const UNKNOWN: u16 = 2;
const DEADLINE_EXCEEDED: u16 = 4;
const INTERNAL: u16 = 13;

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
        let open = Open { exchange: Some(call.exchange.clone()), head: None };
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
                if let Some(open) = this.open.answered(response) {
                    response.body_mut().hold_record(open);
                }
            }
            Poll::Ready(Err(error)) => this.open.close(error.code().status, None, Some(error.code().id)),
            Poll::Pending => {}
        }
        polled
    }
}

// === impl Open ===

impl Open {
    /// The head of the answer is here. What is still open waits for its end.
    fn answered(&mut self, response: &mut Response<Body>) -> Option<Self> {
        let code = fault::take_mark(response).then_some(Code::FAULT.id);
        let (status, headers) = (response.status().as_u16(), response.headers());
        let grpc = self.exchange.as_ref().is_some_and(|exchange| exchange.grpc);
        let said = if grpc { grpc_status(headers) } else { None };
        if !grpc
            || code.is_some()
            || said.is_some()
            || headers.contains_key("grpc-status")
            || Form::of(headers) != Form::Grpc
        {
            self.close(status, said, code);
            return None;
        }
        Some(Self { exchange: self.exchange.take(), head: Some(status) })
    }

    /// The answer's trailers are here.
    pub(crate) fn trailers(&mut self, trailers: &HeaderMap) {
        self.end(Some(grpc_status(trailers).unwrap_or(UNKNOWN)), None);
    }

    /// The answer is whole. Without trailers nobody knows how it went, and clients take that for a failure.
    pub(crate) fn ended(&mut self) {
        self.end(Some(UNKNOWN), None);
    }

    /// The answer broke off, and this is said at its end in place of that, if anything is.
    pub(crate) fn broke(&mut self, said: Option<&HeaderMap>) {
        let left = self.exchange.as_ref().is_some_and(|exchange| exchange.upload.failed());
        match said {
            Some(said) => self.end(grpc_status(said), Some(Code::BROKEN.id)),
            None => self.end(Some(if left { CANCELLED } else { INTERNAL }), None),
        }
    }

    /// The answer took too long.
    pub(crate) fn expired(&mut self) {
        self.end(Some(DEADLINE_EXCEEDED), Some(Code::TIMEOUT.id));
    }

    fn end(&mut self, grpc: Option<u16>, code: Option<&'static str>) {
        self.close(self.head.unwrap_or_default(), grpc, code);
    }

    fn close(&mut self, status: u16, grpc: Option<u16>, code: Option<&'static str>) {
        if let Some(exchange) = self.exchange.take() {
            exchange.worker.ledger.enter(&exchange, status, grpc, code);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let grpc = self.head.map(|_| CANCELLED);
        self.end(grpc, None);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderName, HeaderValue, Method, Request, header::CONTENT_TYPE};
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
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

    /// How an answer of gRPC goes on after a head without a status.
    enum Rest {
        Trailers(&'static str),
        Nothing,
        Broken,
        Unread,
    }

    /// The record of a call that was answered so, and how many there were at its head.
    async fn recorded(rest: Rest) -> (usize, u16, Option<u16>, bool) {
        let bench = Bench::new(crate::Policy::default());
        let media = "application/grpc";
        let request = Request::post("/").header(CONTENT_TYPE, media).body(Body::empty()).unwrap();
        let data = Ok::<_, crate::BoxError>(Frame::data(Bytes::from_static(b"message")));
        let trailers = |status: &'static str| {
            Frame::trailers(
                [("grpc-status", status)]
                    .map(|(key, value)| (HeaderName::from_static(key), HeaderValue::from_static(value)))
                    .into_iter()
                    .collect(),
            )
        };
        let frames = match &rest {
            Rest::Trailers(status) => vec![data, Ok(trailers(status))],
            Rest::Broken => vec![data, Err("gone".into())],
            Rest::Nothing | Rest::Unread => vec![data],
        };
        let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
        let answer = Response::builder().header(CONTENT_TYPE, media).body(body).unwrap();
        let answer = std::sync::Mutex::new(Some(answer));
        let inner = service_fn(|_: Call| std::future::ready(Ok(answer.lock().unwrap().take().unwrap())));
        let answer = layer().layer(inner).call(bench.call(request)).await.unwrap();
        let at_the_head = bench.worker.ledger.drain().0.len();
        if !matches!(rest, Rest::Unread) {
            let _ = answer.into_body().collect().await;
        } else {
            drop(answer);
        }
        let (records, _) = bench.worker.ledger.drain();
        let [record] = &records[..] else { panic!("one record: {records:?}") };
        let counted = bench.worker.ledger.counters()[bench.upstream.name()].failures;
        assert_eq!(counted, u64::from(record.failed()));
        (at_the_head, record.status, record.grpc_status, record.failed())
    }

    #[tokio::test]
    async fn a_grpc_call_is_recorded_at_its_end_with_what_the_trailers_say() {
        assert_eq!(recorded(Rest::Trailers("0")).await, (0, 200, Some(0), false));
        assert_eq!(recorded(Rest::Trailers("5")).await, (0, 200, Some(5), false));
        assert_eq!(recorded(Rest::Trailers("13")).await, (0, 200, Some(13), true));
        assert_eq!(recorded(Rest::Trailers("many")).await, (0, 200, Some(2), true));
        assert_eq!(recorded(Rest::Nothing).await, (0, 200, Some(2), true), "no status is UNKNOWN");
        assert_eq!(recorded(Rest::Broken).await, (0, 200, Some(13), true));
        assert_eq!(recorded(Rest::Unread).await, (0, 200, Some(1), false), "its caller left");
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

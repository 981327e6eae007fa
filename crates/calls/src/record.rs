//! Leaves one record of each call, whatever becomes of it.
//!
//! It waits in the answer's body for the end of it, which may not come, and which is where gRPC says how a call went. It
//! waits neither for a stream of events nor for any other answer that lasts: that is recorded by its head. How long a
//! call took is told to the head, unless there is no other end of it than a failure.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
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
    /// The answer, once its head is here.
    head: Option<Head>,
}

/// What is known of an answer whose end is still to come.
#[derive(Clone, Copy)]
struct Head {
    status: u16,
    /// Whether its end says how it went.
    grpc: bool,
}

/// An answer that lasts longer than this is recorded by its head.
const LASTS: Duration = Duration::from_secs(10);

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
        let at_its_end =
            grpc && said.is_none() && !headers.contains_key("grpc-status") && Form::of(headers) == Form::Grpc;
        let fails = status >= 500 || code.is_some() || said.is_some();
        if !at_its_end && (fails || lasts(response)) {
            self.close(status, said, code);
            return None;
        }
        let head = Head { status, grpc: at_its_end };
        Some(Self { exchange: self.exchange.take(), head: Some(head) })
    }

    /// More of the answer is here, and not all.
    pub(crate) fn progressed(&mut self) {
        let Some(Head { grpc: false, .. }) = self.head else { return };
        if self.exchange.as_ref().is_some_and(|exchange| exchange.started.elapsed() > LASTS) {
            self.end(None, None);
        }
    }

    /// The answer's trailers are here.
    pub(crate) fn trailers(&mut self, trailers: &HeaderMap) {
        if self.says() {
            self.end(Some(grpc_status(trailers).unwrap_or(UNKNOWN)), None);
        }
    }

    /// The answer is whole. Without trailers nobody knows how a call of gRPC went, and clients take that for a failure.
    pub(crate) fn ended(&mut self) {
        let grpc = self.says().then_some(UNKNOWN);
        self.end(grpc, None);
    }

    /// The answer broke off, and this is said at its end in place of that, if anything is.
    pub(crate) fn broke(&mut self, said: Option<&HeaderMap>) {
        let left = self.exchange.as_ref().is_some_and(|exchange| exchange.upload.failed());
        match said {
            Some(said) => self.end(grpc_status(said), Some(Code::BROKEN.id)),
            None if self.says() => self.end(Some(if left { CANCELLED } else { INTERNAL }), None),
            None => self.end(None, (!left).then_some(Code::BROKEN.id)),
        }
    }

    /// The answer took too long.
    pub(crate) fn expired(&mut self) {
        let grpc = self.says().then_some(DEADLINE_EXCEEDED);
        self.end(grpc, Some(Code::TIMEOUT.id));
    }

    /// Whether the end of the answer says how the call went.
    fn says(&self) -> bool {
        self.head.is_some_and(|head| head.grpc)
    }

    fn end(&mut self, grpc: Option<u16>, code: Option<&'static str>) {
        self.close(self.head.map_or(0, |head| head.status), grpc, code);
    }

    fn close(&mut self, status: u16, grpc: Option<u16>, code: Option<&'static str>) {
        if let Some(exchange) = self.exchange.take() {
            exchange.worker.ledger.enter(&exchange, status, grpc, code);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let grpc = self.says().then_some(CANCELLED);
        self.end(grpc, None);
    }
}

/// Whether an answer goes on until somebody leaves: a stream of events, or another protocol.
fn lasts(response: &Response<Body>) -> bool {
    let media = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    response.status() == StatusCode::SWITCHING_PROTOCOLS || media.starts_with(b"text/event-stream")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderName, Method, Request};
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use madang_wire::RequestRecord;
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

    /// How an answer goes on after its head.
    enum Rest {
        Trailers(&'static str),
        Nothing,
        Broken,
        Unread,
    }

    type Frames = Vec<Result<Frame<Bytes>, crate::BoxError>>;

    fn data() -> Result<Frame<Bytes>, crate::BoxError> {
        Ok(Frame::data(Bytes::from_static(b"message")))
    }

    /// A call that is answered 200 with this, and its answer.
    async fn answered(bench: &Bench, media: &'static str, body: Body) -> Response<Body> {
        let request = Request::post("/").header(CONTENT_TYPE, media).body(Body::empty()).unwrap();
        let answer = Response::builder().header(CONTENT_TYPE, media).body(body).unwrap();
        let answer = std::sync::Mutex::new(Some(answer));
        let inner = service_fn(|_: Call| std::future::ready(Ok(answer.lock().unwrap().take().unwrap())));
        layer().layer(inner).call(bench.call(request)).await.unwrap()
    }

    /// The record of a call that was answered so, and how many there were at its head.
    async fn recorded(media: &'static str, rest: Rest) -> (usize, RequestRecord) {
        let bench = Bench::new(crate::Policy::default());
        let trailers = |status: &'static str| {
            Frame::trailers(
                [("grpc-status", status)]
                    .map(|(key, value)| (HeaderName::from_static(key), HeaderValue::from_static(value)))
                    .into_iter()
                    .collect(),
            )
        };
        let frames: Frames = match &rest {
            Rest::Trailers(status) => vec![data(), Ok(trailers(status))],
            Rest::Broken => vec![data(), Err("gone".into())],
            Rest::Nothing | Rest::Unread => vec![data()],
        };
        let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
        let answer = answered(&bench, media, body).await;
        let (mut records, _) = bench.worker.ledger.drain();
        let at_the_head = records.len();
        if !matches!(rest, Rest::Unread) {
            let _ = answer.into_body().collect().await;
        } else {
            drop(answer);
        }
        records.extend(bench.worker.ledger.drain().0);
        let [record] = &records[..] else { panic!("one record: {records:?}") };
        let counted = bench.worker.ledger.counters()[bench.upstream.name()].failures;
        assert_eq!(counted, u64::from(record.failed()));
        (at_the_head, record.clone())
    }

    #[tokio::test]
    async fn a_grpc_call_is_recorded_at_its_end_with_what_the_trailers_say() {
        let recorded = async |rest| {
            let (at_the_head, record) = recorded("application/grpc", rest).await;
            (at_the_head, record.status, record.grpc_status, record.failed())
        };
        assert_eq!(recorded(Rest::Trailers("0")).await, (0, 200, Some(0), false));
        assert_eq!(recorded(Rest::Trailers("5")).await, (0, 200, Some(5), false));
        assert_eq!(recorded(Rest::Trailers("13")).await, (0, 200, Some(13), true));
        assert_eq!(recorded(Rest::Trailers("many")).await, (0, 200, Some(2), true));
        assert_eq!(recorded(Rest::Nothing).await, (0, 200, Some(2), true), "no status is UNKNOWN");
        assert_eq!(recorded(Rest::Broken).await, (0, 200, Some(13), true));
        assert_eq!(recorded(Rest::Unread).await, (0, 200, Some(1), false), "its caller left");
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_a_failure_whatever_its_head_said() {
        let recorded = async |media, rest| {
            let (at_the_head, record) = recorded(media, rest).await;
            assert_eq!((record.status, record.grpc_status), (200, None));
            (at_the_head, record.code.as_deref().map(str::to_owned), record.failed())
        };
        let broken = Some(Code::BROKEN.id.to_owned());
        assert_eq!(recorded("text/plain", Rest::Nothing).await, (0, None, false));
        assert_eq!(recorded("text/plain", Rest::Trailers("13")).await, (0, None, false), "not of gRPC");
        assert_eq!(recorded("text/plain", Rest::Broken).await, (0, broken, true));
        assert_eq!(recorded("text/plain", Rest::Unread).await, (0, None, false), "its caller left");
        assert_eq!(
            recorded("text/event-stream", Rest::Broken).await,
            (1, None, false),
            "it goes on for ever"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_lasts_is_recorded_by_its_head() {
        let bench = Bench::new(crate::Policy::default());
        let frames = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(LASTS * 2 / 3).await;
            Some((data(), ()))
        });
        let mut body = answered(&bench, "text/plain", Body::new(StreamBody::new(frames))).await.into_body();
        let mut records = Vec::new();
        for _ in 0..3 {
            body.frame().await.unwrap().unwrap();
            records.push(bench.worker.ledger.drain().0.len());
        }
        assert_eq!(records, [0, 1, 0]);
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

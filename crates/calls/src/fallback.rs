//! Answers something else in place of a failure, and says so: a fixed answer, or the last good one.
//!
//! What is a failure here is what RFC 5861, section 4, calls an error: no answer, or a 500, 502, 503 or 504. It
//! stays a failure to all who count: the breaker, ejection, the counters and the record.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{
    HeaderValue, Method, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use madang_model::policy::Fallback as Given;
use madang_wire::Fallback;
use tower::{Layer, Service};

use crate::{
    Body, CallError, Form,
    exchange::{Call, Exchange},
    last_good::{Key, keep},
    names::FALLBACK,
};

/// Answers something else in place of a failure.
pub(crate) fn layer() -> FallbackLayer {
    FallbackLayer
}

/// See [`layer`].
#[derive(Clone, Copy)]
pub(crate) struct FallbackLayer;

/// See [`layer`].
#[derive(Clone, Copy)]
pub(crate) struct StandIn<S>(S);

pin_project_lite::pin_project! {
    /// The future of [`StandIn`].
    pub(crate) struct Answer<F> {
        #[pin]
        inner: F,
        net: Option<Box<Net>>,
    }
}

/// What a call falls back on.
struct Net {
    exchange: Arc<Exchange>,
    /// Of the last good answer, where that is wanted.
    key: Option<Key>,
}

// === impl StandIn ===

impl<S> Layer<S> for FallbackLayer {
    type Service = StandIn<S>;

    fn layer(&self, inner: S) -> StandIn<S> {
        StandIn(inner)
    }
}

impl<S> Service<Call> for StandIn<S>
where
    S: Service<Call, Response = Response<Body>, Error = CallError>,
{
    type Response = Response<Body>;
    type Error = CallError;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let net = call
            .exchange
            .policy
            .fallback
            .as_ref()
            .and_then(|fallback| Net::of(&call.exchange, fallback))
            .map(Box::new);
        Answer { inner: self.0.call(call), net }
    }
}

impl<F> Future for Answer<F>
where
    F: Future<Output = Result<Response<Body>, CallError>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut polled = this.inner.poll(cx);
        if let Poll::Ready(answer) = &mut polled
            && let Some(net) = this.net.take()
        {
            net.catch(answer);
        }
        polled
    }
}

// === impl Net ===

impl Net {
    fn of(exchange: &Arc<Exchange>, fallback: &Given) -> Option<Self> {
        // What stands in has no gRPC messages.
        if exchange.form() == Form::Grpc {
            return None;
        }
        let key = match fallback {
            Given::Static { .. } => None,
            Given::LastGood(_) => Some(Key::of(exchange)?),
        };
        Some(Self { exchange: exchange.clone(), key })
    }

    /// Puts something else in place of a failure, and keeps what is good for the next one.
    fn catch(self, answer: &mut Result<Response<Body>, CallError>) {
        let failed = match answer {
            Ok(response) => matches!(response.status().as_u16(), 500 | 502 | 503 | 504),
            // The caller is to blame for the others, and must know.
            Err(error) => error.code().status >= 500 && !matches!(error, CallError::Malformed { .. }),
        };
        if !failed {
            if let (Some(key), Ok(response)) = (self.key, answer) {
                keep(&self.exchange, key, response);
            }
            return;
        }
        let Some((kind, mut response)) = self.stand_in() else { return };
        let marker = match kind {
            Fallback::Static => "static",
            Fallback::LastGood | Fallback::Stale => "last-good",
        };
        response.headers_mut().insert(FALLBACK, HeaderValue::from_static(marker));
        let failure = std::mem::replace(answer, Ok(response));
        self.exchange.trail.falls_back(kind, failure.err().map(|error| error.code().id));
    }

    fn stand_in(&self) -> Option<(Fallback, Response<Body>)> {
        match self.exchange.policy.fallback.as_ref()? {
            Given::Static { status, content_type, body } => {
                let head_only = self.exchange.method == Method::HEAD;
                let body = if head_only { Body::empty() } else { Body::from(body.clone()) };
                let mut response = Response::new(body);
                *response.status_mut() = StatusCode::from_u16(*status).unwrap_or_default();
                let headers = response.headers_mut();
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                if let Ok(media) = HeaderValue::from_str(content_type) {
                    headers.insert(CONTENT_TYPE, media);
                }
                Some((Fallback::Static, response))
            }
            Given::LastGood(oldest) => {
                let kept = self.exchange.lane.last_good.get(self.key.as_ref()?, *oldest)?;
                Some((Fallback::LastGood, kept))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Request;
    use http_body_util::BodyExt;
    use tower::service_fn;

    use super::*;
    use crate::{
        Policy,
        testing::{Bench, status},
    };

    type Outcome = Result<Response<Body>, CallError>;

    fn last_good() -> Bench {
        let fallback = Some(Given::LastGood(Duration::from_secs(60)));
        Bench::new(Policy { fallback, ..Policy::default() })
    }

    fn get(path: &str, fields: &[(&str, &str)]) -> Request<Body> {
        let mut request = Request::get(path);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    fn answer(body: &'static str, fields: &[(&str, &str)]) -> Response<Body> {
        let mut response = Response::builder();
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        response.body(Body::from(body)).unwrap()
    }

    async fn send(bench: &Bench, request: Request<Body>, outcome: Outcome) -> Outcome {
        let outcome = std::sync::Mutex::new(Some(outcome));
        let inner = service_fn(|_: Call| {
            let outcome = outcome.lock().unwrap().take().unwrap();
            async { outcome }
        });
        layer().layer(inner).call(bench.call(request)).await
    }

    async fn text(response: Response<Body>) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    /// What a request gets after an earlier one got this answer and the service then failed: the earlier body, or
    /// nothing.
    async fn after(
        first: (&str, &[(&str, &str)]),
        answered: Response<Body>,
        second: (&str, &[(&str, &str)]),
    ) -> Option<String> {
        let bench = last_good();
        let passed = send(&bench, get(first.0, first.1), Ok(answered)).await.unwrap();
        text(passed).await;
        let response = send(&bench, get(second.0, second.1), Ok(status(503))).await.unwrap();
        let marked = response.headers().get(FALLBACK).is_some_and(|kind| kind == "last-good");
        assert_eq!(marked, response.status() == 200);
        if marked { Some(text(response).await) } else { None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_static_answer_takes_the_place_of_failures_and_the_record_says_so() {
        let fallback =
            Given::Static { status: 200, content_type: "application/json".into(), body: "[]".into() };
        let bench = Bench::new(Policy { fallback: Some(fallback), ..Policy::default() });
        for failure in [500, 502, 503, 504] {
            let response = send(&bench, get("/", &[]), Ok(status(failure))).await.unwrap();
            assert_eq!(
                (response.status().as_u16(), &response.headers()[FALLBACK]),
                (200, &"static".parse().unwrap())
            );
            assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
            assert_eq!(text(response).await, "[]");
        }
        for good in [200, 304, 400, 404, 429, 501] {
            let response = send(&bench, get("/", &[]), Ok(status(good))).await.unwrap();
            assert!(response.status() == good && !response.headers().contains_key(FALLBACK));
        }
        let service = bench.upstream.name().clone();
        let broken = CallError::Broken { service: service.clone(), source: "as told".into() };
        let call = bench.call(get("/", &[]));
        let exchange = call.exchange.clone();
        let failing = std::sync::Mutex::new(Some(broken));
        let inner = service_fn(|_: Call| {
            let error = failing.lock().unwrap().take().unwrap();
            async { Err(error) }
        });
        let recorded = crate::record::layer().layer(layer().layer(inner)).call(call).await.unwrap();
        assert_eq!(recorded.status(), 200);
        drop(exchange);
        let (records, _) = bench.worker.ledger.drain();
        let record = &records[0];
        assert_eq!((record.status, record.fallback), (200, Some(Fallback::Static)));
        assert_eq!(record.code.as_deref(), Some("MDG-CALL-004"));
        assert_eq!(bench.worker.ledger.counters()[&service].failures, 1);

        let upload = CallError::Upload { service, source: "the caller's".into() };
        assert!(send(&bench, get("/", &[]), Err(upload)).await.is_err(), "the caller is to blame");
        let mut grpc = get("/", &[("content-type", "application/grpc")]);
        *grpc.method_mut() = Method::POST;
        assert_eq!(send(&bench, grpc, Ok(status(503))).await.unwrap().status(), 503);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_good_answer_is_given_with_its_age_until_it_is_too_old() {
        let bench = last_good();
        for body in ["old", "new"] {
            let given = answer(body, &[("etag", "\"1\""), ("age", "5")]);
            text(send(&bench, get("/a?b", &[]), Ok(given)).await.unwrap()).await;
        }
        tokio::time::advance(Duration::from_millis(10_500)).await;
        let response = send(&bench, get("/a?b", &[]), Ok(status(502))).await.unwrap();
        assert_eq!(
            (&response.headers()["age"], &response.headers()["etag"]),
            (&15.into(), &"\"1\"".parse().unwrap())
        );
        assert_eq!(text(response).await, "new");
        tokio::time::advance(Duration::from_secs(50)).await;
        assert_eq!(send(&bench, get("/a?b", &[]), Ok(status(502))).await.unwrap().status(), 502);
        assert_eq!(send(&last_good(), get("/a?b", &[]), Ok(status(502))).await.unwrap().status(), 502);
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_same_request_gets_it() {
        let plain: &[(&str, &str)] = &[];
        let kept = || answer("kept", &[]);
        assert!(after(("/a", plain), kept(), ("/a", plain)).await.is_some());
        assert!(after(("/a", plain), kept(), ("/b", plain)).await.is_none());
        assert!(after(("/a", plain), kept(), ("/a?x", plain)).await.is_none());
        assert!(after(("/a", &[("accept", "a")]), kept(), ("/a", &[("accept", "b")])).await.is_none());
        assert!(after(("/a", &[("x-user", "1")]), kept(), ("/a", &[("x-user", "2")])).await.is_none());
        let agents = [[("user-agent", "one"), ("accept", "a")], [("user-agent", "two"), ("accept", "a")]];
        assert!(after(("/a", &agents[0]), kept(), ("/a", &agents[1])).await.is_some());
        let vary = |by| answer("kept", &[("vary", by)]);
        assert!(after(("/a", &agents[0]), vary("accept"), ("/a", &agents[0])).await.is_some());
        for by in ["*", "user-agent", "accept, User-Agent", "cookie"] {
            assert!(after(("/a", plain), vary(by), ("/a", plain)).await.is_none(), "{by}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_gets_what_was_meant_for_somebody_else() {
        let plain: &[(&str, &str)] = &[];
        for personal in [("authorization", "Bearer a"), ("cookie", "session=a")] {
            let (personal, kept): (&[_], _) =
                (&[personal], |control| answer("kept", &[("cache-control", control)]));
            assert!(after(("/", personal), kept("max-age=5"), ("/", personal)).await.is_none());
            assert!(after(("/", personal), kept("max-age=5"), ("/", plain)).await.is_none());
            assert!(after(("/", plain), kept("max-age=5"), ("/", personal)).await.is_none());
            assert!(after(("/", personal), kept("public, max-age=5"), ("/", plain)).await.is_some());
            assert!(after(("/", plain), kept("Public"), ("/", personal)).await.is_some());
        }
        for field in [
            ("cache-control", "no-store"),
            ("cache-control", "max-age=1, private"),
            ("cache-control", "no-cache=\"x\""),
            ("set-cookie", "a=b"),
            ("madang-fallback", "static"),
        ] {
            assert!(after(("/", plain), answer("kept", &[field]), ("/", plain)).await.is_none(), "{field:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_is_bounded_and_whole() {
        let bench = last_good();
        let body = |length: usize| Response::new(Body::from("x".repeat(length)));
        for n in 0..200 {
            text(send(&bench, get(&format!("/{n}"), &[]), Ok(body(30_000))).await.unwrap()).await;
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let (entries, bytes) = bench.lane.last_good.size();
        assert!(entries >= 30 && bytes <= 1024 * 1024, "{entries} with {bytes} bytes");
        let bench = last_good();
        for n in 0..200 {
            text(send(&bench, get(&format!("/{n}"), &[]), Ok(body(10))).await.unwrap()).await;
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(bench.lane.last_good.size().0, 64);
        assert_eq!(send(&bench, get("/199", &[]), Ok(status(500))).await.unwrap().status(), 200);
        assert_eq!(send(&bench, get("/0", &[]), Ok(status(500))).await.unwrap().status(), 500);

        let long = send(&bench, get("/long", &[]), Ok(body(65_537))).await.unwrap();
        assert_eq!(text(long).await.len(), 65_537);
        // Left before its end.
        drop(send(&bench, get("/left", &[]), Ok(body(10))).await.unwrap());
        for path in ["/long", "/left"] {
            assert_eq!(send(&bench, get(path, &[]), Ok(status(500))).await.unwrap().status(), 500, "{path}");
        }
    }
}

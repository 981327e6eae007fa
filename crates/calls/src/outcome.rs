//! Measures each attempt and judges it, once, for all who want to know: the balancer, ejection and the breaker.
//!
//! A failure is
//! - a connection that cannot be made or breaks, before the answer or within it, and a panic;
//! - a timeout, if there was as much time as the policy gives an attempt, or as much as makes an answer slow. A
//!   caller that is in more of a hurry than that learns nothing of the service, and says nothing;
//! - a status of 5xx, but for 501 and 505, which speak of the request (Envoy's outlier detection counts all);
//! - a gRPC status that corresponds to such a one (Envoy's `grpcToHttpStatus`), in the head or in the trailers;
//!   a gRPC answer without any.
//!
//! Nothing is said by a call whose own body broke off, by one whose caller left before the answer, and by an idle
//! HTTP/1.1 connection that was closed as the request went out. 429 is no failure, but repels calls as one does.
//!
//! The judgement falls when the answer ends, unless it is a failure by its head. One that its caller does not
//! read to the end is judged by its head, if that says anything.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use madang_wire::{Code, Problem};
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::{
    Body, BoxError, CallError,
    answer::grpc_fields,
    breaker, ejection,
    ejection::PATIENCE,
    endpoint::InFlight,
    exchange::{Call, Exchange, Target},
    grpc,
    tally::Outcome,
    transport::{is_local_limit, is_reset},
    watch::Expired,
};

/// What an attempt is the probe for.
#[derive(Default)]
pub(crate) struct Probes {
    pub(crate) service: Option<Box<breaker::Probe>>,
    pub(crate) instance: Option<Box<ejection::Probe>>,
}

/// An attempt until it is judged, and in flight until its answer ends.
pub(crate) struct Attempt {
    exchange: Arc<Exchange>,
    number: u32,
    in_flight: Option<InFlight>,
    probes: Probes,
    began: Instant,
    /// To the head of the answer, once it is there.
    took: Option<Duration>,
    grpc: bool,
    judged: bool,
    /// Whether all of the answer came.
    whole: bool,
}

/// What an attempt says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Failed,
    Nothing,
}

/// Measures each attempt, judges it, and counts it while it lasts, its answer's body included.
pub(crate) fn layer() -> OutcomeLayer {
    OutcomeLayer
}

/// See [`layer`].
#[derive(Clone, Copy)]
pub(crate) struct OutcomeLayer;

/// See [`layer`].
#[derive(Clone, Copy)]
pub(crate) struct Judge<S>(S);

pin_project_lite::pin_project! {
    /// The future of [`Judge`].
    pub(crate) struct Judged<F> {
        #[pin]
        inner: F,
        attempt: Option<Attempt>,
    }
}

// === impl Judge ===

impl<S> Layer<S> for OutcomeLayer {
    type Service = Judge<S>;

    fn layer(&self, inner: S) -> Judge<S> {
        Judge(inner)
    }
}

impl<S> Service<Call> for Judge<S>
where
    S: Service<Call, Response = Response<Body>, Error = CallError>,
{
    type Response = Response<Body>;
    type Error = CallError;
    type Future = Judged<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let attempt = Attempt {
            exchange: call.exchange.clone(),
            number: call.attempt,
            in_flight: match &call.target {
                Some(Target::Remote(endpoint)) => Some(endpoint.begin()),
                Some(Target::Local(_)) | None => None,
            },
            probes: std::mem::take(&mut call.probes),
            began: call.began,
            took: None,
            grpc: false,
            judged: false,
            whole: false,
        };
        Judged { attempt: Some(attempt), inner: self.0.call(call) }
    }
}

impl<F> Future for Judged<F>
where
    F: Future<Output = Result<Response<Body>, CallError>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut polled = this.inner.poll(cx);
        if let Poll::Ready(result) = &mut polled
            && let Some(mut attempt) = this.attempt.take()
        {
            attempt.answered(result);
            if let Ok(response) = result {
                response.body_mut().hold(attempt);
            }
        }
        polled
    }
}

// === impl Attempt ===

impl Attempt {
    /// The head of the answer is here, or none will come.
    fn answered(&mut self, result: &Result<Response<Body>, CallError>) {
        let now = Instant::now();
        let took = now - self.began;
        self.took = Some(took);
        self.exchange.trail.answered(took, now - self.exchange.started);
        // A failure that comes fast must not attract calls.
        let (verdict, repels) = match result {
            Err(error) => (Some(self.of_error(error, took)), true),
            Ok(response) => {
                let headers = response.headers();
                let media = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
                self.grpc = grpc::is_media(media);
                // It goes on until somebody leaves.
                let streams = media.starts_with(b"text/event-stream");
                if let Some(in_flight) = self.in_flight.as_mut().filter(|_| streams) {
                    in_flight.streams();
                }
                let grpc = if self.grpc { grpc_status(headers) } else { None };
                let status = grpc.unwrap_or(response.status().as_u16());
                let verdict = self.of_status(status, took);
                // Good is only what is good to its end.
                let early = grpc.is_some() || verdict != Verdict::Good;
                (early.then_some(verdict), verdict == Verdict::Failed || status == 429)
            }
        };
        // That the caller's body broke off says nothing of the instance.
        if let Some(in_flight) = self.in_flight.as_ref().filter(|_| !self.exchange.upload.failed()) {
            let endpoint = in_flight.endpoint();
            if repels { endpoint.penalize(took, now) } else { endpoint.observe(took, now) }
        }
        if let Some(verdict) = verdict {
            self.conclude(verdict, now);
        }
    }

    fn of_error(&self, error: &CallError, took: Duration) -> Verdict {
        match error {
            CallError::Connect { source, .. } if is_local_limit(source) => Verdict::Nothing,
            CallError::Broken { .. } if self.was_stale() => Verdict::Nothing,
            CallError::Connect { .. } | CallError::Broken { .. } | CallError::Panic { .. } => Verdict::Failed,
            CallError::Timeout { .. } => self.of_timeout(took),
            _ => Verdict::Nothing,
        }
    }

    fn of_status(&self, status: u16, took: Duration) -> Verdict {
        match status {
            504 if self.grpc => self.of_timeout(took),
            501 | 505 => Verdict::Good,
            500.. => Verdict::Failed,
            _ => Verdict::Good,
        }
    }

    /// An answer that was waited for in vain for so long.
    fn of_timeout(&self, waited: Duration) -> Verdict {
        let policy = &self.exchange.policy;
        let slow = [policy.ejection.map(|rules| rules.slow), policy.breaker.map(|rules| rules.slow)];
        let enough = slow.into_iter().flatten().fold(policy.attempt_timeout, Duration::min);
        if waited >= enough { Verdict::Failed } else { Verdict::Nothing }
    }

    /// Whether the server may have closed the connection for being idle, as the request went out.
    fn was_stale(&self) -> bool {
        let http1 = self.in_flight.as_ref().is_some_and(|it| !self.exchange.over_http2(it.endpoint()));
        http1 && self.exchange.trail.reused()
    }

    /// More of the answer is here. One that lasts is not waited for by those whom its probe keeps out.
    pub(crate) fn progressed(&mut self) {
        let probes = self.probes.service.is_some() || self.probes.instance.is_some();
        if probes && self.began.elapsed() > self.took.unwrap_or_default() + PATIENCE {
            self.conclude(Verdict::Good, Instant::now());
        }
    }

    /// The answer's trailers are here.
    pub(crate) fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(status) = grpc_status(trailers).filter(|_| self.grpc) {
            self.finish(self.of_status(status, self.began.elapsed()));
        }
    }

    /// The answer is whole.
    pub(crate) fn ended(&mut self) {
        self.whole = true;
        // A gRPC answer has a status, and would have been judged by it.
        let verdict = if self.grpc && !self.judged { Verdict::Failed } else { Verdict::Good };
        self.finish(verdict);
    }

    /// The answer broke off. What is to be said at its end in place of that, if anything is.
    pub(crate) fn broke(&mut self, error: &BoxError) -> Option<HeaderMap> {
        self.finish(Verdict::Failed);
        // A service that resets a stream says why, and whoever reads that knows what to make of it.
        if is_reset(error) || self.exchange.upload.failed() {
            return None;
        }
        let why = format!("the connection to {} broke within its answer", self.exchange.upstream().name());
        self.last_words(Code::BROKEN, why)
    }

    /// The answer took too long. What is to be said at its end in place of that, if anything is.
    pub(crate) fn expired(&mut self, why: &Expired) -> Option<HeaderMap> {
        let verdict = match why {
            Expired::Total { .. } => self.of_timeout(self.began.elapsed()),
            // That nothing is to be said is no failure; that nothing more will be, cannot be known.
            Expired::Idle { .. } => Verdict::Nothing,
        };
        self.finish(verdict);
        self.last_words(Code::TIMEOUT, why.to_string())
    }

    /// A gRPC answer that has begun has one more place for a status: its end.
    fn last_words(&self, code: Code, why: String) -> Option<HeaderMap> {
        let said = self.grpc && self.exchange.reads_trailers;
        said.then(|| grpc_fields(&Problem::new(code).detail(why)))
    }

    /// Judges it by what came after the head.
    fn finish(&mut self, verdict: Verdict) {
        if self.judged {
            return;
        }
        if verdict == Verdict::Good {
            // The clock need not be read again.
            return self.conclude(verdict, self.began + self.took.unwrap_or_default());
        }
        let now = Instant::now();
        if let Some(in_flight) = self.in_flight.as_ref().filter(|_| verdict == Verdict::Failed) {
            // Its head came as fast as that of a good one.
            in_flight.endpoint().penalize(now - self.began, now);
        }
        self.conclude(verdict, now);
    }

    fn conclude(&mut self, verdict: Verdict, now: Instant) {
        if std::mem::replace(&mut self.judged, true) {
            return;
        }
        let Probes { service, instance } = std::mem::take(&mut self.probes);
        if verdict == Verdict::Nothing || self.exchange.upload.failed() {
            return;
        }
        let took = self.took.unwrap_or_else(|| now.saturating_duration_since(self.began));
        let outcome = Outcome { failed: verdict == Verdict::Failed, began: self.began, took, now };
        let exchange = &self.exchange;
        if let (Some(rules), Some(in_flight)) = (&exchange.policy.ejection, &self.in_flight) {
            let random = &exchange.worker.random;
            exchange.upstream().judge(in_flight.endpoint(), instance, rules, &outcome, random);
        }
        exchange.judge_service(service, &outcome);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.whole {
            // Nobody waits for the answer any more: the other side need not wait for the rest of the request.
            self.exchange.upload.abandon(self.number);
        }
        if self.judged {
            return;
        }
        let now = Instant::now();
        let waited = now.saturating_duration_since(self.began);
        if self.took.is_some() {
            // Its caller does not want the rest, which alone would say how a gRPC call went.
            let verdict = if self.grpc { Verdict::Nothing } else { Verdict::Good };
            return self.conclude(verdict, now);
        }
        if let Some(in_flight) = &self.in_flight {
            in_flight.endpoint().exceeded(waited, now);
        }
        let verdict =
            if self.exchange.is_late(self.began, now) { self.of_timeout(waited) } else { Verdict::Nothing };
        self.conclude(verdict, now);
    }
}

/// The HTTP status that a gRPC status in a head or in trailers corresponds to, as far as it matters here.
fn grpc_status(fields: &HeaderMap) -> Option<u16> {
    fields.get("grpc-status")?;
    Some(match grpc::grpc_status(fields) {
        Some(4) => 504,           // DEADLINE_EXCEEDED
        Some(8) => 429,           // RESOURCE_EXHAUSTED
        Some(2 | 13 | 15) => 500, // UNKNOWN, INTERNAL, DATA_LOSS
        Some(14) => 503,          // UNAVAILABLE
        _ => 200,
    })
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use bytes::Bytes;
    use http::Request;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::time::{advance, sleep};
    use tower::service_fn;

    use super::*;
    use crate::{BoxError, Context as CallContext, Deadline, Policy, deadline, testing::Bench};

    type Answer = Result<Response<Body>, CallError>;

    /// Answers and failures that were counted of the first of two instances.
    fn counted(bench: &Bench) -> (u32, u32) {
        let endpoint = &bench.upstream.endpoints()[0];
        let sums = endpoint.health.tally.sums(Duration::from_secs(60), Instant::now());
        (sums.answers, sums.failed)
    }

    fn bench(policy: Policy) -> Bench {
        let bench = Bench::new(policy);
        bench.rotate(2);
        bench
    }

    fn call(bench: &Bench) -> Call {
        to_first(bench, bench.get())
    }

    fn to_first(bench: &Bench, mut call: Call) -> Call {
        call.target = Some(Target::Remote(bench.upstream.endpoints()[0].clone()));
        call
    }

    /// What is counted of an answer that is read to its end.
    async fn judged(answer: impl Fn(&Exchange) -> Answer + Clone + Send + 'static) -> (u32, u32) {
        let bench = bench(Policy::default());
        let inner = service_fn(move |call: Call| {
            let answer = answer(&call.exchange);
            async { answer }
        });
        if let Ok(response) = layer().layer(inner).call(call(&bench)).await {
            let _ = response.into_body().collect().await;
        }
        assert_eq!(bench.upstream.endpoints()[0].in_flight(), 0);
        counted(&bench)
    }

    const NOTHING: (u32, u32) = (0, 0);
    const GOOD: (u32, u32) = (1, 0);
    const FAILED: (u32, u32) = (1, 1);

    /// A body of these frames, which then goes on for ever or not.
    fn body(frames: Vec<Result<Frame<Bytes>, BoxError>>, endless: bool) -> Body {
        let frames = futures_util::stream::iter(frames);
        let rest = futures_util::stream::once(async move {
            if endless {
                pending::<()>().await;
            }
            Ok(Frame::data(Bytes::new()))
        });
        Body::new(StreamBody::new(futures_util::StreamExt::chain(frames, rest)))
    }

    fn data() -> Result<Frame<Bytes>, BoxError> {
        Ok(Frame::data("x".into()))
    }

    fn trailers(status: &str) -> Result<Frame<Bytes>, BoxError> {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", status.parse().unwrap());
        Ok(Frame::trailers(trailers))
    }

    fn grpc(body: Body) -> Response<Body> {
        Response::builder().header("content-type", "application/grpc+proto").body(body).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_speaks_of_the_instance_or_of_the_request() {
        for status in [200, 204, 304, 400, 404, 409, 429, 501, 505] {
            assert_eq!(judged(move |_| Ok(crate::testing::status(status))).await, GOOD, "{status}");
        }
        for status in [500, 502, 503, 504, 507, 599] {
            assert_eq!(judged(move |_| Ok(crate::testing::status(status))).await, FAILED, "{status}");
        }
    }

    /// An instance that refuses everybody is fast, and must not attract calls for that.
    #[tokio::test(start_paused = true)]
    async fn too_many_requests_cost_an_instance_as_much_as_a_failure_and_more_than_a_slow_answer() {
        let cost = async |code: u16, takes: u64| {
            let bench = bench(Policy::default());
            let inner = service_fn(move |_: Call| async move {
                sleep(Duration::from_millis(takes)).await;
                Ok(crate::testing::status(code))
            });
            for _ in 0..5 {
                layer().layer(inner).call(call(&bench)).await.unwrap();
            }
            bench.upstream.endpoints()[0].cost(Instant::now())
        };
        let (slow, refused, failed) = (cost(200, 20).await, cost(429, 1).await, cost(503, 1).await);
        assert!(refused > slow, "{refused} {slow}");
        assert_eq!(refused, failed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_grpc_status_counts_in_the_head_and_in_the_trailers() {
        let expected = |status: &str| match status {
            "2" | "13" | "14" | "15" => FAILED,
            // Its deadline was over at once, which is the caller's.
            "4" => NOTHING,
            _ => GOOD,
        };
        for status in ["0", "1", "2", "3", "4", "5", "7", "8", "12", "13", "14", "15", "16"] {
            let head = move |_: &Exchange| {
                let mut response = grpc(Body::empty());
                response.headers_mut().insert("grpc-status", status.parse().unwrap());
                Ok(response)
            };
            assert_eq!(judged(head).await, expected(status), "{status} in the head");
            let late = move |_: &Exchange| Ok(grpc(body(vec![data(), trailers(status)], false)));
            assert_eq!(judged(late).await, expected(status), "{status} in the trailers");
        }
        assert_eq!(judged(|_| Ok(grpc(body(vec![data()], false)))).await, FAILED, "no status");
        assert_eq!(judged(|_| Ok(grpc(Body::empty()))).await, FAILED, "no status and no trailers");
        let plain = |_: &Exchange| Ok(Response::new(body(vec![data(), trailers("14")], false)));
        assert_eq!(judged(plain).await, GOOD, "not gRPC");
    }

    #[tokio::test(start_paused = true)]
    async fn errors_count_if_they_are_the_instances() {
        let service = |exchange: &Exchange| exchange.upstream().name().clone();
        let source = || BoxError::from("as told");
        let broken =
            move |exchange: &Exchange| CallError::Broken { service: service(exchange), source: source() };
        type Fails = Box<dyn Fn(&Exchange) -> CallError + Send + Sync>;
        let errors: [(_, Fails); 6] = [
            (FAILED, Box::new(broken)),
            (
                FAILED,
                Box::new(move |exchange| CallError::Connect { service: service(exchange), source: source() }),
            ),
            (FAILED, Box::new(move |exchange| CallError::Panic { service: service(exchange) })),
            (
                NOTHING,
                Box::new(move |exchange| CallError::Upload { service: service(exchange), source: source() }),
            ),
            (NOTHING, Box::new(|exchange| exchange.timeout(exchange.started))),
            (
                NOTHING,
                Box::new(move |exchange| {
                    exchange.trail.sends(true);
                    broken(exchange)
                }),
            ),
        ];
        for (expected, error) in errors {
            let error = Arc::new(error);
            let text = error(&Bench::new(Policy::default()).get().exchange).to_string();
            assert_eq!(judged(move |exchange| Err(error(exchange))).await, expected, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_the_end_of_a_stream_of_events() {
        for (media, waits) in [("text/event-stream; charset=utf-8", false), ("application/json", true)] {
            let bench = bench(Policy::default());
            let inner = service_fn(move |_: Call| async move {
                let mut response = Response::new(body(vec![data()], true));
                response.headers_mut().insert("content-type", media.parse().unwrap());
                Ok(response)
            });
            let first = bench.upstream.endpoints()[0].clone();
            let answer = layer().layer(inner).call(call(&bench)).await.unwrap();
            first.leave_rotation();
            let quiet = tokio::time::timeout(Duration::from_secs(1), first.quiet()).await;
            assert_eq!((quiet.is_err(), first.in_flight()), (waits, 1), "{media}");
            drop(answer);
            tokio::time::timeout(Duration::from_secs(1), first.quiet()).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_breaks_off_is_a_failure_and_one_that_nobody_wants_is_none() {
        let broken = |_: &Exchange| Ok(Response::new(body(vec![data(), Err("reset".into())], false)));
        assert_eq!(judged(broken).await, FAILED);
        let broken = |_: &Exchange| Ok(grpc(body(vec![data(), Err("reset".into())], false)));
        assert_eq!(judged(broken).await, FAILED);
        for (response, expected) in [(Response::new as fn(Body) -> _, GOOD), (grpc, NOTHING)] {
            let bench = bench(Policy::default());
            let inner = service_fn(move |_: Call| async move { Ok(response(body(vec![data()], true))) });
            let answer = layer().layer(inner).call(call(&bench)).await.unwrap();
            assert_eq!((counted(&bench), bench.upstream.endpoints()[0].in_flight()), (NOTHING, 1));
            drop(answer);
            assert_eq!((counted(&bench), bench.upstream.endpoints()[0].in_flight()), (expected, 0));
        }
    }

    /// What is counted of an instance that never answers.
    async fn hung(policy: Policy, callers: Option<u64>, leaves: Option<u64>) -> (u32, u32) {
        let bench = bench(policy);
        let hangs = service_fn(|_: Call| async { pending::<Answer>().await });
        let mut stack = deadline::total().layer(deadline::attempt().layer(layer().layer(hangs)));
        let mut request = Request::new(Body::empty());
        let mut context = CallContext::root();
        context.deadline = callers.map(|millis| Deadline::after(Duration::from_millis(millis)));
        request.extensions_mut().insert(context);
        let answer = stack.call(to_first(&bench, bench.call(request)));
        let leaves = Duration::from_millis(leaves.unwrap_or(1_000_000));
        assert!(
            tokio::time::timeout(leaves, answer).await.is_ok_and(|answer| answer.is_err())
                || leaves < Duration::from_secs(1000)
        );
        counted(&bench)
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_counts_unless_the_caller_was_in_a_hurry() {
        let attempts = Policy { attempt_timeout: Duration::from_millis(300), ..Policy::default() };
        assert_eq!(hung(Policy::default(), None, None).await, FAILED, "the whole time was over");
        assert_eq!(hung(attempts.clone(), None, None).await, FAILED, "that of an attempt was");
        assert_eq!(hung(attempts.clone(), Some(100), None).await, NOTHING);
        assert_eq!(hung(Policy::default(), Some(900), None).await, NOTHING);
        assert_eq!(hung(Policy::default(), Some(1100), None).await, FAILED, "longer than what is slow");
        assert_eq!(hung(Policy::default(), None, Some(5000)).await, NOTHING, "the caller left");
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_says_at_least_that_it_took_so_long() {
        let bench = bench(Policy::default());
        let first = &bench.upstream.endpoints()[0];
        first.observe(Duration::from_millis(1), Instant::now());
        let hangs = service_fn(|_: Call| async { pending::<Answer>().await });
        let hedged = layer().layer(hangs).call(call(&bench));
        assert!(tokio::time::timeout(Duration::from_millis(60), hedged).await.is_err());
        assert!(first.cost(Instant::now()) >= 60_000.0);
        let quick = layer().layer(hangs).call(call(&bench));
        drop(quick);
        assert!(first.cost(Instant::now()) >= 60_000.0, "that nothing came at once says nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_streams_is_judged_while_it_lasts() {
        let bench = bench(Policy::default());
        for _ in 0..5 {
            let inner = service_fn(|_: Call| async { Ok(crate::testing::status(500)) });
            layer().layer(inner).call(call(&bench)).await.unwrap();
        }
        assert_eq!(bench.upstream.endpoints.load().ejected(), 1);
        advance(Duration::from_secs(1)).await;
        let inner = service_fn(|call: Call| async move {
            assert!(call.probes.instance.is_none(), "taken by the layer");
            let frames = futures_util::stream::unfold(0, |number| async move {
                sleep(Duration::from_secs(number)).await;
                Some((data(), number + 2))
            });
            Ok(grpc(Body::new(StreamBody::new(frames))))
        });
        let mut probe = bench.get();
        let picked = bench.upstream.pick(None, &bench.policy, &bench.worker.random, Instant::now());
        let (target, ticket) = picked.unwrap();
        (probe.target, probe.probes.instance) = (Some(target), ticket);
        let mut answer = layer().layer(inner).call(probe).await.unwrap();
        answer.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(bench.upstream.endpoints.load().ejected(), 1);
        answer.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(bench.upstream.endpoints.load().ejected(), 0);
    }
}

//! Limits how many calls of a caller, and of all callers in this process, are made to a service at once: a
//! bulkhead, so that a slow service takes no more than its share of them.
//!
//! What finds no room waits for it, in a short queue and not for long. Under overload the calls that matter
//! least are refused first. A permit is held until the answer's body ended, as the service works until then.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Response;
use madang_model::policy::{Concurrency, Limit};
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::{
    Body, CallError,
    context::later,
    exchange::{Call, Exchange},
    gradient::Took,
    limiter::{Entry, Limiter, Permit, Turn},
};

/// When it is worth trying again after a call was refused.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The permits of one call: for its caller's share and for the service.
pub(crate) type Permits = [Option<Permit>; 2];

/// Limits the calls at once.
pub(crate) fn layer() -> LimitLayer {
    LimitLayer
}

/// See [`layer`].
#[derive(Clone, Copy)]
pub(crate) struct LimitLayer;

/// See [`layer`].
#[derive(Clone, Copy)]
pub(crate) struct Limits<S>(S);

pin_project_lite::pin_project! {
    /// The future of [`Limits`]: that of the layer inside, without a box unless it waits.
    #[project = LimitedProjection]
    pub(crate) enum Limited<F> {
        Admitted { #[pin] inner: F, admission: Option<Box<Admission>> },
        Waits { waits: Pin<Box<dyn Future<Output = Result<Response<Body>, CallError>> + Send>> },
        Refused { error: Option<CallError> },
    }
}

/// A call that has its permits or waits for them.
pub(crate) struct Admission {
    exchange: Arc<Exchange>,
    permits: Permits,
    /// When it had them, and how long it had been parked by then.
    began: Instant,
    parked_us: u64,
    under_way: bool,
}

// === impl Limits ===

impl<S> Layer<S> for LimitLayer {
    type Service = Limits<S>;

    fn layer(&self, inner: S) -> Limits<S> {
        Limits(inner)
    }
}

impl<S> Service<Call> for Limits<S>
where
    S: Service<Call, Response = Response<Body>, Error = CallError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = CallError;
    type Future = Limited<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let policy = &call.exchange.policy;
        if policy.share.is_none() && policy.concurrency.is_none() {
            return Limited::Admitted { inner: self.0.call(call), admission: None };
        }
        let mut admission = Admission::new(call.exchange.clone());
        match admission.proceed() {
            Ok(None) => Limited::Admitted { inner: self.0.call(call), admission: Some(admission.into()) },
            Ok(Some(turn)) => {
                let mut inner = self.0.clone();
                Limited::Waits {
                    waits: Box::pin(async move {
                        admission.wait(turn).await?;
                        call.began = admission.began;
                        let admission = Some(admission.into());
                        Limited::Admitted { inner: inner.call(call), admission }.await
                    }),
                }
            }
            Err(error) => Limited::Refused { error: Some(error) },
        }
    }
}

impl<F> Future for Limited<F>
where
    F: Future<Output = Result<Response<Body>, CallError>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            LimitedProjection::Admitted { inner, admission } => {
                let mut polled = inner.poll(cx);
                if let Poll::Ready(answer) = &mut polled
                    && let Some(admission) = admission.take()
                {
                    admission.answered(answer);
                }
                polled
            }
            LimitedProjection::Waits { waits } => waits.as_mut().poll(cx),
            LimitedProjection::Refused { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
        }
    }
}

/// The limits that hold for a call, in the order in which it passes them: its caller's own first, so that those
/// who wait for it keep nobody else from the service.
fn limits(exchange: &Exchange) -> [(Option<&Concurrency>, &Arc<Limiter>); 2] {
    let policy = &exchange.policy;
    [
        (policy.share.as_ref(), &exchange.lane.limiter),
        (policy.concurrency.as_ref(), &exchange.upstream().limiter),
    ]
}

// === impl Admission ===

impl Admission {
    fn new(exchange: Arc<Exchange>) -> Self {
        Self { began: exchange.started, parked_us: 0, exchange, permits: [None, None], under_way: false }
    }

    /// Takes the permits that are still needed, as far as they are free; or else a place in a queue.
    fn proceed(&mut self) -> Result<Option<(Turn, usize)>, CallError> {
        for (n, (limits, limiter)) in limits(&self.exchange).into_iter().enumerate() {
            let Some(limits) = limits.filter(|_| self.permits[n].is_none()) else { continue };
            match limiter.enter(limits, self.exchange.priority()) {
                Entry::Admitted(permit) => self.permits[n] = Some(permit),
                Entry::Queued(turn) => return Ok(Some((turn, n))),
                Entry::Shed => return Err(self.overloaded()),
            }
        }
        self.under_way = true;
        Ok(None)
    }

    /// Waits for the permits that are still needed.
    async fn wait(&mut self, first: (Turn, usize)) -> Result<(), CallError> {
        let exchange = self.exchange.clone();
        let since = Instant::now();
        let mut next = Some(first);
        while let Some((turn, n)) = next {
            let (limits, limiter) = limits(&exchange)[n];
            let wait = limits.map_or(Duration::ZERO, |limits| limits.wait);
            let patience = later(Instant::now(), wait);
            let patience = exchange.deadline().map_or(patience, |deadline| deadline.min(patience));
            let permit = tokio::select! {
                biased;
                permit = turn => permit,
                () = exchange.worker.timer.sleep_until(patience) => {
                    limiter.shed(exchange.priority());
                    None
                }
            };
            self.permits[n] = Some(permit.ok_or_else(|| self.overloaded())?);
            next = self.proceed()?;
        }
        self.began = Instant::now();
        exchange.trail.parked_for(self.began - since);
        self.parked_us = exchange.trail.parked_us();
        Ok(())
    }

    fn overloaded(&self) -> CallError {
        CallError::Overloaded { service: self.exchange.upstream().name().clone(), retry_after: RETRY_AFTER }
    }

    /// Learns from the answer, whose body keeps the permits.
    fn answered(mut self, answer: &mut Result<Response<Body>, CallError>) {
        let good = answer.as_ref().is_ok_and(|response| !response.status().is_server_error());
        self.observe(if good { Took::Exactly } else { Took::AtLeast });
        self.under_way = false;
        if let Ok(response) = answer {
            response.body_mut().hold_permits(std::mem::take(&mut self.permits));
        }
    }

    /// Waiting for an instance is no part of what the service took.
    fn observe(&self, took: impl Fn(Duration) -> Took) {
        for (limits, limiter) in limits(&self.exchange) {
            if let Some(Concurrency { limit, .. }) =
                limits.filter(|limits| matches!(limits.limit, Limit::Adaptive { .. }))
            {
                let now = Instant::now();
                let parked = Duration::from_micros(self.exchange.trail.parked_us() - self.parked_us);
                let time = now.saturating_duration_since(self.began).saturating_sub(parked);
                limiter.observe(*limit, took(time), now);
            }
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if self.under_way {
            self.observe(Took::AtLeast);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use bytes::Bytes;
    use http::Request;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use madang_model::policy::Priority;
    use tokio::{
        task::{JoinSet, yield_now},
        time::sleep,
    };
    use tower::service_fn;

    use super::*;
    use crate::{
        BoxError, Context as CallContext, Deadline, Policy,
        random::Random,
        testing::{Bench, status},
        timer::STEP,
    };

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn limited(limit: u32, queue: u32, wait: u64) -> Option<Concurrency> {
        Some(Concurrency { limit: Limit::Fixed(limit), queue, wait: millis(wait) })
    }

    fn used(bench: &Bench) -> [(u32, u32); 2] {
        [&bench.lane.limiter, &bench.upstream.limiter].map(|limiter| (limiter.in_use(), limiter.waiting()))
    }

    async fn get(call: Call, takes: Duration) -> Result<Response<Body>, CallError> {
        let inner = service_fn(move |_: Call| async move {
            sleep(takes).await;
            Ok::<_, CallError>(status(200))
        });
        layer().layer(inner).call(call).await
    }

    #[tokio::test(start_paused = true)]
    async fn both_limits_hold_and_a_refusal_says_when_to_come_back() {
        let bench = Bench::new(Policy {
            share: limited(2, 2, 5000),
            concurrency: limited(3, 0, 5000),
            ..Policy::default()
        });
        let mut calls = JoinSet::new();
        let start = async |calls: &mut JoinSet<_>, call: Call| {
            calls.spawn(get(call, millis(1000)));
            yield_now().await;
        };
        for _ in 0..4 {
            start(&mut calls, bench.get()).await;
        }
        assert_eq!(used(&bench), [(2, 1), (2, 0)], "one waits for a share, one found no room");
        let view = bench.lane.limiter.view(Some(&bench.lane.origin)).unwrap();
        assert_eq!((view.limit, view.in_use, view.queued, view.shed_normal), (2, 2, 1, 1));
        let other = bench.beside();
        start(&mut calls, other.get()).await;
        start(&mut calls, other.get()).await;
        assert_eq!((used(&bench), used(&other)), ([(2, 1), (3, 0)], [(1, 0), (3, 0)]));
        let mut refused = 0;
        for answer in calls.join_all().await {
            if let Err(error) = answer {
                assert!(matches!(error, CallError::Overloaded { .. }), "{error:?}");
                assert!(error.retryable() && !error.outcome_unknown());
                assert_eq!((error.code().id, error.retry_after()), ("MDG-CALL-009", Some(RETRY_AFTER)));
                refused += 1;
            }
        }
        assert_eq!((refused, used(&bench)), (2, [(0, 0), (0, 0)]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_streaming_answer_keeps_its_permit_until_it_ends() {
        let bench = Bench::new(Policy { concurrency: limited(4, 0, 0), ..Policy::default() });
        let inner = service_fn(|_: Call| async {
            let frames = [b"a", b"b"].map(|part| Ok::<_, BoxError>(Frame::data(Bytes::from_static(part))));
            let stream = futures_util::stream::iter(frames);
            Ok::<_, CallError>(Response::new(Body::new(StreamBody::new(stream))))
        });
        let call = || layer().layer(inner).call(bench.get());
        let (mut read, dropped) = (call().await.unwrap().into_body(), call().await.unwrap());
        read.frame().await.unwrap().unwrap();
        assert_eq!(used(&bench)[1], (2, 0));
        drop(dropped);
        assert_eq!(used(&bench)[1], (1, 0));
        while read.frame().await.is_some() {}
        assert_eq!(used(&bench)[1], (0, 0));
    }

    /// Whatever the limits, how long calls take and whether they are left: nobody waits longer than allowed,
    /// never are more under way than the limit, and in the end nothing is in use.
    #[tokio::test(start_paused = true)]
    async fn nobody_waits_past_the_wait_or_the_deadline() {
        let random = Random::seeded(7);
        for round in 0..40 {
            let most = random.below(5) as u32 + 1;
            let (wait, due) = (random.below(300) as u64, random.below(300) as u64 + 1);
            let policy =
                Policy { concurrency: limited(most, 1 + random.below(20) as u32, wait), ..Policy::default() };
            let bench = Bench::new(policy);
            let under_way = Arc::new(AtomicU32::new(0));
            let mut calls = JoinSet::new();
            for _ in 0..60 {
                let takes = millis(random.below(200) as u64);
                let (counted, arrives) = (under_way.clone(), millis(random.below(300) as u64));
                let leaves = random.below(4) == 0;
                let inner = service_fn(move |_: Call| {
                    let counted = counted.clone();
                    async move {
                        assert!(counted.fetch_add(1, Relaxed) < most);
                        // The call may be left while it is under way.
                        let _ended = Ended(counted);
                        sleep(takes).await;
                        Ok::<_, CallError>(status(200))
                    }
                });
                let (worker, lane, policy) = (bench.worker.clone(), bench.lane.clone(), bench.policy.clone());
                calls.spawn(async move {
                    sleep(arrives).await;
                    let deadline = Some(Deadline::after(millis(due)));
                    let context = CallContext { deadline, ..CallContext::root() };
                    let (head, body) = Request::<Body>::default().into_parts();
                    let exchange = Exchange::new(worker, lane, policy, context, head, body);
                    let begin = Instant::now();
                    let answer = layer().layer(inner).call(exchange.first());
                    let limit = if leaves { millis(30) } else { Duration::MAX };
                    match tokio::time::timeout(limit, answer).await {
                        Ok(Err(_)) => assert!(begin.elapsed() <= millis(wait.min(due)) + STEP),
                        Ok(Ok(_)) => {
                            assert!(begin.elapsed() <= millis(wait.min(due)) + takes + STEP);
                        }
                        Err(_) => {}
                    }
                });
            }
            calls.join_all().await;
            assert_eq!(used(&bench)[1], (0, 0), "round {round}");
        }
    }

    struct Ended(Arc<AtomicU32>);

    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Relaxed);
        }
    }

    /// How many of these many calls, made at once, are answered within a second by a service that works at five
    /// at a time, each for so long.
    async fn brown_out(bench: &Bench, calls: usize, each: Duration) -> usize {
        let service = Arc::new(tokio::sync::Semaphore::new(5));
        let inner = service_fn(move |_: Call| {
            let service = service.clone();
            async move {
                let _working = service.acquire().await;
                sleep(each).await;
                Ok::<_, CallError>(status(200))
            }
        });
        let call = || async {
            let answer = layer().layer(inner.clone()).call(bench.get());
            matches!(tokio::time::timeout(millis(1000), answer).await, Ok(Ok(_)))
        };
        let answers = futures_util::future::join_all((0..calls).map(|_| call())).await;
        answers.into_iter().filter(|answered| *answered).count()
    }

    #[tokio::test(start_paused = true)]
    async fn an_adaptive_limit_keeps_a_slow_service_answering() {
        let limit = Limit::Adaptive { least: 4, most: 500 };
        let concurrency = Some(Concurrency { limit, queue: 20, wait: millis(100) });
        let bench = Bench::new(Policy { concurrency, ..Policy::default() });
        for _ in 0..300 {
            brown_out(&bench, 50, millis(10)).await;
        }
        let before = bench.upstream.limiter.limit();
        // Ten times as slow: 500 calls at once would be answered after ten seconds, when nobody waits any more.
        let mut answered = 0;
        for _ in 0..20 {
            answered = brown_out(&bench, 500, millis(100)).await;
        }
        let during = bench.upstream.limiter.limit();
        assert!(during <= before / 2 && during <= 15, "{before}, then {during}");
        assert!(answered > 0, "those that are let in are answered");
        for _ in 0..600 {
            brown_out(&bench, 50, millis(10)).await;
        }
        let after = bench.upstream.limiter.limit();
        assert!(after >= before * 2 / 3, "{before}, {during}, then {after}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_matters_as_its_policy_says_unless_the_request_matters_less() {
        use Priority::*;
        for (policy, request, expected) in [
            (Normal, Normal, Normal),
            (Normal, Critical, Critical),
            (Normal, BestEffort, BestEffort),
            (Critical, Normal, Critical),
            (Critical, BestEffort, BestEffort),
            (BestEffort, Critical, BestEffort),
        ] {
            let bench = Bench::new(Policy { priority: policy, ..Policy::default() });
            let mut given = Request::new(Body::empty());
            given.extensions_mut().insert(CallContext { priority: request, ..CallContext::root() });
            assert_eq!(bench.call(given).exchange.priority(), expected, "{policy:?} {request:?}");
        }
    }
}

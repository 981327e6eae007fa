//! Asks another instance too when a read takes long, and takes the first good answer ("The Tail at Scale", Dean and
//! Barroso 2013).
//!
//! Each such attempt comes out of the retry budget, and none is made while calls wait for a permit: what a service
//! is overloaded with must not grow because it is slow.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::Response;
use madang_model::policy::{Hedge, HedgeAfter, RetryBudget};
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::{
    Body, CallError,
    context::later,
    exchange::{Call, Exchange},
};

/// The latencies after which a percentile of them is known well enough.
const SAMPLES: u32 = 20;
/// The most of the calls that are hedged, in percent, retries included (and one a second in quiet times): that more
/// are slow means that the service has too much to do, or that some of its instances have and the others will.
const MOST: u32 = 5;
/// The least step of the estimate, as a share of itself.
const STEP: f32 = 0.05;

/// The latency below which a share of recent answers stays, by steps up and down that cancel each other out there
/// (Ma, Muthukrishnan and Sandler, "Frugal Streaming for Estimating Quantiles", 2013, with steps that are shares of
/// the estimate). The estimate in microseconds and the number of latencies so far share one word.
#[derive(Default)]
pub(crate) struct Pace(AtomicU64);

/// Hedges reads.
pub(crate) fn layer() -> HedgeLayer {
    HedgeLayer
}

/// See [`layer`].
#[derive(Clone, Copy)]
pub(crate) struct HedgeLayer;

/// See [`layer`].
#[derive(Clone, Copy)]
pub(crate) struct Hedges<S>(S);

type Answer = Result<Response<Body>, CallError>;

pin_project_lite::pin_project! {
    /// The future of [`Hedges`]: without a box where nothing is hedged.
    #[project = HedgedProjection]
    pub(crate) enum Hedged<F> {
        Passed { #[pin] inner: F },
        Watched { race: Pin<Box<dyn Future<Output = Answer> + Send>> },
    }
}

// === impl Hedges ===

impl<S> Layer<S> for HedgeLayer {
    type Service = Hedges<S>;

    fn layer(&self, inner: S) -> Hedges<S> {
        Hedges(inner)
    }
}

impl<S> Service<Call> for Hedges<S>
where
    S: Service<Call, Response = Response<Body>, Error = CallError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = CallError;
    type Future = Hedged<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        match call.exchange.policy.hedge {
            // A retry comes late as it is, and has chosen another instance.
            Some(hedge) if call.attempt == 1 && call.exchange.reads() => {
                Hedged::Watched { race: Box::pin(race(self.0.clone(), call, hedge)) }
            }
            _ => Hedged::Passed { inner: self.0.call(call) },
        }
    }
}

impl<F: Future<Output = Answer>> Future for Hedged<F> {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        match self.project() {
            HedgedProjection::Passed { inner } => inner.poll(cx),
            HedgedProjection::Watched { race } => race.as_mut().poll(cx),
        }
    }
}

async fn race<S>(mut inner: S, call: Call, hedge: Hedge) -> Answer
where
    S: Service<Call, Response = Response<Body>, Error = CallError>,
{
    let exchange = call.exchange.clone();
    let began = call.began;
    let mut first = pin!(inner.call(call));
    let patience = match hedge.after {
        HedgeAfter::Time(time) => Some(time),
        HedgeAfter::Percentile(_) => exchange.lane.pace.estimate(),
    };
    let learn = |took: Duration| {
        if let HedgeAfter::Percentile(percent) = hedge.after {
            exchange.lane.pace.observe(took, percent);
        }
    };
    let until = patience.map(|patience| later(began, patience));
    let hedged = tokio::select! {
        biased;
        answer = &mut first => {
            if good(&answer) {
                learn(began.elapsed());
            }
            return answer;
        }
        () = wait(&exchange, until) => second(&exchange),
    };
    // However long it takes from here: it is more than the estimate.
    learn(began.elapsed());
    let Some(second) = hedged else { return first.await };
    let mut second = pin!(inner.call(second));
    tokio::select! {
        biased;
        answer = &mut first => if good(&answer) { answer } else { second.await },
        answer = &mut second => if good(&answer) { answer } else { first.await },
    }
}

/// Until then; for ever if it is not known.
async fn wait(exchange: &Exchange, until: Option<Instant>) {
    match until {
        Some(until) => exchange.worker.timer.sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// The second attempt, if there is time, another instance, and nothing that speaks of overload.
fn second(exchange: &Arc<Exchange>) -> Option<Call> {
    let now = Instant::now();
    let upstream = exchange.upstream();
    let first = exchange.trail.endpoint()?;
    let queues = exchange.lane.limiter.waiting() + upstream.limiter.waiting() > 0;
    let late = exchange.deadline().is_some_and(|deadline| deadline <= now);
    let fits = !queues && !late && upstream.has_other(first, now);
    let RetryBudget { percent, floor } = exchange.policy.retry_budget;
    let budget = RetryBudget { percent: percent.min(MOST), floor: floor.min(1) };
    (fits && upstream.budget.withdraw(now, &budget)).then(|| exchange.again(2, Some(first), false))
}

fn good(answer: &Answer) -> bool {
    answer.as_ref().is_ok_and(|response| !response.status().is_server_error())
}

// === impl Pace ===

impl Pace {
    fn estimate(&self) -> Option<Duration> {
        let (estimate, count) = unpack(self.0.load(Relaxed));
        (count >= SAMPLES).then(|| Duration::from_micros(estimate as u64))
    }

    fn observe(&self, took: Duration, percent: u8) {
        let share = f32::from(percent) / 100.0;
        let took = (took.as_micros() as f32).max(1.0);
        let next = |word| {
            let (estimate, count) = unpack(word);
            let step = STEP.max(1.0 / (count as f32 + 1.0));
            let next = match count {
                0 => took,
                _ if took > estimate => estimate * (1.0 + step * share),
                _ => estimate * (1.0 - step * (1.0 - share)),
            };
            Some(pack(next.max(1.0), count.saturating_add(1)))
        };
        let _ = self.0.fetch_update(Relaxed, Relaxed, next);
    }
}

fn pack(estimate: f32, count: u32) -> u64 {
    u64::from(estimate.to_bits()) << 32 | u64::from(count)
}

fn unpack(word: u64) -> (f32, u32) {
    (f32::from_bits((word >> 32) as u32), word as u32)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use http::Request;
    use madang_model::policy::{Concurrency, Limit};
    use tokio::time::sleep;
    use tower::service_fn;

    use super::*;
    use crate::{
        Policy,
        exchange::Target,
        random::Random,
        testing::{Bench, status},
        timer,
    };

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn bench(after: HedgeAfter, instances: u16) -> Bench {
        let bench = Bench::new(Policy { hedge: Some(Hedge { after }), ..Policy::default() });
        bench.rotate(instances);
        bench
    }

    /// What became of the attempts at calls.
    #[derive(Default)]
    struct Seen {
        begun: AtomicU32,
        ended: AtomicU32,
        left: AtomicU32,
    }

    struct Attempt(Arc<Seen>);

    impl Drop for Attempt {
        fn drop(&mut self) {
            self.0.left.fetch_add(1, Relaxed);
        }
    }

    /// Makes a call whose n-th attempt is answered so, after so long.
    async fn send(
        seen: &Arc<Seen>,
        call: Call,
        answers: impl Fn(u32) -> (u64, u16) + Clone + Send + 'static,
    ) -> Answer {
        let seen = seen.clone();
        let inner = service_fn(move |call: Call| {
            let exchange = call.exchange.clone();
            let avoided = call.avoid;
            let target =
                exchange.upstream().pick(avoided, &exchange.policy, &exchange.worker.random, Instant::now());
            let target = target.map(|(target, _)| target);
            let target = target.expect("an instance");
            if let Target::Remote(endpoint) = &target {
                assert_ne!(Some(endpoint.number), avoided);
            }
            exchange.trail.begin(1, &target);
            let (takes, answer) = answers(call.attempt);
            seen.begun.fetch_add(1, Relaxed);
            let seen = seen.clone();
            async move {
                let attempt = Attempt(seen.clone());
                sleep(millis(takes)).await;
                std::mem::forget(attempt);
                seen.ended.fetch_add(1, Relaxed);
                Ok::<_, CallError>(status(answer))
            }
        });
        layer().layer(inner).call(call).await
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_good_answer_counts_and_the_other_attempt_is_left() {
        let cases = [
            // The attempts' times and answers; the answer, its time and the attempts left.
            ([(10, 200), (0, 200)], (200, 10, 0)),
            ([(1000, 200), (10, 201)], (201, 60, 1)),
            ([(60, 200), (1000, 201)], (200, 60, 1)),
            ([(1000, 200), (10, 503)], (200, 1000, 0)),
            ([(70, 503), (100, 201)], (201, 150, 0)),
            ([(60, 502), (100, 503)], (503, 150, 0)),
            ([(10, 503), (0, 200)], (503, 10, 0)),
        ];
        for (attempts, (expected, time, left)) in cases {
            let bench = bench(HedgeAfter::Time(millis(50)), 3);
            let (seen, begin) = (Arc::new(Seen::default()), Instant::now());
            let answer = send(&seen, bench.get(), move |n| attempts[n as usize - 1]).await.unwrap();
            let late = begin.elapsed().saturating_sub(millis(time));
            assert!(answer.status() == expected && late <= timer::STEP, "{attempts:?}: {answer:?} {late:?}");
            assert_eq!(seen.left.load(Relaxed), left, "{attempts:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_reads_are_hedged_and_only_at_another_instance() {
        let begun = async |instances: u16, method: &str, body: &'static str| {
            let bench = bench(HedgeAfter::Time(millis(50)), instances);
            let seen = Arc::new(Seen::default());
            let request = Request::builder().method(method).body(Body::from(body)).unwrap();
            send(&seen, bench.call(request), |_| (200, 200)).await.unwrap();
            seen.begun.load(Relaxed)
        };
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert_eq!(begun(2, method, "").await, 2, "{method}");
            assert_eq!(begun(1, method, "").await, 1, "{method}");
            assert_eq!(begun(2, method, "x").await, 1, "{method}");
        }
        for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
            assert_eq!(begun(2, method, "").await, 1, "{method}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn hedges_stay_within_the_retry_budget() {
        let bench = bench(HedgeAfter::Time(millis(1)), 5);
        let (seen, begin, calls) = (Arc::new(Seen::default()), Instant::now(), 3000);
        let mut all = Vec::new();
        for n in 0..calls {
            bench.upstream.budget.deposit(Instant::now());
            all.push(send(&seen, bench.get(), move |_| (500, 200)));
            if n % 100 == 99 {
                futures_util::future::join_all(all.drain(..)).await;
            }
        }
        let hedges = seen.begun.load(Relaxed) - calls;
        let budget = f64::from(calls) * 0.2 + 10.0 * begin.elapsed().as_secs_f64() + 100.0;
        assert!(hedges > 100 && f64::from(hedges) <= budget, "{hedges} of {budget}");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_hedged_while_calls_wait_for_a_permit() {
        let bench = bench(HedgeAfter::Time(millis(1)), 2);
        let limits = Concurrency { limit: Limit::Fixed(1), queue: 2, wait: millis(10_000) };
        let enter = || bench.upstream.limiter.enter(&limits, madang_model::policy::Priority::Critical);
        let seen = Arc::new(Seen::default());
        let (held, waits) = (enter(), enter());
        send(&seen, bench.get(), |_| (200, 200)).await.unwrap();
        assert_eq!(seen.begun.load(Relaxed), 1);
        drop((waits, held));
        send(&seen, bench.get(), |_| (200, 200)).await.unwrap();
        assert_eq!(seen.begun.load(Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_percentile_is_learned_and_hedges_about_the_rest() {
        let bench = bench(HedgeAfter::Percentile(90), 2);
        let (seen, random) = (Arc::new(Seen::default()), Random::seeded(23));
        let calls = 2000;
        for _ in 0..calls {
            bench.upstream.budget.deposit(Instant::now());
            let takes = 20 + random.below(400) as u64;
            send(&seen, bench.get(), move |n| (if n == 1 { takes } else { 20 }, 200)).await.unwrap();
        }
        let hedges = seen.begun.load(Relaxed) - calls;
        assert!((100..320).contains(&hedges), "{hedges} of {calls}");
    }

    #[test]
    fn the_estimate_follows_the_latencies() {
        let (pace, random) = (Pace::default(), Random::seeded(5));
        for scale in [1_000.0, 50_000.0, 3_000.0] {
            // An exponential distribution, whose 95th percentile is three times its mean.
            for _ in 0..4000 {
                let uniform = (random.below(1 << 30) as f64 + 1.0) / f64::from(1 << 30);
                pace.observe(Duration::from_micros((-uniform.ln() * scale) as u64), 95);
            }
            let found = pace.estimate().unwrap().as_micros() as f64 / (scale * 3.0);
            assert!((0.7..1.4).contains(&found), "{scale}: {found}");
        }
    }
}

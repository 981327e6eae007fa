//! Stops calling a service that fails, and finds out by single requests whether it is well again (Nygard,
//! "Release It!", 2007; the rules are those of resilience4j).
//!
//! A breaker that is given for a service is the service's; one that is given for a route or a call is that
//! lane's. Its rules are read at each call, so that an edit of them leaves its state as it is.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::Response;
use madang_model::policy::{Breaker as Rules, Holder};
use madang_wire::admin::{BreakerState as State, BreakerView};
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::{
    Body, CallError, Origin,
    ejection::{PATIENCE, growing},
    exchange::{Call, Exchange},
    random::Random,
    tally::{Clock, Limits, Outcome, Reason, SHOWN, Sums, Tally},
};

/// The bits of a breaker's word, which is zero while it is closed: whether a probe is on its way, how many went
/// well, how often it opened in a row, and until when nothing (else) is let through, in milliseconds.
const OPEN: u64 = 1 << 63;
const PROBED: u64 = 1 << 62;
const GOOD: u32 = 56;
const OPENINGS: u32 = 48;
const UNTIL: u64 = (1 << OPENINGS) - 1;

/// The state of a breaker.
pub(crate) struct CircuitBreaker {
    tally: Tally,
    word: AtomicU64,
    /// When it opened, half-opened or closed last, in milliseconds since it was made.
    changed: AtomicU64,
}

/// The one call that finds out whether a service is well again. Dropped, it leaves that to another.
pub(crate) struct Probe {
    exchange: Arc<Exchange>,
    word: u64,
}

/// Refuses attempts while the breaker is open.
pub(crate) fn layer() -> BreakerLayer {
    BreakerLayer
}

/// See [`layer`].
#[derive(Clone, Copy)]
pub(crate) struct BreakerLayer;

/// See [`layer`].
#[derive(Clone, Copy)]
pub(crate) struct Break<S>(S);

pin_project_lite::pin_project! {
    /// The future of [`Break`].
    #[project = GuardedProjection]
    pub(crate) enum Guarded<F> {
        Passed { #[pin] inner: F },
        Refused { error: Option<CallError> },
    }
}

// === impl CircuitBreaker ===

impl CircuitBreaker {
    pub(crate) fn new() -> Self {
        Self { tally: Tally::new(), word: AtomicU64::new(0), changed: AtomicU64::new(0) }
    }

    /// What it does and what it counted; `None` if it never had anything to do.
    pub(crate) fn view(&self, origin: Option<&Origin>, clock: &Clock) -> Option<BreakerView> {
        let Sums { answers, failed, slow } = self.tally.sums(SHOWN, clock.now);
        let state = self.state(clock.now);
        let since = self.changed.load(Relaxed);
        (state != State::Closed || since != 0 || answers != 0).then(|| BreakerView {
            origin: origin.map(ToString::to_string),
            state,
            since: clock.millis(self.tally.at(since)),
            until: self.refuses(clock.now).map(|left| clock.millis(clock.now + left)),
            failures_in_a_row: self.tally.streak(),
            answers,
            failed,
            slow,
        })
    }

    fn state(&self, now: Instant) -> State {
        let word = self.word.load(Relaxed);
        match self.refuses(now) {
            _ if word == 0 => State::Closed,
            Some(_) if word & PROBED == 0 => State::Open,
            _ => State::HalfOpen,
        }
    }

    /// How long it refuses calls from now on, if it does; as long as a probe is on its way, until it is worth
    /// asking again.
    fn refuses(&self, now: Instant) -> Option<Duration> {
        let word = self.word.load(Relaxed);
        let left = Duration::from_millis((word & UNTIL).saturating_sub(self.tally.millis(now)));
        let left = if word & PROBED == 0 { left } else { left.min(PATIENCE) };
        (word != 0 && !left.is_zero()).then_some(left)
    }

    /// Lets a call through, as a probe if it is half open; or how long it refuses.
    fn admit(&self, patience: Duration, now: Instant) -> Result<Option<u64>, Duration> {
        loop {
            let word = self.word.load(Relaxed);
            if word == 0 {
                return Ok(None);
            }
            if let Some(left) = self.refuses(now) {
                return Err(left);
            }
            let probed = (word & !UNTIL) | PROBED | self.later(now, patience);
            if self.word.compare_exchange(word, probed, Relaxed, Relaxed).is_ok() {
                return Ok(Some(probed));
            }
        }
    }

    /// Judges the service by an answer; what it did because of it, if anything.
    fn judge(&self, probe: Option<u64>, rules: &Rules, outcome: &Outcome, random: &Random) -> Option<Change> {
        let limits = Limits::from(rules);
        let now = outcome.now;
        let open = |from: u64, openings: u64, reason: Reason| {
            let time = growing(rules.open, rules.cap, openings as u32, random);
            let next = OPEN | ((openings + 1).min(255) << OPENINGS) | self.later(now, time);
            self.turn(from, next, now).then_some(Change::Opened(reason, time))
        };
        match probe {
            Some(word) if limits.good(outcome) => {
                let good = (word >> GOOD & 63) + 1;
                if good < rules.probes.min(63).into() {
                    let openings = word & (255 << OPENINGS);
                    self.turn(word, OPEN | (good << GOOD) | openings, now);
                    return None;
                }
                self.tally.begin_anew(now);
                self.turn(word, 0, now).then_some(Change::Closed)
            }
            Some(word) => open(word, word >> OPENINGS & 255, Reason::Probe),
            // What was on its way when it opened adds nothing.
            None if self.word.load(Relaxed) != 0 => None,
            None => open(0, 0, self.tally.count(&limits, outcome)?),
        }
    }

    /// Changes from what it was, unless it is something else by now.
    fn turn(&self, from: u64, to: u64, now: Instant) -> bool {
        let turned = self.word.compare_exchange(from, to, Relaxed, Relaxed).is_ok();
        if turned {
            self.changed.store(self.tally.millis(now), Relaxed);
        }
        turned
    }

    fn later(&self, now: Instant, time: Duration) -> u64 {
        (self.tally.millis(now) + time.as_millis() as u64) & UNTIL
    }
}

/// What a breaker did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Opened(Reason, Duration),
    Closed,
}

// === impl Probe ===

impl Drop for Probe {
    fn drop(&mut self) {
        // From now on another may be sent. If something was decided the word is a different one.
        if let Some(breaker) = self.exchange.breaker() {
            let free = self.word & !(PROBED | UNTIL);
            let _ = breaker.word.compare_exchange(self.word, free, Relaxed, Relaxed);
        }
    }
}

// === impl Exchange ===

impl Exchange {
    /// The breaker of this call, if it has one.
    fn breaker(&self) -> Option<&CircuitBreaker> {
        self.policy.breaker.as_ref().map(|rules| match rules.holder {
            Holder::Service => &self.upstream().breaker,
            Holder::Caller => &self.lane.breaker,
        })
    }

    /// Whether an attempt would be refused now.
    pub(crate) fn is_broken(&self, now: Instant) -> bool {
        self.breaker().is_some_and(|breaker| breaker.refuses(now).is_some())
    }

    /// Judges the service by an answer to an attempt that was a probe, or not.
    pub(crate) fn judge_service(&self, probe: Option<Box<Probe>>, outcome: &Outcome) {
        let (Some(rules), Some(breaker)) = (&self.policy.breaker, self.breaker()) else { return };
        let word = probe.as_ref().map(|probe| probe.word);
        let service = self.upstream().name();
        let origin = (rules.holder == Holder::Caller).then(|| tracing::field::display(&self.lane.origin));
        match breaker.judge(word, rules, outcome, &self.worker.random) {
            Some(Change::Opened(reason, time)) => {
                tracing::warn!(%service, origin, %reason, ?time, "breaker opened");
            }
            Some(Change::Closed) => tracing::info!(%service, origin, "breaker closed"),
            None => {}
        }
    }
}

// === impl Break ===

impl<S> Layer<S> for BreakerLayer {
    type Service = Break<S>;

    fn layer(&self, inner: S) -> Break<S> {
        Break(inner)
    }
}

impl<S> Service<Call> for Break<S>
where
    S: Service<Call, Response = Response<Body>, Error = CallError>,
{
    type Response = Response<Body>;
    type Error = CallError;
    type Future = Guarded<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        if let Some(breaker) = call.exchange.breaker() {
            match breaker.admit(call.exchange.policy.attempt_timeout + PATIENCE, call.began) {
                Ok(None) => {}
                Ok(Some(word)) => {
                    let exchange = call.exchange.clone();
                    call.probes.service = Some(Box::new(Probe { exchange, word }));
                }
                Err(retry_after) => {
                    let service = call.exchange.upstream().name().clone();
                    return Guarded::Refused { error: Some(CallError::Open { service, retry_after }) };
                }
            }
        }
        Guarded::Passed { inner: self.0.call(call) }
    }
}

impl<F> Future for Guarded<F>
where
    F: Future<Output = Result<Response<Body>, CallError>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            GuardedProjection::Passed { inner } => inner.poll(cx),
            GuardedProjection::Refused { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::advance;
    use tower::service_fn;

    use super::*;
    use crate::{
        Lane, Policy, outcome,
        testing::{Bench, status},
    };

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Send,
        Answer { which: usize, failed: bool, slow: bool },
        Leave { which: usize },
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Send),
            4 => (any::<usize>(), prop::bool::weighted(0.7), any::<bool>())
                .prop_map(|(which, failed, slow)| Step::Answer { which, failed, slow }),
            1 => any::<usize>().prop_map(|which| Step::Leave { which }),
            1 => (0_u64..3_000).prop_map(Step::Wait),
        ]
    }

    fn bench(rules: Rules) -> Bench {
        let attempt_timeout = Duration::from_secs(86_400);
        Bench::new(Policy { breaker: Some(rules), attempt_timeout, ..Policy::default() })
    }

    /// Lets a call through, or not.
    async fn send(bench: &Bench) -> Result<Call, CallError> {
        let (passed, passes) = tokio::sync::oneshot::channel();
        let mut passed = Some(passed);
        let inner = service_fn(move |call: Call| {
            let _ = passed.take().unwrap().send(call);
            async { Ok(status(200)) }
        });
        layer().layer(inner).call(bench.get()).await?;
        Ok(passes.await.unwrap())
    }

    fn answer(call: &mut Call, failed: bool, took: Duration) {
        let outcome = Outcome { failed, began: call.began, took, now: Instant::now() };
        call.exchange.judge_service(call.probes.service.take(), &outcome);
    }

    proptest! {
        #[test]
        fn nothing_passes_an_open_breaker_but_probes_and_one_always_comes(
            steps in prop::collection::vec(step(), 0..200),
            (failures, probes, slow_rate) in (1_u32..8, 0_u32..5, 50_u8..=100),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime.unwrap().block_on(async {
                let rules = Rules { failures, probes, slow_rate, ..Rules::default() };
                let bench = bench(rules);
                let breaker = &bench.upstream.breaker;
                let mut sent: Vec<Call> = Vec::new();
                for step in steps {
                    match step {
                        Step::Send => {
                            let (before, refuses) = (breaker.state(Instant::now()), breaker.refuses(Instant::now()));
                            let passed = send(&bench).await;
                            prop_assert_eq!(passed.is_err(), refuses.is_some());
                            prop_assert!(before != State::Open || passed.is_err());
                            if let Ok(call) = passed {
                                prop_assert_eq!(call.probes.service.is_some(), before == State::HalfOpen);
                                sent.push(call);
                            }
                        }
                        Step::Answer { which, failed, slow } if !sent.is_empty() => {
                            let mut call = sent.remove(which % sent.len());
                            answer(&mut call, failed, Duration::from_secs(slow.into()));
                        }
                        Step::Leave { which } if !sent.is_empty() => drop(sent.remove(which % sent.len())),
                        Step::Wait(millis) => advance(Duration::from_millis(millis)).await,
                        _ => {}
                    }
                    let probing = sent.iter().filter(|call| call.probes.service.is_some()).count();
                    prop_assert!(probing <= 1, "one probe at a time");
                }
                drop(sent);
                advance(rules.cap).await;
                let mut good = 0;
                while breaker.state(Instant::now()) != State::Closed {
                    let mut probe = send(&bench).await.unwrap();
                    prop_assert!(send(&bench).await.is_err(), "one after the other");
                    answer(&mut probe, false, Duration::ZERO);
                    good += 1;
                    prop_assert!(good <= probes.max(1));
                }
                Ok(())
            })?;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_for_growing_times_while_probes_fail() {
        let bench = bench(Rules::default());
        for _ in 0..5 {
            answer(&mut send(&bench).await.unwrap(), true, Duration::ZERO);
        }
        for most in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
            let error = send(&bench).await.err().unwrap();
            let CallError::Open { retry_after, .. } = &error else { panic!("{error:?}") };
            let left = retry_after.as_secs_f64();
            assert!(left >= most * 0.74 && left <= most, "{left} of {most}");
            assert_eq!((error.code().status, error.retry_after()), (503, Some(*retry_after)));
            advance(*retry_after).await;
            answer(&mut send(&bench).await.unwrap(), true, Duration::ZERO);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rates_open_it_too() {
        let check = async |failed: &[bool], took: u64| {
            let rules = Rules { slow_rate: 50, minimum: 4, failures: 100, ..Rules::default() };
            let bench = bench(rules);
            for failed in failed {
                answer(&mut send(&bench).await.unwrap(), *failed, Duration::from_millis(took));
            }
            bench.upstream.breaker.state(Instant::now())
        };
        assert_eq!(check(&[true, false, true, false], 1).await, State::Closed);
        assert_eq!(check(&[true, false, true, true], 1).await, State::Open);
        assert_eq!(check(&[false; 3], 1000).await, State::Closed);
        assert_eq!(check(&[false; 4], 1000).await, State::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn it_belongs_to_the_service_or_to_one_lane_and_outlives_its_rules() {
        for (holder, shared) in [(Holder::Service, true), (Holder::Caller, false)] {
            let mut bench = bench(Rules { holder, failures: 1, ..Rules::default() });
            answer(&mut send(&bench).await.unwrap(), true, Duration::ZERO);
            assert!(send(&bench).await.is_err());
            let other = Arc::new(Lane::new(Origin::Route("/x".into()), bench.upstream.clone()));
            let own = std::mem::replace(&mut bench.lane, other);
            assert_eq!(send(&bench).await.is_err(), shared);
            bench.lane = own;
            bench.policy = Arc::new(Policy { breaker: None, ..Policy::default() });
            assert!(send(&bench).await.is_ok());
            bench.policy = Arc::new(Policy {
                breaker: Some(Rules { holder, failures: 9, ..Rules::default() }),
                ..Policy::default()
            });
            assert!(send(&bench).await.is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_reaches_no_instance_is_followed_by_another() {
        let bench = bench(Rules { failures: 1, ..Rules::default() });
        answer(&mut send(&bench).await.unwrap(), true, Duration::ZERO);
        advance(Duration::from_secs(1)).await;
        let inner = service_fn(|call: Call| async move {
            assert!(call.probes.service.is_some());
            Err(CallError::ParkingFull { service: call.exchange.upstream().name().clone() })
        });
        for _ in 0..3 {
            let error = layer().layer(inner).call(bench.get()).await.unwrap_err();
            assert!(matches!(error, CallError::ParkingFull { .. }));
        }
        assert_eq!(bench.upstream.breaker.state(Instant::now()), State::HalfOpen);
    }

    #[tokio::test(start_paused = true)]
    async fn what_it_would_refuse_is_not_tried_again_and_takes_nothing_from_the_budget() {
        let policy = Policy {
            breaker: Some(Rules { failures: 2, ..Rules::default() }),
            attempts: 10,
            ..Policy::default()
        };
        let bench = Bench::new(policy);
        bench.rotate(1);
        let inner = service_fn(|_: Call| async { Ok::<_, CallError>(status(503)) });
        let mut stack = crate::retry::layer().layer(layer().layer(outcome::layer().layer(inner)));
        let call = bench.get();
        let answer = stack.call(call).await.unwrap();
        assert_eq!(answer.status(), 503, "the service's own answer, not that of the breaker");
        for _ in 0..1000 {
            assert!(matches!(stack.call(bench.get()).await, Err(CallError::Open { .. })));
        }
    }
}

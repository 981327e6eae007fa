//! Tries a call again where that is safe and within the service's budget.
//!
//! What may be tried again: a call of which nothing was sent; and, after anything else, only one that is
//! idempotent (by method or by key), whose body is still whole here, and that has no answer but a 502, 503
//! or 504. Once an answer's head has been handed on, nothing is tried again.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Response, StatusCode, header::RETRY_AFTER};
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::{
    Body, CallError,
    exchange::{Call, Exchange},
};

const BASE: Duration = Duration::from_millis(25);
const CAP: Duration = Duration::from_millis(250);

/// Tries calls again.
pub(crate) fn layer() -> RetryLayer {
    RetryLayer
}

/// See [`layer`].
#[derive(Clone, Copy)]
pub(crate) struct RetryLayer;

/// See [`layer`].
#[derive(Clone, Copy)]
pub(crate) struct Retry<S>(S);

type Answer = Result<Response<Body>, CallError>;

/// How a call is tried again.
#[derive(Debug, PartialEq, Eq)]
enum Again {
    /// At once on a new connection: the server had closed the old one as the request went out.
    Stale,
    /// After a pause, because no connection could be made.
    Reconnect(Duration),
    /// After a pause.
    After(Duration),
}

/// What the attempts so far amount to.
struct Tries {
    /// Attempts that reached an instance.
    made: u32,
    stale: bool,
    /// When connecting failed first.
    unreachable: Option<Instant>,
}

// === impl Retry ===

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Retry<S> {
        Retry(inner)
    }
}

impl<S> Service<Call> for Retry<S>
where
    S: Service<Call, Response = Response<Body>, Error = CallError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = CallError;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        Box::pin(try_until_done(self.0.clone(), call))
    }
}

async fn try_until_done<S>(mut inner: S, first: Call) -> Answer
where
    S: Service<Call, Response = Response<Body>, Error = CallError>,
{
    let exchange = first.exchange.clone();
    exchange.upstream().budget.deposit(first.exchange.started);
    let mut tries = Tries { made: 0, stale: false, unreachable: None };
    let mut call = first;
    let mut unknown = None;
    loop {
        let number = call.attempt;
        let answer = inner.call(call).await;
        let Some(again) = tries.again(&exchange, &answer) else { return honest(answer, unknown) };
        let pause = again.pause();
        if !fits(&exchange, pause) || !exchange.upstream().budget.withdraw(Instant::now()) {
            return honest(answer, unknown);
        }
        // An answer and its connection are not needed while it waits.
        unknown = answer.err().filter(CallError::outcome_unknown).or(unknown);
        if !pause.is_zero() {
            exchange.worker.timer.sleep_until(Instant::now() + pause).await;
        }
        let stale = again == Again::Stale;
        call = exchange.again(number + 1, exchange.trail.endpoint().filter(|_| !stale), stale);
    }
}

/// The answer to a call of several attempts. One that was heard may have had its effect: that a later one was
/// certainly not heard does not undo it, so the call's outcome stays unknown.
fn honest(answer: Answer, unknown: Option<CallError>) -> Answer {
    match (answer, unknown) {
        (Err(last), Some(heard)) if !last.outcome_unknown() => Err(heard),
        (answer, _) => answer,
    }
}

fn fits(exchange: &Exchange, pause: Duration) -> bool {
    exchange.deadline().is_none_or(|deadline| Instant::now() + pause < deadline)
}

// === impl Tries ===

impl Tries {
    /// Whether and how the call is tried again after this answer.
    fn again(&mut self, exchange: &Arc<Exchange>, answer: &Answer) -> Option<Again> {
        if !exchange.upload.repeatable() {
            return None;
        }
        match answer {
            Err(CallError::Connect { .. }) => self.reconnect(exchange),
            Err(CallError::Broken { .. } | CallError::Timeout { .. }) if exchange.idempotent() => {
                let stale = exchange.trail.reused() && matches!(answer, Err(CallError::Broken { .. }));
                if stale && !self.stale {
                    self.stale = true;
                    return Some(Again::Stale);
                }
                self.count(exchange).map(Again::After)
            }
            Ok(response) if exchange.idempotent() => {
                let own = match response.status() {
                    StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Duration::ZERO,
                    StatusCode::SERVICE_UNAVAILABLE => retry_after(response),
                    _ => return None,
                };
                self.count(exchange).map(|pause| Again::After(pause.max(own)))
            }
            _ => None,
        }
    }

    /// The pause before another attempt, if one is left.
    fn count(&mut self, exchange: &Exchange) -> Option<Duration> {
        self.made += 1;
        (self.made < exchange.policy.attempts).then(|| backoff(exchange, self.made))
    }

    /// Failures to connect do not count as attempts, because nothing happened; they have a time of their own.
    fn reconnect(&mut self, exchange: &Exchange) -> Option<Again> {
        let since = *self.unreachable.get_or_insert_with(Instant::now);
        let allowed = exchange.policy.attempts > 1 && since.elapsed() < exchange.policy.connect_timeout;
        allowed.then(|| Again::Reconnect(backoff(exchange, 1)))
    }
}

impl Again {
    fn pause(&self) -> Duration {
        match self {
            Self::Stale => Duration::ZERO,
            Self::Reconnect(pause) | Self::After(pause) => *pause,
        }
    }
}

/// Full jitter over an exponential pause ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
fn backoff(exchange: &Exchange, tries: u32) -> Duration {
    exchange.worker.random.up_to((BASE * (1 << tries.saturating_sub(1).min(8))).min(CAP))
}

/// The seconds that a 503 asks to wait for; the form with a date is not read, so that no clock is compared.
fn retry_after(response: &Response<Body>) -> Duration {
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0).min(86_400))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

    use http::Request;
    use tower::service_fn;

    use super::*;
    use crate::{
        Context as CallContext, Deadline, Policy,
        exchange::Target,
        testing::{Bench, status},
    };

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Outcome {
        Connect,
        Broken,
        Timeout,
        Status(u16),
    }

    impl Outcome {
        fn answer(self, exchange: &Exchange) -> Answer {
            let service = exchange.upstream().name().clone();
            let source = || "as told".into();
            match self {
                Self::Connect => Err(CallError::Connect { service, source: source() }),
                Self::Broken => Err(CallError::Broken { service, source: source() }),
                Self::Timeout => Err(exchange.timeout(exchange.started)),
                Self::Status(code) => Ok(status(code)),
            }
        }
    }

    /// The number of attempts at a call whose every attempt ends in this way.
    async fn tries(bench: &Bench, call: Call, outcome: Outcome) -> u32 {
        tries_and(bench, call, move |_| outcome).await
    }

    async fn tries_and(
        _bench: &Bench,
        call: Call,
        outcome: impl Fn(u32) -> Outcome + Clone + Send + 'static,
    ) -> u32 {
        let tried = Arc::new(AtomicU32::new(0));
        let counted = tried.clone();
        let inner = service_fn(move |call: Call| {
            let (counted, outcome) = (counted.clone(), outcome.clone());
            async move {
                assert_eq!(counted.fetch_add(1, Relaxed) + 1, call.attempt);
                outcome(call.attempt).answer(&call.exchange)
            }
        });
        let _ = layer().layer(inner).call(call).await;
        tried.load(Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_safe_is_tried_again() {
        use Outcome::*;
        let once = [Status(200), Status(404), Status(429), Status(500), Status(501)];
        let unsafe_twice = [Broken, Timeout, Status(502), Status(503), Status(504)];
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "POST", "PATCH", "CUSTOM"] {
            for key in [false, true] {
                let bench = Bench::new(Policy::default());
                let request = || {
                    let mut request = Request::builder().method(method);
                    if key {
                        request = request.header("idempotency-key", "k");
                    }
                    bench.call(request.body(Body::from("x")).unwrap())
                };
                for outcome in once {
                    assert_eq!(tries(&bench, request(), outcome).await, 1, "{method} {key} {outcome:?}");
                }
                let safe = key || !["POST", "PATCH", "CUSTOM"].contains(&method);
                for outcome in unsafe_twice {
                    let expected = if safe { 3 } else { 1 };
                    assert_eq!(
                        tries(&bench, request(), outcome).await,
                        expected,
                        "{method} {key} {outcome:?}"
                    );
                }
                let unsent = tries_and(&bench, request(), |n| if n < 5 { Connect } else { Status(200) });
                assert_eq!(unsent.await, 5, "{method}: nothing was sent");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retries_stay_within_the_budget() {
        let bench = Bench::new(Policy { attempts: 10, ..Policy::default() });
        let (mut attempts, calls, begin) = (0, 2000, Instant::now());
        for _ in 0..calls {
            attempts += tries(&bench, bench.get(), Outcome::Status(503)).await;
            if bench.worker.random.below(10) == 0 {
                tokio::time::advance(Duration::from_millis(20)).await;
            }
        }
        assert!(attempts > calls, "some are tried again");
        let floor = 10.0 * begin.elapsed().as_secs_f64() + 100.0;
        assert!(f64::from(attempts - calls) <= f64::from(calls) * 0.2 + floor, "{attempts}");
        // Within one window, so that nothing is forgiven.
        let bench = Bench::new(Policy { attempts: 10, ..Policy::default() });
        let all = (0..1000).map(|_| tries(&bench, bench.get(), Outcome::Connect));
        let attempts: u32 = futures_util::future::join_all(all).await.into_iter().sum();
        assert!(attempts <= 1000 + 200 + 100, "{attempts}");
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_obeyed_if_there_is_time() {
        let bench = Bench::new(Policy::default());
        let asks = |seconds: &'static str| {
            service_fn(move |call: Call| async move {
                let mut response = status(if call.attempt == 1 { 503 } else { 200 });
                response.headers_mut().insert(RETRY_AFTER, seconds.parse().unwrap());
                Ok::<_, CallError>(response)
            })
        };
        let begin = Instant::now();
        let answer = layer().layer(asks("2")).call(bench.get()).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(begin.elapsed() >= Duration::from_secs(2), "{:?}", begin.elapsed());

        let begin = Instant::now();
        let answer = layer().layer(asks("20")).call(bench.get()).await.unwrap();
        assert_eq!(answer.status(), 503, "20 s are longer than the call has");
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_with_full_jitter_up_to_the_cap() {
        let bench = Bench::new(Policy::default());
        let exchange = bench.get().exchange;
        for (tries, cap) in [(1, 25), (2, 50), (3, 100), (4, 200), (5, 250), (60, 250)] {
            let pauses: Vec<_> = (0..500).map(|_| backoff(&exchange, tries).as_millis()).collect();
            let (least, most) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
            assert!(*most <= cap && *most > cap * 9 / 10 && *least < cap / 10, "{tries}: {least} to {most}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_connection_is_replaced_once_and_at_no_cost() {
        let bench = Bench::new(Policy { attempts: 1, ..Policy::default() });
        let begin = Instant::now();
        let inner = service_fn(|call: Call| async move {
            assert_eq!(call.fresh, call.attempt > 1);
            call.exchange.trail.reuses(true);
            Outcome::Broken.answer(&call.exchange)
        });
        let call = bench.get();
        let exchange = call.exchange.clone();
        assert!(layer().layer(inner).call(call).await.is_err());
        assert_eq!(begin.elapsed(), Duration::ZERO);
        drop(exchange);
    }

    #[tokio::test(start_paused = true)]
    async fn another_instance_is_preferred() {
        let bench = Bench::new(Policy::default());
        bench.rotate(3);
        let last = Arc::new(AtomicU64::new(0));
        let tried = last.clone();
        let inner = service_fn(move |call: Call| {
            let random = &call.exchange.worker.random;
            let target = call.exchange.upstream().pick(call.avoid, random, call.began);
            let Some(Target::Remote(endpoint)) = &target else { panic!("no instance") };
            let before = tried.swap(endpoint.number, Relaxed);
            assert!(call.attempt == 1 || before != endpoint.number);
            call.exchange.trail.begin(call.attempt, 1, target.as_ref().unwrap());
            async { Ok::<_, CallError>(status(502)) }
        });
        for _ in 0..30 {
            layer().layer(inner.clone()).call(bench.get()).await.unwrap();
        }
        assert_ne!(last.load(Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_begins_after_the_callers_deadline() {
        let bench = Bench::new(Policy { attempts: 100, ..Policy::default() });
        let mut request = Request::new(Body::empty());
        let mut context = CallContext::root();
        context.deadline = Some(Deadline::after(Duration::from_millis(200)));
        request.extensions_mut().insert(context);
        let begin = Instant::now();
        let call = bench.call(request);
        assert!(tries(&bench, call, Outcome::Status(503)).await > 1);
        assert!(begin.elapsed() <= Duration::from_millis(210), "{:?}", begin.elapsed());
    }
}

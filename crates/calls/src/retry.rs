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
    exchange.upstream.budget.deposit(first.exchange.started);
    let mut tries = Tries { made: 0, stale: false, unreachable: None };
    let mut call = first;
    loop {
        let number = call.attempt;
        let answer = inner.call(call).await;
        let Some(again) = tries.again(&exchange, &answer) else { return answer };
        let pause = again.pause();
        if !fits(&exchange, pause) || !exchange.upstream.budget.withdraw(Instant::now()) {
            return answer;
        }
        // The answer and its connection are not needed while it waits.
        drop(answer);
        if !pause.is_zero() {
            exchange.worker.timer.sleep_until(Instant::now() + pause).await;
        }
        let stale = again == Again::Stale;
        call = exchange.attempt(number + 1, exchange.trail.endpoint().filter(|_| !stale), stale);
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

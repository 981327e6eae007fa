//! Tries a call again where that is safe and within the service's budget.
//!
//! What may be tried again: a call of which nothing was sent; and, after anything else, only one that is
//! idempotent (by method or by key), whose body is still whole here, and that has no answer but a 502, 503
//! or 504, or a gRPC status `UNAVAILABLE` without a message. Once an answer's head has been handed on, nothing is
//! tried again. A 429 goes to whoever asks too much: only they can ask less.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use http::{HeaderName, HeaderValue, Response, StatusCode, header::RETRY_AFTER};
use http_body::Body as _;
use madang_model::policy::Backoff;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::{
    Body, CallError,
    context::later,
    exchange::{Call, Exchange},
};

/// `UNAVAILABLE`: the service cannot answer now, and the same call may be made again.
const GRPC_UNAVAILABLE: &str = "14";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

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
    let mut tries = Tries { made: 0, stale: false };
    let mut call = first;
    let mut unknown = None;
    loop {
        let number = call.attempt;
        let answer = inner.call(call).await;
        let again = tries.again(&exchange, &answer).filter(|again| {
            let pause = again.pause();
            // What the breaker would refuse is not asked for: the answer that opened it says more.
            let refused = exchange.is_broken(later(Instant::now(), pause));
            !refused && fits(&exchange, pause) && withdraw(&exchange)
        });
        let Some(again) = again else { return honest(answer, unknown) };
        let pause = again.pause();
        // An answer and its connection are not needed while it waits.
        unknown = answer.err().filter(CallError::outcome_unknown).or(unknown);
        if !pause.is_zero() {
            exchange.worker.timer.sleep_until(later(Instant::now(), pause)).await;
        }
        let stale = again == Again::Stale;
        call = exchange.again(number + 1, exchange.trail.endpoint().filter(|_| !stale), stale);
    }
}

/// The answer to a call of several attempts. One that was heard may have had its effect: that a later one was
/// certainly not heard does not undo it, so the call's outcome stays unknown.
fn honest(mut answer: Answer, unknown: Option<CallError>) -> Answer {
    if let (Err(last), Some(heard)) = (&mut answer, unknown)
        && !last.outcome_unknown()
    {
        *last = heard;
    }
    answer
}

fn fits(exchange: &Exchange, pause: Duration) -> bool {
    exchange.deadline().is_none_or(|deadline| later(Instant::now(), pause) < deadline)
}

fn withdraw(exchange: &Exchange) -> bool {
    exchange.upstream().budget.withdraw(Instant::now(), &exchange.policy.retry_budget)
}

// === impl Tries ===

impl Tries {
    /// Whether and how the call is tried again after this answer.
    fn again(&mut self, exchange: &Arc<Exchange>, answer: &Answer) -> Option<Again> {
        if !exchange.upload.repeatable() {
            return None;
        }
        match answer {
            Err(CallError::Connect { .. }) => reconnect(exchange),
            Err(CallError::Broken { .. } | CallError::Timeout { .. }) if exchange.idempotent() => {
                let stale = exchange.trail.reused() && matches!(answer, Err(CallError::Broken { .. }));
                if stale && !self.stale {
                    self.stale = true;
                    return Some(Again::Stale);
                }
                self.count(exchange).map(Again::After)
            }
            Ok(response) if exchange.idempotent() => {
                let own = asks_for(response)?;
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
}

/// Failures to connect do not count as attempts, because nothing happened; they have a time of their own.
fn reconnect(exchange: &Exchange) -> Option<Again> {
    let pause = backoff(exchange, 1);
    let allowed = exchange.policy.attempts > 1 && later(Instant::now(), pause) < exchange.connect_due();
    allowed.then_some(Again::Reconnect(pause))
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
    let Backoff { base, cap } = exchange.policy.backoff;
    exchange.worker.random.up_to(base.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(cap))
}

/// The pause that an answer asks for, if it is one after which to try again.
fn asks_for(response: &Response<Body>) -> Option<Duration> {
    let headers = response.headers();
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match response.status() {
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Some(Duration::ZERO),
        StatusCode::SERVICE_UNAVAILABLE => {
            Some(headers.get(RETRY_AFTER).map(retry_after).unwrap_or_default())
        }
        // In the head only if there is no message ("Trailers-Only"). A pushback that is no number says not to
        // try again (gRFC A6).
        StatusCode::OK if response.body().is_end_stream() && text(GRPC_STATUS) == Some(GRPC_UNAVAILABLE) => {
            text(GRPC_PUSHBACK).map_or(Some(0), |millis| millis.parse().ok()).map(Duration::from_millis)
        }
        _ => None,
    }
}

/// The time to wait for, given in seconds or by the date of its end (RFC 9110, section 10.2.3); none if it is
/// neither.
fn retry_after(value: &HeaderValue) -> Duration {
    let text = value.to_str().unwrap_or_default();
    let seconds = text.parse().ok().map(Duration::from_secs);
    let until = || httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok();
    seconds.or_else(until).unwrap_or_default()
}

#[cfg(test)]
mod tests;

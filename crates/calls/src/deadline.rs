//! The time limits of a call: of the whole, and of one attempt at it.
//!
//! A limit covers the head of the answer and, if its length is known, its body. A streaming answer is watched
//! for silence instead. A request body of unknown length may take longer than the limit while it progresses.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Response;
use http_body::Body as _;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::{
    Body, CallError, Policy,
    context::later,
    exchange::{Call, Exchange},
    timer::Sleep,
    watch::Watch,
};

/// Ends a call when its total time is over.
pub(crate) fn total() -> DeadlineLayer {
    DeadlineLayer(Scope::Total)
}

/// Ends an attempt when its time is over.
pub(crate) fn attempt() -> DeadlineLayer {
    DeadlineLayer(Scope::Attempt)
}

/// See [`total`] and [`attempt`].
#[derive(Clone, Copy)]
pub(crate) struct DeadlineLayer(Scope);

/// See [`total`] and [`attempt`].
#[derive(Clone, Copy)]
pub(crate) struct Deadlined<S> {
    inner: S,
    scope: Scope,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Total,
    Attempt,
}

pin_project_lite::pin_project! {
    /// The future of [`Deadlined`].
    pub(crate) struct Limited<F> {
        #[pin]
        inner: F,
        running: Option<Running>,
    }
}

/// A limit that runs.
struct Running {
    exchange: Arc<Exchange>,
    started: Instant,
    limit: Duration,
    scope: Scope,
    sleep: Option<Sleep>,
    /// Whether there was no time left to begin with.
    late: bool,
}

// === impl Deadlined ===

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadlined<S>;

    fn layer(&self, inner: S) -> Deadlined<S> {
        Deadlined { inner, scope: self.0 }
    }
}

impl<S> Service<Call> for Deadlined<S>
where
    S: Service<Call, Response = Response<Body>, Error = CallError>,
{
    type Response = Response<Body>;
    type Error = CallError;
    type Future = Limited<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let running = Running::begin(&call, self.scope);
        Limited { inner: self.inner.call(call), running }
    }
}

impl<F> Future for Limited<F>
where
    F: Future<Output = Result<Response<Body>, CallError>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(running) = this.running else { return this.inner.poll(cx) };
        let mut polled = if running.late { running.fails() } else { this.inner.poll(cx) };
        match &mut polled {
            Poll::Ready(Ok(response)) => running.goes_on(response),
            Poll::Ready(Err(_)) => {}
            Poll::Pending if running.ended(cx) => polled = running.fails(),
            Poll::Pending => {}
        }
        polled
    }
}

// === impl Running ===

impl Running {
    fn begin(call: &Call, scope: Scope) -> Option<Self> {
        let exchange = &call.exchange;
        let Policy { timeout, attempt_timeout, .. } = *exchange.policy;
        let (started, limit) = match scope {
            Scope::Total => (exchange.started, timeout),
            // That of the whole call is the same limit.
            Scope::Attempt if call.began == exchange.started && attempt_timeout >= timeout => return None,
            Scope::Attempt => (call.began, attempt_timeout),
        };
        // An attempt that may last as long as the whole call needs no timer of its own.
        let needed = scope == Scope::Total
            || exchange.deadline().is_none_or(|deadline| later(started, limit) < deadline);
        let due = exchange.due(started, limit, call.began);
        let sleep = needed.then(|| exchange.worker.timer.sleep_until(due.unwrap_or(started)));
        Some(Self { exchange: exchange.clone(), started, limit, scope, sleep, late: due.is_none() })
    }

    fn fails<T>(&self) -> Poll<Result<T, CallError>> {
        Poll::Ready(Err(self.exchange.timeout(self.started)))
    }

    /// Whether the time is over.
    fn ended(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(sleep) = &mut self.sleep else { return false };
        while Pin::new(&mut *sleep).poll(cx).is_ready() {
            match self.exchange.due(self.started, self.limit, Instant::now()) {
                Some(due) => sleep.reset(due),
                None => return true,
            }
        }
        false
    }

    /// Puts the answer's body under the limit too; or, if it streams, watches it for silence.
    fn goes_on(&mut self, response: &mut Response<Body>) {
        let Some(sleep) = self.sleep.take() else { return };
        let (exchange, body) = (&self.exchange, response.body_mut());
        if body.size_hint().exact().is_some() {
            body.watch(|| Watch::total(exchange.clone(), sleep, self.started, self.limit));
        } else if self.scope == Scope::Total {
            body.watch(|| Watch::idle(exchange.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use tokio::time::sleep;
    use tower::service_fn;

    use super::*;
    use crate::{
        Context as CallContext, Deadline,
        testing::{Bench, status},
        timer::STEP,
        upload::Upload,
    };

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Never early, and at most a step late, whatever the limits and however slow the answer.
    #[tokio::test(start_paused = true)]
    async fn no_call_lasts_longer_than_its_limits_and_a_step() {
        let random = crate::random::Random::seeded(19);
        for _ in 0..300 {
            let [total, attempt, callers, takes] = [(); 4].map(|()| millis(random.below(3000) as u64 + 1));
            let bench = Bench::new(Policy { timeout: total, attempt_timeout: attempt, ..Policy::default() });
            let mut request = Request::new(Body::empty());
            let context = CallContext { deadline: Some(Deadline::after(callers)), ..CallContext::root() };
            request.extensions_mut().insert(context);
            let inner = service_fn(move |_: Call| async move {
                sleep(takes).await;
                Ok::<_, CallError>(status(200))
            });
            let begin = Instant::now();
            let call = bench.call(request);
            let answer = super::total().layer(super::attempt().layer(inner)).call(call).await;
            let (took, limit) = (begin.elapsed(), total.min(attempt).min(callers));
            assert!(took <= limit + STEP, "{took:?} of {limit:?}");
            assert!(answer.is_ok() || took >= limit, "{took:?} of {limit:?}");
            assert!(answer.is_err() || took == takes);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_has_no_time_left_is_not_begun() {
        let bench = Bench::new(Policy::default());
        let mut request = Request::new(Body::empty());
        let context = CallContext { deadline: Some(Deadline::after(millis(0))), ..CallContext::root() };
        request.extensions_mut().insert(context);
        let inner = service_fn(|_: Call| async { panic!("it was begun") });
        let error = super::total().layer(inner).call(bench.call(request)).await.unwrap_err();
        assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
    }

    /// The time that a call took whose body of unknown length comes in parts after these pauses, and whose
    /// answer comes so long after its end.
    async fn upload(policy: Policy, pauses: &[u64], answers: u64) -> (Duration, bool) {
        let bench = Bench::new(policy);
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let begin = Instant::now();
        let call = bench.call(Request::post("/").body(Body::new(Parts(receiver))).unwrap());
        let pauses = pauses.to_vec();
        tokio::spawn(async move {
            for pause in pauses {
                sleep(millis(pause)).await;
                let _ = sender.send(bytes::Bytes::from_static(b"part")).await;
            }
        });
        let inner = service_fn(move |call: Call| async move {
            let mut body = Upload::send(&call.exchange, call.attempt);
            while http_body_util::BodyExt::frame(&mut body).await.is_some() {}
            sleep(millis(answers)).await;
            Ok::<_, CallError>(status(200))
        });
        let answer = super::total().layer(inner).call(call).await;
        (begin.elapsed(), answer.is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_the_caller_does_not_send_is_no_failure_of_the_service() {
        let bench = Bench::new(Policy { idle_timeout: millis(1000), ..Policy::default() });
        let (_sender, receiver) = tokio::sync::mpsc::channel(1);
        let call = bench.call(Request::post("/").body(Body::new(Parts(receiver))).unwrap());
        let exchange = call.exchange.clone();
        let inner = service_fn(|call: Call| async move {
            let mut body = Upload::send(&call.exchange, call.attempt);
            while http_body_util::BodyExt::frame(&mut body).await.is_some() {}
            Ok::<_, CallError>(status(200))
        });
        let error = super::total().layer(inner).call(call).await.unwrap_err();
        assert!(matches!(error, CallError::Stalled { .. }), "{error:?}");
        assert_eq!((error.code().status, exchange.upload.failed()), (408, true));
    }

    struct Parts(tokio::sync::mpsc::Receiver<bytes::Bytes>);

    impl http_body::Body for Parts {
        type Data = bytes::Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
            self.0.poll_recv(cx).map(|part| part.map(|part| Ok(http_body::Frame::data(part))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_of_unknown_length_has_time_while_it_progresses() {
        let policy = Policy { timeout: millis(1000), idle_timeout: millis(3000), ..Policy::default() };
        let (took, ok) = upload(policy.clone(), &[2000, 2000, 2000], 900).await;
        assert!(ok && took == millis(6900), "{took:?}");

        let (took, ok) = upload(policy.clone(), &[2000, 100], 5000).await;
        assert!(
            !ok && took >= millis(3100) && took <= millis(3100) + STEP * 2,
            "the limit after it: {took:?}"
        );

        let (took, ok) = upload(policy, &[1000, 9000], 0).await;
        assert!(!ok && took >= millis(4000) && took <= millis(4000) + STEP * 2, "stuck: {took:?}");
    }
}

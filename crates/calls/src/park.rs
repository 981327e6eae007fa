//! Chooses where an attempt goes, and lets it wait while it can go nowhere.
//!
//! A service that restarts has no instance for a moment. Its calls park, bounded in number and by their
//! deadline, and go on when one is ready; then a restart is only a slow answer.

use std::{
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use http::Response;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::{
    Body, BoxError, CallError, Upstream,
    context::later,
    elsewhere::Refusal,
    exchange::{Call, Exchange},
};

/// When it is worth trying again after no instance came.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Chooses where attempts go; they wait here.
pub(crate) fn layer() -> ParkLayer {
    ParkLayer
}

/// See [`layer`].
#[derive(Clone, Copy)]
pub(crate) struct ParkLayer;

/// See [`layer`].
#[derive(Clone, Copy)]
pub(crate) struct Park<S>(S);

pin_project_lite::pin_project! {
    /// The future of [`Park`]: almost always that of the layer inside, without a box.
    #[project = ParkedProjection]
    pub(crate) enum Parked<F> {
        Passed { #[pin] inner: F },
        Waits { waits: Pin<Box<dyn Future<Output = Result<Response<Body>, CallError>> + Send>> },
    }
}

/// A call that waits, counted while it does.
struct Place<'a> {
    exchange: &'a Exchange,
    since: Instant,
}

#[derive(Debug, thiserror::Error)]
#[error("no instance accepts connections")]
struct Unreachable;

// === impl Park ===

impl<S> Layer<S> for ParkLayer {
    type Service = Park<S>;

    fn layer(&self, inner: S) -> Park<S> {
        Park(inner)
    }
}

impl<S> Service<Call> for Park<S>
where
    S: Service<Call, Response = Response<Body>, Error = CallError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = CallError;
    type Future = Parked<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        if choose(&mut call) {
            return Parked::Passed { inner: self.0.call(call) };
        }
        let mut inner = self.0.clone();
        Parked::Waits {
            waits: Box::pin(async move {
                wait(&mut call).await?;
                inner.call(call).await
            }),
        }
    }
}

impl<F> Future for Parked<F>
where
    F: Future<Output = Result<Response<Body>, CallError>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ParkedProjection::Passed { inner } => inner.poll(cx),
            ParkedProjection::Waits { waits } => waits.as_mut().poll(cx),
        }
    }
}

/// Chooses where it goes, if it can go anywhere now.
fn choose(call: &mut Call) -> bool {
    let Exchange { worker, policy, .. } = &*call.exchange;
    let chosen = call.exchange.upstream().pick(call.avoid, policy, &worker.random, call.began);
    let Some((target, probe)) = chosen else { return false };
    call.target = Some(target);
    call.probes.instance = probe;
    true
}

async fn wait(call: &mut Call) -> Result<(), CallError> {
    let exchange = call.exchange.clone();
    let upstream: &Arc<Upstream> = exchange.upstream();
    let place = Place::take(&exchange)?;
    loop {
        let mut changed = pin!(upstream.changed.notified());
        // From here on no change is missed; so look once more before waiting.
        changed.as_mut().enable();
        call.began = Instant::now();
        if choose(call) {
            return Ok(());
        }
        let opens = upstream.opens();
        if let Some(why) = upstream.left_out().filter(|_| opens.is_none()) {
            return Err(CallError::LeftOut { service: upstream.name().clone(), why });
        }
        let patience = place.patience(opens.is_some());
        if patience <= Instant::now() {
            return Err(place.gives_up(opens.is_some()));
        }
        // An instance that is in rotation and refuses is tried again by one of those who wait.
        let look =
            opens.map_or(patience, |opens| opens.max(Instant::now() + crate::timer::STEP).min(patience));
        tokio::select! {
            () = changed => {}
            () = exchange.worker.timer.sleep_until(look) => {}
        }
        if opens.is_none() {
            exchange.trail.connect_later(call.began.elapsed());
        }
    }
}

// === impl Place ===

impl<'a> Place<'a> {
    fn take(exchange: &'a Exchange) -> Result<Self, CallError> {
        let place = Self { exchange, since: Instant::now() };
        let before = exchange.upstream().parked.fetch_add(1, Relaxed);
        if before >= exchange.policy.parked as usize {
            return Err(CallError::ParkingFull { service: exchange.upstream().name().clone() });
        }
        Ok(place)
    }

    /// Until when it waits: for an instance as long as the call has time, for one that refuses connections no
    /// longer than connecting may take.
    fn patience(&self, refused: bool) -> Instant {
        let policy = &self.exchange.policy;
        let due = self.exchange.deadline().unwrap_or_else(|| later(self.exchange.started, policy.timeout));
        if refused { due.min(self.exchange.connect_due()) } else { due }
    }

    fn gives_up(&self, refused: bool) -> CallError {
        let service = self.exchange.upstream().name().clone();
        if refused {
            // What is known of servers elsewhere says more than that there are none.
            let refusal = self.exchange.upstream().refusal().map(|why| BoxError::from(Refusal(why)));
            CallError::Connect { service, source: refusal.unwrap_or_else(|| Unreachable.into()) }
        } else {
            CallError::NoInstance { service, retry_after: RETRY_AFTER }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.exchange.upstream().parked.fetch_sub(1, Relaxed);
        self.exchange.trail.parked_for(self.since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use madang_wire::service::ServiceEndpoints;
    use tokio::task::{JoinSet, yield_now};
    use tower::service_fn;

    use super::*;
    use crate::{
        Policy,
        testing::{Bench, status},
    };

    type Answer = Result<Response<Body>, CallError>;

    /// Lets so many calls go; each is answered once it has somewhere to go.
    async fn park(bench: &Bench, count: usize) -> JoinSet<Answer> {
        let mut calls = JoinSet::new();
        for _ in 0..count {
            let inner = service_fn(|call: Call| async move {
                assert!(call.target.is_some());
                Ok::<_, CallError>(status(200))
            });
            calls.spawn(layer().layer(inner).call(bench.get()));
        }
        // As often as it takes for each to be polled once.
        for _ in 0..=count {
            yield_now().await;
        }
        calls
    }

    fn parked(bench: &Bench) -> usize {
        bench.upstream.parked.load(Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn calls_wait_for_an_instance_and_go_on_when_one_is_ready() {
        let bench = Bench::new(Policy::default());
        let begin = Instant::now();
        let calls = park(&bench, 100).await;
        assert_eq!(parked(&bench), 100);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(parked(&bench), 100);
        bench.rotate(1);
        assert!(calls.join_all().await.into_iter().all(|answer| answer.is_ok()));
        assert_eq!((parked(&bench), begin.elapsed()), (0, Duration::from_secs(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_bounded_in_number() {
        let bench = Bench::new(Policy { parked: 10, ..Policy::default() });
        let calls = park(&bench, 25).await;
        assert_eq!(parked(&bench), 10);
        bench.rotate(1);
        let answers = calls.join_all().await;
        let full = |answer: &&Answer| matches!(answer, Err(CallError::ParkingFull { .. }));
        assert_eq!(answers.iter().filter(full).count(), 15);
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_bounded_by_their_deadline() {
        let bench = Bench::new(Policy { timeout: Duration::from_secs(2), ..Policy::default() });
        let begin = Instant::now();
        for answer in park(&bench, 5).await.join_all().await {
            let error = answer.unwrap_err();
            assert!(matches!(error, CallError::NoInstance { retry_after: RETRY_AFTER, .. }), "{error:?}");
        }
        let late = begin.elapsed() - Duration::from_secs(2);
        assert!(late <= crate::timer::STEP, "{late:?}");
        assert_eq!(parked(&bench), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_service_that_is_left_out() {
        let bench = Bench::new(Policy::default());
        let calls = park(&bench, 3).await;
        let left_out = |why: Option<&str>| {
            let left_out = why.map(str::to_owned);
            bench.upstream.apply(&ServiceEndpoints { left_out, ..ServiceEndpoints::default() });
        };
        let begin = Instant::now();
        left_out(Some("`java` is not in PATH"));
        for answer in calls.join_all().await.into_iter().chain(park(&bench, 2).await.join_all().await) {
            let error = answer.unwrap_err();
            assert_eq!(error.problem().code, "MDG-CALL-010");
            assert!(error.problem().detail.unwrap().ends_with(" is left out: `java` is not in PATH"));
            assert!(error.retryable() && !error.outcome_unknown());
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
        // One that joins is called, whatever is left out.
        left_out(None);
        let calls = park(&bench, 1).await;
        bench.rotate(1);
        assert!(calls.join_all().await.iter().all(Result::is_ok));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_leaves_gives_its_place_back() {
        let bench = Bench::new(Policy::default());
        let mut calls = park(&bench, 7).await;
        calls.shutdown().await;
        assert_eq!(parked(&bench), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_at_a_time_tries_an_instance_that_refuses() {
        let bench = Bench::new(Policy::default());
        bench.rotate(1);
        let endpoint = bench.upstream.endpoints()[0].clone();
        endpoint.refused(Instant::now());
        let calls = park(&bench, 50).await;
        assert_eq!(parked(&bench), 50);
        // The first who may try leaves its place; the others follow once it has connected.
        tokio::time::advance(Duration::from_millis(40)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(parked(&bench), 49);
        assert!(endpoint.reached());
        bench.upstream.changed.notify_waiters();
        assert!(calls.join_all().await.into_iter().all(|answer| answer.is_ok()));
    }
}

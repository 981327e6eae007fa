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
    Body, CallError, Upstream,
    context::later,
    exchange::{Call, Exchange, Target},
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
        call.target = choose(&call);
        if call.target.is_some() {
            return Parked::Passed { inner: self.0.call(call) };
        }
        let mut inner = self.0.clone();
        Parked::Waits {
            waits: Box::pin(async move {
                call.target = Some(wait(&call).await?);
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

fn choose(call: &Call) -> Option<Target> {
    call.exchange.upstream.pick(call.avoid, &call.exchange.worker.random, Instant::now())
}

async fn wait(call: &Call) -> Result<Target, CallError> {
    let exchange = &call.exchange;
    let upstream: &Arc<Upstream> = &exchange.upstream;
    let place = Place::take(exchange)?;
    loop {
        let mut changed = pin!(upstream.changed.notified());
        // From here on no change is missed; so look once more before waiting.
        changed.as_mut().enable();
        if let Some(target) = choose(call) {
            return Ok(target);
        }
        let opens = upstream.opens();
        let patience = place.patience(opens.is_some());
        if patience <= Instant::now() {
            return Err(place.gives_up(opens.is_some()));
        }
        // An instance that is in rotation and refuses is tried again by one of those who wait.
        let look = opens.map_or(patience, |opens| opens.max(Instant::now() + crate::timer::STEP).min(patience));
        tokio::select! {
            () = changed => {}
            () = exchange.worker.timer.sleep_until(look) => {}
        }
    }
}

// === impl Place ===

impl<'a> Place<'a> {
    fn take(exchange: &'a Exchange) -> Result<Self, CallError> {
        let place = Self { exchange, since: Instant::now() };
        let before = exchange.upstream.parked.fetch_add(1, Relaxed);
        if before >= exchange.policy.parked {
            return Err(CallError::ParkingFull { service: exchange.upstream.name().clone() });
        }
        Ok(place)
    }

    /// Until when it waits: for an instance as long as the call has time, for one that refuses connections no
    /// longer than connecting may take.
    fn patience(&self, refused: bool) -> Instant {
        let policy = &self.exchange.policy;
        let due = self.exchange.deadline().unwrap_or_else(|| later(self.exchange.started, policy.timeout));
        if refused { due.min(later(self.since, policy.connect_timeout)) } else { due }
    }

    fn gives_up(&self, refused: bool) -> CallError {
        let service = self.exchange.upstream.name().clone();
        if refused {
            CallError::Connect { service, source: Unreachable.into() }
        } else {
            CallError::NoInstance { service, retry_after: RETRY_AFTER }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.exchange.upstream.parked.fetch_sub(1, Relaxed);
        self.exchange.trail.parked_for(self.since.elapsed());
    }
}

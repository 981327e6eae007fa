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
mod tests;

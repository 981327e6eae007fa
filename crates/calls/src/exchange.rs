//! One call on its way through the stack, and what all its attempts share.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Method, Uri, Version, request::Parts};
use madang_model::policy::Priority;
use madang_wire::Fallback;
use tokio::time::Instant;

use crate::{
    Body, CallError, Context, Form, Lane, Policy, Renewal, Upstream,
    client::Worker,
    context::{DAY, later},
    endpoint::Endpoint,
    fields::Copied,
    grpc::grpc_timeout,
    local::Local,
    names::IDEMPOTENCY_KEY,
    outcome::Probes,
    upload::Upload,
};

/// One call, or one attempt at it: what the layers hand on.
pub(crate) struct Call {
    pub(crate) exchange: Arc<Exchange>,
    /// The number of the attempt, from 1.
    pub(crate) attempt: u32,
    /// When the attempt began, after any wait for an instance. The clock is read once for all layers.
    pub(crate) began: Instant,
    /// The endpoint that failed before: another one is better.
    pub(crate) avoid: Option<u64>,
    /// Whether only a new connection will do.
    pub(crate) fresh: bool,
    /// Where it goes, once that is chosen.
    pub(crate) target: Option<Target>,
    /// What it is to find out besides.
    pub(crate) probes: Probes,
}

/// Where an attempt goes.
#[derive(Clone)]
pub(crate) enum Target {
    /// To the service hosted in this process.
    Local(Arc<Local>),
    /// To an instance.
    Remote(Arc<Endpoint>),
}

/// What all attempts of one call share.
pub(crate) struct Exchange {
    pub(crate) worker: Arc<Worker>,
    pub(crate) lane: Arc<Lane>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) context: Context,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    /// Whether it is a call of gRPC, which there is over HTTP/2 only.
    pub(crate) grpc: bool,
    /// When all of a gRPC call is due, its streams included, if its caller says so.
    pub(crate) grpc_due: Option<Instant>,
    /// Whether what goes wrong in the middle of an answer can be said at its end.
    pub(crate) reads_trailers: bool,
    idempotent: bool,
    fields: Mutex<Fields>,
    pub(crate) upload: Upload,
    pub(crate) started: Instant,
    pub(crate) trail: Trail,
    /// What the connection is to speak once this is answered, if the request asks for it.
    pub(crate) switch: OnceLock<HeaderValue>,
    /// What the cache has that asks, if one does.
    pub(crate) renewal: OnceLock<Renewal>,
}

/// The fields of the request.
enum Fields {
    /// As they were given.
    Given(HeaderMap),
    /// A copy of them for the next attempt, which most calls do not make.
    Copied(Copied),
}

/// What became of a call so far, for its record and for the decision to try again.
#[derive(Default)]
pub(crate) struct Trail {
    attempts: AtomicU32,
    parked: AtomicU64,
    /// When it began to look for a connection, in microseconds since the call began, and one; 0 if it does not.
    connecting: AtomicU64,
    /// Since then an attempt at it has failed with a reason.
    refused: AtomicBool,
    upstream: AtomicU64,
    answered: AtomicU64,
    span: AtomicU64,
    endpoint: AtomicU64,
    reused: AtomicBool,
    sent: AtomicBool,
    fault: OnceLock<Arc<str>>,
    answering: OnceLock<Arc<Endpoint>>,
    fallback: OnceLock<Box<Fallen>>,
}

/// A failure that something else was answered in place of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fallen {
    pub(crate) to: Fallback,
    /// The code of the failure, if there was no answer.
    pub(crate) code: Option<&'static str>,
}

// === impl Exchange ===

impl Exchange {
    pub(crate) fn new(
        worker: Arc<Worker>,
        lane: Arc<Lane>,
        policy: Arc<Policy>,
        context: Context,
        head: Parts,
        body: Body,
    ) -> Arc<Self> {
        // The extensions end here: nothing of this process's may reach the other side, even if that side is in
        // this process.
        let Parts { method, uri, headers, version, .. } = head;
        let grpc = method == Method::POST && Form::of(&headers) == Form::Grpc;
        let started = Instant::now();
        let grpc_due = if grpc { grpc_timeout(&headers).map(|time| later(started, time)) } else { None };
        let reads_trailers = grpc && version == Version::HTTP_2;
        let upload = Upload::new(body, started);
        let trail = Trail::default();
        let idempotent = is_idempotent(&method) || headers.contains_key(IDEMPOTENCY_KEY);
        let fields = Mutex::new(Fields::Given(headers));
        Arc::new(Self {
            worker,
            lane,
            policy,
            context,
            method,
            uri,
            grpc,
            grpc_due,
            reads_trailers,
            idempotent,
            fields,
            upload,
            started,
            trail,
            switch: OnceLock::new(),
            renewal: OnceLock::new(),
        })
    }

    /// Whether an attempt there goes over HTTP/2.
    pub(crate) fn over_http2(&self, endpoint: &Endpoint) -> bool {
        self.grpc || endpoint.protocol.is_http2()
    }

    /// The service that is called.
    pub(crate) fn upstream(&self) -> &Arc<Upstream> {
        &self.lane.upstream
    }

    /// Whether doing it twice has the same effect as doing it once (RFC 9110, section 9.2.2), by its method or
    /// because the service knows it again by its key.
    pub(crate) fn idempotent(&self) -> bool {
        self.idempotent
    }

    /// Whether it only asks for something, so that two attempts at once do no harm.
    pub(crate) fn reads(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS) && self.upload.is_empty()
    }

    /// How much the call matters. A policy of normal priority says nothing of it; then it is the request's that
    /// the call is made for. Otherwise it is the policy's, unless that request matters less.
    pub(crate) fn priority(&self) -> Priority {
        match (self.policy.priority, self.context.priority) {
            (Priority::Normal, request) => request,
            (_, Priority::BestEffort) => Priority::BestEffort,
            (policy, _) => policy,
        }
    }

    /// The fields of the request, for an attempt to change.
    pub(crate) fn take_fields(&self) -> HeaderMap {
        let mut fields = self.fields();
        match &*fields {
            Fields::Given(given) => {
                let copy = Copied::of(given);
                match mem::replace(&mut *fields, Fields::Copied(copy)) {
                    Fields::Given(given) => given,
                    Fields::Copied(copy) => copy.fields(),
                }
            }
            Fields::Copied(copy) => copy.fields(),
        }
    }

    /// Looks at the fields of the request.
    pub(crate) fn with_fields<T>(&self, look: impl FnOnce(&HeaderMap) -> T) -> T {
        match &*self.fields() {
            Fields::Given(given) => look(given),
            Fields::Copied(copy) => look(&copy.fields()),
        }
    }

    /// What the caller understands.
    pub(crate) fn form(&self) -> Form {
        if self.grpc { Form::Grpc } else { Form::Problem }
    }

    fn fields(&self) -> MutexGuard<'_, Fields> {
        // Replaced as a whole, so that they are whole whatever happens.
        self.fields.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a limit that began at `started` is reached, as far as can be said at `now`: the time to look
    /// again, or `None` if it is reached.
    ///
    /// A request body of unknown length may take longer than the limit, as long as it progresses; the limit
    /// then begins when the body ends. The caller's own deadline always holds.
    pub(crate) fn due(&self, started: Instant, limit: Duration, now: Instant) -> Option<Instant> {
        let due = match self.upload.progress() {
            None => later(started, limit),
            Some(progress) if progress.ended => later(started.max(progress.last), limit),
            Some(progress) => {
                let idle = later(progress.last, self.policy.idle_timeout);
                // The body may end any time from now on, which begins the limit.
                if idle > now { idle.min(later(now, limit)) } else { idle }
            }
        };
        let due = self.context.deadline.map_or(due, |deadline| deadline.0.min(due));
        (due > now).then_some(due)
    }

    /// Whether the time of an attempt that began then, or of the whole call, is over.
    pub(crate) fn is_late(&self, began: Instant, now: Instant) -> bool {
        self.due(self.started, self.policy.timeout, now).is_none()
            || self.due(began, self.policy.attempt_timeout, now).is_none()
    }

    /// When the whole call is due at the latest, as far as it is known now.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let own = self.upload.progress().is_none().then(|| later(self.started, self.policy.timeout));
        let callers = self.context.deadline.map(|deadline| deadline.0);
        own.into_iter().chain(callers).min()
    }

    /// When the time to connect is over. It runs from the first attempt at it until one succeeds.
    pub(crate) fn connect_due(&self) -> Instant {
        let now = self.started.elapsed().as_micros() as u64;
        let begun = self.trail.connecting.compare_exchange(0, now + 1, Relaxed, Relaxed);
        let since = self.started + Duration::from_micros(begun.err().map_or(now, |begun| begun - 1));
        later(since, self.policy.connect_timeout)
    }

    /// The time that is left of it for an attempt that begins now.
    pub(crate) fn time_left(&self, began: Instant) -> Option<Duration> {
        // What most calls have, without looking at a clock: all of the time.
        let all =
            began == self.started && self.context.deadline.is_none() && self.upload.progress().is_none();
        match all {
            true => Some(self.policy.timeout.min(DAY)),
            false => self.deadline().map(|due| due.saturating_duration_since(began)),
        }
    }

    /// The error of a call whose time ran out.
    pub(crate) fn timeout(&self, started: Instant) -> CallError {
        let (service, after) = (self.upstream().name().clone(), started.elapsed());
        match self.upload.stalled() {
            true => CallError::Stalled { service, after },
            false => CallError::Timeout { service, after },
        }
    }

    /// The first attempt at the call.
    pub(crate) fn first(self: Arc<Self>) -> Call {
        let began = self.started;
        let probes = Probes::default();
        Call { exchange: self, attempt: 1, began, avoid: None, fresh: false, target: None, probes }
    }

    /// A later attempt at the same call.
    pub(crate) fn again(self: &Arc<Self>, attempt: u32, avoid: Option<u64>, fresh: bool) -> Call {
        let (exchange, began) = (self.clone(), Instant::now());
        Call { exchange, attempt, began, avoid, fresh, target: None, probes: Probes::default() }
    }
}

/// Methods that do the same however often they are sent (RFC 9110, section 9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    )
}

// === impl Trail ===

impl Trail {
    /// An attempt begins at an instance, or in this process.
    pub(crate) fn begin(&self, span: u64, target: &Target) {
        // The attempts of a call are all in one task: a load and a store cost less than a locked addition.
        self.attempts.store(self.attempts() + 1, Relaxed);
        self.span.store(span, Relaxed);
        self.reused.store(false, Relaxed);
        self.sent.store(false, Relaxed);
        let number = if let Target::Remote(endpoint) = target { endpoint.number } else { 0 };
        self.endpoint.store(number, Relaxed);
    }

    /// The instance that answers.
    pub(crate) fn answers(&self, endpoint: &Arc<Endpoint>) {
        let _ = self.answering.set(endpoint.clone());
    }

    /// The attempt goes over a connection, which may have served others before.
    pub(crate) fn sends(&self, reused: bool) {
        self.reused.store(reused, Relaxed);
        self.sent.store(true, Relaxed);
    }

    /// A fault meets the attempt.
    pub(crate) fn faulted(&self, name: Arc<str>) {
        let _ = self.fault.set(name);
    }

    /// An attempt that took so long ended, so long after the call began.
    pub(crate) fn answered(&self, took: Duration, since_start: Duration) {
        self.upstream.store(self.upstream_us() + took.as_micros() as u64, Relaxed);
        self.answered.store(since_start.as_micros() as u64, Relaxed);
    }

    /// When the last attempt ended, in microseconds since the call began.
    pub(crate) fn answered_us(&self) -> u64 {
        self.answered.load(Relaxed)
    }

    /// It is connected: if it must connect once more, its time for that begins anew.
    pub(crate) fn connected(&self) {
        self.connecting.store(0, Relaxed);
        self.refused.store(false, Relaxed);
    }

    /// No connection could be made; whether it only took too long, while an attempt before it failed with a reason.
    pub(crate) fn refused(&self, late: bool) -> bool {
        if late {
            return self.refused.load(Relaxed);
        }
        self.refused.store(true, Relaxed);
        false
    }

    /// There was nothing to connect to for so long, which costs the time to connect nothing.
    pub(crate) fn connect_later(&self, time: Duration) {
        if self.connecting.load(Relaxed) != 0 {
            self.connecting.fetch_add(time.as_micros() as u64, Relaxed);
        }
    }

    /// Something else is answered in place of a failure.
    pub(crate) fn falls_back(&self, to: Fallback, code: Option<&'static str>) {
        let _ = self.fallback.set(Box::new(Fallen { to, code }));
    }

    pub(crate) fn fallen(&self) -> Option<Fallen> {
        self.fallback.get().map(|fallen| **fallen)
    }

    pub(crate) fn parked_for(&self, time: Duration) {
        self.parked.fetch_add(time.as_micros() as u64, Relaxed);
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.attempts.load(Relaxed)
    }

    pub(crate) fn span(&self) -> u64 {
        self.span.load(Relaxed)
    }

    pub(crate) fn endpoint(&self) -> Option<u64> {
        Some(self.endpoint.load(Relaxed)).filter(|number| *number != 0)
    }

    pub(crate) fn reused(&self) -> bool {
        self.reused.load(Relaxed)
    }

    pub(crate) fn sent(&self) -> bool {
        self.sent.load(Relaxed)
    }

    /// The first fault that met an attempt.
    pub(crate) fn fault(&self) -> Option<Arc<str>> {
        self.fault.get().cloned()
    }

    pub(crate) fn parked_us(&self) -> u64 {
        self.parked.load(Relaxed)
    }

    pub(crate) fn upstream_us(&self) -> u64 {
        self.upstream.load(Relaxed)
    }

    /// The instance that answered.
    pub(crate) fn answering(&self) -> Option<&Arc<Endpoint>> {
        self.answering.get()
    }
}

//! What one worker owns, and the calls that it makes.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, request::Parts};
use madang_model::ServiceName;
use madang_wire::{CacheUse, Code, Hop, RequestRecord};
use tokio::time::Instant;
use tower::Service;

use crate::{
    Body, CallError, Context, Counters, Lane, Policy, Renewal, exchange::Exchange, ledger::Ledger,
    pool::Pool, random::Random, stack::stack, timer::Timer,
};

/// How a [`Client`] is set up.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Where its calls are made: decides `hop` in its records.
    pub hop: Hop,
    /// How many records are kept until somebody drains them.
    pub records: usize,
    /// How long a connection may be idle; below the 5 s after which common servers close it.
    pub idle: Duration,
    /// How many HTTP/1.1 connections an instance may have, over all clients of this process.
    pub connections: usize,
    /// Where randomness begins: equal seeds make equal choices of instances and pauses.
    pub seed: u64,
}

/// What one worker owns: upstream connections, a coarse timer and a ring of request records. Cloning it is
/// cheap and gives the same client. Made inside the runtime on which it is used.
#[derive(Clone)]
pub struct Client {
    worker: Arc<Worker>,
}

/// What one worker owns.
pub(crate) struct Worker {
    pub(crate) config: ClientConfig,
    pub(crate) pool: Pool,
    pub(crate) timer: Timer,
    pub(crate) ledger: Ledger,
    pub(crate) random: Random,
}

pin_project_lite::pin_project! {
    /// A call under way: completes with the answer.
    pub struct Calling<F> {
        #[pin]
        answer: F,
        exchange: Arc<Exchange>,
    }
}

// === impl ClientConfig ===

impl ClientConfig {
    /// The defaults: 4,096 records, 4 s idle, 1,024 connections per instance and a random seed.
    pub fn new(hop: Hop) -> Self {
        Self { hop, records: 4096, idle: Duration::from_secs(4), connections: 1024, seed: rand::random() }
    }
}

// === impl Client ===

impl Client {
    /// A client without connections.
    ///
    /// # Panics
    /// Outside a tokio runtime: its timer is a task.
    pub fn new(config: ClientConfig) -> Self {
        let worker = Worker {
            pool: Pool::new(config.idle),
            timer: Timer::start(),
            ledger: Ledger::new(config.hop, config.records),
            random: Random::seeded(config.seed),
            config,
        };
        Self { worker: Arc::new(worker) }
    }

    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn worker(&self) -> Arc<Worker> {
        self.worker.clone()
    }

    /// Calls a service. The request's extensions carry its [`Context`]; without one, a new one is made, as for
    /// a request from outside. The other extensions are dropped.
    ///
    /// The answer's body holds its connection: drop it or read it to its end.
    ///
    /// # Errors
    /// Only if the service gave no answer; an answer with an error status is an answer.
    pub async fn call(
        &self,
        lane: &Arc<Lane>,
        policy: &Arc<Policy>,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, CallError> {
        let context = request.extensions_mut().remove::<Context>();
        let context = context.unwrap_or_else(|| Context::from_headers(request.headers(), false));
        let (head, body) = request.into_parts();
        self.call_in(context, lane, policy, head, body).await
    }

    /// The same in a context that is given apart from the request, which saves looking for it. The call begins
    /// at once, and ends early if what is returned is dropped.
    pub fn call_in(
        &self,
        context: Context,
        lane: &Arc<Lane>,
        policy: &Arc<Policy>,
        head: Parts,
        body: Body,
    ) -> Calling<impl Future<Output = Result<Response<Body>, CallError>> + Send + use<>> {
        let exchange = Exchange::new(self.worker.clone(), lane.clone(), policy.clone(), context, head, body);
        Calling { answer: stack().call(exchange.clone().first()), exchange }
    }

    /// The same for a request that asks to speak another protocol from then on, named by this. If the service switches,
    /// its answer is 101 with a [`crate::Tunnel`]; otherwise it is an answer like any other. Only services that are spoken to
    /// over HTTP/1.1 are asked to switch.
    pub fn call_switching(
        &self,
        context: Context,
        lane: &Arc<Lane>,
        policy: &Arc<Policy>,
        head: Parts,
        protocol: HeaderValue,
    ) -> Calling<impl Future<Output = Result<Response<Body>, CallError>> + Send + use<>> {
        let (worker, body) = (self.worker.clone(), Body::empty());
        let exchange = Exchange::new(worker, lane.clone(), policy.clone(), context, head, body);
        let _ = exchange.switch.set(protocol);
        Calling { answer: stack().call(exchange.clone().first()), exchange }
    }

    /// The same for a cache, whose part in it the record tells.
    pub fn call_for_cache(
        &self,
        context: Context,
        lane: &Arc<Lane>,
        policy: &Arc<Policy>,
        (head, body): (Parts, Body),
        renewal: Renewal,
    ) -> Calling<impl Future<Output = Result<Response<Body>, CallError>> + Send + use<>> {
        let exchange = Exchange::new(self.worker.clone(), lane.clone(), policy.clone(), context, head, body);
        let _ = exchange.renewal.set(renewal);
        Calling { answer: stack().call(exchange.clone().first()), exchange }
    }

    /// Leaves a record of a request that a cache answered.
    pub fn record_cached(
        &self,
        context: &Context,
        lane: &Lane,
        (method, status): (&Method, u16),
        cache: CacheUse,
        started: Instant,
    ) {
        self.worker.ledger.enter_cached(context, lane, (method, status), cache, started);
    }

    /// Leaves a record of a request that was answered here with a problem and led to no call.
    pub fn record_answered(&self, context: &Context, method: &Method, code: Code, started: Instant) {
        self.worker.ledger.enter_answered(context, method, code, started);
    }

    /// The same of one that was answered here with something else than a problem: a redirect, what a browser asks first.
    pub fn record_served(&self, context: &Context, method: &Method, status: StatusCode, started: Instant) {
        self.worker.ledger.enter_served(context, method, status, started);
    }

    /// Takes the records so far, and how many were dropped because the ring was full, since the last time.
    pub fn drain_records(&self) -> (Vec<RequestRecord>, u64) {
        self.worker.ledger.drain()
    }

    /// What this client counted of its calls to each service since it was made.
    pub fn counters(&self) -> BTreeMap<ServiceName, Counters> {
        self.worker.ledger.counters()
    }
}

// === impl Calling ===

impl<F> Calling<F> {
    /// What travels with it; also when it is over.
    pub fn context(&self) -> &Context {
        &self.exchange.context
    }
}

impl<F: Future> Future for Calling<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        self.project().answer.poll(cx)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("config", &self.worker.config).finish_non_exhaustive()
    }
}

//! A hundred callers and twenty instances that have a bad time: what a policy is worth.
//!
//! Everything is real but the instances, the network and the clock. An instance does one request after the other;
//! it does not notice that nobody waits for an answer any more, and refuses what finds its queue full. For a while
//! some of them are in [`Trouble`]. Callers call at random times whatever becomes of their calls, as people do.
//!
//! What keeps a system down after such a time is its own work: it answers calls that were given up, while they are
//! made again ("Metastable Failures in Distributed Systems", Bronson et al. 2021).

use std::{
    fmt,
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use http::{Request, Response, StatusCode};
use madang_model::{
    InstanceId, Protocol,
    policy::{Backoff, Breaker, Concurrency, Hedge, HedgeAfter, Priority, RetryBudget},
};
use madang_wire::{
    Hop,
    service::{Endpoint, Endpoints, ServiceEndpoints},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tower::Service;

use crate::{
    Body, CallError, Client, ClientConfig, Context, Directory, Lane, Origin, Policy,
    client::Worker,
    exchange::{Exchange, Target},
    random::Random,
    stack::stack_over,
    transport::Outgoing,
};

const CALLERS: u64 = 100;
const INSTANCES: u16 = 20;
/// What an instance needs for a request on average, so that all together do a thousand a second.
const WORK: Duration = Duration::from_millis(20);
/// How many requests wait at an instance before it refuses.
const QUEUE: usize = 50;
/// Calls per second of all callers: six tenths of what the instances can do.
const LOAD: f64 = 600.0;
/// How many times as long a request takes in a brown-out.
const SLOWED: u32 = 5;
/// The seconds of the trouble, and of the whole.
const TROUBLE: Range<usize> = 5..10;
const SECONDS: usize = 20;

/// One run.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Where randomness begins.
    pub seed: u64,
    /// What happens to them.
    pub trouble: Trouble,
    /// How many instances it happens to.
    pub instances: u16,
    /// What holds for the calls.
    pub policy: Policy,
}

/// What happens to instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// They take five times as long for each request.
    BrownOut,
    /// They do nothing; then they go on where they were.
    Hang,
    /// They answer 500 at once.
    Fail,
}

/// What became of the calls, by the second in which they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    seconds: [Second; SECONDS],
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Second {
    calls: u32,
    /// Those with a good answer in time, and how long these took in milliseconds.
    good: Vec<u32>,
    /// The calls that matter most, and those of them with a good answer.
    critical: [u32; 2],
    /// Requests that reached an instance.
    attempts: u32,
}

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before the trouble.
    Before,
    /// The trouble.
    During,
    /// The first five seconds after it.
    After,
    /// The five seconds after those.
    Later,
}

/// A policy without anything that this room adds: each call is made once, with a time limit.
pub fn bare() -> Policy {
    Policy {
        timeout: Duration::from_secs(1),
        attempt_timeout: Duration::from_millis(250),
        attempts: 1,
        ejection: None,
        ..Policy::default()
    }
}

/// The policies to compare, each with its name.
pub fn policies() -> Vec<(&'static str, Policy)> {
    let retries = Policy { attempts: 4, backoff: Backoff::default(), ..bare() };
    let unlimited = RetryBudget { percent: 1000, floor: 1_000_000 };
    let ejection = Policy { ejection: Policy::default().ejection, ..retries.clone() };
    let breaker = Policy { breaker: Some(Breaker::default()), ..retries.clone() };
    let limit = Policy { concurrency: Some(Concurrency::default()), ..retries.clone() };
    let hedge = Policy { hedge: Some(Hedge { after: HedgeAfter::Percentile(95) }), ..retries.clone() };
    let all = Policy {
        ejection: ejection.ejection,
        breaker: breaker.breaker,
        concurrency: limit.concurrency,
        hedge: hedge.hedge,
        ..retries.clone()
    };
    vec![
        ("no retries", bare()),
        ("retries without a budget", Policy { retry_budget: unlimited, ..retries.clone() }),
        ("retries", retries),
        ("retries, ejection", ejection),
        ("retries, breaker", breaker),
        ("retries, limit and shedding", limit),
        ("retries, hedging", hedge),
        ("all", all),
    ]
}

// === impl Setting ===

impl Setting {
    /// Runs it, in no time of the real clock.
    ///
    /// # Panics
    /// If tokio cannot make a runtime.
    pub fn run(&self) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime without I/O needs nothing of the system").block_on(self.simulate())
    }

    async fn simulate(&self) -> Outcome {
        let begin = Instant::now();
        let fleet = Fleet::start(self, begin);
        let directory = Directory::default();
        let name: madang_model::ServiceName = "orders".parse().expect("a name");
        let endpoint = |n: u16| Endpoint {
            instance: InstanceId(format!("orders-{n}").into()),
            address: ([127, 0, 0, 1], n).into(),
            protocol: Protocol::Http,
            release: None,
        };
        let instances = (1..=INSTANCES).map(endpoint).collect();
        let orders = ServiceEndpoints { instances, ..ServiceEndpoints::default() };
        directory.apply(&Endpoints {
            version: 1,
            services: [(name.clone(), orders)].into(),
            ..Endpoints::default()
        });
        let client = Client::new(ClientConfig { seed: self.seed, ..ClientConfig::new(Hop::Gateway) });
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            let priority = [Priority::Normal, Priority::Critical, Priority::BestEffort][number as usize % 3];
            let caller = Caller {
                worker: client.worker(),
                lane: directory.lane(Origin::Route(format!("/{number}").into()), &name),
                policy: Arc::new(Policy { priority, ..self.policy.clone() }),
                fleet: fleet.clone(),
                random: Random::seeded(self.seed.wrapping_mul(1000) + number),
            };
            callers.spawn(caller.call_on(begin));
        }
        while callers.join_next().await.is_some() {}
        std::mem::take(&mut *fleet.outcome())
    }
}

/// One that calls at random times.
struct Caller {
    worker: Arc<Worker>,
    lane: Arc<Lane>,
    policy: Arc<Policy>,
    fleet: Fleet,
    random: Random,
}

impl Caller {
    async fn call_on(self, begin: Instant) {
        let mut calls = JoinSet::new();
        let mut next = begin;
        loop {
            let share = (self.random.next() >> 11) as f64 / (1_u64 << 53) as f64;
            next += Duration::from_secs_f64(-(1.0 - share).ln() * CALLERS as f64 / LOAD);
            if next >= begin + Duration::from_secs(SECONDS as u64) {
                break;
            }
            sleep_until(next).await;
            calls.spawn(self.call());
            while calls.try_join_next().is_some() {}
        }
        while calls.join_next().await.is_some() {}
    }

    fn call(&self) -> impl Future<Output = ()> + Send + use<> {
        let (worker, lane, policy) = (self.worker.clone(), self.lane.clone(), self.policy.clone());
        let critical = policy.priority == Priority::Critical;
        let (head, body) = Request::new(Body::empty()).into_parts();
        let exchange = Exchange::new(worker, lane, policy, Context::root(), head, body);
        let (fleet, began) = (self.fleet.clone(), Instant::now());
        async move {
            let answer = stack_over(fleet.clone()).call(exchange.first()).await;
            let good = answer.is_ok_and(|response| response.status().is_success());
            let mut outcome = fleet.outcome();
            let second = outcome.second(fleet.begin, began);
            second.calls += 1;
            second.critical[0] += u32::from(critical);
            if good {
                second.critical[1] += u32::from(critical);
                second.good.push(began.elapsed().as_millis() as u32);
            }
        }
    }
}

/// The instances in place of the network.
#[derive(Clone)]
struct Fleet {
    begin: Instant,
    /// By the last part of their address, from 1.
    queues: Arc<Vec<mpsc::Sender<oneshot::Sender<StatusCode>>>>,
    outcome: Arc<Mutex<Outcome>>,
}

impl Fleet {
    fn start(setting: &Setting, begin: Instant) -> Self {
        let start = |number: u16| {
            let (queue, requests) = mpsc::channel(QUEUE);
            let random = Random::seeded(setting.seed ^ u64::from(number) << 32);
            let trouble = (number < setting.instances).then_some(setting.trouble);
            tokio::spawn(work(requests, begin, trouble, random));
            queue
        };
        Self { begin, queues: Arc::new((0..INSTANCES).map(start).collect()), outcome: Arc::default() }
    }

    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One instance: one request after the other, whether or not somebody still waits for the answer.
async fn work(
    mut requests: mpsc::Receiver<oneshot::Sender<StatusCode>>,
    begin: Instant,
    trouble: Option<Trouble>,
    random: Random,
) {
    while let Some(answer) = requests.recv().await {
        let now = || TROUBLE.contains(&(begin.elapsed().as_secs() as usize));
        let mut status = StatusCode::OK;
        match trouble.filter(|_| now()) {
            Some(Trouble::Hang) => sleep_until(begin + Duration::from_secs(TROUBLE.end as u64)).await,
            Some(Trouble::Fail) => status = StatusCode::INTERNAL_SERVER_ERROR,
            Some(Trouble::BrownOut) => sleep((WORK / 2 + random.up_to(WORK)) * SLOWED).await,
            None => sleep(WORK / 2 + random.up_to(WORK)).await,
        }
        let _ = answer.send(status);
    }
}

impl Service<Outgoing> for Fleet {
    type Response = Response<Body>;
    type Error = CallError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, CallError>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, Outgoing { call, .. }: Outgoing) -> Self::Future {
        self.outcome().second(self.begin, Instant::now()).attempts += 1;
        let queue = match &call.target {
            Some(Target::Remote(endpoint)) => {
                self.queues.get(usize::from(endpoint.address.port()) - 1).cloned()
            }
            Some(Target::Local(_)) | None => None,
        };
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let queued = queue.is_some_and(|queue| queue.try_send(answer).is_ok());
            let status = if queued { answered.await.ok() } else { None };
            let mut response = Response::new(Body::empty());
            *response.status_mut() = status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            Ok(response)
        })
    }
}

// === impl Outcome ===

impl Outcome {
    fn second(&mut self, begin: Instant, at: Instant) -> &mut Second {
        let second = (at - begin).as_secs() as usize;
        &mut self.seconds[second.min(SECONDS - 1)]
    }

    fn of(&self, phase: Phase) -> &[Second] {
        &self.seconds[phase.seconds()]
    }

    /// The share of calls with a good answer in time, in percent.
    pub fn goodput(&self, phase: Phase) -> f64 {
        let calls: u32 = self.of(phase).iter().map(|second| second.calls).sum();
        let good: usize = self.of(phase).iter().map(|second| second.good.len()).sum();
        good as f64 * 100.0 / f64::from(calls.max(1))
    }

    /// The same of the calls that matter most.
    pub fn critical_goodput(&self, phase: Phase) -> f64 {
        let sum = |index: usize| -> u32 { self.of(phase).iter().map(|second| second.critical[index]).sum() };
        f64::from(sum(1)) * 100.0 / f64::from(sum(0).max(1))
    }

    /// Requests that reached an instance, for each call.
    pub fn attempts(&self, phase: Phase) -> f64 {
        let calls: u32 = self.of(phase).iter().map(|second| second.calls).sum();
        let attempts: u32 = self.of(phase).iter().map(|second| second.attempts).sum();
        f64::from(attempts) / f64::from(calls.max(1))
    }

    /// The time below which 99 of 100 good answers came, in milliseconds.
    pub fn p99(&self, phase: Phase) -> u32 {
        let mut times: Vec<_> = self.of(phase).iter().flat_map(|second| &second.good).copied().collect();
        times.sort_unstable();
        times.get(times.len() * 99 / 100).copied().unwrap_or_default()
    }
}

impl fmt::Display for Outcome {
    /// Goodput, that of critical calls, requests for each call and the 99th percentile, of each phase.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for phase in Phase::ALL {
            let (good, critical) = (self.goodput(phase), self.critical_goodput(phase));
            let (attempts, p99) = (self.attempts(phase), self.p99(phase));
            write!(f, " │ {good:3.0} % {critical:3.0} % {attempts:4.2} {p99:4}")?;
        }
        Ok(())
    }
}

// === impl Phase ===

impl Phase {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Before, Self::During, Self::After, Self::Later];

    fn seconds(self) -> Range<usize> {
        match self {
            Self::Before => 0..TROUBLE.start,
            Self::During => TROUBLE,
            Self::After => TROUBLE.end..TROUBLE.end + 5,
            Self::Later => TROUBLE.end + 5..SECONDS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u64 = 42;

    fn run(instances: u16, trouble: Trouble, name: &str) -> Outcome {
        let policy = policies().into_iter().find(|(known, _)| *known == name).expect("a policy").1;
        let outcome = Setting { seed: SEED, trouble, instances, policy }.run();
        println!("seed {SEED}, {trouble:?} of {instances}, {name}:{outcome}");
        outcome
    }

    #[test]
    fn a_storm_of_retries_outlasts_a_brown_out_and_nothing_else_does() {
        use Phase::*;
        let storm = run(INSTANCES, Trouble::BrownOut, "retries without a budget");
        assert!(storm.goodput(Before) > 99.0);
        assert!(storm.goodput(Later) < 10.0, "nobody else calls it, and it is not slow any more");
        assert!(storm.attempts(Later) > 3.0);

        let run = |name| {
            let outcome = run(INSTANCES, Trouble::BrownOut, name);
            assert!(outcome.goodput(Later) > 95.0, "{name}");
            assert!(outcome.attempts(During) < 1.5, "{name}");
            outcome
        };
        let (retries, breaker) = (run("retries"), run("retries, breaker"));
        let (limit, _ejection) = (run("retries, limit and shedding"), run("retries, ejection"));
        assert!(breaker.goodput(After) > retries.goodput(After) + 20.0, "it is back sooner");
        assert!(breaker.attempts(During) < 0.5);
        assert!(limit.goodput(After) > retries.goodput(After) + 20.0);
        assert!(limit.critical_goodput(During) > retries.critical_goodput(During) + 30.0);
        run("all");
    }

    #[test]
    fn ejection_spares_the_calls_that_failing_instances_would_get() {
        let kept = run(5, Trouble::Fail, "retries");
        let ejected = run(5, Trouble::Fail, "retries, ejection");
        assert!(ejected.goodput(Phase::During) > 98.0);
        assert!(ejected.goodput(Phase::During) > kept.goodput(Phase::During));
        assert!(ejected.goodput(Phase::Later) > 99.0);
    }

    #[test]
    fn equal_seeds_have_equal_outcomes() {
        assert_eq!(run(5, Trouble::Hang, "all"), run(5, Trouble::Hang, "all"));
    }
}

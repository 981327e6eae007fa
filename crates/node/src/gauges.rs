//! What is measured of each instance, every two seconds and for ten minutes: memory, processor time, calls in flight.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use madang_wire::{
    admin::{AnswersView, BreakerState, HealthView, InstanceView, State},
    metrics::{InstanceGauges, InstancePoint, InstanceSeries, MetricsDropped, MetricsSummary, ServiceFlow},
};
use tokio::time::{MissedTickBehavior, interval};

use crate::node::{Shared, now};

/// How often it is measured.
const INTERVAL: Duration = Duration::from_secs(2);
/// How many measurements are kept of each instance.
const KEPT: usize = 300;
/// How many instances are kept, those included that are gone: beyond it the one that was measured longest ago goes.
const INSTANCES: usize = 500;

/// What was measured. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Gauges(Arc<Mutex<BTreeMap<String, Measured>>>);

#[derive(Default)]
struct Measured {
    /// The processor time when it was last measured, in microseconds.
    cpu_us: Option<u64>,
    points: VecDeque<InstancePoint>,
}

/// Measures until the node has stopped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.stopped.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let measured = shared.clone();
        // It reads files, although those of the kernel.
        let _ = tokio::task::spawn_blocking(move || {
            measured.gauges.measure(now(), &measured.instances(), &measured.directory.health());
        })
        .await;
    }
}

// === impl Shared ===

impl Shared {
    /// What the calls of the last `window` add up to, with what is measured now.
    pub(crate) async fn metrics_summary(
        &self,
        window: Duration,
    ) -> Result<MetricsSummary, madang_store::Error> {
        self.drain_records();
        let at = now();
        let mut summary = self.metrics.summary(window).await?;
        let health = self.directory.health();
        let instances = self.gauges.of(self.instances(), &health);
        let system = self.system.borrow().clone();
        let services = system.services.keys().map(|name| ServiceFlow {
            flow: summary.services.remove(name.as_str()).unwrap_or_default(),
            ..of_service(name.as_str(), &instances, &health)
        });
        Ok(MetricsSummary {
            at,
            window_ms: summary.window_ms,
            total: summary.total,
            services: services.collect(),
            routes: summary.routes,
            edges: summary.edges,
            releases: summary.releases,
            instances,
            dropped: self.metrics_dropped(),
            missing: self.missing().into_iter().filter(|missing| missing.count > 0).collect(),
        })
    }

    /// What is missing in the metrics since the node started.
    pub(crate) fn metrics_dropped(&self) -> MetricsDropped {
        let records = self.gateway.stats().records_dropped + self.inbox.dropped();
        let (external_series, external_points) = self.external.refused();
        MetricsDropped { records, external_series, external_points, ..self.metrics.dropped() }
    }
}

// === impl Gauges ===

impl Gauges {
    fn measure(&self, at: u64, instances: &[InstanceView], health: &[HealthView]) {
        let in_flight = in_flight(health);
        let mut all = self.all();
        for view in instances.iter().filter(|view| view.pid.is_some() || view.state == State::Ready) {
            let in_flight = in_flight.get(&*view.name).map_or(0, |answers| answers.in_flight);
            all.entry(view.name.clone()).or_default().add(at, view, in_flight);
        }
        let old = at.saturating_sub(INTERVAL.as_millis() as u64 * KEPT as u64);
        all.retain(|_, measured| measured.points.back().is_some_and(|last| last.at >= old));
        while all.len() > INSTANCES
            && let Some(name) = all
                .iter()
                .min_by_key(|(_, measured)| measured.points.back().map(|last| last.at))
                .map(|(name, _)| name.clone())
        {
            all.remove(&name);
        }
    }

    /// Each instance as it is now, with the processor time of its last measurement.
    pub(crate) fn of(&self, instances: Vec<InstanceView>, health: &[HealthView]) -> Vec<InstanceGauges> {
        let answers = in_flight(health);
        let all = self.all();
        let gauges = |view: InstanceView| {
            let answers = answers.get(&*view.name);
            let last = all.get(&view.name).and_then(|measured| measured.points.back());
            InstanceGauges {
                cpu: last.and_then(|last| last.cpu),
                in_flight: answers.map_or(0, |answers| answers.in_flight),
                ejected: answers.is_some_and(|answers| answers.ejected_until.is_some()),
                instance: view.name,
                unit: view.unit,
                services: view.services,
                release: view.release,
                state: view.state,
                cpu_us: view.cpu_us,
                memory: view.memory,
                restarts: view.restarts,
            }
        };
        instances.into_iter().map(gauges).collect()
    }

    /// What was measured of one instance, or of all, from a moment on.
    pub(crate) fn series(&self, instance: Option<&str>, from: u64) -> Vec<InstanceSeries> {
        let wanted = |name: &String| instance.is_none_or(|wanted| wanted == name);
        let all = self.all();
        let series = |(name, measured): (&String, &Measured)| InstanceSeries {
            instance: name.clone(),
            points: measured.points.iter().filter(|point| point.at >= from).copied().collect(),
        };
        all.iter().filter(|(name, _)| wanted(name)).map(series).collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Measured>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Measured ===

impl Measured {
    fn add(&mut self, at: u64, view: &InstanceView, in_flight: u32) {
        let before = self.cpu_us.zip(self.points.back().map(|last| last.at));
        let cpu = before.zip(view.cpu_us).and_then(|((used, since), now)| {
            // A process that a person started again has used less.
            let (used, millis) =
                (now.checked_sub(used)?, at.checked_sub(since).filter(|millis| *millis > 0)?);
            Some(used as f64 / 1000.0 / millis as f64)
        });
        self.cpu_us = view.cpu_us;
        if self.points.len() == KEPT {
            self.points.pop_front();
        }
        self.points.push_back(InstancePoint { at, cpu, memory: view.memory, in_flight });
    }
}

/// How each instance answers; one that hosts several services as a whole.
fn in_flight(health: &[HealthView]) -> HashMap<&str, AnswersView> {
    let mut all: HashMap<&str, AnswersView> = HashMap::new();
    for answers in health.iter().flat_map(|health| &health.instances) {
        match all.get_mut(&*answers.instance) {
            Some(sum) => {
                sum.in_flight += answers.in_flight;
                sum.ejected_until = sum.ejected_until.max(answers.ejected_until);
            }
            None => {
                all.insert(&answers.instance, answers.clone());
            }
        }
    }
    all
}

/// What is measured of a service, beside its calls.
pub(crate) fn of_service(name: &str, gauges: &[InstanceGauges], health: &[HealthView]) -> ServiceFlow {
    let health = health.iter().find(|health| health.service == name);
    let hosts = || gauges.iter().filter(|one| one.services.iter().any(|service| service == name));
    let sum = |value: fn(&InstanceGauges) -> Option<f64>| hosts().filter_map(value).reduce(|a, b| a + b);
    let answers = || health.into_iter().flat_map(|health| &health.instances);
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    ServiceFlow {
        service: name.to_owned(),
        ready: count(answers().count()),
        instances: count(hosts().filter(|one| one.state != State::Stopped).count()),
        in_flight: answers().map(|answers| answers.in_flight).sum(),
        parked: health.map_or(0, |health| health.parked),
        breaker: health
            .and_then(|health| health.breakers.iter().map(|breaker| breaker.state).max_by_key(severity)),
        cpu: sum(|one| one.cpu),
        memory: hosts().filter_map(|one| one.memory).reduce(|a, b| a + b),
        // Those of its unit, which all instances of it tell.
        restarts: hosts()
            .map(|one| (&one.unit, one.restarts))
            .collect::<BTreeMap<_, _>>()
            .into_values()
            .map(u64::from)
            .sum(),
        ..ServiceFlow::default()
    }
}

fn severity(state: &BreakerState) -> u8 {
    match state {
        BreakerState::Closed => 0,
        BreakerState::HalfOpen => 1,
        BreakerState::Open => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(name: &str, cpu_us: u64) -> InstanceView {
        serde_json::from_value(serde_json::json!({
            "name": name, "unit": "core", "services": ["users", "orders"], "release": "r1", "state": "ready",
            "health": "ready", "restarts": 2, "pid": 7, "memory": 1000, "cpu_us": cpu_us, "url": null, "since": 0,
            "log": null,
        }))
        .unwrap()
    }

    fn health(service: &str, in_flight: u32, breaker: BreakerState) -> HealthView {
        serde_json::from_value(serde_json::json!({
            "service": service,
            "breakers": [{"state": "closed", "since": 0, "failures_in_a_row": 0, "answers": 1, "failed": 0, "slow": 0},
                {"state": breaker, "since": 0, "failures_in_a_row": 0, "answers": 1, "failed": 0, "slow": 0}],
            "parked": 3,
            "instances": [{"instance": "core-a", "ejections": 0, "failures_in_a_row": 0, "answers": 0, "failed": 0,
                "slow": 0, "in_flight": in_flight}],
        }))
        .unwrap()
    }

    #[test]
    fn processor_time_is_that_since_the_measurement_before() {
        let gauges = Gauges::default();
        for (at, used) in [(1000, 5_000_000), (3000, 6_000_000), (5000, 100)] {
            gauges.measure(at, &[instance("core-a", used)], &[]);
        }
        let [series] = &gauges.series(Some("core-a"), 0)[..] else { panic!("one instance") };
        let cpu: Vec<_> = series.points.iter().map(|point| point.cpu).collect();
        assert_eq!(cpu, [None, Some(0.5), None]);
        assert_eq!(gauges.series(Some("core-b"), 0), []);
        gauges.measure(5000 + 600_001, &[], &[]);
        assert_eq!(gauges.series(None, 0), [], "gone for ten minutes");
    }

    #[test]
    fn a_service_is_what_its_instances_are() {
        let health = [health("users", 2, BreakerState::HalfOpen), health("orders", 5, BreakerState::Open)];
        let gauges = Gauges::default();
        gauges.measure(1000, &[instance("core-a", 0), instance("core-b", 0)], &health);
        gauges.measure(2000, &[instance("core-a", 250_000), instance("core-b", 500_000)], &health);
        let found = gauges.of(vec![instance("core-a", 0), instance("core-b", 0)], &health);
        assert_eq!((found[0].in_flight, found[1].in_flight), (7, 0), "over both of its services");
        let users = of_service("users", &found, &health);
        assert_eq!((users.cpu, users.memory, users.restarts), (Some(0.75), Some(2000), 2));
        assert_eq!((users.ready, users.instances, users.in_flight, users.parked), (1, 2, 2, 3));
        assert_eq!(users.breaker, Some(BreakerState::HalfOpen));
    }

    #[test]
    fn the_number_of_instances_is_bounded() {
        let gauges = Gauges::default();
        let many: Vec<_> = (0..INSTANCES + 50).map(|n| instance(&format!("core-{n}"), 0)).collect();
        gauges.measure(1000, &many, &[]);
        assert_eq!(gauges.series(None, 0).len(), INSTANCES);
    }
}

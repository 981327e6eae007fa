//! One service as seen by its callers: its endpoints and what is known of them.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, atomic::AtomicUsize};

use arc_swap::{ArcSwap, ArcSwapOption};
use http::HeaderValue;
use madang_model::ServiceName;
use madang_wire::{admin::HealthView, service::ServiceEndpoints};
use tokio::{sync::Notify, time::Instant};

use crate::{
    Killer, Lane, Policy,
    breaker::CircuitBreaker,
    budget::RetryBudget,
    ejection::{Probe, Rotation},
    endpoint::Endpoint,
    exchange::Target,
    limiter::Limiter,
    local::{Local, LocalService},
    random::Random,
    tally::Clock,
    trace::ascii,
};

/// One service as seen by its callers: its endpoints and what is known of them.
pub struct Upstream {
    name: ServiceName,
    /// The name as a header's value, which every request to it carries.
    pub(crate) label: HeaderValue,
    pub(crate) endpoints: ArcSwap<Rotation>,
    local: ArcSwapOption<Local>,
    /// Held by whoever replaces the endpoints: when some come or go, or change between use and ejection.
    replacing: Mutex<()>,
    /// Told whenever there may be an instance to go to.
    pub(crate) changed: Notify,
    pub(crate) parked: AtomicUsize,
    pub(crate) budget: RetryBudget,
    /// Who kills its instances for faults, as its directory knows.
    pub(crate) killer: Arc<OnceLock<Arc<dyn Killer>>>,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) breaker: CircuitBreaker,
}

// === impl Upstream ===

impl Upstream {
    pub(crate) fn new(name: ServiceName) -> Self {
        Self {
            label: ascii(name.as_str().as_bytes()),
            name,
            endpoints: ArcSwap::default(),
            local: ArcSwapOption::empty(),
            replacing: Mutex::new(()),
            changed: Notify::new(),
            parked: AtomicUsize::new(0),
            budget: RetryBudget::new(),
            killer: Arc::default(),
            limiter: Arc::default(),
            breaker: CircuitBreaker::new(),
        }
    }

    /// The service's name.
    pub fn name(&self) -> &ServiceName {
        &self.name
    }

    /// Whether a call would find an instance in rotation, or the service is hosted in this process.
    pub fn has_instance(&self) -> bool {
        self.local.load().is_some() || !self.endpoints.load().all.is_empty()
    }

    /// Chooses where an attempt goes, and says whether it is the instance's probe; `None` if it can go nowhere
    /// now.
    pub(crate) fn pick(
        &self,
        avoid: Option<u64>,
        policy: &Policy,
        random: &Random,
        now: Instant,
    ) -> Option<(Target, Option<Box<Probe>>)> {
        if let Some(local) = &*self.local.load() {
            return Some((Target::Local(local.clone()), None));
        }
        let (endpoint, probe) = self.endpoints.load().pick(avoid, policy, random, now)?;
        Some((Target::Remote(endpoint), probe))
    }

    /// Whether a call can go to another instance than this one.
    pub(crate) fn has_other(&self, number: u64, now: Instant) -> bool {
        let rotation = self.endpoints.load();
        rotation.used.iter().any(|endpoint| endpoint.number != number && endpoint.reachable(now))
    }

    /// When one of the instances may be tried again; `None` if there are none.
    pub(crate) fn opens(&self) -> Option<Instant> {
        self.endpoints.load().all.iter().map(|endpoint| endpoint.opens()).min()
    }

    /// Hosts the service in this process.
    pub(crate) fn host(&self, local: LocalService) {
        self.local.store(Some(Arc::new(Local::new(local))));
        self.changed.notify_waiters();
    }

    /// Takes over the instances that are in rotation; those that stay keep their handles.
    pub(crate) fn apply(&self, given: &ServiceEndpoints) {
        let _replacing = self.replacing();
        let rotation = self.endpoints.load_full();
        let old = &rotation.all;
        let unchanged = |new: &madang_wire::service::Endpoint| {
            old.iter().find(|old| {
                old.instance == new.instance && old.address == new.address && old.protocol == new.protocol
            })
        };
        let fresh = |new: &madang_wire::service::Endpoint| {
            Endpoint::new(new.instance.clone(), new.address, new.protocol)
        };
        let next: Vec<_> =
            given.instances.iter().map(|new| unchanged(new).cloned().unwrap_or_else(|| fresh(new))).collect();
        let stays = |old: &Arc<Endpoint>| next.iter().any(|next| Arc::ptr_eq(old, next));
        if next.len() == old.len() && old.iter().all(stays) {
            return;
        }
        let left: Vec<_> = old.iter().filter(|old| !stays(old)).cloned().collect();
        self.endpoints.store(Arc::new(rotation.replaced(next)));
        left.iter().for_each(|endpoint| endpoint.leave_rotation());
        self.changed.notify_waiters();
    }

    /// How it answers, in each lane and at each instance.
    pub(crate) fn health(&self, lanes: &[Arc<Lane>], clock: &Clock) -> HealthView {
        let breakers = lanes.iter().map(|lane| lane.breaker.view(Some(&lane.origin), clock));
        let limits = lanes.iter().map(|lane| lane.limiter.view(Some(&lane.origin)));
        HealthView {
            service: self.name.to_string(),
            breakers: [self.breaker.view(None, clock)].into_iter().chain(breakers).flatten().collect(),
            limits: [self.limiter.view(None)].into_iter().chain(limits).flatten().collect(),
            instances: self.endpoints.load().view(clock),
        }
    }

    pub(crate) fn replacing(&self) -> MutexGuard<'_, ()> {
        self.replacing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.endpoints.load().all.clone()
    }
}

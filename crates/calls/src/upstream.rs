//! One service as seen by its callers: its endpoints and what is known of them.

use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use http::HeaderValue;
use madang_model::ServiceName;
use madang_wire::{admin::HealthView, service::ServiceEndpoints};
use tokio::{sync::Notify, time::Instant};

use crate::{
    Elsewhere, Killer, Lane, Policy,
    breaker::CircuitBreaker,
    budget::RetryBudget,
    ejection::{Probe, Rotation},
    elsewhere::Refusal,
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
    elsewhere: ArcSwapOption<Elsewhere>,
    /// Told when a connection to a server elsewhere could not be made: it may have moved.
    pub(crate) astray: Notify,
    /// Why the last one could not, until one can.
    refusal: ArcSwapOption<Refusal>,
    /// Why nobody starts an instance of it, if nobody does.
    left_out: ArcSwapOption<Arc<str>>,
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
            elsewhere: ArcSwapOption::empty(),
            astray: Notify::new(),
            refusal: ArcSwapOption::empty(),
            left_out: ArcSwapOption::empty(),
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

    /// The instance with this number, if it is in rotation.
    pub(crate) fn numbered(&self, number: u64) -> Option<Arc<Endpoint>> {
        self.endpoints.load().all.iter().find(|endpoint| endpoint.number == number).cloned()
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

    /// Waits until a connection to one of its servers elsewhere could not be made, or remembers that one could not
    /// since it was asked last.
    pub async fn astray(&self) {
        self.astray.notified().await;
    }

    /// Why its servers elsewhere cannot be spoken to; nothing once one can.
    pub fn refusal(&self) -> Option<String> {
        self.refusal.load().as_ref().map(|refusal| refusal.0.clone())
    }

    /// The connection to a server elsewhere that was tried last could be made, or not.
    pub(crate) fn tried_elsewhere(&self, refusal: Option<Refusal>) {
        let (before, now) = (self.refusal.load(), refusal.map(Arc::new));
        if *before != now {
            if let Some(why) = &now {
                tracing::warn!(service = %self.name, %why, "a server elsewhere cannot be spoken to");
            }
            self.refusal.store(now.clone());
        }
        if now.is_some() {
            self.astray.notify_one();
        }
    }

    pub(crate) fn speak(&self, elsewhere: Option<Arc<Elsewhere>>) {
        self.elsewhere.store(elsewhere);
        self.refusal.store(None);
        let now = self.endpoints.load_full();
        let instances = now.all.iter().map(|endpoint| madang_wire::service::Endpoint {
            instance: endpoint.instance.clone(),
            address: endpoint.address,
            protocol: endpoint.protocol,
            release: endpoint.release.clone(),
        });
        self.apply(&ServiceEndpoints { instances: instances.collect(), ..ServiceEndpoints::default() });
    }

    /// Takes over the instances that are in rotation; those that stay keep their handles.
    pub(crate) fn apply(&self, given: &ServiceEndpoints) {
        let _replacing = self.replacing();
        self.leave_out(given.left_out.as_deref());
        let rotation = self.endpoints.load_full();
        let old = &rotation.all;
        let elsewhere = self.elsewhere.load_full();
        let unchanged = |new: &madang_wire::service::Endpoint| {
            old.iter().find(|old| {
                let same_place = old.instance == new.instance && old.address == new.address;
                let same_program = old.protocol == new.protocol && old.release == new.release;
                same_place && same_program && old.elsewhere == elsewhere
            })
        };
        let fresh = |new: &madang_wire::service::Endpoint| Endpoint::new(new.clone(), elsewhere.clone());
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

    /// Says why nobody starts an instance of it; whoever waits for one learns of it.
    fn leave_out(&self, why: Option<&str>) {
        if self.left_out().as_deref() != why {
            self.left_out.store(why.map(|why| Arc::new(why.into())));
            self.changed.notify_waiters();
        }
    }

    /// Why nobody starts an instance of it, if nobody does.
    pub(crate) fn left_out(&self) -> Option<Arc<str>> {
        self.left_out.load().as_deref().cloned()
    }

    /// How it answers, in each lane and at each instance.
    pub(crate) fn health(&self, lanes: &[Arc<Lane>], clock: &Clock) -> HealthView {
        let breakers = lanes.iter().map(|lane| lane.breaker.view(Some(&lane.origin), clock));
        let limits = lanes.iter().map(|lane| lane.limiter.view(Some(&lane.origin)));
        HealthView {
            service: self.name.to_string(),
            breakers: [self.breaker.view(None, clock)].into_iter().chain(breakers).flatten().collect(),
            limits: [self.limiter.view(None)].into_iter().chain(limits).flatten().collect(),
            parked: u32::try_from(self.parked.load(Relaxed)).unwrap_or(u32::MAX),
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

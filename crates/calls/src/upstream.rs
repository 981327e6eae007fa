//! One service as seen by its callers: its endpoints and what is known of them.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, atomic::AtomicUsize};

use arc_swap::{ArcSwap, ArcSwapOption};
use http::HeaderValue;
use madang_model::ServiceName;
use madang_wire::service::ServiceEndpoints;
use tokio::{sync::Notify, time::Instant};

use crate::{
    Killer, balance,
    budget::RetryBudget,
    endpoint::Endpoint,
    exchange::Target,
    limiter::Limiter,
    local::{Local, LocalService},
    random::Random,
    trace::ascii,
};

/// One service as seen by its callers: its endpoints and what is known of them.
pub struct Upstream {
    name: ServiceName,
    /// The name as a header's value, which every request to it carries.
    pub(crate) label: HeaderValue,
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    local: ArcSwapOption<Local>,
    /// Held by whoever replaces the endpoints, which is nobody on the path of a request.
    replacing: Mutex<()>,
    /// Told whenever there may be an instance to go to.
    pub(crate) changed: Notify,
    pub(crate) parked: AtomicUsize,
    pub(crate) budget: RetryBudget,
    /// Who kills its instances for faults, as its directory knows.
    pub(crate) killer: Arc<OnceLock<Arc<dyn Killer>>>,
    pub(crate) limiter: Arc<Limiter>,
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
        }
    }

    /// The service's name.
    pub fn name(&self) -> &ServiceName {
        &self.name
    }

    /// Whether a call would find an instance in rotation, or the service is hosted in this process.
    pub fn has_instance(&self) -> bool {
        self.local.load().is_some() || !self.endpoints.load().is_empty()
    }

    /// Chooses where a call goes; `None` if it can go nowhere now.
    pub(crate) fn pick(&self, avoid: Option<u64>, random: &Random, now: Instant) -> Option<Target> {
        if let Some(local) = &*self.local.load() {
            return Some(Target::Local(local.clone()));
        }
        balance::pick(&self.endpoints.load(), avoid, random, now).map(Target::Remote)
    }

    /// Whether a call can go to another instance than this one.
    pub(crate) fn has_other(&self, number: u64, now: Instant) -> bool {
        self.endpoints.load().iter().any(|endpoint| endpoint.number != number && endpoint.reachable(now))
    }

    /// The instance of this number, if it is in rotation.
    pub(crate) fn endpoint(&self, number: u64) -> Option<Arc<Endpoint>> {
        self.endpoints.load().iter().find(|endpoint| endpoint.number == number).cloned()
    }

    /// When one of the instances may be tried again; `None` if there are none.
    pub(crate) fn opens(&self) -> Option<Instant> {
        self.endpoints.load().iter().map(|endpoint| endpoint.opens()).min()
    }

    /// Hosts the service in this process.
    pub(crate) fn host(&self, local: LocalService) {
        self.local.store(Some(Arc::new(Local::new(local))));
        self.changed.notify_waiters();
    }

    /// Takes over the instances that are in rotation; those that stay keep their handles.
    pub(crate) fn apply(&self, given: &ServiceEndpoints) {
        let _replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.endpoints.load_full();
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
        self.endpoints.store(Arc::new(next));
        left.iter().for_each(|endpoint| endpoint.leave_rotation());
        self.changed.notify_waiters();
    }

    #[cfg(test)]
    pub(crate) fn endpoints(&self) -> Arc<Vec<Arc<Endpoint>>> {
        self.endpoints.load_full()
    }
}

//! The registry: ready instances by service, replaced as a whole with each change.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use madang_model::{InstanceId, Protocol, ReleaseId, ServiceName};
use madang_store::Store;
use madang_wire::service::{Endpoint, Endpoints, ServiceEndpoints};
use tokio::{sync::watch, time::Instant};

use crate::{
    Error, Lease, MOST_JOINED, Refused,
    lease::{Held, Leases},
    store,
};

/// A ready instance, as it registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// The services it hosts.
    pub services: BTreeSet<ServiceName>,
    /// Where it listens.
    pub address: SocketAddr,
    /// How it speaks.
    pub protocol: Protocol,
    /// Its release.
    pub release: Option<ReleaseId>,
}

/// The registry. Cloning it is cheap and gives the same registry.
#[derive(Clone)]
pub struct Registry {
    current: Arc<watch::Sender<Arc<Endpoints>>>,
    /// Locked before `current` is changed by whoever needs both. Of two instances with one id, neither has a
    /// lease or both do.
    leases: Arc<Leases>,
}

/// Sees every change, or the last of several that came at once. Versions only grow.
pub struct Watch(watch::Receiver<Arc<Endpoints>>);

// === impl Registry ===

impl Registry {
    /// A registry whose versions go on where those of the node's life before ended. Whoever held a lease then
    /// holds it for its whole length from now, which is the time to renew it.
    ///
    /// # Errors
    /// If the node's state cannot be read or written.
    pub async fn open(state: &Store) -> Result<Self, Error> {
        let version = store::reserve_versions(state).await?;
        Ok(Self::starting_at(version, store::leases(state).await?))
    }

    fn starting_at(version: u64, held: Held) -> Self {
        let mut services = BTreeMap::new();
        held.values().for_each(|lease| put(&mut services, &lease.service, &lease.endpoint));
        let current = watch::Sender::new(Arc::new(Endpoints { version, services, ..Endpoints::default() }));
        Self { current: Arc::new(current), leases: Arc::new(Leases::new(held)) }
    }

    /// Says which services exist. One without an instance is listed with none; one that no longer exists
    /// leaves the list, with its instances.
    pub fn declare(&self, services: impl IntoIterator<Item = ServiceName>) -> Arc<Endpoints> {
        let declared: BTreeSet<ServiceName> = services.into_iter().collect();
        let mut held = self.leases.held();
        held.retain(|(service, _), _| declared.contains(service));
        self.leases.tell();
        self.change(|known| {
            known.retain(|service, _| declared.contains(service));
            for service in declared {
                known.entry(service).or_default();
            }
        })
    }

    /// Puts an instance into rotation. Registering it again replaces what was known of it, a lease too.
    pub fn register(&self, instance: &Instance) -> Arc<Endpoints> {
        let endpoint = Endpoint {
            instance: instance.id.clone(),
            address: instance.address,
            protocol: instance.protocol,
            release: instance.release.clone(),
        };
        let mut held = self.leases.held();
        let leases = held.len();
        held.retain(|(_, id), _| *id != instance.id);
        if held.len() != leases {
            self.leases.tell();
        }
        self.change(|known| {
            remove(known, &instance.id);
            instance.services.iter().for_each(|service| put(known, service, &endpoint));
        })
    }

    /// Takes an instance out of rotation; one that is not in it changes nothing.
    pub fn deregister(&self, instance: &InstanceId) -> Arc<Endpoints> {
        let held = self.leases.held();
        let leased = held.keys().any(|(_, id)| id == instance);
        if leased { self.snapshot() } else { self.change(|known| remove(known, instance)) }
    }

    /// Puts an instance into rotation for this long from now, or renews its lease; whether it came new. What it
    /// says of itself now replaces what it said before.
    ///
    /// # Errors
    /// If it may not join.
    pub fn join(
        &self,
        service: &ServiceName,
        endpoint: Endpoint,
        length: Duration,
    ) -> Result<(Lease, bool), Refused> {
        let mut held = self.leases.held();
        let key = (service.clone(), endpoint.instance.clone());
        let before = held.get(&key);
        if before.is_none() {
            let without_lease = |service: &ServiceName, known: &Endpoint| {
                known.instance == endpoint.instance
                    && !held.contains_key(&(service.clone(), known.instance.clone()))
            };
            let current = self.snapshot();
            let mut all = current.services.iter();
            if all.any(|(service, known)| known.instances.iter().any(|known| without_lease(service, known))) {
                return Err(Refused::Taken);
            }
            if held.keys().filter(|(joined, _)| joined == service).count() >= MOST_JOINED {
                return Err(Refused::Full);
            }
        }
        let now = Instant::now();
        let since = before.map_or(now, |before| before.since);
        let lease = Lease { service: service.clone(), endpoint, length, ends: now + length, since };
        let new = before.is_none();
        let same = |before: &Lease| {
            before.endpoint == lease.endpoint && before.length == lease.length && before.ends <= lease.ends
        };
        if !before.is_some_and(same) {
            self.leases.tell();
        }
        held.insert(key, lease.clone());
        self.change(|known| put(known, service, &lease.endpoint));
        Ok((lease, new))
    }

    /// Renews a lease as it is; nothing if there is none.
    pub fn renew(&self, service: &ServiceName, instance: &InstanceId) -> Option<Lease> {
        let mut held = self.leases.held();
        let lease = held.get_mut(&(service.clone(), instance.clone()))?;
        lease.ends = Instant::now() + lease.length;
        Some(lease.clone())
    }

    /// Ends a lease and takes its instance out of rotation; nothing if there is none.
    pub fn leave(&self, service: &ServiceName, instance: &InstanceId) -> Option<Lease> {
        let mut held = self.leases.held();
        let left = held.remove(&(service.clone(), instance.clone()))?;
        self.leases.tell();
        self.change(|known| take(known, &left));
        Some(left)
    }

    /// Takes those out of rotation whose lease has ended, and gives their leases.
    pub fn expire(&self) -> Vec<Lease> {
        let now = Instant::now();
        let mut held = self.leases.held();
        let ended: Vec<_> =
            held.extract_if(.., |_, lease| lease.ends <= now).map(|(_, lease)| lease).collect();
        if !ended.is_empty() {
            self.leases.tell();
            self.change(|known| ended.iter().for_each(|lease| take(known, lease)));
        }
        ended
    }

    /// Waits until there may be something to [`expire`](Self::expire).
    pub async fn lease_ended(&self) {
        self.leases.ended().await;
    }

    /// The leases that are held.
    pub fn leases(&self) -> Vec<Lease> {
        self.leases.held().values().cloned().collect()
    }

    /// Sees every change of leases but their renewal.
    pub(crate) fn watch_leases(&self) -> watch::Receiver<()> {
        self.leases.watch()
    }

    /// Says where a service answers that runs elsewhere: there and nowhere else. Leases for it end.
    pub fn replace(&self, service: &ServiceName, endpoints: &[Endpoint]) -> Arc<Endpoints> {
        let mut held = self.leases.held();
        held.retain(|(joined, _), _| joined != service);
        self.leases.tell();
        self.change(|known| {
            known.entry(service.clone()).or_default().instances.clear();
            endpoints.iter().for_each(|endpoint| put(known, service, endpoint));
        })
    }

    /// Says why nobody starts an instance of a service, or that somebody does. Whoever joins is called all the same.
    pub fn leave_out(&self, service: &ServiceName, why: Option<&str>) -> Arc<Endpoints> {
        self.change(|known| {
            if let Some(entry) = known.get_mut(service) {
                entry.left_out = why.map(str::to_owned);
            }
        })
    }

    /// What is known now.
    pub fn snapshot(&self) -> Arc<Endpoints> {
        self.current.borrow().clone()
    }

    /// Sees every change from now on, beginning with what is known now.
    pub fn watch(&self) -> Watch {
        let mut receiver = self.current.subscribe();
        receiver.mark_changed();
        Watch(receiver)
    }

    fn change(&self, edit: impl FnOnce(&mut BTreeMap<ServiceName, ServiceEndpoints>)) -> Arc<Endpoints> {
        self.current.send_if_modified(|current| {
            let mut services = current.services.clone();
            edit(&mut services);
            let modified = services != current.services;
            if modified {
                *current =
                    Arc::new(Endpoints { version: current.version + 1, services, ..Endpoints::default() });
            }
            modified
        });
        self.snapshot()
    }
}

/// Adds an instance to a service, in place of one with the same id.
fn put(known: &mut BTreeMap<ServiceName, ServiceEndpoints>, service: &ServiceName, endpoint: &Endpoint) {
    let instances = &mut known.entry(service.clone()).or_default().instances;
    match instances.binary_search_by(|known| known.instance.cmp(&endpoint.instance)) {
        Ok(at) => instances[at] = endpoint.clone(),
        Err(at) => instances.insert(at, endpoint.clone()),
    }
}

fn take(known: &mut BTreeMap<ServiceName, ServiceEndpoints>, lease: &Lease) {
    if let Some(entry) = known.get_mut(&lease.service) {
        entry.instances.retain(|endpoint| endpoint.instance != lease.endpoint.instance);
    }
}

fn remove(known: &mut BTreeMap<ServiceName, ServiceEndpoints>, id: &InstanceId) {
    for entry in known.values_mut() {
        entry.instances.retain(|endpoint| endpoint.instance != *id);
    }
}

// === impl Watch ===

impl Watch {
    /// The next state that this watch has not seen; `None` once the registry is gone.
    pub async fn next(&mut self) -> Option<Arc<Endpoints>> {
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().clone())
    }
}

#[cfg(test)]
mod tests;

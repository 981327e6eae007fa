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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn service(name: &str) -> ServiceName {
        name.parse().unwrap()
    }

    fn instance(id: &str, services: &[&str]) -> Instance {
        Instance {
            id: InstanceId(id.into()),
            services: services.iter().map(|name| service(name)).collect(),
            address: "127.0.0.1:20001".parse().unwrap(),
            protocol: Protocol::Http,
            release: None,
        }
    }

    fn in_rotation(endpoints: &Endpoints, name: &str) -> Vec<String> {
        let entry = &endpoints.services[&service(name)];
        entry.instances.iter().map(|endpoint| endpoint.instance.to_string()).collect()
    }

    #[test]
    fn an_instance_of_several_services_comes_and_goes_as_one() {
        let registry = Registry::starting_at(7, Held::new());
        registry.declare([service("users"), service("orders")]);
        let both = registry.register(&instance("shop-a", &["users", "orders"]));
        assert_eq!(in_rotation(&both, "users"), ["shop-a"]);
        assert_eq!(in_rotation(&both, "orders"), ["shop-a"]);

        let none = registry.deregister(&InstanceId("shop-a".into()));
        assert_eq!(in_rotation(&none, "users"), [""; 0]);
        assert_eq!(none.services.len(), 2, "a declared service without an instance is still listed");
        assert_eq!(none.version, 10);
    }

    #[test]
    fn what_changes_nothing_makes_no_version() {
        let registry = Registry::starting_at(0, Held::new());
        let first = registry.register(&instance("users-a", &["users"]));
        assert_eq!(registry.register(&instance("users-a", &["users"])).version, first.version);
        assert_eq!(registry.deregister(&InstanceId("unknown".into())).version, first.version);
    }

    #[tokio::test]
    async fn a_watch_begins_with_what_is_known_and_skips_to_the_last() {
        let registry = Registry::starting_at(0, Held::new());
        registry.register(&instance("users-a", &["users"]));
        let mut watch = registry.watch();
        assert_eq!(watch.next().await.unwrap().version, 1);
        registry.register(&instance("users-b", &["users"]));
        registry.deregister(&InstanceId("users-a".into()));
        let last = watch.next().await.unwrap();
        assert_eq!(in_rotation(&last, "users"), ["users-b"]);
        drop(registry);
        assert!(watch.next().await.is_none());
    }

    const IDS: [&str; 4] = ["a", "b", "c", "d"];

    fn joined(id: &str, port: u16) -> Endpoint {
        let address = ([127, 0, 0, 1], port).into();
        Endpoint { instance: InstanceId(id.into()), address, protocol: Protocol::Http, release: None }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Join(usize, u64),
        Renew(usize),
        Leave(usize),
        Wait(u64),
        /// One that is run here comes and goes meanwhile, which touches no lease.
        Runs(bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..IDS.len(), 1_000u64..20_000).prop_map(|(id, length)| Step::Join(id, length)),
            (0..IDS.len()).prop_map(Step::Renew),
            (0..IDS.len()).prop_map(Step::Leave),
            (0u64..15_000).prop_map(Step::Wait),
            any::<bool>().prop_map(Step::Runs),
        ]
    }

    proptest! {
        /// Whatever happens: who has a lease that has not ended is in rotation, and who has none is out of it at
        /// most two milliseconds later, the step of the timer and its rounding.
        #[test]
        fn is_in_rotation_as_long_as_the_lease(steps in prop::collection::vec(step(), 1..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime.unwrap().block_on(async {
                let registry = Registry::starting_at(0, Held::new());
                registry.declare([service("users")]);
                let expiring = tokio::spawn({
                    let registry = registry.clone();
                    async move {
                        loop {
                            registry.lease_ended().await;
                            registry.expire();
                        }
                    }
                });
                let mut model: BTreeMap<&str, (Instant, Duration)> = BTreeMap::new();
                for step in steps {
                    tokio::task::yield_now().await;
                    let now = Instant::now();
                    model.retain(|_, (ends, _)| *ends > now);
                    match step {
                        Step::Join(id, length) => {
                            let length = Duration::from_millis(length);
                            let (lease, new) =
                                registry.join(&service("users"), joined(IDS[id], 1), length).unwrap();
                            assert_eq!(lease.ends, now + length);
                            let before = model.insert(IDS[id], (now + length, length));
                            assert_eq!(new, before.is_none());
                        }
                        Step::Renew(id) => {
                            let renewed = registry.renew(&service("users"), &InstanceId(IDS[id].into()));
                            let expected = model.get_mut(IDS[id]);
                            assert_eq!(renewed.is_some(), expected.is_some());
                            if let Some((ends, length)) = expected {
                                *ends = now + *length;
                            }
                        }
                        Step::Leave(id) => {
                            let left = registry.leave(&service("users"), &InstanceId(IDS[id].into()));
                            assert_eq!(left.is_some(), model.remove(IDS[id]).is_some());
                        }
                        Step::Runs(true) => _ = registry.register(&instance("users-x", &["users"])),
                        Step::Runs(false) => _ = registry.deregister(&InstanceId("users-x".into())),
                        Step::Wait(time) => {
                            let end = now + Duration::from_millis(time);
                            // To each end of a lease on the way, and what is past it by no more than a step.
                            while let Some(next) = model.values().map(|(ends, _)| *ends).min().filter(|next| *next <= end) {
                                tokio::time::sleep_until(next + Duration::from_millis(2)).await;
                                model.retain(|_, (ends, _)| *ends > next);
                                let listed = in_rotation(&registry.snapshot(), "users");
                                let ended = |id: &String| id != "users-x" && !model.contains_key(id.as_str());
                                assert!(!listed.iter().any(ended), "{listed:?} {model:?}");
                            }
                            tokio::time::sleep_until(end).await;
                        }
                    }
                    let now = Instant::now();
                    let listed = in_rotation(&registry.snapshot(), "users");
                    for (id, _) in model.iter().filter(|(_, (ends, _))| *ends > now) {
                        assert!(listed.iter().any(|listed| listed == id), "{id} has a lease: {listed:?}");
                    }
                }
                expiring.abort();
            });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_id_with_a_lease_and_one_without_are_never_the_same() {
        let registry = Registry::starting_at(0, Held::new());
        registry.declare([service("users"), service("orders")]);
        registry.register(&instance("users-a", &["users"]));
        let length = Duration::from_secs(10);
        let join = |name: &str, id: &str| registry.join(&service(name), joined(id, 4001), length);
        assert_eq!(join("users", "users-a").unwrap_err(), Refused::Taken);
        assert_eq!(join("orders", "users-a").unwrap_err(), Refused::Taken);

        // One id for two services is two instances.
        join("users", "mine").unwrap();
        join("orders", "mine").unwrap();
        registry.deregister(&InstanceId("mine".into()));
        assert!(registry.leave(&service("orders"), &InstanceId("mine".into())).is_some());
        assert_eq!(in_rotation(&registry.snapshot(), "users"), ["mine", "users-a"]);

        // Who is run here has the id, and no lease takes it out.
        let now = registry.register(&instance("mine", &["users"]));
        assert_eq!(in_rotation(&now, "users"), ["mine", "users-a"]);
        tokio::time::advance(length * 2).await;
        assert_eq!(registry.expire(), []);
        assert_eq!(in_rotation(&registry.snapshot(), "users"), ["mine", "users-a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn leases_end_with_their_service_and_are_bounded() {
        let registry = Registry::starting_at(0, Held::new());
        registry.declare([service("users"), service("orders")]);
        let join = |id: usize| {
            registry.join(&service("users"), joined(&format!("u{id}"), 4001), Duration::from_secs(10))
        };
        (0..MOST_JOINED).for_each(|id| drop(join(id).unwrap()));
        assert_eq!(join(MOST_JOINED).unwrap_err(), Refused::Full);
        assert!(!join(7).unwrap().1, "who is there may renew");
        registry.declare([service("orders")]);
        assert_eq!(registry.leases(), []);
        assert!(!registry.snapshot().services.contains_key(&service("users")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_runs_elsewhere_is_where_it_was_found_last() {
        let registry = Registry::starting_at(0, Held::new());
        registry.declare([service("users")]);
        registry.join(&service("users"), joined("old", 1), Duration::from_secs(10)).unwrap();
        registry.replace(&service("users"), &[joined("x", 1), joined("y", 2)]);
        let now = registry.replace(&service("users"), &[joined("y", 2)]);
        assert_eq!(in_rotation(&now, "users"), ["y"]);
        assert_eq!(registry.leases(), []);
    }

    proptest! {
        /// Whatever the order of changes: versions grow by one with each that changes something, and what is
        /// listed is what was registered last and not taken out since.
        #[test]
        fn is_the_set_of_what_was_registered(steps in prop::collection::vec((0u8..5, any::<bool>()), 0..60)) {
            let registry = Registry::starting_at(0, Held::new());
            registry.declare([service("users")]);
            let mut expected = BTreeSet::new();
            let mut version = registry.snapshot().version;
            for (id, comes) in steps {
                let id = format!("users-{id}");
                let changed = if comes { expected.insert(id.clone()) } else { expected.remove(&id) };
                let now = if comes {
                    registry.register(&instance(&id, &["users"]))
                } else {
                    registry.deregister(&InstanceId(id.as_str().into()))
                };
                version += u64::from(changed);
                prop_assert_eq!(now.version, version);
                prop_assert_eq!(in_rotation(&now, "users"), expected.iter().cloned().collect::<Vec<_>>());
            }
        }
    }
}

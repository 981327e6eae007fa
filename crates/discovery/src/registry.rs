//! The registry: ready instances by service, replaced as a whole with each change.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use madang_model::{InstanceId, Protocol, ServiceName};
use madang_store::Store;
use madang_wire::service::{Endpoint, Endpoints, ServiceEndpoints};
use tokio::sync::watch;

use crate::{Error, store};

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
}

/// The registry. Cloning it is cheap and gives the same registry.
#[derive(Clone)]
pub struct Registry {
    current: Arc<watch::Sender<Arc<Endpoints>>>,
}

/// Sees every change, or the last of several that came at once. Versions only grow.
pub struct Watch(watch::Receiver<Arc<Endpoints>>);

// === impl Registry ===

impl Registry {
    /// An empty registry whose versions go on where those of the node's life before ended.
    ///
    /// # Errors
    /// If the node's state cannot be read or written.
    pub async fn open(state: &Store) -> Result<Self, Error> {
        Ok(Self::starting_at(store::reserve_versions(state).await?))
    }

    fn starting_at(version: u64) -> Self {
        let empty = Endpoints { version, services: BTreeMap::new() };
        Self { current: Arc::new(watch::Sender::new(Arc::new(empty))) }
    }

    /// Says which services exist. One without an instance is listed with none; one that no longer exists
    /// leaves the list, with its instances.
    pub fn declare(&self, services: impl IntoIterator<Item = ServiceName>) -> Arc<Endpoints> {
        let declared: BTreeSet<ServiceName> = services.into_iter().collect();
        self.change(|known| {
            known.retain(|service, _| declared.contains(service));
            for service in declared {
                known.entry(service).or_default();
            }
        })
    }

    /// Puts an instance into rotation. Registering it again replaces what was known of it.
    pub fn register(&self, instance: &Instance) -> Arc<Endpoints> {
        let endpoint = Endpoint {
            instance: instance.id.clone(),
            address: instance.address,
            protocol: instance.protocol,
        };
        self.change(|known| {
            remove(known, &instance.id);
            for service in &instance.services {
                let entry: &mut ServiceEndpoints = known.entry(service.clone()).or_default();
                entry.instances.push(endpoint.clone());
                entry.instances.sort_by(|a, b| a.instance.cmp(&b.instance));
            }
        })
    }

    /// Takes an instance out of rotation; one that is not in it changes nothing.
    pub fn deregister(&self, instance: &InstanceId) -> Arc<Endpoints> {
        self.change(|known| remove(known, instance))
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
                *current = Arc::new(Endpoints { version: current.version + 1, services });
            }
            modified
        });
        self.snapshot()
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
        }
    }

    fn in_rotation(endpoints: &Endpoints, name: &str) -> Vec<String> {
        let entry = &endpoints.services[&service(name)];
        entry.instances.iter().map(|endpoint| endpoint.instance.to_string()).collect()
    }

    #[test]
    fn an_instance_of_several_services_comes_and_goes_as_one() {
        let registry = Registry::starting_at(7);
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
        let registry = Registry::starting_at(0);
        let first = registry.register(&instance("users-a", &["users"]));
        assert_eq!(registry.register(&instance("users-a", &["users"])).version, first.version);
        assert_eq!(registry.deregister(&InstanceId("unknown".into())).version, first.version);
    }

    #[tokio::test]
    async fn a_watch_begins_with_what_is_known_and_skips_to_the_last() {
        let registry = Registry::starting_at(0);
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

    proptest! {
        /// Whatever the order of changes: versions grow by one with each that changes something, and what is
        /// listed is what was registered last and not taken out since.
        #[test]
        fn is_the_set_of_what_was_registered(steps in prop::collection::vec((0u8..5, any::<bool>()), 0..60)) {
            let registry = Registry::starting_at(0);
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

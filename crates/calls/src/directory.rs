//! Who can be called from this process.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use arc_swap::ArcSwap;
use madang_model::{InstanceId, ServiceName};
use madang_wire::{
    admin::HealthView,
    service::{Endpoints, ServiceEndpoints},
};

use crate::{Elsewhere, Killer, Lane, LocalService, Origin, Upstream, endpoint::Endpoint, tally::Clock};

/// Who can be called from this process. Cloning it is cheap and gives the same directory.
#[derive(Clone, Default)]
pub struct Directory {
    shared: Arc<Shared>,
}

/// An instance that leaves, as each service that it hosts has it.
#[must_use]
pub struct Leaving(Vec<Arc<Endpoint>>);

#[derive(Default)]
struct Shared {
    upstreams: ArcSwap<HashMap<ServiceName, Arc<Upstream>>>,
    /// Held while services are added, which is once for each.
    adding: Mutex<()>,
    lanes: Mutex<HashMap<(Origin, ServiceName), Arc<Lane>>>,
    killer: Arc<OnceLock<Arc<dyn Killer>>>,
}

// === impl Directory ===

impl Directory {
    /// The handle of a service; made on first use, and the same from then on. It may have no endpoints yet.
    pub fn upstream(&self, service: &ServiceName) -> Arc<Upstream> {
        if let Some(upstream) = self.shared.upstreams.load().get(service) {
            return upstream.clone();
        }
        self.shared.add(service)
    }

    /// The way from there to a service; the same as long as somebody holds it.
    pub fn lane(&self, origin: Origin, service: &ServiceName) -> Arc<Lane> {
        let upstream = self.upstream(service);
        let mut lanes = self.shared.lanes();
        let key = (origin.clone(), service.clone());
        if let Some(lane) = lanes.get(&key) {
            return lane.clone();
        }
        // Those that no route and no caller uses any more are known here only.
        lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        lanes.entry(key).or_insert(Arc::new(Lane::new(origin, upstream))).clone()
    }

    /// Takes over where services are ready. Instances that stay keep their state and connections; a service
    /// absent from `endpoints` loses its instances; services hosted here are left alone. The caller sees to
    /// the order: versions are not compared, because they begin anew with the registry that counts them.
    pub fn apply(&self, endpoints: &Endpoints) {
        for (service, instances) in &endpoints.services {
            self.upstream(service).apply(instances);
        }
        for (service, upstream) in self.shared.upstreams.load().iter() {
            if !endpoints.services.contains_key(service) {
                upstream.apply(&ServiceEndpoints::default());
            }
        }
    }

    /// Hold of an instance that is about to leave, to be taken before [`Self::apply`] leaves it out.
    pub fn leaving(&self, instance: &InstanceId) -> Leaving {
        let upstreams = self.shared.upstreams.load();
        let all = upstreams.values().flat_map(|upstream| upstream.endpoints.load().all.clone());
        Leaving(all.filter(|endpoint| endpoint.instance == *instance).collect())
    }

    /// Says that a service runs elsewhere, or no longer does: its instances, from now on, are spoken to so. Those
    /// that were spoken to otherwise get new handles.
    pub fn elsewhere(&self, service: &ServiceName, elsewhere: Option<Arc<Elsewhere>>) {
        self.upstream(service).speak(elsewhere);
    }

    /// Says who kills instances for faults that do; only the first who is named counts.
    pub fn kill_with(&self, killer: Arc<dyn Killer>) {
        let _ = self.shared.killer.set(killer);
    }

    /// How each service answers those who call it from this process.
    pub fn health(&self) -> Vec<HealthView> {
        let clock = Clock::read();
        let mut lanes = BTreeMap::<_, Vec<_>>::new();
        for ((_, service), lane) in self.shared.lanes().iter() {
            lanes.entry(service.clone()).or_default().push(lane.clone());
        }
        lanes.values_mut().for_each(|lanes| lanes.sort_by(|a, b| a.origin.cmp(&b.origin)));
        let upstreams = self.shared.upstreams.load();
        let of = |service| lanes.get(service).map_or(&[][..], Vec::as_slice);
        let mut views: Vec<_> =
            upstreams.iter().map(|(service, upstream)| upstream.health(of(service), &clock)).collect();
        views.sort_by(|a, b| a.service.cmp(&b.service));
        views
    }

    /// Hosts a service in this process: calls to it stay inside, each in a task of its own.
    pub fn host(&self, service: ServiceName, local: LocalService) {
        self.upstream(&service).host(local);
    }
}

// === impl Leaving ===

impl Leaving {
    /// Resolves once every request of this process at the instance has been answered to its end. Streams of
    /// events, which go on until somebody leaves, are not waited for. To be waited for once it has left, and for a
    /// limited time.
    pub async fn quiet(self) {
        for endpoint in self.0 {
            endpoint.quiet().await;
        }
    }
}

// === impl Shared ===

impl Shared {
    fn lanes(&self) -> MutexGuard<'_, HashMap<(Origin, ServiceName), Arc<Lane>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, service: &ServiceName) -> Arc<Upstream> {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.upstreams.load();
        if let Some(upstream) = old.get(service) {
            return upstream.clone();
        }
        let mut upstream = Upstream::new(service.clone());
        upstream.killer = self.killer.clone();
        let upstream = Arc::new(upstream);
        let mut next = HashMap::clone(&old);
        next.insert(service.clone(), upstream.clone());
        self.upstreams.store(Arc::new(next));
        upstream
    }
}

#[cfg(test)]
mod tests {
    use madang_model::Protocol;
    use madang_wire::service::Endpoint;

    use super::*;

    fn endpoints(version: u64, ports: &[u16]) -> Endpoints {
        let instance = |port: &u16| Endpoint {
            instance: InstanceId(format!("users-{port}").into()),
            address: ([127, 0, 0, 1], *port).into(),
            protocol: Protocol::Http,
            release: None,
        };
        let service = ServiceEndpoints {
            instances: ports.iter().map(instance).collect(),
            ..ServiceEndpoints::default()
        };
        Endpoints { version, services: [("users".parse().unwrap(), service)].into(), ..Endpoints::default() }
    }

    #[tokio::test]
    async fn instances_that_stay_keep_their_handles() {
        let directory = Directory::default();
        let users = directory.upstream(&"users".parse().unwrap());
        assert!(!users.has_instance());
        directory.apply(&endpoints(1, &[1, 2]));
        let before = users.endpoints();
        directory.apply(&endpoints(2, &[2, 3]));
        let after = users.endpoints();
        assert!(Arc::ptr_eq(&before[1], &after[0]));
        assert!(!before[0].in_rotation() && before[1].in_rotation());
        assert!(Arc::ptr_eq(&users, &directory.upstream(&"users".parse().unwrap())));
    }

    #[test]
    fn a_lane_is_the_same_while_it_is_held_and_forgotten_after() {
        let directory = Directory::default();
        let users = "users".parse().unwrap();
        let lane = |caller: &str| directory.lane(Origin::Caller(caller.parse().unwrap()), &users);
        let (orders, mail) = (lane("orders"), lane("mail"));
        assert!(Arc::ptr_eq(&orders, &lane("orders")));
        assert!(!Arc::ptr_eq(&orders, &mail));
        assert!(Arc::ptr_eq(&orders.upstream, &mail.upstream));
        drop(mail);
        lane("catalog");
        assert_eq!(directory.shared.lanes.lock().unwrap().len(), 2, "orders, which is held, and catalog");
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_that_leaves_is_quiet_once_its_requests_have_ended() {
        let directory = Directory::default();
        directory.apply(&endpoints(1, &[1, 2]));
        let users = directory.upstream(&"users".parse().unwrap()).endpoints();
        let (request, other, mut stream) = (users[0].begin(), users[1].begin(), users[0].begin());
        let leaving = directory.leaving(&users[0].instance);
        directory.apply(&endpoints(2, &[2]));
        let mut quiet = std::pin::pin!(leaving.quiet());
        let soon = std::time::Duration::from_secs(1);
        assert!(tokio::time::timeout(soon, &mut quiet).await.is_err(), "two requests");
        drop(request);
        assert!(tokio::time::timeout(soon, &mut quiet).await.is_err(), "one request");
        stream.streams();
        assert!(tokio::time::timeout(soon, quiet).await.is_ok(), "a stream is not waited for");
        drop((stream, other));
        assert_eq!(users[0].in_flight(), 0);
        let nobody = directory.leaving(&InstanceId("users-9".into()));
        assert!(tokio::time::timeout(soon, nobody.quiet()).await.is_ok());
    }

    #[tokio::test]
    async fn a_service_that_is_absent_loses_its_instances() {
        let directory = Directory::default();
        let users = directory.upstream(&"users".parse().unwrap());
        directory.apply(&endpoints(7, &[1]));
        assert!(users.has_instance());
        directory.apply(&Endpoints { version: 8, ..Endpoints::default() });
        assert!(!users.has_instance());
    }
}

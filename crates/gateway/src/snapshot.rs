//! What the manifest says of listeners and routes, compiled off the request path and swapped in whole.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use madang_calls::{Directory, Lane, Origin, Policy};
use madang_model::{Route, ServiceName, System, policy::Fault};
use madang_wire::admin::{RouteView, TargetView};

use crate::{Error, router::Router};

/// The listeners and routes of a system; it never changes.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) fronts: BTreeMap<SocketAddr, Arc<Front>>,
    views: Arc<[RouteView]>,
}

/// The faults that calls from somewhere meet at a service, besides those of the manifest.
pub type Faults<'a> = &'a dyn Fn(&Origin, &ServiceName) -> Vec<Fault>;

/// What a snapshot is compiled from.
#[derive(Clone, Copy)]
struct Sources<'a> {
    system: &'a System,
    directory: &'a Directory,
    faults: Faults<'a>,
}

/// What a listener does with a request.
pub(crate) enum Front {
    /// The gateway's own: the routes decide.
    Gateway(Table),
    /// A listener of one service: everything leads to it.
    Service(Arc<Destination>),
}

/// The routes, ready to be looked up.
pub(crate) struct Table {
    pub(crate) router: Router,
    pub(crate) routes: Box<[Destinations]>,
}

/// Where a route leads.
pub(crate) struct Destinations {
    /// The template as it was written.
    pub(crate) template: Arc<str>,
    /// Each destination with the end of its share of `0..total`.
    shares: Box<[(u64, Arc<Destination>)]>,
    total: u64,
}

/// A service and the limits of calls to it.
pub(crate) struct Destination {
    pub(crate) lane: Arc<Lane>,
    pub(crate) policy: Arc<Policy>,
}

// === impl Snapshot ===

impl Snapshot {
    /// Compiles the listeners and routes of a system, and the faults that are met there.
    ///
    /// # Errors
    /// If a route's path, method or header cannot be one, or a route leads nowhere.
    pub fn compile(system: &System, directory: &Directory, faults: Faults<'_>) -> Result<Self, Error> {
        let sources = Sources { system, directory, faults };
        let table = Table::compile(sources)?;
        let views = table.router.order().iter().map(|&i| view(&system.routes[i])).collect();
        let services = system.services.values().filter_map(|service| {
            let destination = sources.of_route(&service.name, None);
            Some((service.listen?, Arc::new(Front::Service(Arc::new(destination)))))
        });
        let gateway = (system.gateway.listen, Arc::new(Front::Gateway(table)));
        Ok(Self { fronts: services.chain([gateway]).collect(), views })
    }

    /// The routes in order of precedence.
    pub(crate) fn describe(&self) -> Vec<RouteView> {
        self.views.to_vec()
    }
}

fn view(route: &Route) -> RouteView {
    RouteView {
        host: route.host.clone(),
        path: route.path.clone(),
        methods: route.methods.clone(),
        headers: route.headers.iter().map(|h| format!("{}: {}", h.name, h.value)).collect(),
        to: route
            .to
            .iter()
            .map(|t| TargetView { service: t.service.to_string(), weight: t.weight })
            .collect(),
        place: route.place.to_string(),
    }
}

// === impl Front ===

impl Front {
    /// Whether it leads to one service only.
    pub(crate) fn is_door(&self) -> bool {
        matches!(self, Self::Service(_))
    }
}

// === impl Table ===

impl Table {
    fn compile(sources: Sources<'_>) -> Result<Self, Error> {
        let routes = &sources.system.routes;
        let destinations = routes.iter().map(|route| Destinations::compile(sources, route));
        Ok(Self { router: Router::compile(routes)?, routes: destinations.collect::<Result<_, _>>()? })
    }
}

// === impl Destinations ===

impl Destinations {
    fn compile(sources: Sources<'_>, route: &Route) -> Result<Self, Error> {
        let mut total = 0;
        let mut shares = Vec::with_capacity(route.to.len());
        for target in route.to.iter().filter(|t| t.weight > 0) {
            total += u64::from(target.weight);
            let destination = sources.of_route(&target.service, Some(route));
            shares.push((total, Arc::new(destination)));
        }
        if shares.is_empty() {
            return Err(Error::NoTarget { place: route.place.to_string() });
        }
        Ok(Self { template: route.path.as_str().into(), shares: shares.into(), total })
    }

    /// One of the destinations, each as likely as its weight; draws only if there is a choice.
    pub(crate) fn choose(&self, draw: impl FnOnce() -> u64) -> &Arc<Destination> {
        let at = match self.shares.len() {
            1 => 0,
            _ => {
                let drawn = draw() % self.total;
                self.shares.partition_point(|(end, _)| *end <= drawn)
            }
        };
        &self.shares[at].1
    }
}

// === impl Sources ===

impl Sources<'_> {
    fn of_route(self, name: &ServiceName, route: Option<&Route>) -> Destination {
        let origin = route.map_or(Origin::Listener, |route| Origin::Route(route.identity().into()));
        self.destination(origin, name, self.system.policy_of_route(route, name))
    }

    fn destination(self, origin: Origin, name: &ServiceName, mut policy: Policy) -> Destination {
        policy.faults.extend((self.faults)(&origin, name));
        Destination { lane: self.directory.lane(origin, name), policy: Arc::new(policy) }
    }
}

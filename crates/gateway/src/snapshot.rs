//! What the manifest says of listeners and routes, compiled off the request path and swapped in whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::HeaderMap;
use madang_calls::{Directory, Lane, LocalService, Origin, Policy};
use madang_model::{Protocol, Require, Route, ServiceName, System, policy::Fault};
use madang_wire::admin::{RouteView, TargetView};

use crate::{
    Error,
    auth::{
        Identity,
        guard::{Gatekeeper, Guard},
        identity::guard,
    },
    compositions,
    login::Login,
    policies::{Edge, Kept, Policies, redirect::Elsewhere, sticky::Sticky},
    proxies::{Proxies, Told},
    redirect::Redirect,
    router::Router,
    tls::{Shown, Tls},
};

/// The listeners and routes of a system; it never changes.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) fronts: BTreeMap<SocketAddr, Arc<Front>>,
    views: Arc<[RouteView]>,
    identity: Identity,
    gatekeeper: Option<Arc<Gatekeeper>>,
    pub(crate) kept: Arc<Kept>,
    directory: Directory,
    compositions: Vec<(ServiceName, LocalService)>,
}

/// Where the services of a unit call one other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// Where it listens.
    pub address: SocketAddr,
    /// The service that it leads to.
    pub callee: ServiceName,
    /// Those of the unit that call it, the first for all requests that name none of them; without any, there is no door.
    pub callers: Vec<ServiceName>,
}

/// The faults that calls from somewhere meet at a service, besides those of the manifest.
pub type Faults<'a> = &'a dyn Fn(&Origin, &ServiceName) -> Vec<Fault>;

/// What a snapshot is compiled from.
#[derive(Clone, Copy)]
struct Sources<'a> {
    system: &'a System,
    directory: &'a Directory,
    faults: Faults<'a>,
    gatekeeper: Option<&'a Arc<Gatekeeper>>,
    policies: &'a Policies,
}

/// What a listener does with a request.
pub(crate) enum Front {
    /// The gateway's own: the routes decide.
    Gateway(Table),
    /// A listener of one service: everything leads to it.
    Service(Arc<Destination>),
    /// A unit's door to one service.
    Door(Ways),
    /// Everything is sent on to https.
    Redirect(Redirect),
}

/// The ways of the services of a unit to one other.
pub(crate) struct Ways {
    first: Way,
    others: Box<[Way]>,
}

/// The way of one service to another.
pub(crate) struct Way {
    pub(crate) caller: ServiceName,
    pub(crate) destination: Arc<Destination>,
}

/// The routes, ready to be looked up.
pub(crate) struct Table {
    pub(crate) router: Router,
    pub(crate) routes: Box<[Destinations]>,
    /// How TLS is spoken where these are; plain HTTP if absent.
    tls: Option<Tls>,
    /// Whether the built-in issuer asks a service for passwords: nobody else does.
    issuer: bool,
    /// How browsers log in, below a path of the gateway's own.
    pub(crate) login: Option<Arc<Login>>,
    /// Who stands before the gateway and is believed.
    proxies: Option<Box<Proxies>>,
}

/// Where a route leads.
pub(crate) struct Destinations {
    /// The template as it was written.
    pub(crate) template: Arc<str>,
    /// Each destination with the end of its share of `0..total`.
    shares: Box<[(u64, Arc<Destination>)]>,
    total: u64,
    /// By what a client gets the same again.
    pub(crate) sticky: Option<Sticky>,
    /// Where whoever asks is sent, in place of asking a service.
    pub(crate) elsewhere: Option<Elsewhere>,
}

/// A service and the limits of calls to it.
pub(crate) struct Destination {
    pub(crate) lane: Arc<Lane>,
    pub(crate) policy: Arc<Policy>,
    /// Absent where nobody is asked who they are.
    pub(crate) guard: Option<Arc<Guard>>,
    /// Whether clients may speak gRPC-Web to it.
    pub(crate) speaks_grpc: bool,
    /// Absent where the gateway does nothing itself.
    pub(crate) edge: Option<Arc<Edge>>,
    /// Present where browsers may have a session: the gateway keeps that to itself.
    pub(crate) login: Option<Arc<Login>>,
}

// === impl Snapshot ===

impl Snapshot {
    /// Compiles the listeners and routes of a system, these doors, the faults that are met there, and who is let in.
    ///
    /// # Errors
    /// If a route's path, method or header cannot be one, or a route leads nowhere.
    pub fn compile(
        system: &System,
        directory: &Directory,
        doors: &[Door],
        faults: Faults<'_>,
        identity: &Identity,
    ) -> Result<Self, Error> {
        let gatekeeper = identity.gatekeeper(system);
        let policies = Policies::default();
        let gatekeeper_now = gatekeeper.as_ref();
        let sources = Sources { system, directory, faults, gatekeeper: gatekeeper_now, policies: &policies };
        let table = Table::compile(sources)?;
        let compositions = compositions::ready(system, &|caller, callee| sources.of_call(caller, callee));
        let compositions = compositions.map_err(Error::Compositions)?;
        let views = table.router.order().iter().map(|&i| view(system, &system.routes[i])).collect();
        let services = system.services.values().filter_map(|service| {
            let listen = service.listen?;
            let mut destination = sources.of_route(&service.name, None);
            // One of this machine is for the system's own services, which are not asked.
            if listen.ip().is_loopback() {
                destination.guard = None;
                destination.edge = None;
            }
            Some((listen, Arc::new(Front::Service(Arc::new(destination)))))
        });
        let doors = doors.iter().filter_map(|door| {
            let ways = Ways::new(sources, door)?;
            Some((door.address, Arc::new(Front::Door(ways))))
        });
        let gateway = (system.gateway.listen, Arc::new(Front::Gateway(table)));
        let fronts = doors.chain(services).chain([gateway]).collect();
        let (identity, kept) = (identity.clone(), Arc::new(policies.ready(system)));
        let directory = directory.clone();
        Ok(Self { fronts, views, identity, gatekeeper, kept, directory, compositions })
    }

    /// Whether something listens at this very address.
    pub fn listens_at(&self, address: SocketAddr) -> bool {
        self.fronts.contains_key(&address)
    }

    /// The same, with TLS at the gateway's own listener, and the one that sends on to it if the system has it.
    #[must_use]
    pub fn over_tls(mut self, system: &System, tls: Tls) -> Self {
        let listen = system.gateway.listen;
        if let Some(Front::Gateway(table)) = self.fronts.get_mut(&listen).and_then(Arc::get_mut) {
            table.tls = Some(tls.clone());
        }
        if let Some(from) = system.gateway.tls.as_ref().and_then(|tls| tls.redirect) {
            self.fronts.insert(from, Arc::new(Front::Redirect(Redirect { port: listen.port(), tls })));
        }
        self
    }

    /// It is in force: whoever is to be verified is, by keys that are fetched from now on.
    pub(crate) fn is_in_force(&self) {
        self.identity.follow(self.gatekeeper.clone());
        self.kept.is_in_force();
        for (name, service) in &self.compositions {
            self.directory.host(name.clone(), service.clone());
        }
    }

    /// The routes in order of precedence.
    pub(crate) fn describe(&self) -> Vec<RouteView> {
        self.views.to_vec()
    }
}

fn view(system: &System, route: &Route) -> RouteView {
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
        redirect: route.redirect.as_ref().map(|redirect| format!("{} {}", redirect.status, redirect.to)),
        edge: system.edge_names(route).into_iter().map(str::to_owned).collect(),
        require: route.to.first().and_then(|to| required(&system.require(Some(route), &to.service))),
        place: route.place.to_string(),
    }
}

/// What is asked, in words.
fn required(require: &Require) -> Option<String> {
    let demand = match require {
        Require::None => return None,
        Require::Optional => return Some("optional".to_owned()),
        Require::Principal => return Some("principal".to_owned()),
        Require::Of(demand) => demand,
    };
    let words = |words: &BTreeSet<String>, between: &str| {
        words.iter().map(String::as_str).collect::<Vec<_>>().join(between)
    };
    let scope = (!demand.scope.is_empty()).then(|| format!("scope {}", words(&demand.scope, " + ")));
    let role = (!demand.role.is_empty()).then(|| format!("role {}", words(&demand.role, " | ")));
    let claims = demand.claim.iter().map(|(path, values)| format!("{} {}", path.0, words(values, " | ")));
    Some(scope.into_iter().chain(role).chain(claims).collect::<Vec<_>>().join(", "))
}

// === impl Front ===

impl Front {
    /// Whether it is for the system's own services, which need it until they have stopped.
    pub(crate) fn is_inside(&self) -> bool {
        matches!(self, Self::Service(_) | Self::Door(_))
    }

    /// What a request from this peer says of whoever it is made for, if that is believed.
    pub(crate) fn told(&self, peer: IpAddr, fields: &HeaderMap) -> Option<Box<Told>> {
        match self {
            Self::Gateway(table) => table.proxies.as_ref()?.told(peer, fields),
            Self::Service(_) | Self::Door(_) | Self::Redirect(_) => None,
        }
    }

    /// How TLS is spoken there; plain HTTP if absent.
    pub(crate) fn tls(&self) -> Option<Arc<Shown>> {
        match self {
            Self::Gateway(table) => table.tls.as_ref().map(Tls::shown),
            Self::Service(_) | Self::Door(_) | Self::Redirect(_) => None,
        }
    }
}

// === impl Ways ===

impl Ways {
    fn new(sources: Sources<'_>, door: &Door) -> Option<Self> {
        let mut ways = door.callers.iter().map(|caller| {
            let destination = Arc::new(sources.of_call(caller, &door.callee));
            Way { caller: caller.clone(), destination }
        });
        Some(Self { first: ways.next()?, others: ways.collect() })
    }

    /// The way of the service of this name, or else of the first. A name that is none of the unit's is no mistake: who
    /// passes on the headers of the request that it answers names its own caller.
    pub(crate) fn of(&self, named: Option<&ServiceName>) -> &Way {
        self.others.iter().find(|way| Some(&way.caller) == named).unwrap_or(&self.first)
    }
}

// === impl Table ===

impl Table {
    fn compile(sources: Sources<'_>) -> Result<Self, Error> {
        let routes = &sources.system.routes;
        let destinations = routes.iter().map(|route| Destinations::compile(sources, route));
        Ok(Self {
            router: Router::compile(routes)?,
            routes: destinations.collect::<Result<_, _>>()?,
            tls: None,
            issuer: sources.system.issuer.is_some(),
            login: sources.login(),
            proxies: sources.system.gateway.proxies.as_ref().map(|trusted| Box::new(Proxies::new(trusted))),
        })
    }

    /// Whether no route leads to a path, whatever it says: how often a password is tried is the issuer's concern.
    pub(crate) fn hides(&self, path: &str) -> bool {
        self.issuer && path == madang_wire::login::PATH
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
        let elsewhere = route.redirect.as_ref().map(|redirect| Elsewhere::new(redirect, &route.path));
        if shares.is_empty() && elsewhere.is_none() {
            return Err(Error::NoTarget { place: route.place.to_string() });
        }
        let sticky = Sticky::new(route);
        Ok(Self { template: route.path.as_str().into(), shares: shares.into(), total, sticky, elsewhere })
    }

    /// The first of the destinations; a redirect has none.
    pub(crate) fn first(&self) -> Option<&Arc<Destination>> {
        self.shares.first().map(|(_, destination)| destination)
    }

    /// That of the target at this place, of those with a weight.
    pub(crate) fn at(&self, place: usize) -> &Arc<Destination> {
        &self.shares[place].1
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
        let mut policy = self.system.policy_of_route(route, name);
        if self.system.compositions.iter().any(|composition| composition.name == *name) {
            // Its calls are tried again themselves; to try all of them again would multiply that.
            (policy.attempts, policy.hedge) = (1, None);
        }
        let mut destination = self.destination(origin, name, policy);
        destination.guard = guard(self.gatekeeper, self.system, route, name);
        destination.edge = self.policies.edge(self.system, self.directory, route, name);
        // At the gateway alone: a service's own listener is another site.
        destination.login = route.and(self.login());
        destination
    }

    fn login(self) -> Option<Arc<Login>> {
        self.gatekeeper.and_then(|gatekeeper| gatekeeper.login.clone())
    }

    fn destination(self, origin: Origin, name: &ServiceName, mut policy: Policy) -> Destination {
        policy.faults.extend((self.faults)(&origin, name));
        let speaks_grpc = self.system.services.get(name).is_some_and(|it| it.protocol == Protocol::Grpc);
        Destination {
            lane: self.directory.lane(origin, name),
            policy: Arc::new(policy),
            guard: None,
            speaks_grpc,
            edge: None,
            login: None,
        }
    }

    fn of_call(self, caller: &ServiceName, callee: &ServiceName) -> Destination {
        self.destination(Origin::Caller(caller.clone()), callee, self.system.policy_of_call(caller, callee))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use madang_model::manifest;

    use super::*;

    /// Who is asked where: at the gateway by route, at a service's listener if other machines reach it, at no door.
    #[test]
    fn whoever_comes_from_outside_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"
            gateway.auth.keys = true
            [services.a]
            run = false
            listen = 4001
            routes = ["/a", { path = "/open", require = "none" }]
            [services.b]
            run = false
            listen = "192.0.2.1:4002"
            [services.c]
            run = false
            listen = "192.0.2.1:4003"
            require = "none"
        "#;
        fs::write(folder.path().join("madang.toml"), text).unwrap();
        let system = manifest::load(folder.path(), &|_| None).unwrap().system;
        let door = Door {
            address: "127.0.0.1:4009".parse().unwrap(),
            callee: "a".parse().unwrap(),
            callers: vec!["b".parse().unwrap()],
        };
        let identity = Identity::new(&[1; 32]);
        let directory = Directory::default();
        let snapshot =
            Snapshot::compile(&system, &directory, &[door], &|_, _| Vec::new(), &identity).unwrap();
        let asked: Vec<_> = snapshot.describe().into_iter().map(|view| view.require).collect();
        assert_eq!(asked, [Some("principal".to_owned()), None], "as `madang routes` shows it");
        let asks = |address: &str| match &*snapshot.fronts[&address.parse().unwrap()] {
            Front::Gateway(table) => {
                table.routes.iter().map(|route| route.choose(|| 0).guard.is_some()).collect()
            }
            Front::Service(destination) => vec![destination.guard.is_some()],
            Front::Door(ways) => vec![ways.of(None).destination.guard.is_some()],
            Front::Redirect(_) => unreachable!("there is no TLS"),
        };
        assert_eq!(asks("127.0.0.1:3000"), [true, false]);
        let listeners = ["127.0.0.1:4001", "192.0.2.1:4002", "192.0.2.1:4003", "127.0.0.1:4009"];
        assert_eq!(listeners.map(asks), [[false], [true], [false], [false]]);
    }
}

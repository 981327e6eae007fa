//! The validated system: what every engine reads and none changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::PathBuf,
};

use serde::Serialize;

use crate::{
    Auth, Composition, DomainName, Edge, EdgeRules, ExplainedLimit, GatewayTls, Limits, Login, OwnIssuer,
    Policy, Redirect, Require, Scope, ServiceName, SystemName, Telemetry, UnitName, Url,
    edge::{EdgeLayers, LimitStore, Sticky, TrustedProxies},
    limits::Layers,
};

/// A whole system, as its manifest describes it: every name resolves and every rule holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct System {
    /// Its name: that of `[system]`, or else of the manifest's folder.
    pub name: SystemName,
    /// The folder of the manifest, absolute; data and logs live in `.madang/` below it.
    pub root: PathBuf,
    /// The files that were read, the manifest first: editing one of them changes the system.
    pub files: Vec<PathBuf>,
    /// The file that has its secrets, sealed; there is none until one is set.
    pub secrets: PathBuf,
    /// What holds for every call unless a narrower scope says otherwise.
    pub policy: Limits,
    /// The front door.
    pub gateway: Gateway,
    /// The issuer that Madang has itself, if the manifest wants it.
    pub issuer: Option<OwnIssuer>,
    /// What is kept of what services say and of their requests.
    pub telemetry: Telemetry,
    /// Where the admin API and the dashboard are reached over TCP.
    pub admin: AdminListener,
    /// Every service by name.
    pub services: BTreeMap<ServiceName, Service>,
    /// Every unit by name; each service that runs here is in exactly one.
    pub units: BTreeMap<UnitName, Unit>,
    /// Routes in the order of the files; precedence is the gateway's business.
    pub routes: Vec<Route>,
    /// What the gateway answers from several services; of each there is a route that leads to it.
    pub compositions: Vec<Composition>,
}

impl System {
    /// What holds for requests from outside to this service, over this route.
    pub fn policy_of_route(&self, route: Option<&Route>, service: &ServiceName) -> Policy {
        self.route_layers(route, service).policy()
    }

    /// What holds for calls of this caller to this service.
    pub fn policy_of_call(&self, caller: &ServiceName, callee: &ServiceName) -> Policy {
        self.call_layers(caller, callee).policy()
    }

    /// What the gateway itself does with requests from outside to this service, over this route.
    pub fn edge_of_route(&self, route: Option<&Route>, service: &ServiceName) -> Edge {
        self.edge_layers(route, service).edge()
    }

    /// The rules by which the gateway itself does something with requests over this route, by their keys.
    pub fn edge_names(&self, route: &Route) -> Vec<&'static str> {
        let mut names: Vec<_> = crate::edge::NAMES.into();
        let layers: Vec<_> = route.to.iter().map(|to| self.edge_layers(Some(route), &to.service)).collect();
        let says =
            |layers: &EdgeLayers<'_>, name| layers.origin(name).is_some_and(|(_, rule)| rule.said.is_some());
        names.retain(|name| layers.iter().any(|layers| says(layers, name)));
        names.extend(route.sticky.as_ref().map(|_| "sticky"));
        names
    }

    /// Every setting of [`Self::policy_of_route`] and [`Self::edge_of_route`], with who says so.
    pub fn explain_route(&self, route: Option<&Route>, service: &ServiceName) -> Vec<ExplainedLimit> {
        let mut explained = self.route_layers(route, service).explain();
        explained.extend(self.edge_layers(route, service).explain());
        explained
    }

    /// Every setting of [`Self::policy_of_call`], with who says so.
    pub fn explain_call(&self, caller: &ServiceName, callee: &ServiceName) -> Vec<ExplainedLimit> {
        self.call_layers(caller, callee).explain()
    }

    /// The services that a service, or a composition, may call; nothing if there is no such caller.
    pub fn callees(&self, caller: &str) -> Option<BTreeSet<&ServiceName>> {
        if let Some(service) = self.services.get(caller) {
            return Some(service.calls.keys().collect());
        }
        let composition = self.compositions.iter().find(|composition| composition.name.as_str() == caller)?;
        Some(composition.calls.iter().map(|call| &call.to).collect())
    }

    /// What is asked of whoever makes a request from outside to this service, over this route.
    pub fn require(&self, route: Option<&Route>, service: &ServiceName) -> Require {
        let said = route.and_then(|route| route.require.as_ref());
        let said = said.or_else(|| self.services.get(service)?.require.as_ref());
        match (said, &self.gateway.auth) {
            (Some(said), _) => said.clone(),
            (None, Some(_)) => Require::Principal,
            (None, None) => Require::None,
        }
    }

    fn route_layers<'a>(&'a self, route: Option<&'a Route>, service: &ServiceName) -> Layers<'a> {
        let mut layers = vec![(Scope::Default, &self.policy), (Scope::Gateway, &self.gateway.policy)];
        layers.extend(self.services.get(service).map(|service| (Scope::Service, &service.policy)));
        layers.extend(route.map(|route| (Scope::Route, &route.policy)));
        Layers(layers)
    }

    fn edge_layers<'a>(&'a self, route: Option<&'a Route>, service: &ServiceName) -> EdgeLayers<'a> {
        let mut layers = vec![(Scope::Gateway, &self.gateway.edge)];
        layers.extend(self.services.get(service).map(|service| (Scope::Service, &service.edge)));
        layers.extend(route.map(|route| (Scope::Route, &route.edge)));
        EdgeLayers(layers)
    }

    fn call_layers<'a>(&'a self, caller: &ServiceName, callee: &ServiceName) -> Layers<'a> {
        let call = self.services.get(caller).and_then(|caller| caller.calls.get(callee));
        let mut layers = vec![(Scope::Default, &self.policy)];
        layers.extend(self.services.get(callee).map(|service| (Scope::Service, &service.policy)));
        layers.extend(call.map(|limits| (Scope::Call, limits)));
        Layers(layers)
    }
}

/// The front door of a system.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gateway {
    /// Where it listens for requests from outside.
    pub listen: SocketAddr,
    /// What holds for requests from outside unless a service or route says otherwise.
    pub policy: Limits,
    /// What it does itself unless a service or route says otherwise.
    pub edge: EdgeRules,
    /// How much memory kept answers may take, in bytes.
    pub cache_size: u64,
    /// Who can say who a client is; without it nobody is asked.
    pub auth: Option<Auth>,
    /// How it speaks TLS; it speaks plain HTTP if absent.
    pub tls: Option<GatewayTls>,
    /// How browsers log in; without it nobody is sent anywhere.
    pub login: Option<Login>,
    /// Who is believed about whom it speaks for; nobody if absent.
    pub proxies: Option<TrustedProxies>,
    /// Where shared rate limits are counted; none is shared if absent.
    pub limit_store: Option<LimitStore>,
}

/// Where the admin API and the dashboard are reached over TCP, beside the unix socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AdminListener {
    /// At [`AdminListener::USUAL`] if that is free, or else on a port that is kept.
    #[default]
    Usual,
    /// At this address of loopback, and nowhere else.
    At(SocketAddr),
    /// Nowhere.
    Off,
}

impl AdminListener {
    /// Where it is unless the manifest says otherwise and nobody else is there.
    pub const USUAL: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 3900));
}

/// A service: a part with an owner, its own database and its own routes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// The team that owns it.
    pub owner: Option<String>,
    /// The part of the business that it is about.
    pub domain: Option<DomainName>,
    /// Where it runs.
    pub placement: Placement,
    /// Where Madang itself listens for this service and balances over its instances.
    pub listen: Option<SocketAddr>,
    /// How its instances speak.
    pub protocol: Protocol,
    /// The services it may call, each with what holds for its calls.
    pub calls: BTreeMap<ServiceName, Limits>,
    /// Where to declare another: its `calls`, or else the line that declares the service itself.
    pub calls_at: Place,
    /// Its own database.
    pub database: Option<Database>,
    /// What holds for calls to it unless the caller or the route says otherwise.
    pub policy: Limits,
    /// What the gateway does itself with requests for it unless the route says otherwise.
    pub edge: EdgeRules,
    /// What is asked of whoever calls it from outside, unless the route says otherwise.
    pub require: Option<Require>,
}

impl Service {
    /// The unit that hosts it, unless it runs elsewhere.
    pub fn unit(&self) -> Option<&UnitName> {
        match &self.placement {
            Placement::Unit(unit) => Some(unit),
            Placement::Elsewhere(_) | Placement::Joins => None,
        }
    }

    /// Where it answers if it runs elsewhere.
    pub fn url(&self) -> Option<&Url> {
        match &self.placement {
            Placement::Unit(_) | Placement::Joins => None,
            Placement::Elsewhere(url) => Some(url),
        }
    }
}

/// Where a service runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Placement {
    /// Here, in this unit.
    Unit(UnitName),
    /// Elsewhere: it is called at this URL, and neither started nor stopped.
    Elsewhere(Url),
    /// Wherever its instances say: others start them, and each joins by the service API.
    Joins,
}

/// A service's own database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Database {
    /// A SQLite file at this absolute path.
    Sqlite(PathBuf),
    /// A PostgreSQL database at this URL.
    Postgres(String),
}

impl Database {
    /// The URL that the service gets as `DATABASE_URL`.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Postgres(url) => url.clone(),
        }
    }
}

/// How the instances of a service speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
    /// gRPC: HTTP/2 as the one before, and an instance says by `grpc.health.v1` whether it is ready.
    Grpc,
}

impl Protocol {
    /// Its word in the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::H2c => "h2c",
            Self::Grpc => "grpc",
        }
    }

    /// Whether it is HTTP/2.
    pub fn is_http2(self) -> bool {
        self != Self::Http
    }
}

/// A unit: one program, run once per replica, that hosts one or more services.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unit {
    /// Its name.
    pub name: UnitName,
    /// The services it hosts; at least one.
    pub services: BTreeSet<ServiceName>,
    /// The folder its commands run in, absolute: that of the file that declares it.
    pub folder: PathBuf,
    /// The command that builds its program.
    pub build: Option<String>,
    /// The command that runs it, with `${self.*}` still unresolved.
    pub run: String,
    /// Where its instances listen.
    pub port: PortRule,
    /// How many instances run at once.
    pub replicas: u16,
    /// The path that answers 2xx once an instance is ready.
    pub health: Option<String>,
    /// Environment of its own, with `${self.*}` still unresolved.
    pub env: BTreeMap<String, String>,
    /// The units that must be ready before this one starts: those of the services named by `depends_on`.
    pub depends_on: BTreeSet<UnitName>,
    /// The programs that must be on the machine, without which it is left out: names in `PATH`, or paths from its
    /// folder.
    pub requires: BTreeSet<String>,
}

/// Where the instances of a unit listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
pub enum PortRule {
    /// Each instance is told a port of its own.
    Assigned,
    /// The program insists on this port: one instance, replaced stop-then-start.
    Fixed(u16),
    /// A worker that listens nowhere.
    None,
}

/// A rule from an outside request to a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Route {
    /// The host it is for: `shop.example` or `*.shop.example`; any if absent. Lower case, without a port.
    pub host: Option<String>,
    /// The path: `/users/{id}`, `/users/**`, `/users/*/orders`. `/users/**` matches `/users` too.
    pub path: String,
    /// The methods it is for; any if empty. Upper case.
    pub methods: Vec<String>,
    /// Headers that the request must carry.
    pub headers: Vec<HeaderMatch>,
    /// Where it leads, in proportion to the weights; at least one, unless it is a redirect.
    pub to: Vec<Target>,
    /// Where the gateway sends whoever asks, in place of asking a service.
    pub redirect: Option<Redirect>,
    /// By what a client gets the same of several targets again.
    pub sticky: Option<Sticky>,
    /// What holds for requests over this route.
    pub policy: Limits,
    /// What the gateway does itself with them.
    pub edge: EdgeRules,
    /// What is asked of whoever makes them.
    pub require: Option<Require>,
    /// The line that declares it.
    pub place: Place,
}

impl Route {
    /// What tells it from the system's other routes, also after an edit of what it leads to: what it matches.
    pub fn identity(&self) -> String {
        let headers = self.headers.iter().map(|header| format!(" {}={}", header.name, header.value));
        let headers: String = headers.collect();
        format!("{} {}{}{headers}", self.methods.join(","), self.host.as_deref().unwrap_or("*"), self.path)
    }
}

/// A header that a request must carry for a route to match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeaderMatch {
    /// The header's name, lower case.
    pub name: String,
    /// The exact value.
    pub value: String,
}

/// One place where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The service.
    pub service: ServiceName,
    /// Its share of the requests, relative to the other targets of the route.
    pub weight: u32,
}

/// A line of a manifest file; shown as `path:line`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file, relative to the system's root where it is below it.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

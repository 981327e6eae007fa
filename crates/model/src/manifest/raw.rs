//! A checked tree as typed parts in which each value keeps its place: what the rules and the system are made of.

use std::{net::SocketAddr, path::PathBuf};

use super::{
    auth::{RawAuth, RawRequire},
    composition::RawComposition,
    edge, format,
    front::{RawLimitStore, RawProxies},
    issuer::{RawIssuerOptions, RawLogin},
    policy,
    source::{At, Spot},
    telemetry::RawTelemetry,
    tls::RawTls,
    tree::{Entry, Node, Value},
};
use crate::{
    AdminListener, DomainName, EdgeRules, Limits, PortRule, Protocol, Redirect, Scope, ServiceName,
    SystemName, UnitName, Url, edge::Sticky,
};

/// All files of a manifest.
#[derive(Debug, Default)]
pub(super) struct RawSystem {
    pub name: Option<At<SystemName>>,
    pub include: Vec<At<String>>,
    pub postgres: Option<At<String>>,
    /// Whether there is a `postgres`, be it a good one or not.
    pub has_postgres: bool,
    pub listen: Option<At<SocketAddr>>,
    pub auth: Option<RawAuth>,
    /// Whether there is an `auth`, be it a good one or not.
    pub has_auth: bool,
    pub tls: Option<RawTls>,
    /// Whether clients are asked for certificates, be it in a good way or not.
    pub has_tls_clients: bool,
    pub login: Option<RawLogin>,
    pub proxies: Option<RawProxies>,
    pub limit_store: Option<RawLimitStore>,
    /// Whether there is a `limit_store`, be it a good one or not.
    pub has_limit_store: bool,
    pub issuer: Option<RawIssuerOptions>,
    /// Whether there is an `issuer`, be it a good one or not.
    pub has_issuer: bool,
    pub telemetry: RawTelemetry,
    pub admin: Option<At<AdminListener>>,
    pub policy: Limits<Spot>,
    pub gateway_policy: Limits<Spot>,
    pub gateway_edge: EdgeRules<Spot>,
    pub cache_size: Option<At<u64>>,
    pub services: Vec<RawService>,
    pub units: Vec<RawUnit>,
    pub routes: Vec<RawRoute>,
    pub compositions: Vec<RawComposition>,
    /// Whether a file or a service's name could not be read: then names that seem unknown may exist.
    pub incomplete: bool,
}

#[derive(Debug)]
pub(super) struct RawService {
    pub name: At<ServiceName>,
    pub folder: PathBuf,
    /// The keys that it has.
    pub keys: Vec<At<String>>,
    pub owner: Option<At<String>>,
    pub domain: Option<At<DomainName>>,
    pub url: Option<At<Url>>,
    /// Whether there is a `url`, be it a good one or not.
    pub has_url: bool,
    /// Whether others start it: `run = false`.
    pub joins: bool,
    pub listen: Option<At<SocketAddr>>,
    pub protocol: Option<At<Protocol>>,
    pub policy: Limits<Spot>,
    pub edge: EdgeRules<Spot>,
    pub calls: Vec<RawCall>,
    pub require: Option<RawRequire>,
    pub database: Option<At<String>>,
    pub program: RawProgram,
    pub routes: Vec<RawRoute>,
}

#[derive(Debug)]
pub(super) struct RawCall {
    pub to: At<ServiceName>,
    pub policy: Limits<Spot>,
}

#[derive(Debug)]
pub(super) struct RawProgram {
    pub run: Option<At<String>>,
    /// Whether there is a `run`, be it a good one or not.
    pub has_run: bool,
    pub build: Option<At<String>>,
    pub health: Option<At<String>>,
    pub port: Option<At<PortRule>>,
    pub replicas: Option<At<u16>>,
    pub env: Vec<(String, At<String>)>,
    pub depends_on: Vec<At<ServiceName>>,
    pub requires: Vec<At<String>>,
}

#[derive(Debug)]
pub(super) struct RawUnit {
    pub name: At<UnitName>,
    pub folder: PathBuf,
    pub services: Vec<At<ServiceName>>,
    /// The place of an empty list of services.
    pub empty: Option<Spot>,
    pub program: RawProgram,
}

#[derive(Debug, Clone)]
pub(super) struct RawRoute {
    /// The line that declares it: its path's.
    pub spot: Spot,
    pub host: Option<At<String>>,
    pub path: String,
    pub methods: Vec<At<String>>,
    pub headers: Vec<(String, At<String>)>,
    pub to: Vec<RawTarget>,
    /// The place of a `to` without any weight above zero, or of a route that leads nowhere.
    pub nowhere: Option<Spot>,
    /// Whether there is a `to`.
    pub has_to: bool,
    pub redirect: Option<At<Redirect>>,
    pub sticky: Option<At<Sticky>>,
    pub policy: Limits<Spot>,
    pub edge: EdgeRules<Spot>,
    pub require: Option<RawRequire>,
    /// Whether nothing in it was refused: only then is it known what it matches.
    pub sound: bool,
}

#[derive(Debug, Clone)]
pub(super) struct RawTarget {
    pub service: At<ServiceName>,
    pub weight: At<u32>,
}

// === reading ===

impl RawSystem {
    /// Reads the manifest itself.
    pub fn manifest(&mut self, tree: &Node) {
        if let Some(system) = tree.get("system") {
            self.name = system.get("name").and_then(parsed);
            self.include = system.get("include").map(texts).unwrap_or_default();
            self.postgres = system.get("postgres").and_then(text);
            self.has_postgres = system.get("postgres").is_some();
        }
        if let Some(gateway) = tree.get("gateway") {
            self.listen = gateway.get("listen").and_then(address);
            let auth = gateway.get("auth");
            self.auth = auth.filter(|auth| matches!(auth.value, Value::Table(_))).map(RawAuth::of);
            self.has_auth = auth.is_some() || gateway.is_broken();
            let tls = gateway.get("tls");
            self.tls = tls.filter(|tls| matches!(tls.value, Value::Table(_))).map(RawTls::of);
            let asks = |tls: &Node| tls.get("client_ca").is_some() || tls.is_broken();
            self.has_tls_clients = tls.is_some_and(asks) || gateway.is_broken();
            let login = gateway.get("login");
            self.login = login.filter(|login| matches!(login.value, Value::Table(_))).map(RawLogin::of);
            self.proxies = gateway.get("trusted_proxies").map(RawProxies::of);
            let store = gateway.get("limit_store");
            self.limit_store = store.and_then(RawLimitStore::of);
            self.has_limit_store = store.is_some() || gateway.is_broken();
            self.gateway_policy = policy::of(gateway, Scope::Gateway);
            self.gateway_edge = edge::of(gateway);
            self.cache_size = edge::cache_size(gateway);
        }
        let issuer = tree.get("issuer");
        self.issuer =
            issuer.filter(|issuer| matches!(issuer.value, Value::Table(_))).map(RawIssuerOptions::of);
        self.has_issuer = issuer.is_some();
        self.telemetry = tree.get("telemetry").map(RawTelemetry::of).unwrap_or_default();
        self.admin = tree.get("admin").and_then(|admin| admin.get("listen")).and_then(admin_listener);
        self.policy = policy::of(tree, Scope::Default);
        for Entry { key, key_spot, node } in tree.get("services").map(Node::entries).unwrap_or_default() {
            match key.parse() {
                Ok(name) => self.services.push(service(At { value: name, spot: key_spot.clone() }, node)),
                Err(_) => self.incomplete = true,
            }
        }
        for Entry { key, key_spot, node } in tree.get("units").map(Node::entries).unwrap_or_default() {
            if let Ok(name) = key.parse() {
                self.units.push(unit(At { value: name, spot: key_spot.clone() }, node));
            }
        }
        self.routes = tree.get("routes").map(|list| routes(list, None)).unwrap_or_default();
        self.compositions(tree);
    }

    fn compositions(&mut self, tree: &Node) {
        let compositions = tree.get("compositions").map(Node::items).unwrap_or_default();
        self.compositions.extend(compositions.iter().filter_map(RawComposition::of));
    }

    /// Reads a service's own file.
    pub fn service_file(&mut self, tree: &Node) {
        self.compositions(tree);
        match tree.get("name").and_then(parsed) {
            Some(name) => self.services.push(service(name, tree)),
            None => self.incomplete = true,
        }
    }
}

fn service(name: At<ServiceName>, node: &Node) -> RawService {
    RawService {
        folder: name.spot.source.folder().to_owned(),
        keys: node.entries().iter().map(|e| At { value: e.key.clone(), spot: e.key_spot.clone() }).collect(),
        owner: node.get("owner").and_then(text),
        domain: node.get("domain").and_then(parsed),
        url: node.get("url").and_then(parsed),
        has_url: node.get("url").is_some(),
        joins: node.get("run").is_some_and(|run| matches!(run.value, Value::Boolean(false))),
        listen: node.get("listen").and_then(address),
        protocol: node.get("protocol").and_then(protocol),
        policy: policy::of(node, Scope::Service),
        edge: edge::of(node),
        calls: node.get("calls").map(calls).unwrap_or_default(),
        require: node.get("require").and_then(RawRequire::of),
        database: node.get("database").and_then(text),
        program: program(node),
        routes: node.get("routes").map(|list| routes(list, Some(&name))).unwrap_or_default(),
        name,
    }
}

fn unit(name: At<UnitName>, node: &Node) -> RawUnit {
    let services = node.get("services");
    let none = services.filter(|list| matches!(&list.value, Value::List(items) if items.is_empty()));
    RawUnit {
        folder: name.spot.source.folder().to_owned(),
        services: services.map(names).unwrap_or_default(),
        empty: none.map(|list| list.spot.clone()),
        program: program(node),
        name,
    }
}

fn program(node: &Node) -> RawProgram {
    let env = node.get("env").map(Node::entries).unwrap_or_default();
    RawProgram {
        run: node.get("run").and_then(text),
        has_run: node.get("run").is_some(),
        build: node.get("build").and_then(text),
        health: node.get("health").and_then(text),
        port: node.get("port").and_then(port),
        replicas: node.get("replicas").and_then(whole),
        env: env.iter().filter_map(|e| Some((e.key.clone(), text(&e.node)?))).collect(),
        depends_on: node.get("depends_on").map(names).unwrap_or_default(),
        requires: node.get("requires").map(texts).unwrap_or_default(),
    }
}

fn calls(node: &Node) -> Vec<RawCall> {
    let named = names(node).into_iter().map(|to| RawCall { to, policy: Limits::default() });
    let limited = node.entries().iter().filter_map(|Entry { key, key_spot, node }| {
        let to = At { value: key.parse().ok()?, spot: key_spot.clone() };
        Some(RawCall { to, policy: policy::of(node, Scope::Call) })
    });
    named.chain(limited).collect()
}

fn routes(list: &Node, of: Option<&At<ServiceName>>) -> Vec<RawRoute> {
    list.items().iter().filter_map(|node| route(node, of)).collect()
}

/// Reads a path, or a table with one; nothing if the path is not known, since then nothing is.
pub(super) fn route(node: &Node, of: Option<&At<ServiceName>>) -> Option<RawRoute> {
    let path = text(node).or_else(|| node.get("path").and_then(text))?;
    let headers = node.get("headers").map(Node::entries).unwrap_or_default();
    let redirect = node.get("redirect").and_then(edge::redirect);
    let (to, nowhere) = match (node.get("to"), of) {
        (Some(to), _) => targets(to),
        // Nobody is asked; whether it is a good one is another question.
        (None, _) if node.get("redirect").is_some() => (Vec::new(), None),
        (None, Some(of)) => {
            let to = At { value: of.value.clone(), spot: path.spot.clone() };
            (vec![RawTarget { service: to, weight: At { value: 1, spot: path.spot.clone() } }], None)
        }
        (None, None) => (Vec::new(), Some(path.spot.clone())),
    };
    Some(RawRoute {
        host: node
            .get("host")
            .and_then(text)
            .map(|host| At { value: host.value.to_ascii_lowercase(), ..host }),
        path: path.value,
        spot: path.spot,
        methods: node.get("methods").map(texts).unwrap_or_default(),
        headers: headers.iter().filter_map(|e| Some((e.key.to_ascii_lowercase(), text(&e.node)?))).collect(),
        to,
        nowhere,
        has_to: node.get("to").is_some(),
        redirect,
        sticky: node.get("sticky").and_then(edge::sticky),
        policy: policy::of(node, Scope::Route),
        edge: edge::of(node),
        require: node.get("require").and_then(RawRequire::of),
        sound: !node.is_broken(),
    })
}

/// Reads `to`, and its place if it leads nowhere although nothing in it was refused.
fn targets(node: &Node) -> (Vec<RawTarget>, Option<Spot>) {
    if let Some(name) = parsed(node) {
        let weight = At { value: 1, spot: name.spot.clone() };
        return (vec![RawTarget { service: name, weight }], None);
    }
    let target = |e: &Entry| {
        let service = At { value: e.key.parse().ok()?, spot: e.key_spot.clone() };
        Some(RawTarget { service, weight: whole(&e.node)? })
    };
    let targets: Vec<_> = node.entries().iter().filter_map(target).collect();
    let all_read = matches!(node.value, Value::Table(_)) && targets.len() == node.entries().len();
    let nowhere = all_read && targets.iter().all(|to| to.weight.value == 0);
    (targets, nowhere.then(|| node.spot.clone()))
}

pub(super) fn at<T>(node: &Node, value: T) -> Option<At<T>> {
    Some(At { value, spot: node.spot.clone() })
}

pub(super) fn text(node: &Node) -> Option<At<String>> {
    let Value::Text(text) = &node.value else { return None };
    at(node, text.clone())
}

pub(super) fn parsed<T: std::str::FromStr>(node: &Node) -> Option<At<T>> {
    at(node, text(node)?.value.parse().ok()?)
}

pub(super) fn texts(list: &Node) -> Vec<At<String>> {
    list.items().iter().filter_map(text).collect()
}

fn names(list: &Node) -> Vec<At<ServiceName>> {
    list.items().iter().filter_map(parsed).collect()
}

pub(super) fn whole<T: TryFrom<i64>>(node: &Node) -> Option<At<T>> {
    let Value::Whole(number) = node.value else { return None };
    at(node, number.try_into().ok()?)
}

pub(super) fn address(node: &Node) -> Option<At<SocketAddr>> {
    match &node.value {
        Value::Whole(_) => at(node, format::loopback(whole(node)?.value)),
        _ => at(node, format::address(&text(node)?.value).ok()?),
    }
}

fn admin_listener(node: &Node) -> Option<At<AdminListener>> {
    match node.value {
        Value::Boolean(_) => at(node, AdminListener::Off),
        _ => address(node).map(|At { value, spot }| At { value: AdminListener::At(value), spot }),
    }
}

fn protocol(node: &Node) -> Option<At<Protocol>> {
    let protocol = match text(node)?.value.as_str() {
        "h2c" => Protocol::H2c,
        "grpc" => Protocol::Grpc,
        _ => Protocol::Http,
    };
    at(node, protocol)
}

fn port(node: &Node) -> Option<At<PortRule>> {
    match node.value {
        Value::Boolean(_) => at(node, PortRule::None),
        _ => at(node, PortRule::Fixed(whole(node)?.value)),
    }
}

//! The validated system, from parts that every rule has passed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{
    DEFAULT_LISTEN,
    composition::RawComposition,
    front::{RawLimitStore, RawProxies},
    issuer::{self, RawIssuerOptions},
    plan,
    raw::{RawRoute, RawService, RawSystem},
    rules,
    source::Spot,
};
use crate::{
    Auth, EdgeRules, Gateway, HeaderMatch, Issuer, Limits, Placement, PortRule, Route, Service, ServiceName,
    System, SystemName, Target, Unit, UnitName,
};

/// Builds the system. Nothing can fail any more, except that a unit without a command would be left out: the
/// rules have refused it.
pub(super) fn system(
    raw: &RawSystem,
    name: &SystemName,
    root: &Path,
    files: Vec<PathBuf>,
    secrets: PathBuf,
) -> System {
    let planned = plan::units(raw);
    let hosted = planned.iter().flat_map(|unit| unit.services.iter().map(|s| (&s.name.value, &unit.name)));
    let hosts: BTreeMap<&ServiceName, &UnitName> = hosted.collect();
    let services = plan::services(raw).into_values().filter_map(|raw_service| {
        let placement = match &raw_service.url {
            Some(url) => Placement::Elsewhere(url.value.clone()),
            None if raw_service.joins => Placement::Joins,
            None => Placement::Unit((*hosts.get(&raw_service.name.value)?).clone()),
        };
        Some((raw_service.name.value.clone(), service(raw_service, placement, raw, name, root)))
    });
    System {
        name: name.clone(),
        root: root.to_owned(),
        files,
        secrets,
        policy: limits(&raw.policy),
        gateway: Gateway {
            listen: raw.listen.as_ref().map_or(DEFAULT_LISTEN, |at| at.value),
            policy: limits(&raw.gateway_policy),
            edge: rules_of_edge(&raw.gateway_edge),
            cache_size: raw.cache_size.as_ref().map_or(crate::edge::Cache::SIZE, |at| at.value),
            auth: raw.auth.as_ref().map(|auth| Auth {
                issuers: taken(raw, name).chain(auth.in_force().issuers).collect(),
                ..auth.in_force()
            }),
            login: raw.login.as_ref().and_then(|login| login.in_force(raw)),
            tls: raw.tls.as_ref().map(|tls| tls.in_force(root)),
            proxies: raw.proxies.as_ref().map(RawProxies::in_force),
            limit_store: raw.limit_store.as_ref().map(RawLimitStore::in_force),
        },
        issuer: raw.issuer.as_ref().map(RawIssuerOptions::in_force),
        telemetry: raw.telemetry.in_force(),
        admin: raw.admin.as_ref().map(|at| at.value).unwrap_or_default(),
        services: services.collect(),
        units: planned
            .iter()
            .filter_map(|planned| Some((planned.name.clone(), unit(planned, &hosts)?)))
            .collect(),
        routes: plan::routes(raw).into_iter().map(route).collect(),
        compositions: raw.compositions.iter().map(RawComposition::in_force).collect(),
    }
}

/// The built-in issuer, if its tokens are taken.
fn taken(raw: &RawSystem, name: &SystemName) -> impl Iterator<Item = Issuer> {
    issuer::own(raw).and(raw.issuer.as_ref()).and_then(|issuer| issuer.in_force().taken(name)).into_iter()
}

fn service(
    service: &RawService,
    placement: Placement,
    raw: &RawSystem,
    system: &SystemName,
    root: &Path,
) -> Service {
    let calls = service.calls.iter();
    let declares_calls = service.keys.iter().find(|key| key.value == "calls");
    Service {
        name: service.name.value.clone(),
        owner: service.owner.as_ref().map(|at| at.value.clone()),
        domain: service.domain.as_ref().map(|at| at.value.clone()),
        placement,
        listen: service.listen.as_ref().map(|at| at.value),
        protocol: service.protocol.as_ref().map(|at| at.value).unwrap_or_default(),
        calls: calls.map(|call| (call.to.value.clone(), limits(&call.policy))).collect(),
        calls_at: declares_calls.map_or(&service.name.spot, |key| &key.spot).place(),
        database: rules::database(service, raw, system.as_str(), root),
        policy: limits(&service.policy),
        edge: rules_of_edge(&service.edge),
        require: service.require.as_ref().map(|it| it.value.clone()),
    }
}

fn limits(said: &Limits<Spot>) -> Limits {
    said.placed(Spot::place)
}

fn rules_of_edge(said: &EdgeRules<Spot>) -> EdgeRules {
    said.placed(Spot::place)
}

fn unit(planned: &plan::Planned, hosts: &BTreeMap<&ServiceName, &UnitName>) -> Option<Unit> {
    let program = planned.program;
    let depends_on = planned.depends_on().filter_map(|service| hosts.get(&service.value).copied());
    Some(Unit {
        name: planned.name.clone(),
        services: planned.services.iter().map(|service| service.name.value.clone()).collect(),
        folder: planned.folder.to_owned(),
        build: program.build.as_ref().map(|at| at.value.clone()),
        run: program.run.as_ref()?.value.clone(),
        port: program.port.as_ref().map_or(PortRule::Assigned, |at| at.value),
        replicas: program.replicas.as_ref().map_or(1, |at| at.value),
        health: program.health.as_ref().map(|at| at.value.clone()),
        env: planned.env().into_iter().map(|(name, at)| (name.to_owned(), at.value.clone())).collect(),
        depends_on: depends_on.filter(|unit| **unit != planned.name).cloned().collect::<BTreeSet<_>>(),
        requires: planned.requires().map(|at| at.value.clone()).collect(),
    })
}

fn route(raw: &RawRoute) -> Route {
    let headers = raw.headers.iter();
    let to = raw.to.iter();
    Route {
        host: raw.host.as_ref().map(|at| at.value.clone()),
        path: raw.path.clone(),
        methods: raw.methods.iter().map(|at| at.value.clone()).collect(),
        headers: headers
            .map(|(name, value)| HeaderMatch { name: name.clone(), value: value.value.clone() })
            .collect(),
        to: to.map(|to| Target { service: to.service.value.clone(), weight: to.weight.value }).collect(),
        redirect: raw.redirect.as_ref().map(|at| at.value.clone()),
        sticky: raw.sticky.as_ref().map(|at| at.value.clone()),
        policy: limits(&raw.policy),
        edge: rules_of_edge(&raw.edge),
        require: raw.require.as_ref().map(|it| it.value.clone()),
        place: raw.spot.place(),
    }
}

//! Systems for tests, from little.

use std::{collections::BTreeMap, path::PathBuf};

use madang_model::{
    AdminListener, Gateway, Limits, Place, Placement, PortRule, Protocol, Service, System, Unit,
};

/// A worker that runs a command.
pub(crate) fn unit(name: &str, run: &str) -> Unit {
    Unit {
        name: name.parse().unwrap(),
        services: [name.parse().unwrap()].into(),
        folder: PathBuf::from("/tmp"),
        build: None,
        run: run.into(),
        port: PortRule::None,
        replicas: 1,
        health: None,
        env: BTreeMap::new(),
        depends_on: Default::default(),
        requires: Default::default(),
    }
}

/// A system of units that host a service of their own name each.
pub(crate) fn system(units: impl IntoIterator<Item = Unit>) -> System {
    let units: BTreeMap<_, _> = units.into_iter().map(|unit| (unit.name.clone(), unit)).collect();
    let service = |unit: &Unit| Service {
        name: unit.name.as_str().parse().unwrap(),
        owner: None,
        domain: None,
        placement: Placement::Unit(unit.name.clone()),
        listen: None,
        protocol: Protocol::Http,
        calls: BTreeMap::new(),
        calls_at: Place { file: PathBuf::from("madang.toml"), line: 1 },
        database: None,
        policy: Limits::default(),
        edge: Default::default(),
        require: None,
    };
    System {
        name: "test".parse().unwrap(),
        root: PathBuf::from("/tmp"),
        files: vec![],
        secrets: PathBuf::from("/madang-secrets.toml"),
        gateway: Gateway {
            listen: "127.0.0.1:0".parse().unwrap(),
            policy: Limits::default(),
            edge: Default::default(),
            cache_size: madang_model::edge::Cache::SIZE,
            auth: None,
            tls: None,
            login: None,
            proxies: None,
            limit_store: None,
        },
        issuer: None,
        telemetry: Default::default(),
        admin: AdminListener::Off,
        policy: Limits::default(),
        services: units.values().map(service).map(|service| (service.name.clone(), service)).collect(),
        units,
        routes: vec![],
        compositions: vec![],
    }
}

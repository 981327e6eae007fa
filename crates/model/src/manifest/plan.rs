//! Which unit hosts which services, and by which file's word.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use super::{
    raw::{RawProgram, RawRoute, RawService, RawSystem},
    source::{At, Spot},
    variables::{self, Placeholder},
};
use crate::{ServiceName, UnitName};

/// A unit to be: one that the manifest declares, or a service that is its own.
pub(super) struct Planned<'a> {
    pub name: UnitName,
    /// Where the unit, or the service, is declared.
    pub spot: &'a Spot,
    pub folder: &'a Path,
    pub program: &'a RawProgram,
    pub services: Vec<&'a RawService>,
    /// Where each of them is placed in it, in the same order; empty if nobody placed it.
    pub named: Vec<&'a Spot>,
    /// Whether `[units.NAME]` declares it.
    pub placed: bool,
}

/// Services by name; of two with the same name the first.
pub(super) fn services(raw: &RawSystem) -> BTreeMap<&ServiceName, &RawService> {
    let mut services = BTreeMap::new();
    for service in &raw.services {
        services.entry(&service.name.value).or_insert(service);
    }
    services
}

/// All routes, file by file, each from top to bottom.
pub(super) fn routes(raw: &RawSystem) -> Vec<&RawRoute> {
    let mut routes: Vec<_> =
        raw.services.iter().flat_map(|service| &service.routes).chain(&raw.routes).collect();
    routes.extend(raw.compositions.iter().map(|composition| &composition.route));
    routes.sort_by_key(|route| route.spot.order());
    routes
}

/// The units, in the order of their declarations. A service named by two units is the first one's.
pub(super) fn units(raw: &RawSystem) -> Vec<Planned<'_>> {
    let services = services(raw);
    let mut placed = HashMap::new();
    let mut units = Vec::new();
    for unit in &raw.units {
        let (mut hosted, mut named) = (Vec::new(), Vec::new());
        for name in &unit.services {
            if let Some(service) = services.get(&name.value)
                && placed.insert(&name.value, ()).is_none()
            {
                hosted.push(*service);
                named.push(&name.spot);
            }
        }
        let (spot, folder) = (&unit.name.spot, unit.folder.as_path());
        let name = unit.name.value.clone();
        units.push(Planned {
            name,
            spot,
            folder,
            program: &unit.program,
            services: hosted,
            named,
            placed: true,
        });
    }
    let alone = services
        .values()
        .filter(|service| !placed.contains_key(&service.name.value) && !service.has_url && !service.joins);
    units.extend(alone.map(|service| Planned {
        name: UnitName::from(&service.name.value),
        spot: &service.name.spot,
        folder: &service.folder,
        program: &service.program,
        services: vec![service],
        named: Vec::new(),
        placed: false,
    }));
    units
}

impl<'a> Planned<'a> {
    /// The services that must be ready before it starts: its own wishes and those of the services it hosts.
    pub fn depends_on(&self) -> impl Iterator<Item = &'a At<ServiceName>> + use<'a> {
        // The program of a service that is its own unit is the unit's.
        let hosted = if self.placed { self.services.clone() } else { Vec::new() };
        let own = self.program.depends_on.iter();
        own.chain(hosted.into_iter().flat_map(|service| &service.program.depends_on))
    }

    /// The programs without which it is left out: its own and those of the services it hosts.
    pub fn requires(&self) -> impl Iterator<Item = &'a At<String>> + use<'a> {
        // The program of a service that is its own unit is the unit's.
        let hosted = if self.placed { self.services.clone() } else { Vec::new() };
        let own = self.program.requires.iter();
        own.chain(hosted.into_iter().flat_map(|service| &service.program.requires))
    }

    /// Its environment: that of the services it hosts, under its own.
    pub fn env(&self) -> BTreeMap<&'a str, &'a At<String>> {
        let hosted = self.services.iter().flat_map(|service| &service.program.env);
        hosted.chain(&self.program.env).map(|(name, value)| (name.as_str(), value)).collect()
    }

    /// What is filled in when an instance of it starts: the key, the placeholder and its place.
    pub fn placeholders(&self) -> Vec<(&'static str, Placeholder<'a>, Spot)> {
        // The program of a service that is its own unit is the unit's.
        let hosted = if self.placed { self.services.as_slice() } else { &[] };
        let programs = std::iter::once(self.program).chain(hosted.iter().map(|service| &service.program));
        let env = programs.flat_map(|program| &program.env).map(|(_, text)| ("`env`", text));
        let texts = self.program.run.iter().map(|text| ("`run`", text)).chain(env);
        let found = texts.flat_map(|(key, At { value: text, spot })| {
            let found = variables::placeholders_in(text);
            found.map(move |(written, placeholder)| (key, placeholder, spot.narrowed(written)))
        });
        found.collect()
    }

    /// The keys of its program in the manifest: `units.core` or `services.orders`.
    pub fn key(&self) -> String {
        format!("{}.{}", if self.placed { "units" } else { "services" }, self.name)
    }
}

//! Names resolve, each service is declared once and hosted once, and each unit can run.

use std::collections::{BTreeMap, HashMap};

use crate::{
    ServiceName, UnitName,
    manifest::{
        error::{Code, Found, ManifestError},
        plan,
        raw::RawSystem,
        source::{At, Spot},
    },
    nearest,
};

/// Every service that is named exists, and no two have one name.
pub(super) fn names(raw: &RawSystem, found: &mut Found) {
    let mut first: BTreeMap<&ServiceName, &Spot> = BTreeMap::new();
    for At { value: name, spot } in raw.services.iter().map(|service| &service.name) {
        match first.get(name) {
            None => _ = first.insert(name, spot),
            Some(earlier) => found.push(
                ManifestError::new(
                    Code::DUPLICATE_SERVICE,
                    format!("there are two services named \"{name}\""),
                )
                .at(spot, "the second")
                .also(earlier, "the first")
                .hint("rename one of them: a service's name is its address in the system"),
            ),
        }
    }
    if raw.incomplete {
        return; // what seems unknown may be in a file that could not be read
    }
    for (what, name) in named(raw) {
        if first.contains_key(&name.value) {
            continue;
        }
        found.push_with(|| unknown(what, name, first.keys().map(|name| name.as_str())));
    }
}

/// The problem of a name that no service has.
pub(super) fn unknown<'a>(
    what: &str,
    name: &At<ServiceName>,
    known: impl Iterator<Item = &'a str> + Clone,
) -> ManifestError {
    let help = match nearest(name.value.as_str(), known.clone()) {
        Some(meant) => format!("did you mean \"{meant}\"? {}", list("The services are", known)),
        None => list("the services are", known),
    };
    let message = format!("{what} names the service \"{}\", which does not exist", name.value);
    ManifestError::new(Code::UNKNOWN_SERVICE, message).at(&name.spot, "no such service").hint(help)
}

/// Every mention of a service, with the key that mentions it.
fn named(raw: &RawSystem) -> impl Iterator<Item = (&'static str, &At<ServiceName>)> {
    let services = raw.services.iter().flat_map(|service| {
        let calls = service.calls.iter().map(|call| ("`calls`", &call.to));
        calls.chain(service.program.depends_on.iter().map(|name| ("`depends_on`", name)))
    });
    let units = raw.units.iter().flat_map(|unit| {
        let services = unit.services.iter().map(|name| ("`services`", name));
        services.chain(unit.program.depends_on.iter().map(|name| ("`depends_on`", name)))
    });
    let routes = raw.services.iter().flat_map(|service| &service.routes).chain(&raw.routes);
    let targets = routes.flat_map(|route| route.to.iter().map(|to| ("`to`", &to.service)));
    services.chain(units).chain(targets)
}

fn list<'a>(intro: &str, names: impl Iterator<Item = &'a str>) -> String {
    const MOST: usize = 12;
    let names: Vec<_> = names.collect();
    let shown = names.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "the manifest has no services".into(),
        n if n > MOST => format!("{intro} {shown} and {} more", n - MOST),
        _ => format!("{intro} {shown}"),
    }
}

/// Each service is hosted by one unit, each unit hosts a service and knows how to run.
pub(super) fn placement(raw: &RawSystem, found: &mut Found) {
    let mut hosts: HashMap<&ServiceName, (&UnitName, &Spot)> = HashMap::new();
    for unit in &raw.units {
        for At { value: service, spot } in &unit.services {
            match hosts.get(service) {
                Some((other, earlier)) if *other != &unit.name.value => found.push(
                    ManifestError::new(
                        Code::SERVICE_IN_TWO_UNITS,
                        format!(
                            "the service \"{service}\" is placed in two units, {other} and {}",
                            unit.name.value
                        ),
                    )
                    .at(spot, "placed again")
                    .also(earlier, "placed here")
                    .hint("a service runs in one unit: remove it from one of them"),
                ),
                _ => _ = hosts.insert(service, (&unit.name.value, spot)),
            }
        }
        if let Some(spot) = &unit.empty {
            found.push(
                ManifestError::new(
                    Code::EMPTY_UNIT,
                    format!("the unit \"{}\" hosts no service", unit.name.value),
                )
                .at(spot, "no service")
                .hint("name the services that share this process, or remove the unit"),
            );
        }
        if !unit.program.has_run {
            found.push(
                ManifestError::new(
                    Code::NOT_RUNNABLE,
                    format!("nothing says how the unit \"{}\" runs", unit.name.value),
                )
                .at(&unit.name.spot, "has no `run`")
                .hint("add `run`, the command that starts the process of all its services"),
            );
        }
    }
    let declared: HashMap<&UnitName, &Spot> =
        raw.units.iter().map(|unit| (&unit.name.value, &unit.name.spot)).collect();
    for unit in plan::units(raw).iter().filter(|unit| !unit.placed) {
        alone(declared.get(&unit.name).copied(), &unit.name, unit.spot, unit.program.has_run, found);
    }
}

/// A service that is its own unit has a command, and its name for itself.
fn alone(same_name: Option<&Spot>, name: &UnitName, spot: &Spot, has_run: bool, found: &mut Found) {
    if !has_run {
        found.push(
            ManifestError::new(Code::NOT_RUNNABLE, format!("nothing says how the service \"{name}\" runs"))
                .at(spot, "has no `run`, and no unit hosts it")
                .hint(
                    "add `run`, the command that starts it, or name it in the `services` of a [units.NAME]",
                ),
        );
    }
    if let Some(unit) = same_name {
        found.push(
            ManifestError::new(
                Code::DUPLICATE_UNIT,
                format!("\"{name}\" is a unit and a service that is its own unit"),
            )
            .at(unit, "this unit")
            .also(spot, "this service is a unit of the same name")
            .hint("rename the unit, or name the service in its `services`"),
        );
    }
}

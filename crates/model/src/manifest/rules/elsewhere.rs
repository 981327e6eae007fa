//! A service that runs elsewhere, at a `url` or started by others, is called, and nothing else is done with it.

use std::collections::HashMap;

use crate::{
    ServiceName,
    manifest::{
        error::{Code, Found, ManifestError},
        keys,
        raw::{RawService, RawSystem},
        source::Spot,
    },
};

/// The keys of a service that say something of how it is called; all others are about a program that runs here.
const OF_CALLS: &[&str] = &[
    "name", "owner", "domain", "url", "listen", "protocol", "timeout", "policy", "edge", "require", "routes",
];
/// Those that a service may have besides that others start: its instances may ask for the services they call.
const OF_JOINING: &[&str] = &["run", "calls"];

pub(super) fn check(raw: &RawSystem, found: &mut Found) {
    let elsewhere = raw.services.iter().filter_map(|service| {
        let key = |name| service.keys.iter().find(|key| key.value == name);
        let says = key("url").or_else(|| key("run").filter(|_| service.joins))?;
        Some((&service.name.value, (service, &says.spot)))
    });
    let elsewhere: HashMap<&ServiceName, (&RawService, &Spot)> = elsewhere.collect();
    for service in &raw.services {
        if let Some((_, says)) = elsewhere.get(&service.name.value) {
            keys(service, says, found);
        }
    }
    for placed in raw.units.iter().flat_map(|unit| &unit.services) {
        if let Some((service, says)) = elsewhere.get(&placed.value) {
            found.push(
                ManifestError::new(
                    Code::RUNS_ELSEWHERE,
                    format!("\"{}\" runs elsewhere and cannot be placed in a unit", placed.value),
                )
                .at(&placed.spot, "placed here")
                .also(says, label(service))
                .hint(format!(
                    "remove its `{}` if the unit's program serves it, or else remove it from `services`",
                    key(service)
                )),
            );
        }
    }
    let services = raw.services.iter().map(|service| &service.program);
    for on in
        services.chain(raw.units.iter().map(|unit| &unit.program)).flat_map(|program| &program.depends_on)
    {
        if let Some((service, says)) = elsewhere.get(&on.value) {
            found.push(
                ManifestError::new(
                    Code::RUNS_ELSEWHERE,
                    format!("nothing can wait for \"{}\", which runs elsewhere", on.value),
                )
                .at(&on.spot, "waits for it to be ready")
                .also(says, if service.has_url { "whether it is ready is known there" } else { label(service) })
                .hint("name it in `calls` instead: a call waits, is tried again and fails within its time limit"),
            );
        }
    }
}

/// The key that says that it runs elsewhere.
fn key(service: &RawService) -> &'static str {
    if service.has_url { "url" } else { "run = false" }
}

fn label(service: &RawService) -> &'static str {
    if service.has_url { "runs there" } else { "others start it" }
}

fn keys(service: &RawService, says: &Spot, found: &mut Found) {
    let allowed = |name: &str| OF_CALLS.contains(&name) || (!service.has_url && OF_JOINING.contains(&name));
    let of_program = |name: &str| keys::SERVICE.key(name).is_some() && !allowed(name);
    let own: Vec<_> = service.keys.iter().filter(|key| of_program(&key.value)).collect();
    let [first, others @ ..] = own.as_slice() else { return };
    let names: Vec<_> = own.iter().map(|key| format!("`{}`", key.value)).collect();
    let help = match service.has_url {
        true => {
            "remove `url` if Madang is to run it; otherwise keep of the keys of a service only `url`, `owner`, `domain`, `protocol`, `listen`, `timeout`, `policy`, `edge`, `require` and `routes`"
        }
        false => {
            "write the command in `run` if Madang is to run it; otherwise keep of the keys of a service only `run`, `owner`, `domain`, `protocol`, `listen`, `timeout`, `policy`, `edge`, `require`, `calls` and `routes`"
        }
    };
    let mut error = ManifestError::new(
        Code::RUNS_ELSEWHERE,
        format!("\"{}\" runs elsewhere and cannot have {}", service.name.value, names.join(", ")),
    )
    .at(&first.spot, "about a program that Madang runs")
    .also(says, label(service))
    .hint(help);
    for key in others {
        error = error.also(&key.spot, "this too");
    }
    found.push(error);
}

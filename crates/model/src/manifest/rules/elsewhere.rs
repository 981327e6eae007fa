//! A service that runs elsewhere is called, and nothing else is done with it.

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
const OF_CALLS: &[&str] = &["name", "owner", "url", "listen", "protocol", "timeout", "routes"];

pub(super) fn check(raw: &RawSystem, found: &mut Found) {
    let elsewhere = raw.services.iter().filter_map(|service| {
        let url = service.keys.iter().find(|key| key.value == "url")?;
        Some((&service.name.value, (service, &url.spot)))
    });
    let elsewhere: HashMap<&ServiceName, (&RawService, &Spot)> = elsewhere.collect();
    for service in &raw.services {
        if let Some((_, url)) = elsewhere.get(&service.name.value) {
            keys(service, url, found);
        }
    }
    for placed in raw.units.iter().flat_map(|unit| &unit.services) {
        if let Some((_, url)) = elsewhere.get(&placed.value) {
            found.push(
                ManifestError::new(
                    Code::RUNS_ELSEWHERE,
                    format!("\"{}\" runs elsewhere and cannot be placed in a unit", placed.value),
                )
                .at(&placed.spot, "placed here")
                .also(url, "runs there")
                .hint("remove its `url` if the unit's program serves it, or else remove it from `services`"),
            );
        }
    }
    let services = raw.services.iter().map(|service| &service.program);
    for on in
        services.chain(raw.units.iter().map(|unit| &unit.program)).flat_map(|program| &program.depends_on)
    {
        if let Some((_, url)) = elsewhere.get(&on.value) {
            found.push(
                ManifestError::new(
                    Code::RUNS_ELSEWHERE,
                    format!("nothing can wait for \"{}\", which runs elsewhere", on.value),
                )
                .at(&on.spot, "waits for it to be ready")
                .also(url, "whether it is ready is known there")
                .hint("name it in `calls` instead: a call waits, is tried again and fails within its time limit"),
            );
        }
    }
}

fn keys(service: &RawService, url: &Spot, found: &mut Found) {
    let of_program = |name: &str| keys::SERVICE.key(name).is_some() && !OF_CALLS.contains(&name);
    let own: Vec<_> = service.keys.iter().filter(|key| of_program(&key.value)).collect();
    let [first, others @ ..] = own.as_slice() else { return };
    let names: Vec<_> = own.iter().map(|key| format!("`{}`", key.value)).collect();
    let mut error = ManifestError::new(
        Code::RUNS_ELSEWHERE,
        format!("\"{}\" runs elsewhere and cannot have {}", service.name.value, names.join(", ")),
    )
    .at(&first.spot, "about a program that Madang runs")
    .also(url, "runs there")
    .hint("remove `url` if Madang is to run it; otherwise keep of the keys of a service only `url`, `owner`, `protocol`, `listen`, `timeout` and `routes`");
    for key in others {
        error = error.also(&key.spot, "this too");
    }
    found.push(error);
}

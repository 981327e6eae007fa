//! `${services.NAME.url}` stands in programs whose services declare that they call NAME.

use super::services;
use crate::{
    ServiceName,
    manifest::{
        Placeholder,
        error::{Code, Found, ManifestError},
        plan::{self, Planned},
        raw::RawSystem,
        source::{At, Spot},
    },
};

pub(super) fn check(raw: &RawSystem, found: &mut Found) {
    let known = plan::services(raw);
    for unit in &plan::units(raw) {
        let calls = |name| unit.services.iter().flat_map(|one| &one.calls).any(|call| call.to.value == name);
        for (key, placeholder, spot) in unit.placeholders() {
            let Placeholder::Url(name) = placeholder else { continue };
            if calls(name.clone()) {
                continue;
            }
            if known.contains_key(&name) {
                found.push(undeclared(&name, &spot, unit));
            } else if !raw.incomplete {
                let names = known.keys().map(|name| name.as_str());
                found.push_with(|| services::unknown(key, &At { value: name, spot }, names));
            }
        }
    }
}

fn undeclared(callee: &ServiceName, spot: &Spot, unit: &Planned) -> ManifestError {
    let error = |message| ManifestError::new(Code::UNDECLARED_CALL, message);
    match unit.services.as_slice() {
        [only] if only.name.value == *callee => error(format!("\"{callee}\" asks for the URL of itself"))
            .at(spot, "where others call it")
            .hint("what a service needs of itself it has in its own process; it listens on ${self.port}"),
        [only] => {
            let caller = &only.name.value;
            let message = format!(
                "\"{caller}\" asks for the URL of \"{callee}\" but does not declare that it calls it"
            );
            let error = error(message).at(spot, format!("{callee} is not in its `calls`"));
            match only.keys.iter().find(|key| key.value == "calls") {
                Some(calls) => error.also(&calls.spot, format!("add {callee} here")),
                None => error.also(&only.name.spot, "declares no calls"),
            }
            .hint(format!(
                "declare it, as in calls = {{ {callee} = {{}} }}: a program has a URL of each service that it calls"
            ))
        }
        services => {
            let callers =
                services.iter().map(|one| one.name.value.as_str()).filter(|name| *name != callee.as_str());
            let callers = callers.collect::<Vec<_>>().join(" or ");
            let message = format!(
                "\"{}\" asks for the URL of \"{callee}\" but no service in it declares that it calls it",
                unit.name
            );
            error(message).at(spot, format!("{callee} is in no `calls`")).hint(format!(
                "declare it in the service that does, {callers}, as in calls = {{ {callee} = {{}} }}: a program has a URL of each service that it calls"
            ))
        }
    }
}

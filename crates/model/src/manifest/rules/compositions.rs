//! A composition has a name of its own, asks services that there are, and has an answer for everybody.

use std::collections::BTreeMap;

use super::services;
use crate::{
    manifest::{
        composition::RawComposition,
        error::{Code, Found, ManifestError},
        plan,
        raw::RawSystem,
        source::Spot,
    },
    parameters,
};

/// What expressions know besides the answers of calls and the parameters of the path.
const TAKEN: [&str; 3] = ["request", "principal", "problems"];

pub(super) fn check(raw: &RawSystem, found: &mut Found) {
    let services = plan::services(raw);
    let mut named: BTreeMap<_, &Spot> =
        services.iter().map(|(name, service)| (*name, &service.name.spot)).collect();
    for composition in &raw.compositions {
        let name = &composition.name;
        match named.get(&name.value) {
            None => _ = named.insert(&name.value, &name.spot),
            Some(first) => found.push(
                ManifestError::new(Code::DUPLICATE_SERVICE, format!("the name \"{}\" is taken", name.value))
                    .at(&name.spot, "the second")
                    .also(first, "the first")
                    .hint("rename the composition: in traces and on the map it is a service"),
            ),
        }
        for call in &composition.calls {
            match services.get(&call.to.value) {
                Some(_) => {}
                None if raw.incomplete => {}
                None => found.push_with(|| {
                    services::unknown("`calls`", &call.to, services.keys().map(|name| name.as_str()))
                }),
            }
            if let Some(why) = taken(composition, &call.name.value) {
                let hint = format!("rename it, and write to = \"{}\"", call.to.value);
                let message = format!("a call cannot be named \"{}\"", call.name.value);
                found.push(
                    ManifestError::new(Code::BAD_COMPOSITION, message).at(&call.name.spot, why).hint(hint),
                );
            }
        }
        if composition.sound {
            answers(composition, found);
        }
    }
}

/// What else an expression means by this name.
fn taken(composition: &RawComposition, name: &str) -> Option<&'static str> {
    match () {
        () if TAKEN.contains(&name) => Some("means something else in expressions"),
        () if parameters(&composition.route.path).any(|(_, parameter)| parameter == name) => {
            Some("a parameter of the path is named so")
        }
        () => None,
    }
}

fn answers(composition: &RawComposition, found: &mut Found) {
    let name = &composition.name;
    if composition.calls.is_empty() {
        found.push(
            ManifestError::new(Code::BAD_COMPOSITION, format!("the composition {} asks nobody", name.value))
                .at(&name.spot, "has no calls")
                .hint("add one: [compositions.calls.order] with path = \"/orders/{id}\""),
        );
    }
    let Some((last, others)) = composition.answers.split_last() else {
        found.push(
            ManifestError::new(
                Code::BAD_COMPOSITION,
                format!("the composition {} answers nothing", name.value),
            )
            .at(&name.spot, "has an empty `answer`")
            .hint("write an expression in CEL: answer = '{\"order\": order}'"),
        );
        return;
    };
    if !last.headers.is_empty() {
        found.push(
            ManifestError::new(Code::BAD_COMPOSITION, "some clients get no answer")
                .at(&last.spot, "the last answer is for some only")
                .hint("remove its `headers`, or add an answer without any at the end"),
        );
    }
    for answer in others.iter().filter(|answer| answer.headers.is_empty()) {
        found.push(
            ManifestError::new(Code::BAD_COMPOSITION, "an answer is never given")
                .at(&answer.spot, "is for everybody")
                .also(&last.spot, "is for nobody then")
                .hint("move the answer without `headers` to the end"),
        );
    }
}

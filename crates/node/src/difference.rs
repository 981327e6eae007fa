//! What an edit of the manifest changed, for whoever looks for what changed just before something went wrong.

use std::collections::{BTreeMap, BTreeSet};

use madang_model::System;
use serde::Serialize;
use serde_json::Value;

/// How many changes are named.
const NAMED: usize = 12;

/// What is another in the second system: `orders changed, cart added, route /cart/** added`.
pub(crate) fn in_words(before: &System, after: &System) -> String {
    let mut changes = names(&parts(before), &parts(after), "");
    changes.extend(names(&routes(before), &routes(after), "route "));
    for (name, before, after) in [
        ("gateway", plain(&before.gateway), plain(&after.gateway)),
        ("policy", plain(&before.policy), plain(&after.policy)),
        ("issuer", plain(&before.issuer), plain(&after.issuer)),
    ] {
        if before != after {
            changes.push(format!("[{name}] changed"));
        }
    }
    if before.telemetry != after.telemetry {
        changes.push("[telemetry] changed, for the next start".to_owned());
    }
    let more = changes.len().saturating_sub(NAMED);
    changes.truncate(NAMED);
    match (changes.is_empty(), more) {
        (true, _) => "what it says is the same".to_owned(),
        (false, 0) => changes.join(", "),
        (false, more) => format!("{}, and {more} more", changes.join(", ")),
    }
}

/// Services and units by name: a service that is its own unit is one thing to whoever wrote it.
fn parts(system: &System) -> BTreeMap<String, Value> {
    let services = system.services.iter().map(|(name, service)| (name.to_string(), plain(service)));
    let mut parts: BTreeMap<String, Value> = services.collect();
    for (name, unit) in &system.units {
        let both = Value::from(vec![parts.remove(name.as_str()).unwrap_or_default(), plain(unit)]);
        parts.insert(name.to_string(), both);
    }
    parts
}

/// Routes by what they match.
fn routes(system: &System) -> BTreeMap<String, Value> {
    let name = |identity: String| identity.replace(" *", " ").trim_start().to_owned();
    system.routes.iter().map(|route| (name(route.identity()), plain(route))).collect()
}

fn names(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>, noun: &str) -> Vec<String> {
    let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |name: &&String| match (before.get(*name), after.get(*name)) {
        (None, _) => Some("added"),
        (_, None) => Some("removed"),
        (before, after) => (before != after).then_some("changed"),
    };
    all.into_iter().filter_map(|name| Some(format!("{noun}{name} {}", change(&name)?))).collect()
}

/// What it says, without the lines where it says so.
fn plain(value: &impl Serialize) -> Value {
    let mut value = serde_json::to_value(value).unwrap_or_default();
    without_places(&mut value);
    value
}

fn without_places(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| name != "place" && name != "calls_at");
            fields.values_mut().for_each(without_places);
        }
        Value::Array(items) => items.iter_mut().for_each(without_places),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn system(text: &str) -> System {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("shop");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("madang.toml"), text).unwrap();
        madang_model::manifest::load(&folder, &|_| None).unwrap().system
    }

    const BEFORE: &str = "
[services.users]
run = \"users\"
routes = [\"/users/**\"]

[services.orders]
run = \"orders\"
calls = { users = { timeout = \"1s\" } }

[services.legacy]
run = \"legacy\"
";

    #[test]
    fn what_changed_is_named_and_a_line_that_moved_is_not() {
        let root = system(BEFORE);
        let with = |edit: &dyn Fn(&mut System)| {
            let mut after = root.clone();
            edit(&mut after);
            in_words(&root, &after)
        };
        assert_eq!(with(&|_| {}), "what it says is the same");
        assert_eq!(with(&|system| system.routes[0].place.line += 3), "what it says is the same");
        let unit = |system: &mut System| system.units.values_mut().next().unwrap().replicas = 3;
        assert_eq!(with(&unit), "legacy changed");
        let gone = |system: &mut System| {
            system.services.remove("legacy");
            system.units.remove("legacy");
            system.telemetry.size = 1 << 30;
        };
        assert_eq!(with(&gone), "legacy removed, [telemetry] changed, for the next start");
        assert_eq!(with(&|system| system.routes.clear()), "route /users/** removed");
        let alone = |system: &mut System| system.services.get_mut("orders").unwrap().calls.clear();
        assert_eq!(with(&alone), "orders changed");
    }
}

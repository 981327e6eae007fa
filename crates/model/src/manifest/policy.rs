//! What a table of the manifest says of calls.

use std::time::Duration;

use super::{
    format::split_requests,
    keys::{self, Key, Table},
    source::Spot,
    tree::{Entry, Node, Value},
};
use crate::{
    Limits, Scope,
    limits::{Name, Said, Setting},
    parse_duration,
    policy::{Fallback, Fault, FaultEffect, Priority},
};

/// What is answered unless `content_type` says otherwise.
const TEXT: &str = "text/plain; charset=utf-8";

/// What the table of a scope says: a call's keys themselves, and otherwise its `timeout` and its `policy`.
pub(super) fn of(node: &Node, scope: Scope) -> Limits<Spot> {
    let mut settings = Vec::new();
    if scope == Scope::Call {
        read(node, scope, &mut settings);
    } else {
        let short = node.entries().iter().filter(|entry| entry.key == "timeout");
        settings.extend(
            short.filter_map(|entry| setting(("", "timeout"), scalar(&entry.node)?, &entry.node.spot)),
        );
        if let Some(policy) = node.get("policy") {
            read(policy, scope, &mut settings);
        }
    }
    Limits::new(settings)
}

fn setting(name: Name, said: Said, spot: &Spot) -> Option<Setting<Spot>> {
    Some(Setting { name, said, place: spot.clone() })
}

/// The entries that are keys of a table.
fn known<'a>(node: &'a Node, table: &'static Table) -> impl Iterator<Item = (&'static Key, &'a Entry)> {
    node.entries().iter().filter_map(|entry| Some((table.key(&entry.key)?, entry)))
}

fn read(node: &Node, scope: Scope, settings: &mut Vec<Setting<Spot>>) {
    for (key, Entry { node, key_spot, .. }) in known(node, &keys::POLICY) {
        let spot = &node.spot;
        let single = |said| setting(("", key.name), said, spot);
        match key.name {
            "hedge" => settings.extend(hedge(node).and_then(single)),
            "priority" => settings.extend(priority(node).and_then(single)),
            "fallback" => settings.extend(fallback(node).and_then(single)),
            "faults" => {
                settings.extend(single(Said::Faults(node.items().iter().filter_map(fault).collect())))
            }
            "backoff" => group("backoff", node, &keys::BACKOFF, settings),
            "retry_budget" => group("retry_budget", node, &keys::RETRY_BUDGET, settings),
            "ejection" => switch("ejection", node, key_spot, &keys::EJECTION, settings),
            "breaker" => switch("breaker", node, key_spot, &keys::BREAKER, settings),
            // Of one route or caller, it is that one's share.
            "concurrency" if scope.is_narrow() => {
                switch("per_caller", node, key_spot, &keys::CONCURRENCY, settings);
            }
            name @ ("concurrency" | "per_caller") => {
                switch(name, node, key_spot, &keys::CONCURRENCY, settings);
            }
            _ => settings.extend(scalar(node).and_then(single)),
        }
    }
}

fn group(name: &'static str, node: &Node, table: &'static Table, settings: &mut Vec<Setting<Spot>>) {
    let said = known(node, table)
        .filter_map(|(key, entry)| setting((name, key.name), scalar(&entry.node)?, &entry.node.spot));
    settings.extend(said);
}

/// Something that is there or not: `false`, `true`, a limit, or a table of what it is like.
fn switch(
    name: &'static str,
    node: &Node,
    key_spot: &Spot,
    table: &'static Table,
    settings: &mut Vec<Setting<Spot>>,
) {
    match &node.value {
        Value::Boolean(false) => settings.extend(setting((name, ""), Said::Off, &node.spot)),
        Value::Boolean(true) => settings.extend(setting((name, ""), Said::On, &node.spot)),
        Value::Table(_) => {
            settings.extend(setting((name, ""), Said::On, key_spot));
            group(name, node, table, settings);
        }
        _ => settings.extend(scalar(node).and_then(|limit| setting((name, "limit"), limit, &node.spot))),
    }
}

fn scalar(node: &Node) -> Option<Said> {
    match &node.value {
        Value::Whole(number) => Some(Said::Number((*number).try_into().ok()?)),
        Value::Text(text) if text == "adaptive" => Some(Said::Adaptive),
        _ => time(node).map(Said::Time),
    }
}

fn text(node: &Node) -> Option<&str> {
    let Value::Text(text) = &node.value else { return None };
    Some(text)
}

fn time(node: &Node) -> Option<Duration> {
    parse_duration(text(node)?).ok()
}

fn hedge(node: &Node) -> Option<Said> {
    match &node.value {
        Value::Boolean(false) => Some(Said::Off),
        _ => Some(Said::Hedge(text(node)?.parse().ok()?)),
    }
}

fn priority(node: &Node) -> Option<Said> {
    Some(Said::Priority(match text(node)? {
        "critical" => Priority::Critical,
        "best-effort" => Priority::BestEffort,
        _ => Priority::Normal,
    }))
}

fn fallback(node: &Node) -> Option<Said> {
    if matches!(node.value, Value::Boolean(false)) {
        return Some(Said::Off);
    }
    if let Some(age) = node.get("last_good") {
        return Some(Said::Fallback(Fallback::LastGood(time(age)?)));
    }
    let (body, content_type) = match (node.get("json"), node.get("body"), node.get("content_type")) {
        (Some(json), _, _) => (json, "application/json"),
        (None, body, None) => (body?, TEXT),
        (None, body, Some(content_type)) => (body?, text(content_type)?),
    };
    let status = node.get("status").map_or(Some(200), status)?;
    let (body, content_type) = (text(body)?.to_owned(), content_type.to_owned());
    Some(Said::Fallback(Fallback::Static { status, content_type, body }))
}

fn status(node: &Node) -> Option<u16> {
    let Value::Whole(status) = node.value else { return None };
    status.try_into().ok()
}

fn fault(node: &Node) -> Option<Fault> {
    let (method, path) = node.get("on").and_then(text).map_or((None, None), split_requests);
    let effect = match node {
        node if node.is_broken() => return None,
        node if node.get("hang").is_some() => FaultEffect::Hang,
        node if node.get("lose_reply").is_some() => FaultEffect::LoseReply,
        node if node.get("kill").is_some() => FaultEffect::Kill,
        node => match node.get("delay") {
            Some(delay) => FaultEffect::Delay(time(delay)?),
            None => FaultEffect::Status(status(node.get("status")?)?),
        },
    };
    let percent = match node.get("percent").map(|percent| &percent.value) {
        Some(Value::Whole(percent)) => (*percent).try_into().ok()?,
        _ => 100,
    };
    let (method, path) = (method.map(str::to_owned), path.map(str::to_owned));
    Some(Fault { id: String::new(), method, path, effect, percent, until: None })
}

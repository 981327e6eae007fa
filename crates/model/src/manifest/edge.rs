//! What a table of the manifest says of what the gateway itself does.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    raw::{at, text, texts, whole},
    source::{At, Spot},
    tree::{Entry, Node, Value},
};
use crate::{
    EdgeRules, Redirect,
    edge::{
        AnyOrigin, Cache, Coding, Compress, Cors, EdgeRule, HeaderEdits, Mirror, NAMES, Origins, PathEdit,
        Per, Problems, Rate, RateLimit, RedirectTarget, Said, Sticky, Template, WhenDown,
    },
    parse_duration, parse_size,
};

/// What the table `edge` of a scope says; nothing of what was refused.
pub(super) fn of(node: &Node) -> EdgeRules<Spot> {
    let entries = node.get("edge").map(Node::entries).unwrap_or_default();
    let rule = |entry: &Entry| {
        let name = NAMES.into_iter().find(|name| *name == entry.key)?;
        let node = &entry.node;
        let said = match &node.value {
            _ if node.is_broken() => return None,
            Value::Boolean(false) => None,
            _ => Some(said(name, node)?),
        };
        Some(EdgeRule { name, said, place: node.spot.clone() })
    };
    EdgeRules(entries.iter().filter_map(rule).collect())
}

fn said(name: &str, node: &Node) -> Option<Said> {
    Some(match name {
        "rate_limit" => Said::RateLimits(match &node.value {
            Value::List(items) => items.iter().map(rate_limit).collect::<Option<_>>()?,
            _ => vec![rate_limit(node)?],
        }),
        "max_body" => Said::MaxBody(size(node)?),
        "cors" => Said::Cors(cors(node)?),
        "path" => Said::Path(PathEdit { strip: word(node, "strip"), add: word(node, "add") }),
        "request_headers" | "answer_headers" => Said::Headers(edits(node)),
        "mirror" => Said::Mirror(mirror(node)?),
        "compress" => Said::Compress(compress(node)),
        "problems" => Said::Problems(problems(node)),
        "cache" => Said::Cache(cache(node)),
        _ => return None,
    })
}

fn rate_limit(node: &Node) -> Option<RateLimit> {
    let rate: Rate = match node.get("rate") {
        Some(rate) => text(rate)?.value.parse().ok()?,
        None => text(node)?.value.parse().ok()?,
    };
    let per: Per = word(node, "per").and_then(|per| per.parse().ok()).unwrap_or(Per::Address);
    let name = word(node, "name").unwrap_or_else(|| per.to_string().replace(':', "-"));
    let burst = node.get("burst").and_then(whole).map_or(rate.count, |at| at.value);
    let when_down = node.get("shared").and_then(|shared| word(shared, "when_down"));
    let shared = WhenDown::ALL.into_iter().find(|it| Some(it.as_str()) == when_down.as_deref());
    Some(RateLimit { name, rate, burst, per, shared })
}

fn cors(node: &Node) -> Option<Cors> {
    let origins = node.get("origins")?;
    let origins = match text(origins) {
        Some(_) => Origins::Any(AnyOrigin),
        None => Origins::These(set(origins)),
    };
    let lower = |key| {
        node.get(key).map(set).unwrap_or_default().iter().map(|name| name.to_ascii_lowercase()).collect()
    };
    Some(Cors {
        origins,
        methods: node.get("methods").map(set).unwrap_or_default(),
        headers: lower("headers"),
        expose: lower("expose"),
        credentials: is(node, "credentials"),
        max_age: word(node, "max_age").and_then(|age| parse_duration(&age).ok()).unwrap_or(Cors::MAX_AGE),
    })
}

fn edits(node: &Node) -> HeaderEdits {
    let name = |name: &str| HeaderEdits::name(name).ok();
    let values = |key| -> BTreeMap<String, Template> {
        let entries = node.get(key).map(Node::entries).unwrap_or_default();
        let value =
            |entry: &Entry| Some((name(&entry.key)?, Template::parse(&text(&entry.node)?.value).ok()?));
        entries.iter().filter_map(value).collect()
    };
    let remove = node.get("remove").map(texts).unwrap_or_default();
    let remove = remove.iter().filter_map(|at| name(&at.value)).collect();
    HeaderEdits { remove, set: values("set"), add: values("add") }
}

fn mirror(node: &Node) -> Option<Mirror> {
    let number = |key| node.get(key).and_then(whole).map(|at| at.value);
    let methods = node.get("methods").map(texts);
    let methods = methods.map(|methods| methods.into_iter().map(|at| at.value).collect());
    Some(Mirror {
        to: word(node, "to")?.parse().ok()?,
        percent: node.get("percent").and_then(whole).map_or(100, |at| at.value),
        methods: methods.unwrap_or_else(|| Mirror::METHODS.map(str::to_owned).into()),
        max_body: node.get("max_body").and_then(size).unwrap_or(Mirror::MAX_BODY),
        at_once: number("at_once").unwrap_or(Mirror::AT_ONCE),
    })
}

fn compress(node: &Node) -> Compress {
    let usual = Compress::default();
    let coding = |at: At<String>| Coding::ALL.into_iter().find(|coding| coding.as_str() == at.value);
    let with = node.get("with").map(texts);
    let types = node.get("types").map(texts);
    Compress {
        with: with.map_or(usual.with, |with| with.into_iter().filter_map(coding).collect()),
        types: types.map_or(usual.types, |types| types.into_iter().map(|at| at.value).collect()),
        min: node.get("min").and_then(size).unwrap_or(usual.min),
        beside_secrets: is(node, "beside_secrets"),
    }
}

fn problems(node: &Node) -> Problems {
    let statuses = node.get("statuses").map(Node::items).unwrap_or_default();
    let statuses = statuses.iter().filter_map(|status| Some(whole(status)?.value)).collect();
    Problems { statuses, detail: is(node, "detail") }
}

fn cache(node: &Node) -> Cache {
    let time = |key| word(node, key).and_then(|time| parse_duration(&time).ok());
    let vary = node.get("vary").map(set).unwrap_or_default();
    Cache {
        ttl: time("ttl"),
        max_ttl: time("max_ttl"),
        stale_while_revalidate: time("stale_while_revalidate"),
        stale_if_error: time("stale_if_error"),
        vary: vary.iter().map(|name| name.to_ascii_lowercase()).collect(),
        tags: node.get("tags").map(set).unwrap_or_default(),
        max_body: node.get("max_body").and_then(size).unwrap_or(Cache::MAX_BODY),
    }
}

/// How much memory kept answers may take.
pub(super) fn cache_size(gateway: &Node) -> Option<At<u64>> {
    let node = gateway.get("cache_size")?;
    at(node, size(node)?)
}

/// Where a route sends whoever asks.
pub(super) fn redirect(node: &Node) -> Option<At<Redirect>> {
    let to = text(node).or_else(|| node.get("to").and_then(text))?;
    let to = RedirectTarget::parse(&to.value).ok()?;
    at(node, Redirect { status: node.get("status").and_then(whole).map_or(308, |at| at.value), to })
}

/// By what a client gets the same target again.
pub(super) fn sticky(node: &Node) -> Option<At<Sticky>> {
    let sticky = match (text(node), word(node, "header"), word(node, "cookie")) {
        (Some(_), _, _) => Sticky::Address,
        (None, Some(header), _) => Sticky::Header(header.to_ascii_lowercase()),
        (None, None, Some(name)) => {
            Sticky::Cookie { name, max_age: word(node, "max_age").and_then(|age| parse_duration(&age).ok()) }
        }
        (None, None, None) => return None,
    };
    at(node, sticky)
}

fn word(node: &Node, key: &str) -> Option<String> {
    node.get(key).and_then(text).map(|at| at.value)
}

fn is(node: &Node, key: &str) -> bool {
    node.get(key).is_some_and(|node| matches!(node.value, Value::Boolean(true)))
}

fn size(node: &Node) -> Option<u64> {
    parse_size(&text(node)?.value).ok()
}

fn set(list: &Node) -> BTreeSet<String> {
    texts(list).into_iter().map(|at| at.value).collect()
}

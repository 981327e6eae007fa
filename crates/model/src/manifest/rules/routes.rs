//! Every route leads somewhere and can match.
//!
//! A route is refused as unreachable only if an earlier one has its precedence (the same host, the same path
//! but for the names of its parameters, the same headers, methods named by both or by none) and takes each of
//! its methods. Whether several routes together leave nothing for another is not asked.

use std::collections::{BTreeSet, HashMap};

use crate::manifest::{
    error::{Code, Found, ManifestError},
    plan,
    raw::{RawRoute, RawSystem},
    source::Spot,
};

pub(super) fn check(raw: &RawSystem, found: &mut Found) {
    let mut earlier: HashMap<Precedence, Vec<(BTreeSet<&str>, &RawRoute)>> = HashMap::new();
    for route in plan::routes(raw) {
        if let Some(spot) = &route.nowhere {
            found.push(nowhere(route, spot));
        }
        let mut seen: HashMap<&str, &Spot> = HashMap::new();
        for (name, value) in &route.headers {
            if let Some(first) = seen.insert(name, &value.spot) {
                found.push(
                    ManifestError::new(Code::BAD_MATCH, format!("the header `{name}` is named twice"))
                        .at(&value.spot, "the second value")
                        .also(first, "the first")
                        .hint("names of headers are the same in upper and lower case: keep one"),
                );
            }
        }
        if !route.sound {
            continue;
        }
        let methods: BTreeSet<&str> = route.methods.iter().map(|method| method.value.as_str()).collect();
        let same = earlier.entry(Precedence::of(route)).or_default();
        let takes_all =
            |taken: &BTreeSet<&str>| taken == &methods || !methods.is_empty() && taken.is_superset(&methods);
        match same.iter().find(|(taken, _)| takes_all(taken)) {
            Some((_, first)) => found.push(unreachable(route, first)),
            None => same.push((methods, route)),
        }
    }
}

/// What decides between two routes before the order of the files does, methods apart.
#[derive(PartialEq, Eq, Hash)]
struct Precedence<'a> {
    host: Option<&'a str>,
    /// Each parameter and `*` as `*`.
    path: Vec<&'a str>,
    headers: Vec<(&'a str, &'a str)>,
}

impl<'a> Precedence<'a> {
    fn of(route: &'a RawRoute) -> Self {
        let plain = |segment: &'a str| if segment.starts_with('{') { "*" } else { segment };
        let mut headers: Vec<_> = route.headers.iter().map(|(n, v)| (n.as_str(), v.value.as_str())).collect();
        headers.sort_unstable();
        Self {
            host: route.host.as_ref().map(|host| host.value.as_str()),
            path: route.path.split('/').map(plain).collect(),
            headers,
        }
    }
}

fn unreachable(route: &RawRoute, first: &RawRoute) -> ManifestError {
    ManifestError::new(Code::UNREACHABLE_ROUTE, format!("the route {} can never match", route.path))
        .at(&route.spot, "never matches")
        .also(&first.spot, "takes all of its requests first")
        .hint("of two routes for the same requests the first in the order of the files wins: remove one, or tell them apart by `host`, `methods` or `headers`; to divide requests, write weights: to = { a = 95, b = 5 }")
}

fn nowhere(route: &RawRoute, spot: &Spot) -> ManifestError {
    if route.to.is_empty() {
        return ManifestError::new(Code::MISSING_KEY, "a route outside a service needs the key `to`")
            .at(spot, "leads nowhere")
            .hint("add `to`: the name of a service, or a table from services to weights: to = { legacy = 95, cart = 5 }");
    }
    ManifestError::new(Code::BAD_WEIGHTS, format!("the weights of the route {} are all zero", route.path))
        .at(spot, "no request goes anywhere")
        .hint(
            "give at least one service a weight above 0, up to 1000000; its share is relative to the others",
        )
}

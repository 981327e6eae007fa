//! What the scopes say of calls fits together: within each of them, and where they are laid over each other.

use std::{cmp::Ordering, collections::BTreeSet};

use crate::{
    Limits, Scope, ServiceName,
    limits::{ATTEMPT_TIMEOUT, Layers, Name, Said, Setting, TIMEOUT, named, shown},
    manifest::{
        error::{Code, Found, ManifestError},
        plan,
        raw::RawSystem,
        source::Spot,
    },
    policy::{FaultEffect, HedgeAfter},
};

/// Settings of which the first cannot be more than the second.
const ORDERED: &[(Name, Name)] = &[
    (ATTEMPT_TIMEOUT, TIMEOUT),
    (("", "hedge"), TIMEOUT),
    (("backoff", "base"), ("backoff", "cap")),
    (("ejection", "base"), ("ejection", "cap")),
    (("breaker", "open"), ("breaker", "cap")),
    (("concurrency", "least"), ("concurrency", "most")),
    (("per_caller", "least"), ("per_caller", "most")),
];

type Raw<'a> = Layers<'a, Spot>;
/// Who says something: a scope, in a setting.
type Origin<'a> = (Scope, &'a Setting<Spot>);

pub(super) fn check(raw: &RawSystem, found: &mut Found) {
    for limits in all(raw) {
        twice(limits, found);
    }
    own_calls(raw, found);
    kills(raw, found);
    idle(raw, found);
    // The same lines meet wherever they hold: each problem is told once.
    let mut told = BTreeSet::new();
    for layers in layers(raw) {
        for (spot, error) in problems(&layers) {
            if told.insert((spot.order(), error.to_string())) {
                found.push(error);
            }
        }
    }
}

/// What each scope says.
fn all(raw: &RawSystem) -> impl Iterator<Item = &Limits<Spot>> {
    let services = raw.services.iter().flat_map(|service| {
        [&service.policy].into_iter().chain(service.calls.iter().map(|call| &call.policy))
    });
    [&raw.policy, &raw.gateway_policy]
        .into_iter()
        .chain(services)
        .chain(plan::routes(raw).into_iter().map(|route| &route.policy))
}

/// The scopes that hold for the calls that there are: over each route, to each service, from each caller.
fn layers(raw: &RawSystem) -> Vec<Raw<'_>> {
    let services = plan::services(raw);
    let base = |gateway: bool, service: &ServiceName| {
        let mut layers = vec![(Scope::Default, &raw.policy)];
        layers.extend(gateway.then_some((Scope::Gateway, &raw.gateway_policy)));
        layers.extend(services.get(service).map(|service| (Scope::Service, &service.policy)));
        layers
    };
    let over = |mut layers: Vec<_>, narrow| {
        layers.push(narrow);
        Layers(layers)
    };
    let mut all = vec![Layers(vec![(Scope::Default, &raw.policy)])];
    all.extend(services.keys().flat_map(|name| [Layers(base(true, name)), Layers(base(false, name))]));
    for route in plan::routes(raw) {
        let targets = route.to.iter().map(|to| base(true, &to.service.value));
        all.extend(targets.map(|base| over(base, (Scope::Route, &route.policy))));
    }
    for call in services.values().flat_map(|service| &service.calls) {
        all.push(over(base(false, &call.to.value), (Scope::Call, &call.policy)));
    }
    all
}

/// A setting is given once in one place.
fn twice(limits: &Limits<Spot>, found: &mut Found) {
    for (index, second) in limits.settings().iter().enumerate() {
        if let Some(first) = limits.settings()[..index].iter().find(|first| first.name == second.name) {
            found.push(
                ManifestError::new(
                    Code::SAID_TWICE,
                    format!("`{0}` and `policy.{0}` are the same setting", named(second.name)),
                )
                .at(&second.place, "given again")
                .also(&first.place, "given here")
                .hint("keep one of them"),
            );
        }
    }
}

/// A call goes from one service to another.
fn own_calls(raw: &RawSystem, found: &mut Found) {
    for service in &raw.services {
        let name = &service.name.value;
        for call in service.calls.iter().filter(|call| call.to.value == *name) {
            found.push(
                ManifestError::new(Code::SELF_CALL, format!("\"{name}\" declares calls to itself"))
                    .at(&call.to.spot, "the same service")
                    .hint("remove it: what a service needs of itself it has in its own process, and other instances of it share its database"),
            );
        }
    }
}

/// Only what runs here can be killed.
fn kills(raw: &RawSystem, found: &mut Found) {
    let services = plan::services(raw);
    let elsewhere = |name| services.get(name).is_some_and(|service| service.has_url || service.joins);
    let of_services = raw.services.iter().map(|service| (&service.name.value, &service.policy));
    let of_calls = raw.services.iter().flat_map(|service| &service.calls);
    let of_calls = of_calls.map(|call| (&call.to.value, &call.policy));
    for (name, limits) in of_services.chain(of_calls).filter(|(name, _)| elsewhere(*name)) {
        let Some(Setting { said: Said::Faults(faults), place, .. }) = limits.get(("", "faults")) else {
            continue;
        };
        if faults.iter().any(|fault| fault.effect == FaultEffect::Kill) {
            found.push(
                ManifestError::new(
                    Code::RUNS_ELSEWHERE,
                    format!("\"{name}\" runs elsewhere and cannot be killed"),
                )
                .at(&place.narrowed("kill"), "nothing to kill here")
                .hint("write `hang = true` or `lose_reply = true`, which look the same to its callers"),
            );
        }
    }
}

/// What is slow is said for a rate of what is slow.
fn idle(raw: &RawSystem, found: &mut Found) {
    for group in ["ejection", "breaker"] {
        if all(raw).any(|limits| limits.get((group, "slow_rate")).is_some()) {
            continue;
        }
        for slow in all(raw).filter_map(|limits| limits.get((group, "slow"))) {
            found.push(
                ManifestError::new(Code::CONTRADICTION, format!("`{group}.slow` has no `{group}.slow_rate`"))
                    .at(&slow.place, "nobody is judged by it")
                    .hint("say how many may be slow, in percent: slow_rate = 50"),
            );
        }
    }
}

/// What is wrong with scopes as they lie over each other, with the place that tells two problems apart.
fn problems<'a>(layers: &Raw<'a>) -> Vec<(&'a Spot, ManifestError)> {
    let ordered = ORDERED.iter().filter_map(|(less, more)| disorder(layers, *less, *more));
    let groups = ["ejection", "breaker"].into_iter().filter_map(|group| rate(layers, group));
    let limits = ["concurrency", "per_caller"].into_iter().filter_map(|group| limit(layers, group));
    ordered.chain(groups).chain(limits).chain(panic(layers)).collect()
}

/// The value in force of a setting, and who says so.
fn value<'a>(layers: &Raw<'a>, name: Name) -> Option<(Said, Option<Origin<'a>>)> {
    match layers.origin(name) {
        Some(origin) => Some((origin.1.said.clone(), Some(origin))),
        None => Some((shown(&layers.policy()).into_iter().find(|(other, _)| *other == name)?.1, None)),
    }
}

fn disorder<'a>(layers: &Raw<'a>, less: Name, more: Name) -> Option<(&'a Spot, ManifestError)> {
    // Without a word on either, both are built in.
    if layers.origin(less).is_none() && layers.origin(more).is_none() {
        return None;
    }
    // What an attempt may take is cut to the total; a reason for a total time is not an error of an attempt.
    let ((least, of_less), (most, of_more)) = (value(layers, less)?, value(layers, more)?);
    let wider = of_less.map(|(scope, _)| scope) < of_more.map(|(scope, _)| scope);
    if more == TIMEOUT && wider || compare(&least, &most) != Some(Ordering::Greater) {
        return None;
    }
    let values = format!("{} and {}", least.value(), most.value());
    let message = format!("`{}` is more than `{}`: {values}", written(less, of_less), written(more, of_more));
    both(message, (less, of_less), (more, of_more))
}

/// An error about two settings, at the one that is said in the narrower scope, or later.
fn both<'a>(
    message: String,
    one: (Name, Option<Origin<'a>>),
    other: (Name, Option<Origin<'a>>),
) -> Option<(&'a Spot, ManifestError)> {
    let rank = |said: &Origin| (said.0, said.1.place.order());
    let (later, earlier) = match one.1.as_ref().map(rank) > other.1.as_ref().map(rank) {
        true => (one, other),
        false => (other, one),
    };
    let spot = &later.1?.1.place;
    let error = ManifestError::new(Code::CONTRADICTION, message).at(spot, "does not fit the other");
    let name = written(earlier.0, earlier.1);
    Some((
        spot,
        match earlier.1 {
            Some((_, setting)) => error.also(&setting.place, "the other").hint("change one of them"),
            None => {
                error.hint(format!("`{name}` is not given and has its default: give it too, or change this"))
            }
        },
    ))
}

fn compare(one: &Said, other: &Said) -> Option<Ordering> {
    match (one, other) {
        (Said::Time(one) | Said::Hedge(HedgeAfter::Time(one)), Said::Time(other)) => Some(one.cmp(other)),
        (Said::Number(one), Said::Number(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

/// A rate of what is slow needs to know what is.
fn rate<'a>(layers: &Raw<'a>, group: &'static str) -> Option<(&'a Spot, ManifestError)> {
    let (_, rate) = layers.origin((group, "slow_rate"))?;
    if layers.origin((group, "slow")).is_some() {
        return None;
    }
    let error = ManifestError::new(Code::CONTRADICTION, format!("`{group}.slow_rate` has no `{group}.slow`"))
        .at(&rate.place, "how slow is slow?")
        .hint("say from when on an answer is slow: slow = \"500ms\"");
    Some((&rate.place, error))
}

/// What is said of a limit is said of one that there is, and bounds of one that is adaptive.
fn limit<'a>(layers: &Raw<'a>, group: &'static str) -> Option<(&'a Spot, ManifestError)> {
    let of_limit = ["least", "most", "queue", "wait"].map(|key| layers.origin((group, key)));
    let (_, first) = of_limit.iter().flatten().next()?;
    let Some((scope, limit)) = layers.origin((group, "limit")) else {
        let (name, spot) = (written(first.name, layers.origin(first.name)), &first.place);
        let error = ManifestError::new(Code::CONTRADICTION, format!("`{name}` is said of no limit"))
            .at(spot, "of which limit?")
            .hint("add `limit`, a number or \"adaptive\"");
        return Some((spot, error));
    };
    let bound =
        of_limit[..2].iter().flatten().find(|bound| bound.0 >= scope && limit.said != Said::Adaptive)?;
    let name = written(bound.1.name, Some(*bound));
    let error =
        ManifestError::new(Code::CONTRADICTION, format!("`{name}` is said of a limit that never changes"))
            .at(&bound.1.place, "a bound of an adaptive limit")
            .also(&limit.place, "this limit is fixed")
            .hint("write limit = \"adaptive\", or remove the bound");
    Some((&bound.1.place, error))
}

/// All instances are used again before more than this many could be out of use.
fn panic<'a>(layers: &Raw<'a>) -> Option<(&'a Spot, ManifestError)> {
    let (at_most, panic) = (("ejection", "at_most"), ("ejection", "panic"));
    let ((Said::Number(most), of_most), (Said::Number(least), of_panic)) =
        (value(layers, at_most)?, value(layers, panic)?)
    else {
        return None;
    };
    if most + least <= 100 {
        return None;
    }
    let message = format!(
        "`ejection.at_most` is {most}, but once more than {} of 100 are out of use all are used again",
        100 - least
    );
    both(message, (at_most, of_most), (panic, of_panic))
}

/// A setting as the scope that says it writes it.
fn written(name: Name, said: Option<Origin>) -> String {
    match name {
        ("per_caller", key) if said.is_some_and(|(scope, _)| scope.is_narrow()) => {
            named(("concurrency", key))
        }
        name => named(name),
    }
}

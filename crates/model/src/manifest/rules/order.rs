//! Nothing waits for itself: `depends_on` has no cycle, neither between services nor between their units.

use std::collections::{BTreeMap, BTreeSet};

use crate::manifest::{
    error::{Code, Found, ManifestError},
    plan,
    raw::RawSystem,
    source::Spot,
};

/// Who waits for whom, and where it says so.
type Waits<'a> = BTreeMap<&'a str, Vec<(&'a str, &'a Spot)>>;

pub(super) fn check(raw: &RawSystem, found: &mut Found) {
    let between_services = cycles(&services(raw));
    // Placement can close a circle that services alone do not have; one that they have is enough to report.
    let units = plan::units(raw);
    let reported =
        if between_services.is_empty() { cycles(&between_units(&units)) } else { between_services };
    for cycle in reported {
        found.push(error(&cycle));
    }
}

fn services(raw: &RawSystem) -> Waits<'_> {
    let named = plan::services(raw).into_iter().map(|(name, service)| {
        let on = service.program.depends_on.iter();
        (name.as_str(), on.map(|on| (on.value.as_str(), &on.spot)).collect())
    });
    named.collect()
}

fn between_units<'a>(units: &'a [plan::Planned<'a>]) -> Waits<'a> {
    let hosted =
        units.iter().flat_map(|unit| unit.services.iter().map(|s| (&s.name.value, unit.name.as_str())));
    let hosts: BTreeMap<_, _> = hosted.collect();
    let waits = |unit: &'a plan::Planned<'a>| {
        let on = unit.depends_on().filter_map(|on| Some((*hosts.get(&on.value)?, &on.spot)));
        // Services of one unit start together: they do not wait for each other.
        let on = on.filter(|(other, _)| *other != unit.name.as_str());
        (unit.name.as_str(), on.collect())
    };
    units.iter().map(waits).collect()
}

/// Finds cycles, each node in at most one, by a depth-first walk that keeps its own stack.
fn cycles<'a>(waits: &Waits<'a>) -> Vec<Vec<(&'a str, &'a Spot)>> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut cycles = Vec::new();
    for start in waits.keys() {
        // The way to where the walk is: each node, and which of its edges comes next.
        let mut way: Vec<(&str, usize)> = vec![(start, 0)];
        let mut on_way: BTreeMap<&str, usize> = BTreeMap::from([(*start, 0)]);
        while let Some(last) = way.last_mut() {
            let (node, next) = *last;
            last.1 += 1;
            let edge = waits.get(node).filter(|_| !done.contains(node)).and_then(|edges| edges.get(next));
            match edge {
                None => {
                    done.insert(node);
                    on_way.remove(node);
                    way.pop();
                }
                Some((to, _)) if done.contains(to) => {}
                Some((to, _)) => match on_way.get(to) {
                    None => {
                        on_way.insert(to, way.len());
                        way.push((to, 0));
                    }
                    Some(&from) => {
                        let taken =
                            way[from..].iter().filter_map(|(node, next)| waits.get(node)?.get(next - 1));
                        cycles.push(taken.copied().collect());
                        done.extend(way[from..].iter().map(|(node, _)| node));
                    }
                },
            }
        }
    }
    cycles
}

/// `cycle` holds each step: whom it is on, and where it says so. The last leads to where the first starts.
fn error(cycle: &[(&str, &Spot)]) -> ManifestError {
    const MOST: usize = 12;
    let mut path: Vec<&str> = cycle.last().into_iter().chain(cycle).map(|(name, _)| *name).collect();
    if path.len() > MOST {
        path.splice(MOST / 2..path.len() - MOST / 2, ["…"]);
    }
    let message = format!("each waits for the next to be ready: {}", path.join(" → "));
    let mut error = ManifestError::new(Code::DEPENDENCY_CYCLE, message)
        .hint("remove one of these: a service that only calls another names it in `calls`, which says nothing about the order");
    for (index, (name, spot)) in cycle.iter().take(MOST).enumerate() {
        let text = format!("waits for {name}");
        error = if index == 0 { error.at(spot, text) } else { error.also(spot, text) };
    }
    error
}

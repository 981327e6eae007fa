//! The decision: from what should run and what does, what to do next. Pure and total; nothing is remembered
//! between two decisions that is not in what is observed.
//!
//! A unit's *revision* is what it was told to be: its slice of the manifest, and how often it was told to
//! restart. Instances of another revision than the unit's active one are replaced. Where instances get ports
//! of their own, new ones become ready before old ones leave, one at a time; where the program insists on a
//! port, the old one leaves first.

use std::collections::{BTreeMap, BTreeSet};

use madang_model::{InstanceId, UnitName};
use tokio::time::Instant;

use crate::spec::Slice;

#[cfg(test)]
mod tests;

/// What a unit was told to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Revision {
    pub(crate) slice: Slice,
    /// How often it was told to restart, from [`FIRST`] on; less is what a node before this one told it.
    pub(crate) restarts: u64,
}

/// The number of the first revision that this node tells a unit to be.
pub(crate) const FIRST: u64 = 1;

/// What should run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desired {
    pub(crate) units: BTreeMap<UnitName, Wanted>,
    /// Nothing should.
    pub(crate) stopping: bool,
}

/// What should run of one unit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) revision: Revision,
    pub(crate) replicas: usize,
    /// There can only be one instance at a time, as the program insists on its port.
    pub(crate) exclusive: bool,
    pub(crate) depends_on: BTreeSet<UnitName>,
}

/// What does run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    pub(crate) units: BTreeMap<UnitName, Seen>,
}

/// What is known of one unit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) instances: BTreeMap<InstanceId, SeenInstance>,
    /// The last revision that was prepared: its program is built and it can be started.
    pub(crate) active: Option<Active>,
    /// The preparation of a revision that is not active.
    pub(crate) next: Option<(Revision, Preparation)>,
    pub(crate) trouble: Option<Trouble>,
    /// An instance of it was ready at some time: from then on it is started whatever its dependencies do.
    pub(crate) settled: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Active {
    pub(crate) revision: Revision,
    pub(crate) exclusive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preparation {
    Running,
    Failed,
}

/// What holds up the starts of a revision.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trouble {
    pub(crate) revision: Revision,
    /// No start before this.
    pub(crate) until: Instant,
    /// No start at all.
    pub(crate) gave_up: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SeenInstance {
    pub(crate) revision: Revision,
    pub(crate) phase: Phase,
    /// The order in which instances were started.
    pub(crate) order: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It runs and cannot be called: not yet, or not now.
    Unready,
    Ready,
    Stopping,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Build the unit's program, as this revision has it.
    Prepare { unit: UnitName, revision: Revision },
    /// Start an instance of the unit's active revision.
    Start { unit: UnitName },
    /// Stop an instance.
    Stop { unit: UnitName, instance: InstanceId },
    /// Nothing yet, because of this.
    Wait { unit: UnitName, on: Wait },
    /// Forget a unit that is no longer in the manifest.
    Forget { unit: UnitName },
}

/// What a unit waits for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Wait {
    /// Its own preparation.
    Preparation,
    /// These, which are to be ready first.
    Dependencies(BTreeSet<UnitName>),
    /// These, which use it and are to be gone first.
    Dependents(BTreeSet<UnitName>),
    /// The instance that has its port.
    Predecessor,
    /// This moment.
    Until(Instant),
}

/// What to do next. A world that is as it should be needs nothing.
pub(crate) fn reconcile(desired: &Desired, observed: &Observed, now: Instant) -> Vec<Action> {
    let mut actions = Vec::new();
    for (unit, seen) in &observed.units {
        if desired.stopping {
            stop_in_order(unit, seen, desired, observed, &mut actions);
        } else if !desired.units.contains_key(unit) {
            remove(unit, seen, &mut actions);
        }
    }
    if !desired.stopping {
        for (unit, wanted) in &desired.units {
            converge(unit, wanted, observed, now, &mut actions);
        }
    }
    actions
}

/// A unit stops once everything that depends on it is gone.
fn stop_in_order(
    unit: &UnitName,
    seen: &Seen,
    desired: &Desired,
    observed: &Observed,
    actions: &mut Vec<Action>,
) {
    if seen.live().next().is_none() {
        return;
    }
    let depends = |(_, wanted): &(&UnitName, &Wanted)| wanted.depends_on.contains(unit);
    let dependents = desired.units.iter().filter(depends).map(|(name, _)| name);
    let runs = |name: &&UnitName| observed.units.get(*name).is_some_and(|seen| !seen.instances.is_empty());
    let running: BTreeSet<UnitName> = dependents.filter(runs).cloned().collect();
    if running.is_empty() {
        actions.extend(seen.live().map(|(id, _)| stop(unit, id)));
    } else {
        actions.push(Action::Wait { unit: unit.clone(), on: Wait::Dependents(running) });
    }
}

fn remove(unit: &UnitName, seen: &Seen, actions: &mut Vec<Action>) {
    actions.extend(seen.live().map(|(id, _)| stop(unit, id)));
    let preparing = matches!(seen.next, Some((_, Preparation::Running)));
    if seen.instances.is_empty() && !preparing {
        actions.push(Action::Forget { unit: unit.clone() });
    }
}

fn converge(unit: &UnitName, wanted: &Wanted, observed: &Observed, now: Instant, actions: &mut Vec<Action>) {
    let unseen = Seen::default();
    let seen = observed.units.get(unit).unwrap_or(&unseen);
    prepare(unit, wanted, seen, actions);
    let Some(active) = &seen.active else { return };

    let (current, old): (Vec<_>, Vec<_>) = seen.live().partition(|(_, one)| one.revision == active.revision);
    let replicas = if active.exclusive { wanted.replicas.min(1) } else { wanted.replicas };
    let kept = current.len().min(replicas);
    actions.extend(surplus(current.clone(), current.len() - kept).map(|id| stop(unit, id)));

    let room = if active.exclusive {
        actions.extend(old.iter().map(|(id, _)| stop(unit, id)));
        let alone = old.is_empty() && seen.instances.len() == current.len();
        let missing = replicas - kept;
        if missing > 0 && !alone {
            actions.push(Action::Wait { unit: unit.clone(), on: Wait::Predecessor });
        }
        if alone { missing } else { 0 }
    } else {
        let (serving, useless): (Vec<_>, Vec<_>) =
            old.into_iter().partition(|(_, one)| one.phase == Phase::Ready);
        actions.extend(useless.iter().map(|(id, _)| stop(unit, id)));
        let ready = current.iter().filter(|(_, one)| one.phase == Phase::Ready).count().min(kept);
        let spare = (ready + serving.len()).saturating_sub(replicas).min(serving.len());
        let staying = serving.len() - spare;
        actions.extend(surplus(serving, spare).map(|id| stop(unit, id)));
        // While old ones serve, new ones come one at a time.
        let most = if staying > 0 { replicas + 1 } else { replicas };
        (replicas - kept).min(most.saturating_sub(kept + staying))
    };
    if room > 0 {
        start(unit, wanted, seen, observed, now, room, actions);
    }
}

/// Prepares what is wanted, unless it is, or failed to be; one preparation of a unit at a time.
fn prepare(unit: &UnitName, wanted: &Wanted, seen: &Seen, actions: &mut Vec<Action>) {
    if seen.active.as_ref().is_some_and(|active| active.revision == wanted.revision) {
        return;
    }
    let unit = unit.clone();
    match &seen.next {
        Some((_, Preparation::Running)) => actions.push(Action::Wait { unit, on: Wait::Preparation }),
        Some((revision, Preparation::Failed)) if *revision == wanted.revision => {}
        _ => actions.push(Action::Prepare { unit, revision: wanted.revision.clone() }),
    }
}

fn start(
    unit: &UnitName,
    wanted: &Wanted,
    seen: &Seen,
    observed: &Observed,
    now: Instant,
    room: usize,
    actions: &mut Vec<Action>,
) {
    let active = seen.active.as_ref().map(|active| &active.revision);
    let trouble = seen.trouble.as_ref().filter(|trouble| Some(&trouble.revision) == active);
    let unready = |name: &&UnitName| !observed.units.get(*name).is_some_and(Seen::ready);
    let missing: BTreeSet<UnitName> = wanted.depends_on.iter().filter(unready).cloned().collect();
    let wait = match trouble {
        Some(trouble) if trouble.gave_up => return,
        Some(trouble) if trouble.until > now => Some(Wait::Until(trouble.until)),
        _ if !seen.settled && !missing.is_empty() => Some(Wait::Dependencies(missing)),
        _ => None,
    };
    match wait {
        Some(on) => actions.push(Action::Wait { unit: unit.clone(), on }),
        None => actions.extend((0..room).map(|_| Action::Start { unit: unit.clone() })),
    }
}

/// Those to stop first: what cannot be called, then what was started last.
fn surplus<'a>(
    mut instances: Vec<(&'a InstanceId, &'a SeenInstance)>,
    count: usize,
) -> impl Iterator<Item = &'a InstanceId> {
    instances.sort_by_key(|(_, one)| (one.phase == Phase::Ready, std::cmp::Reverse(one.order)));
    instances.into_iter().take(count).map(|(id, _)| id)
}

fn stop(unit: &UnitName, instance: &InstanceId) -> Action {
    Action::Stop { unit: unit.clone(), instance: instance.clone() }
}

// === impl Revision ===

impl Revision {
    /// That of an instance that a node before this one started. Whether it is what this one wants is known once the
    /// unit is prepared.
    pub(crate) fn adopted(slice: Slice) -> Self {
        Self { slice, restarts: FIRST - 1 }
    }

    /// Whether this node told the unit to be so.
    pub(crate) fn is_adopted(&self) -> bool {
        self.restarts < FIRST
    }
}

// === impl Seen ===

impl Seen {
    fn live(&self) -> impl Iterator<Item = (&InstanceId, &SeenInstance)> {
        self.instances.iter().filter(|(_, one)| one.phase != Phase::Stopping)
    }

    fn ready(&self) -> bool {
        self.instances.values().any(|one| one.phase == Phase::Ready)
    }
}

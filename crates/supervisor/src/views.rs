//! What is known of units, as the admin API shows it.

use madang_model::{InstanceId, UnitName};
use madang_wire::admin::{InstanceView, State};
use tokio::time::Instant;

use crate::{
    by_hand::{self, Hand, Seen},
    reconcile::{Phase, Preparation},
    world::{InstanceState, UnitState, World},
};

/// A line for each instance, and one for each unit that has fewer than it should; and whether none has.
pub(crate) fn rows(world: &World, now: Instant) -> (Vec<InstanceView>, bool) {
    let mut rows = Vec::new();
    let mut all_ready = !world.desired.stopping;
    for (name, unit) in &world.units {
        rows.extend(unit.instances.iter().map(|(id, instance)| of_instance(name, unit, id, instance)));
        let replicas = world.desired.units.get(name).map_or(0, |wanted| wanted.replicas);
        let ready = unit.instances.values().filter(|one| one.phase == Phase::Ready).count();
        all_ready &= ready >= replicas;
        if unit.instances.len() < replicas {
            rows.push(of_vacancy(world, name, unit, now));
        }
    }
    let leaving = |name: &UnitName| world.units.get(name).is_some_and(|unit| !unit.instances.is_empty());
    let left_out = world.left_out.iter().filter(|(name, _)| !world.held.contains(*name) || !leaving(name));
    rows.extend(left_out.map(|(name, why)| of_left_out(world, name, why)));
    rows.extend(world.hands.iter().map(|(name, hand)| of_hand(name, hand)));
    (rows, all_ready)
}

fn of_instance(name: &UnitName, unit: &UnitState, id: &InstanceId, instance: &InstanceState) -> InstanceView {
    let state = match instance.phase {
        Phase::Ready => State::Ready,
        Phase::Stopping => State::Stopping,
        Phase::Unready if instance.pid.is_none() => State::Waiting,
        Phase::Unready => State::Starting,
    };
    InstanceView {
        name: id.to_string(),
        unit: name.to_string(),
        services: instance.release.spec.unit.services.iter().map(ToString::to_string).collect(),
        release: Some(instance.release.id.to_string()),
        state,
        health: match &instance.origin {
            Some(origin) => format!("{}, {origin}", instance.health),
            None => instance.health.clone(),
        },
        restarts: unit.restarts,
        pid: instance.pid,
        memory: None,
        cpu_us: None,
        url: instance.address.map(|address| format!("http://{address}")),
        since: instance.since,
        reason: None,
        log: Some(instance.log.display().to_string()),
        lease_ends: None,
        by_hand: false,
    }
}

/// What is not started on this machine, or was stopped by somebody.
fn of_left_out(world: &World, name: &UnitName, why: &str) -> InstanceView {
    let services = world.specs.get(name).map(|spec| &spec.unit.services);
    InstanceView {
        name: name.to_string(),
        unit: name.to_string(),
        services: services.into_iter().flatten().map(ToString::to_string).collect(),
        release: None,
        state: if world.held.contains(name) { State::Stopped } else { State::LeftOut },
        health: why.to_owned(),
        restarts: 0,
        pid: None,
        memory: None,
        cpu_us: None,
        url: None,
        since: world.heard,
        reason: None,
        log: None,
        lease_ends: None,
        by_hand: false,
    }
}

/// What a person runs.
fn of_hand(name: &UnitName, hand: &Hand) -> InstanceView {
    let listens = hand.port.map(|port| format!("http://127.0.0.1:{port}"));
    let (state, health, url, pid) = match &hand.seen {
        Seen::There { address, pid } => {
            (State::Ready, "ready, run by hand".to_owned(), Some(format!("http://{address}")), *pid)
        }
        Seen::Away(why) => (State::Waiting, format!("run by hand: {why}"), listens, None),
    };
    InstanceView {
        name: by_hand::id(name).to_string(),
        unit: name.to_string(),
        services: hand.spec.unit.services.iter().map(ToString::to_string).collect(),
        release: None,
        state,
        health,
        restarts: 0,
        pid: pid.map(i32::cast_unsigned),
        memory: None,
        cpu_us: None,
        url,
        since: hand.since,
        reason: None,
        log: None,
        lease_ends: None,
        by_hand: true,
    }
}

/// What should be there and is not.
fn of_vacancy(world: &World, name: &UnitName, unit: &UnitState, now: Instant) -> InstanceView {
    let wanted = world.desired.units.get(name).map(|wanted| &wanted.revision);
    let gave_up = unit.trouble.as_ref().is_some_and(|trouble| trouble.gave_up);
    let pausing = unit.trouble.as_ref().is_some_and(|trouble| trouble.until > now);
    let (state, health) = match &unit.next {
        _ if world.desired.stopping => (State::Stopped, "stopped"),
        Some((_, Preparation::Running)) => (State::Building, "building"),
        Some((revision, Preparation::Failed)) if Some(revision) == wanted && unit.active.is_none() => {
            (State::Failed, "its build failed")
        }
        _ if gave_up => (State::Failed, "failed, and is not started again"),
        _ if pausing => (State::Backoff, "exited, starts again after a pause"),
        _ => (State::Waiting, unit.waits.as_ref().map_or("starting", |waiting| waiting.text.as_str())),
    };
    let services = world.specs.get(name).map(|spec| &spec.unit.services);
    InstanceView {
        name: name.to_string(),
        unit: name.to_string(),
        services: services.into_iter().flatten().map(ToString::to_string).collect(),
        release: unit.active.as_ref().map(|(_, release)| release.id.to_string()),
        state,
        health: health.to_owned(),
        restarts: unit.restarts,
        pid: None,
        memory: None,
        cpu_us: None,
        url: None,
        since: unit.since,
        reason: unit.reason.clone().filter(|_| state != State::Stopped),
        log: None,
        lease_ends: None,
        by_hand: false,
    }
}

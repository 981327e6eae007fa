//! What a supervisor knows of its units, and how what happens changes it. No process is touched here.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use madang_model::{InstanceId, PortRule, System, UnitName};
use madang_wire::admin::EventKind;
use tokio::{sync::watch, time::Instant};

use crate::{
    InstanceRef,
    backoff::{Failures, Next},
    by_hand::Hand,
    config::Backoff,
    events::Events,
    handle::Told,
    instance::{Ended, Happened, Order},
    proc,
    reconcile::{
        Active, Desired, FIRST, Observed, Phase, Preparation, Revision, Seen, SeenInstance, Trouble, Wait,
        Wanted,
    },
    requires::left_out_but,
    spec::{self, Release, Spec},
    store::Record,
    told,
};

/// How long something may wait before it is said, and how often that is repeated.
const FIRST_SAID: Duration = Duration::from_secs(1);
const SAID_AGAIN: Duration = Duration::from_secs(5);

/// Everything that is known.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) desired: Desired,
    pub(crate) specs: BTreeMap<UnitName, Arc<Spec>>,
    /// The units that are not started on this machine, and why.
    pub(crate) left_out: BTreeMap<UnitName, String>,
    /// Those of them that somebody stopped.
    pub(crate) held: BTreeSet<UnitName>,
    /// The units that a person runs, each with the port that it is told if one is assigned.
    pub(crate) by_hand: BTreeMap<UnitName, u16>,
    /// Those that are in the system.
    pub(crate) hands: BTreeMap<UnitName, Hand>,
    /// When it heard last what should run, in milliseconds since 1970.
    pub(crate) heard: u64,
    pub(crate) units: BTreeMap<UnitName, UnitState>,
}

/// What is known of a unit.
#[derive(Default)]
pub(crate) struct UnitState {
    pub(crate) instances: BTreeMap<InstanceId, InstanceState>,
    pub(crate) active: Option<(Revision, Arc<Release>)>,
    pub(crate) next: Option<(Revision, Preparation)>,
    /// Why its last build failed, or why it was given up.
    pub(crate) reason: Option<String>,
    pub(crate) failures: Option<Failures>,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) settled: bool,
    /// How often an instance was started in the place of one that exited.
    pub(crate) restarts: u32,
    /// Why instances are not kept that a node before this one left; of those that have nobody in their place yet.
    pub(crate) lost: Vec<String>,
    /// How many instances exited and have nobody in their place yet.
    pub(crate) vacant: u32,
    pub(crate) waits: Option<Waiting>,
    /// Since when the line for what is missing says what it says, in milliseconds since 1970.
    pub(crate) since: u64,
}

/// What is known of an instance.
pub(crate) struct InstanceState {
    pub(crate) revision: Revision,
    pub(crate) release: Arc<Release>,
    pub(crate) phase: Phase,
    pub(crate) order: u64,
    pub(crate) orders: watch::Sender<Order>,
    pub(crate) pid: Option<u32>,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) health: String,
    /// Since when it is in its phase, in milliseconds since 1970.
    pub(crate) since: u64,
    pub(crate) log: PathBuf,
    pub(crate) waits: Option<Waiting>,
    /// `adopted`, or why it was started in the place of one that was not.
    pub(crate) origin: Option<String>,
    /// What a node before this one recorded of it, until it is known whether it is as it should be.
    pub(crate) record: Option<Record>,
}

/// Something that waits, and when that is said.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) text: String,
    since: Instant,
    /// When to say it next; `None` for what is nothing to worry about.
    say_at: Option<Instant>,
}

// === impl World ===

impl World {
    /// Takes in what should run from now on.
    pub(crate) fn hear(&mut self, told: &Told) {
        self.specs = spec::specs(&told.system);
        self.left_out = left_out_but(&told.system, &|unit| self.by_hand.contains_key(unit));
        let held = told.held.iter().filter(|(unit, _)| self.specs.contains_key(*unit));
        let held = held.filter(|(unit, _)| !self.by_hand.contains_key(*unit));
        self.held = held.clone().map(|(unit, _)| unit.clone()).collect();
        // Whoever depends on one of them runs on: somebody stopped that one alone.
        self.left_out.extend(held.map(|(unit, why)| (unit.clone(), why.clone())));
        self.heard = proc::wall_clock();
        let by_hand = |name: &UnitName| self.by_hand.contains_key(name);
        let started =
            |(name, _): &(&UnitName, &Arc<Spec>)| !self.left_out.contains_key(*name) && !by_hand(name);
        let wanted = self.specs.iter().filter(started).map(|(name, spec)| {
            let restarts = FIRST + told.restarts.get(name).copied().unwrap_or(0);
            let wanted = Wanted {
                revision: Revision { slice: spec.slice.clone(), restarts },
                replicas: usize::from(spec.unit.replicas),
                exclusive: exclusive(spec),
                // When a person starts one is not known: calls wait for it, the start does not.
                depends_on: spec.unit.depends_on.iter().filter(|on| !by_hand(on)).cloned().collect(),
            };
            (name.clone(), wanted)
        });
        self.desired = Desired { units: wanted.collect(), stopping: told.order != Order::Run };
        let names: Vec<UnitName> = self.desired.units.keys().cloned().collect();
        for name in names {
            self.unit(&name);
        }
    }

    /// What is known of a unit, which may be nothing yet.
    pub(crate) fn unit(&mut self, name: &UnitName) -> &mut UnitState {
        self.units
            .entry(name.clone())
            .or_insert_with(|| UnitState { since: proc::wall_clock(), ..Default::default() })
    }

    /// What is known, as far as it decides what to do.
    pub(crate) fn observe(&self) -> Observed {
        let seen = |unit: &UnitState| Seen {
            instances: unit.instances.iter().map(|(id, one)| (id.clone(), one.seen())).collect(),
            active: unit.active.as_ref().map(|(revision, release)| Active {
                revision: revision.clone(),
                exclusive: exclusive(&release.spec),
            }),
            next: unit.next.clone(),
            trouble: unit.trouble.clone(),
            settled: unit.settled,
        };
        Observed { units: self.units.iter().map(|(name, unit)| (name.clone(), seen(unit))).collect() }
    }

    /// From which systems what runs of each unit, or would be started, is told what it knows.
    pub(crate) fn told_from(&self) -> Vec<(UnitName, Arc<System>)> {
        let mut systems: Vec<(UnitName, Arc<System>)> = Vec::new();
        for (name, unit) in &self.units {
            let active = unit.active.iter().map(|(_, release)| release);
            for release in active.chain(unit.instances.values().map(|instance| &instance.release)) {
                let system = &release.spec.system;
                let known =
                    |(unit, other): &(UnitName, Arc<System>)| unit == name && Arc::ptr_eq(other, system);
                if !systems.iter().any(known) {
                    systems.push((name.clone(), system.clone()));
                }
            }
        }
        systems
    }

    /// A preparation ended; one that nobody wants any more is forgotten. `told` gives the digests of what an instance
    /// is told.
    pub(crate) fn prepared(
        &mut self,
        name: &UnitName,
        revision: Revision,
        outcome: Result<Release, String>,
        told: &dyn Fn(&InstanceRef) -> String,
        events: &Events,
    ) {
        let Some(unit) = self.units.get_mut(name) else { return };
        unit.next = None;
        if self.desired.units.get(name).is_none_or(|wanted| wanted.revision != revision) {
            return;
        }
        match outcome {
            Ok(release) => {
                let release = Arc::new(release);
                unit.keep(name, &revision, &release, told, events);
                unit.tell_release(name, &release, events);
                unit.active = Some((revision, release));
                (unit.failures, unit.trouble, unit.reason) = (None, None, None);
                unit.vacant = 0;
            }
            Err(reason) => {
                unit.next = Some((revision, Preparation::Failed));
                unit.reason = Some(reason);
            }
        }
        unit.since = proc::wall_clock();
    }

    /// Something happened to an instance.
    pub(crate) fn happened(&mut self, id: &InstanceId, happened: Happened, now: Instant, events: &Events) {
        let Some((name, unit)) = self.units.iter_mut().find(|(_, unit)| unit.instances.contains_key(id))
        else {
            return;
        };
        let Some(instance) = unit.instances.get_mut(id) else { return };
        if happened != Happened::Stopping && instance.phase == Phase::Stopping {
            return;
        }
        instance.waits = match &happened {
            Happened::Blocked(text) => Some(Waiting::on(text.clone(), instance.waits.take(), now, Some(now))),
            _ => None,
        };
        let release = instance.release.clone();
        let say = |kind, message: String| events.emit_of((name, &release), Some(id), kind, message);
        match happened {
            Happened::Blocked(text) => instance.health = text,
            Happened::Started { pid } => {
                instance.pid = Some(pid.cast_unsigned());
                instance.enter(Phase::Unready, "started");
                say(EventKind::Started, format!("pid {pid}"));
            }
            Happened::Degraded(lost) => say(EventKind::Degraded, lost),
            Happened::Unready(seen) => instance.health = seen,
            Happened::Lost(seen) => {
                instance.enter(Phase::Unready, &seen);
                say(EventKind::Blocked, format!("out of rotation: {seen}"));
            }
            Happened::Ready(address) => {
                instance.address = address;
                instance.enter(Phase::Ready, "ready");
                if unit.active.as_ref().is_some_and(|(revision, _)| *revision == instance.revision) {
                    unit.settled = true;
                    unit.failures.iter_mut().for_each(Failures::became_ready);
                    (unit.trouble, unit.reason) = (None, None);
                }
                say(EventKind::Ready, address.map(|at| format!("http://{at}")).unwrap_or_default());
            }
            Happened::Stopping => {
                instance.enter(Phase::Stopping, "stopping");
                say(EventKind::Stopping, String::new());
            }
        }
    }

    /// Nothing is left of an instance.
    pub(crate) fn ended(
        &mut self,
        id: &InstanceId,
        ended: Ended,
        rule: &Backoff,
        (now, jitter): (Instant, f64),
        events: &Events,
    ) {
        let Some((name, unit)) = self.units.iter_mut().find(|(_, unit)| unit.instances.contains_key(id))
        else {
            return;
        };
        let Some(instance) = unit.instances.remove(id) else { return };
        let of = (name, &*instance.release);
        unit.since = proc::wall_clock();
        if ended.told || instance.phase == Phase::Stopping {
            return events.emit_of(of, Some(id), EventKind::Stopped, ended.how);
        }
        // Who comes in its place does so for a reason of its own.
        unit.lost.clear();
        let how = with_output(&ended.how, &ended.output);
        events.emit_of(of, Some(id), EventKind::Exited, how.clone());
        if unit.active.as_ref().is_none_or(|(revision, _)| *revision != instance.revision) {
            return;
        }
        unit.vacant += 1;
        if unit.trouble.as_ref().is_some_and(|trouble| trouble.gave_up) {
            return;
        }
        let revision = instance.revision;
        let failures = unit.failures.get_or_insert_default();
        let hopeless = ended.hopeless && failures.hopeless();
        let (until, gave_up) = match failures.ended(ended.ready_for, jitter, rule) {
            _ if hopeless => {
                events.emit_of(of, Some(id), EventKind::GaveUp, format!("gave up at the first start: {how}"));
                (now, true)
            }
            Next::After(pause) => {
                if !pause.is_zero() {
                    let message = format!("starts again in {:.1} s", pause.as_secs_f64());
                    events.emit_of(of, Some(id), EventKind::Backoff, message);
                }
                (now + pause, false)
            }
            Next::GiveUp(starts) => {
                let message =
                    format!("gave up after {starts} starts of which none became ready; the last {how}");
                events.emit_of(of, Some(id), EventKind::GaveUp, message);
                (now, true)
            }
        };
        unit.trouble = Some(Trouble { revision, until, gave_up });
        unit.reason = Some(how);
    }

    /// Notes what each unit waits for: what it is not told here it waits for no longer.
    pub(crate) fn wait(&mut self, mut waits: BTreeMap<UnitName, Wait>, now: Instant) {
        for (name, unit) in &mut self.units {
            let before = unit.waits.take();
            unit.waits = waits.remove(name).and_then(|wait| {
                let text = in_words(&wait)?;
                let worry = matches!(wait, Wait::Dependencies(_) | Wait::Dependents(_));
                Some(Waiting::on(text, before, now, worry.then_some(now + FIRST_SAID)))
            });
        }
    }

    /// Says what has waited for long, and gives when there is more to say.
    pub(crate) fn say_waits(&mut self, now: Instant, events: &Events) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for (name, unit) in &mut self.units {
            let of_instances = unit.instances.iter_mut().map(|(id, one)| (Some(id), &mut one.waits));
            for (id, waits) in of_instances.chain([(None, &mut unit.waits)]) {
                let Some(waiting) = waits else { continue };
                if let Some(message) = waiting.due(now) {
                    events.emit(name, id, EventKind::Blocked, message);
                }
                next = next.into_iter().chain(waiting.say_at).min();
            }
        }
        next
    }
}

fn exclusive(spec: &Spec) -> bool {
    matches!(spec.unit.port, PortRule::Fixed(_))
}

fn with_output(how: &str, output: &str) -> String {
    if output.is_empty() { how.to_owned() } else { format!("{how}; its last output:\n{output}") }
}

fn in_words(wait: &Wait) -> Option<String> {
    let names = |units: &std::collections::BTreeSet<UnitName>| {
        units.iter().map(UnitName::as_str).collect::<Vec<_>>().join(", ")
    };
    match wait {
        Wait::Dependencies(units) => Some(format!("waits for {}", names(units))),
        Wait::Dependents(units) => Some(format!("waits for {} to stop", names(units))),
        Wait::Predecessor => Some("waits for the instance before it to stop".to_owned()),
        Wait::Preparation | Wait::Until(_) => None,
    }
}

// === impl UnitState ===

impl UnitState {
    /// Instances of a node before this one are of the first revision that this one prepares, if one that it started
    /// now would be just the same. It says why the others are replaced.
    fn keep(
        &mut self,
        name: &UnitName,
        revision: &Revision,
        release: &Arc<Release>,
        told: &dyn Fn(&InstanceRef) -> String,
        events: &Events,
    ) {
        for (id, one) in self.instances.iter_mut().filter(|(_, one)| one.revision.is_adopted()) {
            let why = if revision.restarts == FIRST {
                one.differs(id, release, told)
            } else {
                Some("it was told to restart".to_owned())
            };
            match why {
                None => (one.revision, one.release) = (revision.clone(), release.clone()),
                Some(why) if one.phase != Phase::Stopping => {
                    events.emit_of((name, &one.release), Some(id), EventKind::Restarted, why.clone());
                    self.lost.push(why);
                }
                Some(_) => {}
            }
            one.record = None;
        }
    }

    /// Says that another release is the one to be started.
    fn tell_release(&self, name: &UnitName, release: &Release, events: &Events) {
        let before = self.active.as_ref().map(|(_, before)| &before.id);
        if before != Some(&release.id) {
            let message = before.map(|before| format!("in the place of {before}")).unwrap_or_default();
            events.emit_of((name, release), None, EventKind::Released, message);
        }
    }
}

// === impl InstanceState ===

impl InstanceState {
    /// Why it is not what a release of this node is, if it is not.
    fn differs(
        &self,
        id: &InstanceId,
        release: &Release,
        told: &dyn Fn(&InstanceRef) -> String,
    ) -> Option<String> {
        if self.release.spec.slice != release.spec.slice {
            return Some("its part of the manifest changed".to_owned());
        }
        if self.release.id != release.id {
            return Some("its program changed".to_owned());
        }
        let record = self.record.as_ref()?;
        let unit = &release.spec.unit;
        let now = told(&InstanceRef {
            id: id.clone(),
            unit: unit.name.clone(),
            services: unit.services.clone(),
            release: release.id.clone(),
            port: record.port,
            system: release.spec.system.clone(),
        });
        told::changed(&record.told, &now).map(|name| format!("{name} in its environment changed"))
    }

    pub(crate) fn enter(&mut self, phase: Phase, health: &str) {
        (self.phase, self.health, self.since) = (phase, health.to_owned(), proc::wall_clock());
    }

    fn seen(&self) -> SeenInstance {
        SeenInstance { revision: self.revision.clone(), phase: self.phase, order: self.order }
    }
}

// === impl Waiting ===

impl Waiting {
    /// The same wait goes on; another one begins.
    fn on(text: String, before: Option<Self>, now: Instant, say_at: Option<Instant>) -> Self {
        match before {
            Some(before) if before.text == text => before,
            _ => Self { text, since: now, say_at },
        }
    }

    fn due(&mut self, now: Instant) -> Option<String> {
        self.say_at.filter(|at| *at <= now)?;
        self.say_at = Some(now + SAID_AGAIN);
        let seconds = (now - self.since).as_secs();
        Some(if seconds == 0 { self.text.clone() } else { format!("{} ({seconds} s)", self.text) })
    }
}

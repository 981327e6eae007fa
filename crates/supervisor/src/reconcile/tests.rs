//! A model world in which actions take effect, and what must hold whatever happens in it.

use std::{collections::VecDeque, time::Duration};

use proptest::prelude::*;

use super::*;

fn name(unit: usize) -> UnitName {
    ["users", "orders", "payments", "catalog"][unit].parse().unwrap()
}

fn revision(slice: u64, restarts: u64) -> Revision {
    Revision { slice: Slice::of(&slice.to_string()), restarts: FIRST + restarts }
}

fn wanted(slice: u64, replicas: usize, exclusive: bool, depends_on: &[usize]) -> Wanted {
    let depends_on = depends_on.iter().map(|&unit| name(unit)).collect();
    Wanted { revision: revision(slice, 0), replicas, exclusive, depends_on }
}

/// A world in which every action takes effect, at once or when the world is told to go on.
struct Model {
    desired: Desired,
    observed: Observed,
    now: Instant,
    started: u64,
    /// What happened, in order.
    log: Vec<String>,
    /// Builds of these slices fail.
    broken: BTreeSet<u64>,
}

impl Model {
    fn new(units: impl IntoIterator<Item = (usize, Wanted)>) -> Self {
        let units = units.into_iter().map(|(unit, wanted)| (name(unit), wanted)).collect();
        Self {
            desired: Desired { units, stopping: false },
            observed: Observed::default(),
            now: Instant::now(),
            started: 0,
            log: vec![],
            broken: BTreeSet::new(),
        }
    }

    fn seen(&mut self, unit: &UnitName) -> &mut Seen {
        self.observed.units.entry(unit.clone()).or_default()
    }

    fn decide(&self) -> Vec<Action> {
        reconcile(&self.desired, &self.observed, self.now)
    }

    /// Acts once on what is decided.
    fn act(&mut self) {
        let decided_on = self.observed.clone();
        for action in self.decide() {
            match action {
                Action::Prepare { unit, revision } => {
                    self.log.push(format!("build {unit}"));
                    self.seen(&unit).next = Some((revision, Preparation::Running));
                }
                Action::Start { unit } => self.start(&unit, &decided_on),
                Action::Stop { unit, instance } => {
                    self.log.push(format!("stop {instance}"));
                    self.seen(&unit).instances.get_mut(&instance).unwrap().phase = Phase::Stopping;
                }
                Action::Forget { unit } => {
                    self.observed.units.remove(&unit);
                }
                Action::Wait { on: Wait::Until(moment), .. } => assert!(moment > self.now),
                Action::Wait { .. } => {}
            }
        }
        self.check();
    }

    fn start(&mut self, unit: &UnitName, decided_on: &Observed) {
        let wanted = &self.desired.units[unit];
        let seen = &self.observed.units[unit];
        if !seen.settled {
            for dependency in &wanted.depends_on {
                assert!(decided_on.units[dependency].ready(), "{unit} before {dependency}");
            }
        }
        let exclusive = seen.active.as_ref().is_some_and(|active| active.exclusive);
        assert!(!exclusive || seen.instances.is_empty(), "{unit} beside one that has its port");
        self.started += 1;
        let order = self.started;
        let revision = seen.active.as_ref().unwrap().revision.clone();
        let id = InstanceId(format!("{unit}-{order}").into());
        self.log.push(format!("start {id}"));
        let instance = SeenInstance { revision, phase: Phase::Unready, order };
        self.seen(unit).instances.insert(id, instance);
    }

    /// What holds at every moment.
    fn check(&self) {
        for (unit, seen) in &self.observed.units {
            if seen.active.as_ref().is_some_and(|active| active.exclusive) {
                let current = seen.live().filter(|(_, one)| {
                    seen.active.as_ref().is_some_and(|active| one.revision == active.revision)
                });
                assert!(current.count() <= 1, "{unit} has its port twice");
            }
        }
    }

    /// Ends what is under way: one thing of it, by its number.
    fn go_on(&mut self, choice: usize) -> bool {
        let mut under_way = VecDeque::new();
        for (unit, seen) in &self.observed.units {
            if matches!(seen.next, Some((_, Preparation::Running))) {
                under_way.push_back((unit.clone(), None));
            }
            let moving = seen.instances.iter().filter(|(_, one)| one.phase != Phase::Ready);
            under_way.extend(moving.map(|(id, _)| (unit.clone(), Some(id.clone()))));
        }
        if under_way.is_empty() {
            return false;
        }
        let (unit, instance) = under_way.swap_remove_back(choice % under_way.len()).unwrap();
        match instance {
            None => self.prepared(&unit),
            Some(id) => self.move_on(&unit, &id),
        }
        true
    }

    fn prepared(&mut self, unit: &UnitName) {
        let (revision, _) = self.seen(unit).next.take().unwrap();
        let Some(wanted) = self.desired.units.get(unit).cloned() else { return };
        if wanted.revision != revision {
            return;
        }
        let broken = self.broken.iter().any(|slice| revision.slice == Slice::of(&slice.to_string()));
        let seen = self.seen(unit);
        if broken {
            seen.next = Some((revision, Preparation::Failed));
        } else {
            let adopted = Revision::adopted(revision.slice.clone());
            let kept = |one: &&mut SeenInstance| revision.restarts == FIRST && one.revision == adopted;
            seen.instances.values_mut().filter(kept).for_each(|one| one.revision = revision.clone());
            seen.active = Some(Active { revision, exclusive: wanted.exclusive });
            seen.trouble = None;
        }
    }

    fn move_on(&mut self, unit: &UnitName, id: &InstanceId) {
        let seen = self.seen(unit);
        let instance = seen.instances.get_mut(id).unwrap();
        if instance.phase == Phase::Stopping {
            seen.instances.remove(id);
            self.log.push(format!("gone {id}"));
        } else {
            instance.phase = Phase::Ready;
            seen.settled = true;
            self.log.push(format!("ready {id}"));
        }
    }

    fn crash(&mut self, unit: &UnitName, gave_up: bool) {
        let until = self.now + Duration::from_secs(1);
        let seen = self.seen(unit);
        let Some((id, instance)) = seen.instances.pop_first() else { return };
        if instance.phase != Phase::Stopping
            && seen.active.as_ref().is_some_and(|active| active.revision == instance.revision)
        {
            seen.trouble = Some(Trouble { revision: instance.revision, until, gave_up });
        }
        self.log.push(format!("crash {id}"));
    }

    /// Lets the world go on until nothing is under way and nothing is left to do.
    fn settle(&mut self) {
        for choice in 0..10_000 {
            self.act();
            let moved = self.go_on(choice * 7);
            if !moved {
                self.now += Duration::from_secs(60);
                if self.decide().is_empty() {
                    return;
                }
            }
        }
        panic!("does not converge: {:?}", self.decide());
    }

    fn assert_as_desired(&self) {
        for (unit, wanted) in &self.desired.units {
            let seen = &self.observed.units[unit];
            let replicas = if wanted.exclusive { wanted.replicas.min(1) } else { wanted.replicas };
            assert_eq!(seen.instances.len(), replicas, "{unit}");
            for instance in seen.instances.values() {
                assert_eq!((instance.phase, &instance.revision), (Phase::Ready, &wanted.revision), "{unit}");
            }
        }
        assert!(self.observed.units.keys().all(|unit| self.desired.units.contains_key(unit)));
    }
}

fn shop() -> Model {
    let mut model = Model::new([
        (0, wanted(1, 1, false, &[])),
        (1, wanted(1, 2, false, &[0, 2])),
        (2, wanted(1, 1, true, &[])),
    ]);
    model.settle();
    model.assert_as_desired();
    model.log.clear();
    model
}

#[test]
fn units_start_once_what_they_depend_on_is_ready() {
    let mut model = Model::new([(0, wanted(1, 1, false, &[])), (1, wanted(1, 1, false, &[0]))]);
    model.settle();
    let after_builds: Vec<_> = model.log.iter().filter(|what| !what.starts_with("build")).collect();
    assert_eq!(after_builds, ["start users-1", "ready users-1", "start orders-2", "ready orders-2"]);
}

#[test]
fn an_edit_touches_one_unit_and_nothing_that_depends_on_it() {
    let mut model = shop();
    model.desired.units.get_mut(&name(0)).unwrap().revision = revision(2, 0);
    model.settle();
    model.assert_as_desired();
    assert!(model.log.iter().all(|what| what.contains("users")), "{:?}", model.log);
}

#[test]
fn with_ports_of_their_own_the_new_one_is_ready_before_the_old_one_leaves() {
    let mut model = shop();
    model.desired.units.get_mut(&name(0)).unwrap().revision = revision(2, 0);
    model.settle();
    let kinds: Vec<_> = model.log.iter().map(|what| what.split(' ').next().unwrap()).collect();
    assert_eq!(kinds, ["build", "start", "ready", "stop", "gone"]);
}

#[test]
fn with_a_port_that_the_program_insists_on_the_old_one_leaves_first() {
    let mut model = shop();
    model.desired.units.get_mut(&name(2)).unwrap().revision = revision(1, 1);
    model.settle();
    let kinds: Vec<_> = model.log.iter().map(|what| what.split(' ').next().unwrap()).collect();
    assert_eq!(kinds, ["build", "stop", "gone", "start", "ready"]);
}

#[test]
fn scaling_builds_and_replaces_nothing() {
    let mut model = shop();
    model.desired.units.get_mut(&name(1)).unwrap().replicas = 4;
    model.settle();
    model.desired.units.get_mut(&name(1)).unwrap().replicas = 1;
    model.settle();
    model.assert_as_desired();
    let kinds: BTreeSet<_> = model.log.iter().map(|what| what.split(' ').next().unwrap()).collect();
    assert!(!kinds.contains("build"));
    assert_eq!(model.log.iter().filter(|what| what.starts_with("start")).count(), 2);
    assert_eq!(model.log.iter().filter(|what| what.starts_with("stop")).count(), 3);
}

#[test]
fn one_that_was_given_up_stays_down_until_it_is_told_to_restart() {
    let mut model = shop();
    model.crash(&name(0), true);
    model.settle();
    assert_eq!(model.log, ["crash users-1"]);
    model.desired.units.get_mut(&name(0)).unwrap().revision = revision(1, 1);
    model.settle();
    model.assert_as_desired();
}

#[test]
fn a_crash_waits_for_its_pause_and_for_nothing_else() {
    let mut model = shop();
    model.crash(&name(0), true);
    model.crash(&name(1), false);
    let waits = model.decide();
    let until = model.now + Duration::from_secs(1);
    assert_eq!(waits, [Action::Wait { unit: name(1), on: Wait::Until(until) }]);
    model.now = until;
    assert_eq!(model.decide(), [Action::Start { unit: name(1) }]);
}

#[test]
fn a_failed_build_keeps_the_old_release_running_and_restarts_it_when_it_crashes() {
    let mut model = shop();
    model.broken.insert(2);
    model.desired.units.get_mut(&name(0)).unwrap().revision = revision(2, 0);
    model.settle();
    assert_eq!(model.log, ["build users"]);
    model.crash(&name(0), false);
    model.settle();
    let seen = &model.observed.units[&name(0)];
    assert!(seen.ready() && seen.instances.values().all(|one| one.revision == revision(1, 0)));
    // And going back to what runs needs no build at all.
    model.log.clear();
    model.desired.units.get_mut(&name(0)).unwrap().revision = revision(1, 0);
    model.settle();
    assert_eq!(model.log, [""; 0]);
}

#[test]
fn a_unit_that_leaves_the_manifest_is_stopped_and_forgotten() {
    let mut model = shop();
    model.desired.units.remove(&name(2));
    model.settle();
    model.assert_as_desired();
    let kinds: Vec<_> = model.log.iter().map(|what| what.split(' ').next().unwrap()).collect();
    assert_eq!(kinds, ["stop", "gone"]);
}

#[test]
fn everything_stops_in_reverse_order() {
    let mut model = shop();
    model.desired.stopping = true;
    model.settle();
    assert!(model.observed.units.values().all(|seen| seen.instances.is_empty()));
    let place = |what: &str| model.log.iter().position(|entry| entry.starts_with(what)).unwrap();
    let last_order = model.log.iter().rposition(|entry| entry.starts_with("gone orders")).unwrap();
    assert!(last_order < place("stop users") && last_order < place("stop payments"), "{:?}", model.log);
}

/// Something that happens to a world while it is busy.
#[derive(Debug, Clone)]
enum Step {
    Act,
    GoOn(usize),
    Crash(usize),
    GiveUp(usize),
    Edit(usize, u64),
    Restart(usize),
    Scale(usize, usize),
    Remove(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let unit = 0usize..4;
    let step = prop_oneof![
        4 => Just(Step::Act),
        4 => any::<usize>().prop_map(Step::GoOn),
        1 => unit.clone().prop_map(Step::Crash),
        1 => unit.clone().prop_map(Step::GiveUp),
        1 => (unit.clone(), 0u64..4).prop_map(|(unit, slice)| Step::Edit(unit, slice)),
        1 => unit.clone().prop_map(Step::Restart),
        1 => (unit.clone(), 0usize..4).prop_map(|(unit, replicas)| Step::Scale(unit, replicas)),
        1 => unit.prop_map(Step::Remove),
        1 => (0u64..3).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// Whatever happens on the way, once nothing happens any more the world becomes as desired.
    #[test]
    fn converges(steps in steps(), kinds in prop::collection::vec(any::<bool>(), 4)) {
        let units = (0..4).map(|unit| {
            // Each depends on those before it: no cycle.
            let before: Vec<usize> = (0..unit).filter(|other| (unit + other) % 2 == 1).collect();
            (unit, wanted(1, 1 + unit % 2, kinds[unit], &before))
        });
        let all: BTreeMap<UnitName, Wanted> = units.clone().map(|(unit, wanted)| (name(unit), wanted)).collect();
        let mut model = Model::new(units);
        for step in steps {
            match step {
                Step::Act => model.act(),
                Step::GoOn(choice) => drop(model.go_on(choice)),
                Step::Crash(unit) => model.crash_if_there(unit, false),
                Step::GiveUp(unit) => model.crash_if_there(unit, true),
                Step::Edit(unit, slice) => model.edit(unit, |wanted| wanted.revision.slice = revision(slice, 0).slice),
                Step::Restart(unit) => model.edit(unit, |wanted| wanted.revision.restarts += 1),
                Step::Scale(unit, replicas) => model.edit(unit, |wanted| wanted.replicas = replicas),
                Step::Remove(unit) => drop(model.desired.units.remove(&name(unit))),
                Step::Wait(seconds) => model.now += Duration::from_secs(seconds),
            }
        }
        // Everybody comes back, is told to restart once more, and has at least one instance to depend on.
        for (unit, mut wanted) in all {
            let before = model.desired.units.remove(&unit);
            wanted.revision.restarts = before.map_or(100, |before| before.revision.restarts + 1);
            model.desired.units.insert(unit, wanted);
        }
        model.settle();
        model.assert_as_desired();
        prop_assert_eq!(model.decide(), []);

        model.desired.stopping = true;
        model.settle();
        prop_assert!(model.observed.units.values().all(|seen| seen.instances.is_empty()));
    }

    /// Whatever a node before this one left, this one comes to what is wanted without a stop that is not needed: what
    /// is wanted as it is stays, and no place that was served is empty on the way, unless there can only be one.
    #[test]
    fn what_was_left_goes_on_where_it_can(
        left in prop::collection::vec((1u64..3, any::<bool>()), 0..5),
        replicas in 1usize..4,
        exclusive in any::<bool>(),
        choices in prop::collection::vec(any::<usize>(), 60),
    ) {
        let left = if exclusive { left.into_iter().take(1).collect() } else { left };
        let replicas = if exclusive { 1 } else { replicas };
        let mut model = Model::new([(0, wanted(1, replicas, exclusive, &[]))]);
        for (slice, ready) in &left {
            model.adopt(0, *slice, *ready);
        }
        let served = left.iter().filter(|(_, ready)| *ready).count().min(replicas);
        let same = left.iter().all(|(slice, _)| *slice == 1) && left.len() <= replicas;
        let most = left.len().max(replicas + 1);
        for choice in choices {
            model.act();
            model.go_on(choice);
            let seen = &model.observed.units[&name(0)];
            let ready = seen.instances.values().filter(|one| one.phase == Phase::Ready).count();
            prop_assert!(exclusive || ready >= served);
            prop_assert!(seen.live().count() <= most);
        }
        model.settle();
        model.assert_as_desired();
        let stops = model.log.iter().filter(|what| what.starts_with("stop")).count();
        prop_assert!(!same || stops == 0, "{:?}", model.log);
    }

    /// While an edit rolls over instances with ports of their own and none of them crashes, there are never
    /// fewer ready ones than there should be, and never more than one too many.
    #[test]
    fn an_edit_never_takes_a_place_away(replicas in 1usize..6, choices in prop::collection::vec(any::<usize>(), 100)) {
        let mut model = Model::new([(0, wanted(1, replicas, false, &[]))]);
        model.settle();
        model.desired.units.get_mut(&name(0)).unwrap().revision = revision(2, 0);
        for choice in choices {
            model.act();
            model.go_on(choice);
            let seen = &model.observed.units[&name(0)];
            let ready = seen.instances.values().filter(|one| one.phase == Phase::Ready).count();
            prop_assert!(ready >= replicas);
            prop_assert!(seen.live().count() <= replicas + 1);
        }
        model.settle();
        model.assert_as_desired();
    }
}

impl Model {
    /// One that a node before this one started.
    fn adopt(&mut self, unit: usize, slice: u64, ready: bool) {
        let exclusive = self.desired.units[&name(unit)].exclusive;
        self.started += 1;
        let (order, revision) = (self.started, Revision::adopted(Slice::of(&slice.to_string())));
        let phase = if ready { Phase::Ready } else { Phase::Unready };
        let seen = self.seen(&name(unit));
        seen.settled |= ready;
        seen.active = Some(Active { revision: revision.clone(), exclusive });
        let instance = SeenInstance { revision, phase, order };
        seen.instances.insert(InstanceId(format!("left-{order}").into()), instance);
    }

    fn crash_if_there(&mut self, unit: usize, gave_up: bool) {
        if self.observed.units.contains_key(&name(unit)) {
            self.crash(&name(unit), gave_up);
        }
    }

    fn edit(&mut self, unit: usize, edit: impl FnOnce(&mut Wanted)) {
        if let Some(wanted) = self.desired.units.get_mut(&name(unit)) {
            edit(wanted);
        }
    }
}

//! What others hold of a running supervisor.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use madang_model::{InstanceId, System, UnitName};
use madang_wire::admin::{Event, InstanceView, State};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::{events::Events, instance::Order, proc, store::Records};

/// Tells a supervisor what to do, and shows what it does. Cloning gives the same. No call waits for a process,
/// apart from [`Handle::stop`].
#[derive(Clone)]
pub struct Handle {
    pub(crate) told: watch::Sender<Told>,
    pub(crate) board: Arc<Board>,
    pub(crate) records: Records,
}

/// Everything that a supervisor was told, as a whole: what is told twice in between is told once.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) system: Arc<System>,
    /// How often each unit was told to restart.
    pub(crate) restarts: BTreeMap<UnitName, u64>,
    /// The units that are to stay stopped, and why.
    pub(crate) held: BTreeMap<UnitName, String>,
    pub(crate) order: Order,
}

/// What a supervisor shows.
pub(crate) struct Board {
    pub(crate) events: Events,
    pub(crate) rows: Mutex<Vec<InstanceView>>,
    pub(crate) ready: watch::Sender<bool>,
    pub(crate) told_from: watch::Sender<Vec<(UnitName, Arc<System>)>>,
    pub(crate) ended: CancellationToken,
}

// === impl Handle ===

impl Handle {
    /// Puts a system into force: the difference to the one before is applied, and nothing else.
    pub fn apply(&self, system: Arc<System>) {
        self.told.send_modify(|told| told.system = system);
    }

    /// Builds a unit again and replaces its instances, also one that was given up. Does nothing if there is no
    /// such unit.
    pub fn restart(&self, unit: UnitName) {
        self.told.send_if_modified(|told| {
            let exists = told.system.units.contains_key(&unit);
            if exists {
                *told.restarts.entry(unit).or_default() += 1;
            }
            exists
        });
    }

    /// Stops a unit and has it stay so, for this reason, which those are told who call its services: until
    /// [`Handle::release`]. Of one that is not in the system it is remembered.
    pub fn hold(&self, unit: UnitName, why: String) {
        self.told.send_modify(|told| drop(told.held.insert(unit, why)));
    }

    /// Has a unit run again that was held; whether it was.
    pub fn release(&self, unit: &UnitName) -> bool {
        self.told.send_if_modified(|told| told.held.remove(unit).is_some())
    }

    /// Stops every unit, each once nothing depends on it any more, and waits until nothing is left.
    pub async fn stop(&self) {
        self.order(Order::Stop);
        self.board.ended.cancelled().await;
    }

    /// Kills every process without waiting for its work to end. [`Handle::stop`] then returns soon.
    pub fn kill_now(&self) {
        self.order(Order::Kill);
    }

    /// The release of an instance that it runs.
    pub fn release_of(&self, instance: &InstanceId) -> Option<String> {
        self.board.rows().iter().find(|row| row.name == *instance.0)?.release.clone()
    }

    /// Kills the processes of one instance, as a failure would; whether it has any. What follows is what follows
    /// every exit.
    pub fn kill(&self, instance: &InstanceId) -> bool {
        let rows = self.board.rows();
        let pid = rows.iter().find(|row| row.name == *instance.0 && !row.by_hand).and_then(|row| row.pid);
        let leader =
            pid.map(u32::cast_signed).filter(|pid| proc::stat(*pid).is_some_and(|stat| stat.group == *pid));
        let group = leader.and_then(Pid::from_raw);
        group.is_some_and(|group| kill_process_group(group, Signal::KILL).is_ok())
    }

    fn order(&self, order: Order) {
        self.told.send_modify(|told| told.order = told.order.max(order));
    }

    /// Every instance, and a line for each unit that has fewer than it should.
    pub fn instances(&self) -> Vec<InstanceView> {
        let mut rows = self.board.rows();
        let now = proc::wall_clock();
        let leaders = rows.iter().filter_map(|row| row.pid).map(u32::cast_signed).collect();
        let used = proc::usage(&leaders);
        for row in &mut rows {
            let used = row.pid.and_then(|pid| used.get(&pid.cast_signed()));
            row.memory = used.map(|used| used.memory);
            row.cpu_us = used.map(|used| used.cpu_us);
            if row.state == State::Waiting {
                row.health = format!("{} ({} s)", row.health, now.saturating_sub(row.since) / 1000);
            }
        }
        rows
    }

    /// Records of instances what could not be recorded, because the disk was full.
    ///
    /// # Errors
    /// If it still cannot be.
    pub async fn record(&self) -> Result<(), madang_store::Error> {
        self.records.flush().await
    }

    /// Everything that happens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.board.events.subscribe()
    }

    /// Whether every unit has as many ready instances as it should.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.board.ready.subscribe()
    }

    /// From which systems the instances of each unit were told what they know, or would be if one started now: that
    /// in force, or an older one as long as something of it runs or its successor could not be built.
    pub fn told_from(&self) -> watch::Receiver<Vec<(UnitName, Arc<System>)>> {
        self.board.told_from.subscribe()
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

// === impl Board ===

impl Board {
    pub(crate) fn new() -> Self {
        Self {
            events: Events::new(),
            rows: Mutex::default(),
            ready: watch::Sender::new(false),
            told_from: watch::Sender::default(),
            ended: CancellationToken::new(),
        }
    }

    pub(crate) fn rows(&self) -> Vec<InstanceView> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn show(&self, rows: Vec<InstanceView>, ready: bool) {
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner) = rows;
        self.ready.send_if_modified(|shown| std::mem::replace(shown, ready) != ready);
    }

    pub(crate) fn tell_from(&self, systems: Vec<(UnitName, Arc<System>)>) {
        self.told_from.send_if_modified(|told| {
            let mut pairs = told.iter().zip(&systems);
            let same =
                told.len() == systems.len() && pairs.all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(&a.1, &b.1));
            *told = systems;
            !same
        });
    }
}

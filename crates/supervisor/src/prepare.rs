//! What makes a revision of a unit a release that can be started: its build, and the digest of what it built.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
};

use madang_model::UnitName;
use madang_wire::admin::EventKind;
use tokio::{
    task::{self, JoinSet, spawn_blocking},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    build::{self, Group},
    events::Events,
    family,
    handle::Board,
    reconcile::Revision,
    spec::{Release, Spec},
};

/// The units to prepare, by one build or by none.
pub(crate) struct Task {
    group: Option<Group>,
    units: BTreeMap<UnitName, (Arc<Spec>, Revision)>,
    log: PathBuf,
}

/// The preparations under way. Each unit of each of them is heard of again, whatever becomes of its task.
#[derive(Default)]
pub(crate) struct Preparations {
    tasks: JoinSet<Vec<Prepared>>,
    /// What each task prepares.
    of: HashMap<task::Id, Vec<(UnitName, Revision)>>,
}

/// A unit that was prepared, or why it could not be.
pub(crate) struct Prepared {
    pub(crate) unit: UnitName,
    pub(crate) revision: Revision,
    pub(crate) outcome: Result<Release, String>,
}

/// The tasks that prepare these units, in parallel.
pub(crate) fn all(mut units: BTreeMap<UnitName, (Arc<Spec>, Revision)>, logs: &Path) -> Vec<Task> {
    let groups = build::groups(units.values().map(|(spec, _)| spec), build::cargo_workspace);
    let mut tasks = Vec::new();
    for group in groups {
        let built = group.units.iter().filter_map(|name| units.remove_entry(name)).collect();
        // No unit's name begins with a dot. Units that are built together share the log of the first.
        let name = group.units.first().map_or("none", UnitName::as_str);
        let log = logs.join(".builds").join(format!("{name}.log"));
        tasks.push(Task { group: Some(group), units: built, log });
    }
    let unbuilt =
        units.into_iter().map(|unit| Task { group: None, units: [unit].into(), log: PathBuf::new() });
    tasks.extend(unbuilt);
    tasks
}

// === impl Preparations ===

impl Preparations {
    /// Runs a task.
    pub(crate) fn start(&mut self, task: Task, board: Arc<Board>, cancel: CancellationToken) {
        let units = task.units.iter().map(|(unit, (_, revision))| (unit.clone(), revision.clone())).collect();
        self.spawn(units, async move { task.run(&board.events, &cancel).await });
    }

    fn spawn(
        &mut self,
        units: Vec<(UnitName, Revision)>,
        run: impl Future<Output = Vec<Prepared>> + Send + 'static,
    ) {
        let task = self.tasks.spawn(run);
        self.of.insert(task.id(), units);
    }

    /// What the next task to end has prepared; `None` if none is under way. May be dropped and called again.
    pub(crate) async fn next(&mut self, events: &Events) -> Option<Vec<Prepared>> {
        Some(match self.tasks.join_next_with_id().await? {
            Ok((task, prepared)) => {
                self.of.remove(&task);
                prepared
            }
            Err(error) => {
                error!(%error, "the task of a build failed");
                let lost = |(unit, revision)| {
                    let reason = "its build was lost: the task that ran it failed".to_owned();
                    events.emit(&unit, None, EventKind::BuildFailed, reason.clone());
                    Prepared { unit, revision, outcome: Err(reason) }
                };
                self.of.remove(&error.id()).into_iter().flatten().map(lost).collect()
            }
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

// === impl Task ===

impl Task {
    async fn run(self, events: &Events, cancel: &CancellationToken) -> Vec<Prepared> {
        if let Some(group) = &self.group
            && let Err(reason) = self.build(group, events, cancel).await
        {
            let failed = |(unit, (_, revision))| Prepared { unit, revision, outcome: Err(reason.clone()) };
            return self.units.into_iter().map(failed).collect();
        }
        let mut all = Vec::new();
        for (unit, (spec, revision)) in self.units {
            let outcome = release(spec).await;
            if let Err(reason) = &outcome {
                events.emit(&unit, None, EventKind::BuildFailed, reason.clone());
            }
            all.push(Prepared { unit, revision, outcome });
        }
        all
    }

    async fn build(&self, group: &Group, events: &Events, cancel: &CancellationToken) -> Result<(), String> {
        let say = |kind, message: &str| {
            self.units.keys().for_each(|unit| events.emit(unit, None, kind, message));
        };
        say(EventKind::Building, &group.command);
        let started = Instant::now();
        let built = family::sparing_orphans(group.run(&self.log, cancel)).await;
        match &built {
            Ok(()) => say(EventKind::Built, &format!("in {:.1} s", started.elapsed().as_secs_f64())),
            Err(_) if cancel.is_cancelled() => {}
            Err(reason) => {
                let mut units = self.units.keys();
                let first = units.next();
                if let Some(unit) = first {
                    events.emit(unit, None, EventKind::BuildFailed, reason);
                }
                // The output is long: once is enough.
                for (unit, first) in units.zip(first.into_iter().cycle()) {
                    let message = format!("its build is that of {first}, which failed");
                    events.emit(unit, None, EventKind::BuildFailed, message);
                }
            }
        }
        built
    }
}

async fn release(spec: Arc<Spec>) -> Result<Release, String> {
    let hashed = spawn_blocking(move || spec.release_id().map(|id| Release { id, spec: spec.clone() }));
    match hashed.await {
        Ok(Ok(release)) => Ok(release),
        Ok(Err(error)) => Err(format!("failed to read the program that it runs: {error}")),
        Err(error) => Err(format!("failed to read the program that it runs: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Slice;

    #[tokio::test]
    async fn the_units_of_a_task_that_panicked_are_said_to_have_failed() {
        let events = Events::new();
        let mut heard = events.subscribe();
        let mut preparations = Preparations::default();
        let revision = Revision { slice: Slice::of("1"), restarts: 0 };
        let units = ["users", "orders"].map(|unit| (unit.parse().unwrap(), revision.clone()));
        preparations.spawn(units.to_vec(), async { panic!("a bug") });
        let prepared = preparations.next(&events).await.unwrap();
        for (prepared, (unit, _)) in prepared.iter().zip(&units) {
            assert_eq!((&prepared.unit, &prepared.revision), (unit, &revision));
            let reason = prepared.outcome.as_ref().err().unwrap();
            assert_eq!(reason, "its build was lost: the task that ran it failed");
            let event = heard.try_recv().unwrap();
            assert_eq!((event.unit.as_str(), event.kind), (unit.as_str(), EventKind::BuildFailed));
        }
        assert_eq!(prepared.len(), 2);
        assert!(preparations.next(&events).await.is_none() && preparations.of.is_empty());
    }
}

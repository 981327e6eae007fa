//! What makes a revision of a unit a release that can be started: its build, and the digest of what it built.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use madang_model::UnitName;
use madang_wire::admin::EventKind;
use tokio::{task::spawn_blocking, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    build::{self, Group},
    events::Events,
    reconcile::Revision,
    spec::{Release, Spec},
};

/// The units to prepare, by one build or by none.
pub(crate) struct Task {
    group: Option<Group>,
    units: BTreeMap<UnitName, (Arc<Spec>, Revision)>,
    log: PathBuf,
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

// === impl Task ===

impl Task {
    pub(crate) async fn run(self, events: &Events, cancel: &CancellationToken) -> Vec<Prepared> {
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
        let built = group.run(&self.log, cancel).await;
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

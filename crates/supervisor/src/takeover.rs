//! What a node before this one left running, because it was killed: what can go on under this one does, and the rest
//! is stopped or forgotten, for a reason that is said.
//!
//! A process is that of a record if its number, the time of its start and the machine's boot are. Processes of which
//! there is no record, or none that leads to them, are found by what their environment proves of them, so that none
//! is left beside the one that is started in its place.

use std::{
    collections::BTreeMap,
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use madang_model::{InstanceId, System, UnitName};
use madang_store::Store;
use madang_wire::admin::EventKind;
use tokio::task::{JoinSet, spawn_blocking};
use tracing::warn;

use crate::{
    Error,
    family::Family,
    handle::Board,
    instance::Surroundings,
    probe::Probe,
    proc::{self, Stat},
    process::Held,
    spec::{Release, Spec},
    store::{Identity, Record, Records},
};

/// Whom a node before this one left.
#[derive(Default)]
pub(crate) struct Found {
    /// Those that go on, the oldest first.
    pub(crate) adopted: Vec<Adopted>,
    /// All others, and why they do not.
    pub(crate) lost: Vec<Lost>,
}

/// An instance that goes on. Nothing is done to it if this is dropped.
pub(crate) struct Adopted {
    pub(crate) record: Record,
    pub(crate) release: Arc<Release>,
    pub(crate) held: Held,
    /// If it is ready: where it listens.
    pub(crate) ready: Option<Option<SocketAddr>>,
}

/// An instance that does not go on.
#[derive(Debug, Clone)]
pub(crate) struct Lost {
    pub(crate) id: InstanceId,
    pub(crate) unit: UnitName,
    pub(crate) why: String,
    /// Whether some of its processes are alive, which are to be stopped.
    pub(crate) alive: bool,
    /// Its first process, if that is among them: the number of one that is not may be anybody's by now.
    leader: Option<Identity>,
    log: Option<PathBuf>,
}

/// Whose instance a process is, by its environment: one of this system's, whichever node started it.
pub type InstanceOf<'a> = dyn Fn(&[(String, String)]) -> Option<(UnitName, InstanceId)> + Send + Sync + 'a;

/// An instance that a node left running which is gone.
pub struct Left {
    /// Its id.
    pub id: InstanceId,
    /// Its unit.
    pub unit: UnitName,
    leader: Option<Identity>,
    log: Option<PathBuf>,
    records: Records,
}

/// Whoever still runs of a system that no node runs. They are not touched.
///
/// # Errors
/// If the state cannot be read.
pub async fn left(store: Store, instance_of: &InstanceOf<'_>) -> Result<Vec<Left>, Error> {
    let records = Records::open(store).await?;
    let boot = proc::boot_id().map_err(Error::BootId)?;
    let mut marked = marked(instance_of);
    let mut left = Vec::new();
    for record in records.all().await? {
        let leader = take(&record, &boot).ok().map(|held| held.identity());
        if marked.remove(&record.instance).is_some() || leader.is_some() {
            let (id, unit, log) = (record.instance, record.unit, Some(record.log));
            left.push(Left { id, unit, leader, log, records: records.clone() });
        }
    }
    let unrecorded = |(id, unit)| Left { id, unit, leader: None, log: None, records: records.clone() };
    left.extend(marked.into_iter().map(unrecorded));
    Ok(left)
}

/// Looks for whoever is left, and takes hold of those that can go on; those that are ready are in rotation when this
/// returns. Nobody is stopped here.
pub(crate) async fn find(
    around: &Arc<Surroundings>,
    system: &Arc<System>,
    specs: &BTreeMap<UnitName, Arc<Spec>>,
) -> Result<Found, madang_store::Error> {
    let records = around.records.all().await?;
    let environment = around.environment.clone();
    let marked = spawn_blocking(move || marked(&|told| environment.instance_of(told)));
    let mut marked = marked.await.unwrap_or_default();
    let mut found = Found::default();
    for record in records {
        let alive = marked.remove(&record.instance).is_some();
        match take(&record, &around.boot) {
            Ok(held) => match release_of(&record, system, specs) {
                Some(release) => found.adopted.push(Adopted { record, release, held, ready: None }),
                None => {
                    let why = "it was recorded by another version of Madang".to_owned();
                    let leader = Some(held.identity());
                    found.lost.push(Lost { leader, ..Lost::of(&record, why, true) });
                }
            },
            Err(why) => found.lost.push(Lost::of(&record, why, alive)),
        }
    }
    for (id, unit) in marked {
        let why = "no record of it was written".to_owned();
        found.lost.push(Lost { id, unit, why, alive: true, leader: None, log: None });
    }
    probe(around, &mut found).await;
    Ok(found)
}

/// The instances that processes on this machine are of, by their own environment. Reads much of `/proc`.
fn marked(instance_of: &InstanceOf<'_>) -> BTreeMap<InstanceId, UnitName> {
    let me = std::process::id().cast_signed();
    let others = proc::all().filter(|one| one.pid != me && !one.zombie);
    let told = others.map(|one| proc::environment(one.pid));
    told.filter_map(|told| instance_of(&told)).map(|(unit, id)| (id, unit)).collect()
}

/// Takes hold of the process that a record is of; or says why there is none.
fn take(record: &Record, boot: &str) -> Result<Held, String> {
    let now = record.process.and_then(|process| proc::stat(process.pid));
    match Held::take(identity(record, boot, now)?) {
        Ok(Some(held)) => Ok(held),
        Ok(None) => Err(EXITED.to_owned()),
        Err(error) => {
            warn!(instance = %record.instance, %error, "failed to take hold of a process");
            Err(format!("it could not be taken hold of: {error}"))
        }
    }
}

const EXITED: &str = "it exited while no node watched it";

/// Whom a record is of, if that is who has the number now.
fn identity(record: &Record, boot: &str, now: Option<Stat>) -> Result<Identity, String> {
    if record.boot != boot {
        return Err("the machine was booted since".to_owned());
    }
    let process = record.process.ok_or("its process was not recorded")?;
    match now {
        None => Err(EXITED.to_owned()),
        Some(now) if now.started != process.started => {
            Err(format!("its pid {} is another process now", process.pid))
        }
        Some(now) if now.zombie => Err(EXITED.to_owned()),
        Some(_) => Ok(process),
    }
}

/// The release of an instance: with the manifest in force if that has it so, or else as it was recorded.
fn release_of(
    record: &Record,
    system: &Arc<System>,
    specs: &BTreeMap<UnitName, Arc<Spec>>,
) -> Option<Arc<Release>> {
    let same = specs.get(&record.unit).filter(|spec| spec.slice.text() == record.slice).cloned();
    let spec = match same {
        Some(spec) => spec,
        None => Arc::new(Spec::remembered(&record.unit, &record.slice, system)?),
    };
    Some(Arc::new(Release { id: record.release.clone(), spec }))
}

/// Probes all at once, and puts those that answer into rotation.
async fn probe(around: &Arc<Surroundings>, found: &mut Found) {
    let limit = around.config.probe.timeout;
    let mut probes = JoinSet::new();
    for (number, one) in found.adopted.iter().enumerate() {
        let probe = Probe::of(&one.release.spec, one.record.port);
        let family = Family::of(&one.record.instance, Some(one.held.identity()));
        probes.spawn(async move { (number, probe.first(limit, &family).await) });
    }
    while let Some(probed) = probes.join_next().await {
        let Ok((number, Ok(address))) = probed else { continue };
        let one = &mut found.adopted[number];
        one.ready = Some(address);
        around.rotation.ready(one.release.ready(&one.record.instance, address));
    }
}

fn family(id: &InstanceId, leader: Option<Identity>, log: Option<&Path>) -> Family {
    let family = Family::of(id, leader);
    log.map_or(family.clone(), |log| family.writing_to(log))
}

// === impl Left ===

impl Left {
    /// Its first process, if that runs.
    pub fn pid(&self) -> Option<i32> {
        self.leader.map(|leader| leader.pid)
    }

    /// Stops it to the last grandchild, with time to end its work, and forgets it. Gives whether something had to be
    /// killed.
    pub async fn stop(self, drain: Duration) -> bool {
        let family = family(&self.id, self.leader, self.log.as_deref());
        let killed = family.stop(drain, std::future::pending()).await;
        if let Err(error) = self.records.remove(self.id).await {
            warn!(%error, "failed to forget an instance");
        }
        killed
    }
}

// === impl Lost ===

impl Lost {
    fn of(record: &Record, why: String, alive: bool) -> Self {
        let (id, unit) = (record.instance.clone(), record.unit.clone());
        Self { id, unit, why, alive, leader: None, log: Some(record.log.clone()) }
    }

    /// Stops what is left of it, and forgets it.
    pub(crate) async fn stop(
        self,
        around: Arc<Surroundings>,
        board: Arc<Board>,
        hurry: impl Future<Output = ()>,
    ) {
        if self.alive {
            let family = family(&self.id, self.leader, self.log.as_deref());
            let killed = family.stop(around.config.drain, hurry).await;
            let how = if killed { "killed after it was told to stop" } else { "what was left of it is gone" };
            board.events.emit(&self.unit, Some(&self.id), EventKind::Stopped, how);
        }
        forget(&around, self.id).await;
    }
}

/// Forgets an instance of which nothing is left.
pub(crate) async fn forget(around: &Surroundings, instance: InstanceId) {
    if let Err(error) = around.records.remove(instance).await {
        warn!(%error, "failed to forget an instance");
    }
}

#[cfg(test)]
mod tests {
    use madang_model::ReleaseId;

    use super::*;

    #[test]
    fn a_process_is_that_of_a_record_if_number_start_and_boot_are() {
        let record = |process| Record {
            instance: InstanceId("users-a".into()),
            unit: "users".parse().unwrap(),
            release: ReleaseId("r".into()),
            boot: "this".into(),
            process,
            port: None,
            log: "/log".into(),
            started_at: 0,
            slice: String::new(),
            told: String::new(),
            restarts: 0,
        };
        let process = Identity { pid: 77, started: 4242 };
        let now = Stat { pid: 77, zombie: false, parent: 1, group: 77, session: 77, started: 4242 };
        let identified = record(Some(process));
        assert_eq!(identity(&identified, "this", Some(now)), Ok(process));
        for (record, boot, now, why) in [
            (&identified, "another", Some(now), "the machine was booted since"),
            (&record(None), "this", Some(now), "its process was not recorded"),
            (&identified, "this", None, EXITED),
            (&identified, "this", Some(Stat { zombie: true, ..now }), EXITED),
            (&identified, "this", Some(Stat { started: 4243, ..now }), "its pid 77 is another process now"),
        ] {
            assert_eq!(identity(record, boot, now).unwrap_err(), why);
        }
    }
}

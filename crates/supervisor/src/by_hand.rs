//! A unit that a person runs instead of Madang: it is awaited at its port, in rotation while it answers there, and
//! neither started, stopped nor signalled.

use std::{collections::BTreeMap, net::SocketAddr, os::fd::OwnedFd, path::PathBuf, sync::Arc};

use madang_model::{InstanceId, PortRule, ReleaseId, System, UnitName};
use madang_wire::admin::EventKind;
use rustix::process::Pid;
use tokio::{
    io::unix::AsyncFd,
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
    time::sleep,
};

use crate::{
    Environment, InstanceRef,
    events::Events,
    instance::Surroundings,
    launch,
    probe::{Cadence, Change, Probe},
    proc,
    process::exit_of,
    spec::{self, Release, Spec},
};

/// How a unit is run by hand: all that Madang would do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByHand {
    /// The folder that it runs in.
    pub folder: PathBuf,
    /// The command that Madang would run, with its placeholders filled in.
    pub run: String,
    /// What its environment tells it, beyond what it inherits. `PORT` and `MADANG_*` are inherited from nobody.
    pub variables: BTreeMap<String, String>,
    /// The variables in which the secrets are still to be filled in, by who has the key.
    pub sealed: BTreeMap<String, String>,
}

/// The unit of this system as somebody runs it by hand who listens on this port if one is assigned; none if there is no
/// such unit, or a placeholder in it has no value.
pub fn by_hand(
    system: &Arc<System>,
    unit: &UnitName,
    port: u16,
    environment: &dyn Environment,
) -> Option<ByHand> {
    let spec = spec::specs(system).remove(unit)?;
    let instance = InstanceRef {
        id: id(unit),
        unit: unit.clone(),
        services: spec.unit.services.clone(),
        release: release_id(),
        port: port_of(&spec, port),
        system: system.clone(),
    };
    let told = environment.for_instance(&instance);
    let launch::Told { run, variables, sealed } = launch::told(&spec, &instance, told, environment).ok()?;
    Some(ByHand { folder: spec.unit.folder.clone(), run, variables, sealed })
}

/// The environment of the process that listens on a port, as far as it can be seen. Reads much of `/proc`.
pub fn told_at(port: u16) -> Vec<(String, String)> {
    let holder = proc::listeners(port).into_iter().find_map(proc::holder_of);
    holder.map(proc::environment).unwrap_or_default()
}

/// Its id, of which there is one at a time.
pub(crate) fn id(unit: &UnitName) -> InstanceId {
    InstanceId(format!("{unit}-by-hand").into())
}

/// What a person runs is of no release that Madang knows.
fn release_id() -> ReleaseId {
    ReleaseId("by-hand".into())
}

fn port_of(spec: &Spec, assigned: u16) -> Option<u16> {
    match spec.unit.port {
        PortRule::Assigned => Some(assigned),
        PortRule::Fixed(port) => Some(port),
        PortRule::None => None,
    }
}

/// What is seen of a unit that a person runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It answers, and is in rotation.
    There { address: SocketAddr, pid: Option<i32> },
    /// It does not, in these words.
    Away(String),
}

/// A unit that a person runs, as the supervisor has it.
pub(crate) struct Hand {
    pub(crate) spec: Arc<Spec>,
    pub(crate) port: Option<u16>,
    pub(crate) seen: Seen,
    /// Since when, in milliseconds since 1970.
    pub(crate) since: u64,
    task: JoinHandle<()>,
}

/// What is seen of which unit.
pub(crate) type News = (UnitName, Seen);

struct Watch {
    release: Arc<Release>,
    port: u16,
    around: Arc<Surroundings>,
    tell: mpsc::Sender<News>,
}

// === impl Hand ===

impl Hand {
    /// Awaits whoever runs a unit.
    pub(crate) fn await_at(
        spec: Arc<Spec>,
        assigned: u16,
        around: &Arc<Surroundings>,
        tell: &mpsc::Sender<News>,
        events: &Events,
    ) -> Self {
        let port = port_of(&spec, assigned);
        let message = match port {
            Some(port) => format!("run by hand: awaited at 127.0.0.1:{port}"),
            None => "run by hand: it listens nowhere".to_owned(),
        };
        events.emit(&spec.unit.name, None, EventKind::Blocked, message);
        let release = Arc::new(Release { id: release_id(), spec: spec.clone() });
        let (around, tell) = (around.clone(), tell.clone());
        let task = tokio::spawn(async move {
            if let Some(port) = port {
                Watch { release, port, around, tell }.run().await;
            }
        });
        let seen = Seen::Away(port.map_or("it listens nowhere", |_| "nobody was there yet").to_owned());
        Self { spec, port, seen, since: proc::wall_clock(), task }
    }

    /// Takes in what is seen now, and tells of it if it is worth it.
    pub(crate) fn sees(&mut self, seen: Seen, events: &Events) {
        let unit = &self.spec.unit.name;
        match (&self.seen, &seen) {
            (_, Seen::There { address, pid }) => {
                let pid = pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
                events.emit(
                    unit,
                    Some(&id(unit)),
                    EventKind::Joined,
                    format!("run by hand at {address}{pid}"),
                );
            }
            (Seen::There { .. }, Seen::Away(why)) => {
                events.emit(unit, Some(&id(unit)), EventKind::Left, format!("out of rotation: {why}"));
            }
            (Seen::Away(_), Seen::Away(_)) => {
                self.seen = seen;
                return;
            }
        }
        (self.seen, self.since) = (seen, proc::wall_clock());
    }

    /// Whether it is awaited as this spec has it.
    pub(crate) fn is_of(&self, spec: &Spec) -> bool {
        self.spec.slice == spec.slice
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Watch ===

impl Watch {
    async fn run(self) {
        let config = &self.around.config;
        let probe = Probe::of(&self.release.spec, Some(self.port));
        let mut cadence = Cadence::new(config, &probe, false);
        let mut holder: Option<AsyncFd<OwnedFd>> = None;
        let mut last = String::new();
        loop {
            let exited = async {
                match &holder {
                    Some(holder) => drop(holder.readable().await),
                    None => std::future::pending().await,
                }
            };
            let pause = cadence.pause();
            let seen = tokio::select! {
                () = exited => None,
                seen = async { sleep(pause).await; probe.once(config.probe.timeout).await } => Some(seen),
            };
            let Some(seen) = seen else {
                holder = None;
                self.away("its process exited".to_owned()).await;
                // Another may be there in a moment.
                cadence = Cadence::new(config, &probe, false);
                continue;
            };
            match (cadence.seen(seen.is_ok()), seen) {
                (Change::Ready, Ok(Some(address))) => {
                    let port = self.port;
                    let pid =
                        spawn_blocking(move || proc::listeners(port).into_iter().find_map(proc::holder_of));
                    let pid = pid.await.ok().flatten();
                    holder = pid.and_then(Pid::from_raw).and_then(|pid| exit_of(pid).ok());
                    self.around.rotation.ready(self.release.ready(&id(self.unit()), Some(address)));
                    self.say(Seen::There { address, pid }).await;
                }
                (Change::Lost, Err(seen)) => {
                    holder = None;
                    self.away(seen).await;
                }
                (_, Err(seen)) if !cadence.is_ready() && seen != last => {
                    last = seen.clone();
                    self.say(Seen::Away(seen)).await;
                }
                _ => {}
            }
        }
    }

    async fn away(&self, why: String) {
        self.around.rotation.gone(&id(self.unit()));
        self.say(Seen::Away(why)).await;
    }

    async fn say(&self, seen: Seen) {
        // Whoever would listen is gone only when the supervisor was dropped with this.
        let _ = self.tell.send((self.unit().clone(), seen)).await;
    }

    fn unit(&self) -> &UnitName {
        &self.release.spec.unit.name
    }
}

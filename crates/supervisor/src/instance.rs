//! The life of one instance, from the port that it is given to the last of its grandchildren.

use std::{collections::BTreeSet, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use madang_model::{InstanceId, PortRule};
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::warn;

use crate::{
    Config, Environment, InstanceRef, ReadyInstance, Rotation, command,
    family::Family,
    launch, logfile,
    ports::{self, Claim, Ports},
    probe::{Cadence, Change, Probe},
    proc,
    process::{Exit, Process},
    spec::Release,
    store::{Identity, Record, Records},
};

/// How often a port that is taken is looked at again.
const PORT_PAUSE: Duration = Duration::from_millis(250);

/// How long one that was killed, again and again, is waited for.
const DYING: Duration = Duration::from_secs(1);

/// How many lines of the output of one that ended are told.
const TOLD_LINES: usize = 20;

/// What all instances share.
pub(crate) struct Surroundings {
    pub(crate) config: Config,
    pub(crate) records: Records,
    pub(crate) boot: String,
    pub(crate) rotation: Arc<dyn Rotation>,
    pub(crate) environment: Arc<dyn Environment>,
    pub(crate) ports: Ports,
}

/// What an instance is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    #[default]
    Run,
    /// End your work and go.
    Stop,
    /// Go.
    Kill,
}

/// What happened to an instance, before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Happened {
    /// It cannot start yet, because of this.
    Blocked(String),
    Started {
        pid: i32,
    },
    /// It is not ready yet, and this is what its probe saw.
    Unready(String),
    Ready(Option<SocketAddr>),
    /// It was ready and does not answer its probes any more.
    Lost(String),
    Stopping,
}

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// As it was told to.
    pub(crate) told: bool,
    /// For how long it was ready, if it ever was.
    pub(crate) ready_for: Option<Duration>,
    /// There is no such program, or it cannot be run: starting it again as it is leads here again.
    pub(crate) hopeless: bool,
    /// In words.
    pub(crate) how: String,
    /// The last lines of its output, if it ended without being told to.
    pub(crate) output: String,
}

/// An instance, as its own task has it.
pub(crate) struct Instance {
    pub(crate) id: InstanceId,
    pub(crate) release: Arc<Release>,
    pub(crate) surroundings: Arc<Surroundings>,
    pub(crate) orders: watch::Receiver<Order>,
    pub(crate) tell: mpsc::Sender<(InstanceId, Happened)>,
    /// The ports that others insist on.
    pub(crate) reserved: BTreeSet<u16>,
    pub(crate) log: PathBuf,
    pub(crate) ready_since: Option<Instant>,
}

/// Why an instance is watched no longer.
enum Outcome {
    Exited(Exit),
    Told,
    NeverReady(String),
}

/// The port of an instance.
enum Port {
    Assigned(Claim),
    Fixed(u16),
    None,
}

// === impl Instance ===

impl Instance {
    /// Lives. When this returns nothing of the instance is left.
    pub(crate) async fn run(mut self) -> Ended {
        let port = match self.port().await {
            Ok(port) => port,
            Err(ended) => return ended,
        };
        self.announce(&port).await;
        let ended = if *self.orders.borrow() == Order::Run {
            match self.spawn(&port) {
                Ok(process) => self.live(process, &port).await,
                Err(ended) => ended,
            }
        } else {
            self.never_started()
        };
        self.note(self.surroundings.records.remove(self.id.clone()).await);
        let log = self.log.clone();
        let output = if ended.told {
            String::new()
        } else {
            spawn_blocking(move || logfile::last_lines(&log, TOLD_LINES)).await.unwrap_or_default()
        };
        Ended { output, ..ended }
    }

    async fn live(&mut self, process: Process, port: &Port) -> Ended {
        let identity = Identity { pid: process.pid(), started: process.started };
        self.tell(Happened::Started { pid: identity.pid }).await;
        let family = Family::of(&self.id, Some(identity.pid));

        let (identified, outcome) = {
            let records = self.surroundings.records.clone();
            let identify = tokio::spawn({
                let id = self.id.clone();
                async move { records.identify(id, identity).await }
            });
            let outcome = self.watch(&process, port).await;
            // Before anything that waits: nobody shall be sent to it any more.
            self.surroundings.rotation.gone(&self.id);
            (identify, outcome)
        };
        let ready_for = self.ready_since.map(|since| since.elapsed());
        let mut hopeless = false;
        let (told, how) = match outcome {
            Outcome::Exited(exit) => {
                family.kill().await;
                let never_ran = self.never_ran(exit).filter(|_| ready_for.is_none());
                hopeless = never_ran.is_some();
                (false, never_ran.unwrap_or_else(|| exit.to_string()))
            }
            Outcome::Told => {
                self.tell(Happened::Stopping).await;
                (true, self.stop(&family, &process).await)
            }
            Outcome::NeverReady(seen) => {
                self.stop(&family, &process).await;
                let deadline = self.surroundings.config.start_deadline.as_secs_f64();
                (false, format!("was not ready within {deadline} s: {seen}"))
            }
        };
        process.reap();
        if let Ok(written) = identified.await {
            self.note(written);
        }
        Ended { told, ready_for, hopeless, how, output: String::new() }
    }

    /// Everybody out, gently as long as the drain time lasts and nobody is in a hurry.
    async fn stop(&self, family: &Family, process: &Process) -> String {
        let drain = self.surroundings.config.drain;
        let mut orders = self.orders.clone();
        let hurry = async {
            // Without anybody who gives orders there is nobody to be in a hurry.
            if orders.wait_for(|order| *order == Order::Kill).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let killed = family.stop(drain, hurry).await;
        let Ok(exit) = timeout(DYING, process.exited()).await else {
            return "was killed, and the kernel does not let it go yet".to_owned();
        };
        if killed { format!("killed after it was told to stop: {exit}") } else { exit.to_string() }
    }

    /// Watches until it exits, is told to stop, or is not ready in time.
    async fn watch(&mut self, process: &Process, port: &Port) -> Outcome {
        let probe = self.probe(port);
        let config = self.surroundings.config.clone();
        let mut cadence = Cadence::new(&config, &probe);
        let deadline = Instant::now() + config.start_deadline;
        let mut orders = self.orders.clone();
        let mut last_seen = String::from("not probed yet");
        loop {
            let pause = cadence.pause();
            let probed = async {
                sleep(pause).await;
                probe.once(config.probe.timeout).await
            };
            let seen = tokio::select! {
                biased;
                exit = process.exited() => return Outcome::Exited(exit),
                _ = orders.wait_for(|order| *order != Order::Run) => return Outcome::Told,
                seen = probed => seen,
            };
            match (cadence.seen(seen.is_ok()), seen) {
                (Change::Ready, Ok(address)) => self.ready(address).await,
                (Change::Lost, Err(seen)) => {
                    self.surroundings.rotation.gone(&self.id);
                    self.tell(Happened::Lost(seen)).await;
                }
                (_, Err(seen)) if self.ready_since.is_none() && seen != last_seen => {
                    self.tell(Happened::Unready(seen.clone())).await;
                    last_seen = seen;
                }
                _ => {}
            }
            if self.ready_since.is_none() && !cadence.is_ready() && Instant::now() >= deadline {
                return Outcome::NeverReady(last_seen);
            }
        }
    }

    async fn ready(&mut self, address: Option<SocketAddr>) {
        let spec = &self.release.spec;
        self.surroundings.rotation.ready(ReadyInstance {
            id: self.id.clone(),
            unit: spec.unit.name.clone(),
            services: spec.unit.services.clone(),
            address,
            protocol: spec.protocol,
            release: self.release.id.clone(),
        });
        self.ready_since.get_or_insert_with(Instant::now);
        self.tell(Happened::Ready(address)).await;
    }

    fn probe(&self, port: &Port) -> Probe {
        match (port.number(), &self.release.spec.unit.health) {
            (None, _) => Probe::Runs,
            (Some(port), None) => Probe::Connect { port },
            (Some(port), Some(path)) => {
                Probe::Get { port, path: path.clone(), protocol: self.release.spec.protocol }
            }
        }
    }

    // --- before it runs ---

    async fn port(&mut self) -> Result<Port, Ended> {
        match self.release.spec.unit.port {
            PortRule::None => Ok(Port::None),
            PortRule::Assigned => match self.surroundings.ports.claim(rand::random(), &self.reserved) {
                Some(claim) => Ok(Port::Assigned(claim)),
                None => Err(self.failed("every port that an instance may be told is taken".to_owned())),
            },
            PortRule::Fixed(port) => self.wait_for(port).await.map(|()| Port::Fixed(port)),
        }
    }

    /// Waits until nobody listens on a port that the program insists on.
    async fn wait_for(&mut self, port: u16) -> Result<(), Ended> {
        let deadline = Instant::now() + self.surroundings.config.start_deadline;
        let mut orders = self.orders.clone();
        while let Some(taken) = spawn_blocking(move || ports::taken_by(port)).await.unwrap_or_default() {
            self.tell(Happened::Blocked(taken.clone())).await;
            let told = orders.wait_for(|order| *order != Order::Run);
            match timeout_at(Instant::now() + PORT_PAUSE, told).await {
                Ok(_) => {
                    return Err(self.never_started());
                }
                Err(_) if Instant::now() >= deadline => return Err(self.failed(taken)),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Recorded before it runs, so that a node that dies right after it still leaves word of it.
    async fn announce(&self, port: &Port) {
        let record = Record {
            instance: self.id.clone(),
            unit: self.release.spec.unit.name.clone(),
            release: self.release.id.clone(),
            boot: self.surroundings.boot.clone(),
            process: None,
            port: port.number(),
            log: self.log.clone(),
            started_at: proc::wall_clock(),
        };
        self.note(self.surroundings.records.announce(record).await);
    }

    fn spawn(&self, port: &Port) -> Result<Process, Ended> {
        let unit = &self.release.spec.unit;
        let instance = InstanceRef {
            id: self.id.clone(),
            unit: unit.name.clone(),
            services: unit.services.clone(),
            release: self.release.id.clone(),
            port: port.number(),
            system: self.release.spec.system.clone(),
        };
        let told = self.surroundings.environment.for_instance(&instance);
        let mut command = launch::command(&self.release.spec, &instance, told);
        let log = || {
            let output = logfile::create(&self.log)?;
            Ok::<_, io::Error>((output.try_clone()?, output))
        };
        let (stdout, stderr) =
            log().map_err(|error| self.failed(format!("failed to open its log: {error}")))?;
        command.stdout(stdout).stderr(stderr);
        Process::spawn(command).map_err(|error| self.not_started(&error))
    }

    // --- what is said of it ---

    async fn tell(&self, happened: Happened) {
        // Whoever would listen is gone only when the supervisor was dropped with all of this.
        let _ = self.tell.send((self.id.clone(), happened)).await;
    }

    fn failed(&self, how: String) -> Ended {
        Ended { told: false, ready_for: None, hopeless: false, how, output: String::new() }
    }

    fn not_started(&self, error: &io::Error) -> Ended {
        let unit = &self.release.spec.unit;
        match command::never_runs(&unit.run, &unit.folder, error) {
            Some(how) => Ended { hopeless: true, ..self.failed(how) },
            None => self.failed(format!("failed to start `{}`: {error}", unit.run)),
        }
    }

    fn never_ran(&self, exit: Exit) -> Option<String> {
        let Exit::Code(code) = exit else { return None };
        let why = command::never_ran(&self.release.spec.unit.run, code)?;
        Some(format!("{exit}: {why}"))
    }

    fn never_started(&self) -> Ended {
        Ended { told: true, ..self.failed("was never started".to_owned()) }
    }

    /// A record that could not be written costs a later node some knowledge, and this one nothing.
    fn note(&self, written: Result<(), madang_store::Error>) {
        if let Err(error) = written {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            warn!(instance = %self.id, %error, source, "failed to record an instance");
        }
    }
}

impl Port {
    fn number(&self) -> Option<u16> {
        match self {
            Self::Assigned(claim) => Some(claim.port),
            Self::Fixed(port) => Some(*port),
            Self::None => None,
        }
    }
}

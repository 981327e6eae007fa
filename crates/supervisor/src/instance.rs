//! The life of one instance, from the port that it is given to the last of its grandchildren; or from where a node
//! before this one left it.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{self, ErrorKind},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use madang_model::{InstanceId, PortRule};
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::{error, warn};

use crate::{
    Config, Environment, InstanceRef, Quiet, Rotation, command,
    family::Family,
    launch, logfile,
    ports::{self, Claim, Ports},
    probe::{Cadence, Change, Probe},
    proc,
    process::{Exit, Process},
    spec::Release,
    store::{Record, Records},
    takeover::{Adopted, forget},
    told,
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
    /// It runs, but without something that it should have.
    Degraded(String),
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
    /// How often its unit was restarted until now.
    pub(crate) restarts: u32,
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
    pub(crate) async fn run(mut self, adopted: Option<Adopted>) -> Ended {
        let ended = match adopted {
            Some(adopted) => self.go_on(adopted).await,
            None => self.begin().await,
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

    async fn begin(&mut self) -> Ended {
        let port = match self.port().await {
            Ok(port) => port,
            Err(ended) => return ended,
        };
        let told = self.surroundings.environment.for_instance(&self.reference(&port));
        let record = self.record(&port, &told);
        // Recorded before it runs, so that a node that dies right after it still leaves word of it.
        self.note(self.surroundings.records.put(record.clone()).await);
        if *self.orders.borrow() != Order::Run {
            return self.never_started();
        }
        let process = match self.spawn(&port, told).await {
            Ok(process) => process,
            Err(ended) => return ended,
        };
        let identity = process.identity();
        self.tell(Happened::Started { pid: identity.pid }).await;
        let records = self.surroundings.records.clone();
        let identified =
            tokio::spawn(async move { records.put(Record { process: Some(identity), ..record }).await });
        let ended = self.live(process, &port).await;
        if let Ok(written) = identified.await {
            self.note(written);
        }
        ended
    }

    /// Goes on with what a node before this one started.
    async fn go_on(&mut self, adopted: Adopted) -> Ended {
        let process = Process::adopt(adopted.held);
        let port = match (self.release.spec.unit.port, adopted.record.port) {
            (PortRule::Assigned, Some(port)) => Port::Assigned(self.surroundings.ports.claim_again(port)),
            (_, Some(port)) => Port::Fixed(port),
            (_, None) => Port::None,
        };
        self.ready_since = adopted.ready.is_some().then(Instant::now);
        self.live(process, &port).await
    }

    async fn live(&mut self, process: Process, port: &Port) -> Ended {
        let family = Family::of(&self.id, Some(process.identity())).writing_to(&self.log);
        let outcome = self.watch(&process, &family, port).await;
        // Before anything that waits: nobody shall be sent to it any more.
        let quiet = self.surroundings.rotation.leave(&self.id);
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
                self.hush(quiet, &process).await;
                (true, self.stop(&family, &process).await)
            }
            Outcome::NeverReady(seen) => {
                self.stop(&family, &process).await;
                let deadline = self.surroundings.config.start_deadline.as_secs_f64();
                (false, format!("was not ready within {deadline} s: {seen}"))
            }
        };
        process.reap();
        Ended { told, ready_for, hopeless, how, output: String::new() }
    }

    /// Lets it answer what it was asked, for a limited time, unless somebody is in a hurry.
    async fn hush(&self, quiet: Quiet, process: &Process) {
        let mut orders = self.orders.clone();
        tokio::select! {
            () = quiet => {}
            () = sleep(self.surroundings.config.quiet) => {}
            _ = process.exited() => {}
            _ = orders.wait_for(|order| *order == Order::Kill) => {}
        }
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
    async fn watch(&mut self, process: &Process, family: &Family, port: &Port) -> Outcome {
        let probe = Probe::of(&self.release.spec, port.number());
        let config = self.surroundings.config.clone();
        let mut cadence = Cadence::new(&config, &probe, self.ready_since.is_some());
        let deadline = Instant::now() + config.start_deadline;
        let mut orders = self.orders.clone();
        let mut last_seen = String::from("not probed yet");
        loop {
            let pause = cadence.pause();
            let ready = cadence.is_ready();
            let probed = async {
                sleep(pause).await;
                let limit = config.probe.timeout;
                if ready { probe.once(limit).await } else { probe.first(limit, family).await }
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
        self.surroundings.rotation.ready(self.release.ready(&self.id, address));
        self.ready_since.get_or_insert_with(Instant::now);
        self.tell(Happened::Ready(address)).await;
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
        let look = {
            let environment = self.surroundings.environment.clone();
            move || ports::taken_by(port, &|pid| environment.known(pid))
        };
        while let Some(taken) = spawn_blocking(look.clone()).await.unwrap_or_default() {
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

    fn reference(&self, port: &Port) -> InstanceRef {
        let unit = &self.release.spec.unit;
        InstanceRef {
            id: self.id.clone(),
            unit: unit.name.clone(),
            services: unit.services.clone(),
            release: self.release.id.clone(),
            port: port.number(),
            system: self.release.spec.system.clone(),
        }
    }

    fn record(&self, port: &Port, told: &[(String, String)]) -> Record {
        Record {
            instance: self.id.clone(),
            unit: self.release.spec.unit.name.clone(),
            release: self.release.id.clone(),
            boot: self.surroundings.boot.clone(),
            process: None,
            port: port.number(),
            log: self.log.clone(),
            started_at: proc::wall_clock(),
            slice: self.release.spec.slice.text().to_owned(),
            told: told::digests(told),
            restarts: self.restarts,
        }
    }

    async fn spawn(&self, port: &Port, told: Vec<(String, String)>) -> Result<Process, Ended> {
        let environment = &*self.surroundings.environment;
        let mut command = launch::command(&self.release.spec, &self.reference(port), told, environment)
            .map_err(|error| Ended { hopeless: true, ..self.failed(error.to_string()) })?;
        let output = self.output().await;
        let (stdout, stderr) = output
            .and_then(|output| Ok((output.try_clone()?, output)))
            .map_err(|error| self.failed(format!("failed to open its log: {error}")))?;
        command.stdout(stdout).stderr(stderr);
        Process::spawn(command).map_err(|error| self.not_started(&error))
    }

    /// Its log; where there is no place for a file, nowhere: better mute than down.
    async fn output(&self) -> io::Result<File> {
        match logfile::create(&self.log) {
            Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                let lost =
                    format!("runs without a log, what it says is lost: {}: {error}", self.log.display());
                self.tell(Happened::Degraded(lost)).await;
                OpenOptions::new().write(true).open("/dev/null")
            }
            created => created,
        }
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

/// Kills what is left of an instance whose task failed, and forgets it.
pub(crate) async fn clear(around: Arc<Surroundings>, instance: InstanceId) -> Ended {
    let clear = async move {
        // Its group was killed with its task, so that the group's number may be another's by now.
        Family::of(&instance, None).kill().await;
        forget(&around, instance).await;
    };
    // In a task of its own: if this fails as well, the instance ends all the same.
    if let Err(error) = tokio::spawn(clear).await {
        error!(%error, "failed to clear away an instance");
    }
    let how = "was lost: the task that watched it failed".to_owned();
    Ended { told: false, ready_for: None, hopeless: false, how, output: String::new() }
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

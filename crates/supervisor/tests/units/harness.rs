//! A supervisor with real processes, and what it said, in order.

#[path = "../../src/testing.rs"]
mod testing;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use madang_model::{Database, InstanceId, PortRule, ServiceName, System, Unit, UnitName};
use madang_store::Store;
use madang_supervisor::{
    Config, Environment, Handle, InstanceRef, Quiet, ReadyInstance, Rotation, Supervisor,
};
use madang_wire::admin::{Event, EventKind, InstanceView, State};
use tempfile::TempDir;
use tokio::{
    runtime::Builder,
    sync::{broadcast, oneshot},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::testing::system;

/// Longer than anything here takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);

const UNRECORDED: &str = "SELECT count(*) FROM supervisor_instances WHERE pid IS NULL";

/// A supervisor that runs. Dropping it kills its processes.
pub struct Running {
    pub handle: Handle,
    pub rotation: Arc<Recorder>,
    pub story: Arc<Story>,
    pub system: System,
    pub store: Store,
    pub logs: PathBuf,
    events: broadcast::Receiver<Event>,
    run: JoinHandle<()>,
    folder: Arc<TempDir>,
}

/// Who was said to be ready and gone, and when.
#[derive(Default)]
pub struct Recorder {
    said: Mutex<Vec<(Instant, String)>>,
    /// Whether the next who is ready is met with a panic.
    pub panics: AtomicBool,
    /// Until when the next one that leaves answers requests.
    pub busy: Mutex<Option<oneshot::Receiver<()>>>,
}

/// Everything that happened, in order.
pub struct Story(Mutex<(broadcast::Receiver<Event>, Vec<Event>)>);

/// What instances are told, and by which they are known again: the folder is a system's own.
struct Told(PathBuf);

/// A worker that runs a command.
pub fn unit(name: &str, run: &str) -> Unit {
    Unit { folder: PathBuf::from("/"), ..testing::unit(name, run) }
}

/// A unit that serves HTTP, with a health path.
pub fn server(name: &str) -> Unit {
    let mut unit = unit(name, env!("CARGO_BIN_EXE_supervised-instance"));
    (unit.port, unit.health) = (PortRule::Assigned, Some("/healthz".into()));
    unit
}

/// Defaults that do not make a test wait.
pub fn quick(logs: &Path) -> Config {
    let mut config = Config { logs: logs.to_owned(), ..Config::default() };
    config.settle = Duration::from_millis(50);
    config.drain = Duration::from_secs(5);
    config.backoff.first = Duration::from_millis(5);
    config.backoff.longest = Duration::from_millis(20);
    config.backoff.attempts = 3;
    config
}

pub async fn run(units: impl IntoIterator<Item = Unit>) -> Running {
    run_with(units, |_| {}).await
}

pub async fn run_with(units: impl IntoIterator<Item = Unit>, adjust: impl FnOnce(&mut Config)) -> Running {
    run_in(Arc::new(tempfile::tempdir().unwrap()), units, adjust).await
}

pub fn state(folder: &TempDir) -> Store {
    Store::open(&format!("sqlite:{}", folder.path().join("state.db").display())).unwrap()
}

pub async fn run_in(
    folder: Arc<TempDir>,
    units: impl IntoIterator<Item = Unit>,
    adjust: impl FnOnce(&mut Config),
) -> Running {
    let (store, rotation, system) = (state(&folder), Arc::new(Recorder::default()), system(units));
    let (logs, (supervisor, handle)) = started(&folder, &system, &store, &rotation, adjust).await;
    let events = handle.subscribe();
    let story = Arc::new(Story(Mutex::new((handle.subscribe(), vec![]))));
    let run = tokio::spawn(supervisor.run(CancellationToken::new()));
    Running { handle, rotation, story, system, store, logs, events, run, folder }
}

async fn started(
    folder: &TempDir,
    system: &System,
    store: &Store,
    rotation: &Arc<Recorder>,
    adjust: impl FnOnce(&mut Config),
) -> (PathBuf, (Supervisor, Handle)) {
    let logs = folder.path().join("logs");
    let mut config = quick(&logs);
    adjust(&mut config);
    let environment = Arc::new(Told(folder.path().to_owned()));
    let system = Arc::new(system.clone());
    let started = Supervisor::start(config, system, store.clone(), rotation.clone(), environment);
    (logs, started.await.unwrap())
}

/// A supervisor that was started and does not run.
pub async fn found(folder: &TempDir, units: impl IntoIterator<Item = Unit>) -> (Supervisor, Handle) {
    started(folder, &system(units), &state(folder), &Arc::default(), |_| {}).await.1
}

/// What a supervisor that is killed leaves: units that are ready, and nobody who watches them.
pub fn left(folder: &Arc<TempDir>, units: impl IntoIterator<Item = Unit> + Send) -> Vec<InstanceView> {
    let live = || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (running, rows) = runtime.block_on(async {
            let running = run_in(folder.clone(), units, |_| {}).await;
            running.ready().await;
            running.recorded().await;
            let rows = running.handle.instances();
            (running, rows)
        });
        // Never polled again, and never dropped.
        std::mem::forget((running, runtime));
        rows
    };
    thread::scope(|scope| scope.spawn(live).join().unwrap())
}

impl Environment for Told {
    fn for_instance(&self, instance: &InstanceRef) -> Vec<(String, String)> {
        let mut databases = instance.system.services.values().filter_map(|service| service.database.as_ref());
        vec![
            ("TOLD".to_owned(), format!("{} of {}", instance.id, instance.unit)),
            ("DATABASE".to_owned(), databases.next().map(Database::url).unwrap_or_default()),
            ("OURS".to_owned(), "x".to_owned()),
            ("OF".to_owned(), self.0.display().to_string()),
        ]
    }

    fn url(&self, instance: &InstanceRef, service: &ServiceName) -> Option<String> {
        (service.as_str() == "users").then(|| format!("http://{service}.of.{}", instance.unit))
    }

    fn secret(&self, instance: &InstanceRef, name: &str) -> Result<String, String> {
        (name == "pay").then(|| format!("$ecret of {}", instance.unit)).ok_or("it is not kept".to_owned())
    }

    fn instance_of(&self, environment: &[(String, String)]) -> Option<(UnitName, InstanceId)> {
        let value = |name| environment.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str());
        let ours = value("OF").map(Path::new) == Some(&self.0);
        let (id, unit) = value("TOLD").filter(|_| ours)?.split_once(" of ")?;
        Some((unit.parse().ok()?, InstanceId(id.into())))
    }
}

impl Rotation for Recorder {
    fn ready(&self, instance: ReadyInstance) {
        assert!(!self.panics.swap(false, Relaxed), "a bug");
        self.record(format!("ready {}", instance.id));
    }

    fn gone(&self, instance: &InstanceId) {
        self.record(format!("gone {instance}"));
    }

    fn leave(&self, instance: &InstanceId) -> Quiet {
        self.gone(instance);
        match self.busy.lock().unwrap().take() {
            Some(answered) => Box::pin(async move { drop(answered.await) }),
            None => Box::pin(async {}),
        }
    }

    fn left_out(&self, service: &ServiceName, why: Option<&str>) {
        self.record(match why {
            Some(why) => format!("left out {service}: {why}"),
            None => format!("not left out {service}"),
        });
    }
}

impl Recorder {
    fn record(&self, what: String) {
        self.said.lock().unwrap().push((Instant::now(), what));
    }

    /// When something was said first.
    pub fn when(&self, what: &str) -> Option<Instant> {
        self.said.lock().unwrap().iter().find(|(_, said)| said == what).map(|(at, _)| *at)
    }
}

impl Story {
    pub fn so_far(&self) -> Vec<Event> {
        let mut story = self.0.lock().unwrap();
        let (receiver, told) = &mut *story;
        told.extend(std::iter::from_fn(|| receiver.try_recv().ok()));
        told.clone()
    }
}

impl Running {
    /// The next event of a unit of a kind; all others are passed over.
    pub async fn event(&mut self, unit: &str, kind: EventKind) -> Event {
        let next = async {
            loop {
                let event = self.events.recv().await.unwrap();
                if event.unit == unit && event.kind == kind {
                    return event;
                }
            }
        };
        timeout(PATIENCE, next).await.unwrap_or_else(|_| {
            panic!("no {kind:?} of {unit}, but {:#?}", self.story.so_far());
        })
    }

    /// Waits until every unit is ready.
    pub async fn ready(&self) {
        let mut ready = self.handle.ready();
        let waited = timeout(PATIENCE, ready.wait_for(|ready| *ready)).await;
        assert!(waited.is_ok(), "not ready: {:#?}", self.story.so_far());
    }

    pub fn rows(&self, unit: &str) -> Vec<InstanceView> {
        self.handle.instances().into_iter().filter(|row| row.unit == unit).collect()
    }

    /// The only row of a unit.
    pub fn row(&self, unit: &str) -> InstanceView {
        let [row] = self.rows(unit).try_into().unwrap();
        row
    }

    pub fn state(&self, unit: &str) -> State {
        self.row(unit).state
    }

    pub fn log(&self, row: &InstanceView) -> String {
        fs::read_to_string(row.log.as_ref().unwrap()).unwrap()
    }

    /// Puts an edited system into force.
    pub fn edit(&mut self, edit: impl FnOnce(&mut BTreeMap<UnitName, Unit>)) {
        edit(&mut self.system.units);
        self.handle.apply(Arc::new(self.system.clone()));
    }

    /// Waits until every process is recorded.
    pub async fn recorded(&self) {
        let count = || self.store.read(|conn| conn.query_row(UNRECORDED, [], |row| row.get::<_, i64>(0)));
        while count().await.unwrap() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Stops it. Its files stay as long as what is given back.
    pub async fn stop(self) -> Arc<TempDir> {
        timeout(PATIENCE, self.handle.stop()).await.expect("it stops");
        timeout(PATIENCE, self.run).await.expect("its loop ends").unwrap();
        self.folder
    }

    /// Why an instance of a unit was not kept that a supervisor before this one left.
    pub fn why_restarted(&self, unit: &str) -> String {
        let is = |event: &Event| event.unit == unit && event.kind == EventKind::Restarted;
        let restarted = self.story.so_far().into_iter().rfind(is);
        restarted.unwrap_or_else(|| panic!("{unit} was kept: {:#?}", self.story.so_far())).message
    }

    /// The kinds of what happened to a unit so far.
    pub fn history(&self, unit: &str) -> Vec<EventKind> {
        let all = self.story.so_far();
        all.into_iter().filter(|event| event.unit == unit).map(|event| event.kind).collect()
    }
}

/// The processes that were started with an instance's mark in their environment, as the kernel knows them.
pub fn marked(instance: &str) -> Vec<u32> {
    let mark = format!("MADANG_INSTANCE={instance}");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|entry| entry == mark.as_bytes())
    };
    pids.filter(has).collect()
}

pub fn kill(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Waits until something holds that nothing tells of.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

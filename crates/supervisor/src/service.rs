//! The loop: whatever happens is noted, then the difference between what should run and what does is acted on.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use madang_model::{InstanceId, PortRule, System, UnitName};
use madang_store::Store;
use madang_wire::admin::EventKind;
use rand::RngExt;
use tokio::{
    sync::{mpsc, watch},
    task::{self, JoinError, JoinSet, spawn_blocking},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{
    Config, Environment, Error, Handle, InstanceRef, Rotation,
    by_hand::{self, Hand},
    family,
    handle::{Board, Told},
    instance::{self, Ended, Happened, Instance, Order, Surroundings},
    logfile,
    ports::Ports,
    prepare::{self, Preparations, Prepared},
    proc,
    reconcile::{Action, Phase, Preparation, Revision, Wait, reconcile},
    spec,
    store::Records,
    sweep,
    takeover::{self, Adopted, Found, Lost},
    told, views,
    world::{InstanceState, World},
};

/// How many things that happened to instances wait to be noted at most.
const QUEUE: usize = 256;

/// How long the loop sleeps when nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// Runs the units of a system: [`Supervisor::start`], then [`Supervisor::run`].
pub struct Supervisor {
    around: Arc<Surroundings>,
    board: Arc<Board>,
    /// Whom a node before this one left.
    found: Found,
    /// Kept, so that there is always somebody who could tell more.
    told: watch::Sender<Told>,
}

/// The state of the loop.
struct Loop {
    around: Arc<Surroundings>,
    board: Arc<Board>,
    world: World,
    instances: JoinSet<Ended>,
    /// The stops of what cannot go on.
    strays: JoinSet<()>,
    /// Which instance each task is.
    tasks: HashMap<task::Id, InstanceId>,
    happenings: mpsc::Sender<(InstanceId, Happened)>,
    preparations: Preparations,
    cancel_builds: CancellationToken,
    /// Ports that somebody in the system insists on.
    reserved: BTreeSet<u16>,
    started: u64,
    order: Order,
    /// Who was said to be left out, and why, with how often it had been told to restart then.
    said_left_out: BTreeMap<UnitName, (String, u64)>,
    hands: mpsc::Sender<by_hand::News>,
}

// === impl Supervisor ===

impl Supervisor {
    /// Prepares to run a system. What a node before this one left running and is ready is in rotation when this
    /// returns. Nothing is started or stopped before [`Supervisor::run`].
    ///
    /// This process becomes the parent of every orphan below it, so that what escapes from an instance is found.
    ///
    /// # Errors
    /// If the state cannot be read, or the kernel refuses.
    pub async fn start(
        config: Config,
        system: Arc<System>,
        store: Store,
        rotation: Arc<dyn Rotation>,
        environment: Arc<dyn Environment>,
    ) -> Result<(Self, Handle), Error> {
        let records = Records::open(store).await?;
        let boot = proc::boot_id().map_err(Error::BootId)?;
        family::adopt_orphans().map_err(Error::Subreaper)?;
        let ports = Ports::new(config.ports.clone());
        let around = Arc::new(Surroundings { config, records, boot, rotation, environment, ports });
        let found = takeover::find(&around, &system, &spec::specs(&system)).await?;
        let board = Arc::new(Board::new());
        let told = watch::Sender::new(Told {
            system,
            restarts: BTreeMap::new(),
            held: BTreeMap::new(),
            order: Order::Run,
        });
        let records = around.records.clone();
        let supervisor = Self { around, board: board.clone(), found, told: told.clone() };
        Ok((supervisor, Handle { told, board, records }))
    }

    /// Runs the system until it is told to stop, by the handle or by `shutdown`, and nothing is left of it.
    /// Dropping the future kills whatever runs.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { around, board, found, told } = self;
        let _ended = board.ended.clone().drop_guard();
        let sweep = tokio::spawn(sweep::run(around.clone(), board.clone()));
        let _sweep = AbortOnDrop(sweep);
        let (happenings, happened) = mpsc::channel(QUEUE);
        let (hands, seen) = mpsc::channel(QUEUE);
        let world = World { by_hand: around.config.by_hand.clone(), ..World::default() };
        let mut state = Loop {
            around,
            board,
            world,
            instances: JoinSet::new(),
            strays: JoinSet::new(),
            tasks: HashMap::new(),
            happenings,
            preparations: Preparations::default(),
            cancel_builds: CancellationToken::new(),
            reserved: BTreeSet::new(),
            started: 0,
            order: Order::Run,
            said_left_out: BTreeMap::new(),
            hands,
        };
        state.take_over(found, &told);
        state.run(told, (happened, seen), shutdown).await;
    }
}

/// Resolves once everything shall be killed.
async fn killed(mut told: watch::Receiver<Told>) {
    if told.wait_for(|told| told.order == Order::Kill).await.is_err() {
        std::future::pending::<()>().await;
    }
}

struct AbortOnDrop(task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Loop ===

impl Loop {
    async fn run(
        mut self,
        told: watch::Sender<Told>,
        (mut happened, mut seen): (mpsc::Receiver<(InstanceId, Happened)>, mpsc::Receiver<by_hand::News>),
        shutdown: CancellationToken,
    ) {
        let mut news = told.subscribe();
        if shutdown.is_cancelled() {
            told.send_modify(|told| told.order = told.order.max(Order::Stop));
        }
        self.hear(news.borrow_and_update().clone());
        loop {
            let wake = self.act();
            let ended = self.instances.is_empty() && self.preparations.is_empty() && self.strays.is_empty();
            if self.order != Order::Run && ended {
                let drain = self.around.config.drain;
                return family::end_orphans(drain, killed(told.subscribe())).await;
            }
            tokio::select! {
                Ok(()) = news.changed() => {
                    let told = news.borrow_and_update().clone();
                    self.hear(told);
                }
                () = shutdown.cancelled(), if self.order == Order::Run => {
                    told.send_modify(|told| told.order = told.order.max(Order::Stop));
                }
                Some((id, happened)) = happened.recv() => self.note(&id, happened),
                Some(ended) = self.instances.join_next_with_id() => {
                    // What an instance said before it ended comes first.
                    while let Ok((id, happened)) = happened.try_recv() {
                        self.note(&id, happened);
                    }
                    self.ended(ended);
                }
                Some((unit, seen)) = seen.recv() => {
                    if let Some(hand) = self.world.hands.get_mut(&unit) {
                        hand.sees(seen, &self.board.events);
                    }
                }
                Some(_) = self.strays.join_next() => {}
                Some(prepared) = self.preparations.next(&self.board.events) => self.prepared(prepared),
                () = sleep_until(wake) => {}
            }
        }
    }

    fn hear(&mut self, told: Told) {
        self.order = told.order;
        self.reserved = reserved(&told.system);
        self.world.hear(&told);
        self.leave_out(&told);
        if self.order != Order::Run {
            self.cancel_builds.cancel();
        }
        if self.order == Order::Kill {
            for instance in self.world.units.values_mut().flat_map(|unit| unit.instances.values_mut()) {
                instance.orders.send_replace(Order::Kill);
                instance.phase = Phase::Stopping;
            }
        }
    }

    /// Tells who is left out, and who is no longer; of one that was told to restart once more.
    fn leave_out(&mut self, told: &Told) {
        let restarts = |unit: &UnitName| told.restarts.get(unit).copied().unwrap_or(0);
        let left = self.world.left_out.iter();
        let left: BTreeMap<_, _> =
            left.map(|(unit, why)| (unit.clone(), (why.clone(), restarts(unit)))).collect();
        let before = std::mem::replace(&mut self.said_left_out, left);
        let rotation = &self.around.rotation;
        for unit in before.keys().filter(|unit| !self.world.left_out.contains_key(*unit)) {
            let services = self.world.specs.get(unit).into_iter().flat_map(|spec| &spec.unit.services);
            services.for_each(|service| rotation.left_out(service, None));
        }
        for (unit, said) in self.said_left_out.iter().filter(|(unit, said)| before.get(*unit) != Some(*said))
        {
            let services = self.world.specs.get(unit).into_iter().flat_map(|spec| &spec.unit.services);
            services.for_each(|service| rotation.left_out(service, Some(&said.0)));
            self.board.events.emit(unit, None, EventKind::LeftOut, said.0.clone());
        }
    }

    fn note(&mut self, id: &InstanceId, happened: Happened) {
        self.world.happened(id, happened, Instant::now(), &self.board.events);
    }

    fn ended(&mut self, ended: Result<(task::Id, Ended), JoinError>) {
        let (task, ended) = match ended {
            Ok(ended) => ended,
            Err(error) => return self.lost(&error),
        };
        let Some(id) = self.tasks.remove(&task) else { return };
        let chance = (Instant::now(), rand::random::<f64>());
        self.world.ended(&id, ended, &self.around.config.backoff, chance, &self.board.events);
    }

    /// The task of an instance failed: it ends once what it left behind is gone.
    fn lost(&mut self, error: &JoinError) {
        error!(%error, "the task of an instance failed");
        let Some(id) = self.tasks.remove(&error.id()) else { return };
        self.around.rotation.gone(&id);
        self.note(&id, Happened::Lost("the task that watches it failed".to_owned()));
        let task = self.instances.spawn(instance::clear(self.around.clone(), id.clone()));
        self.tasks.insert(task.id(), id);
    }

    fn prepared(&mut self, prepared: Vec<Prepared>) {
        for Prepared { unit, revision, outcome } in prepared {
            let around = &self.around;
            let told = |reference: &InstanceRef| told::digests(&around.environment.for_instance(reference));
            self.world.prepared(&unit, revision, outcome, &told, &self.board.events);
        }
    }

    /// Does what is to be done, and gives when there is more.
    fn act(&mut self) -> Instant {
        let now = Instant::now();
        let mut waits = BTreeMap::new();
        let mut preparations = Vec::new();
        let mut wake = now + IDLE;
        for action in reconcile(&self.world.desired, &self.world.observe(), now) {
            match action {
                Action::Prepare { unit, revision } => preparations.push((unit, revision)),
                Action::Start { unit } => self.start(unit),
                Action::Stop { unit, instance } => self.stop(&unit, &instance),
                Action::Forget { unit } => drop(self.world.units.remove(&unit)),
                Action::Wait { unit, on } => {
                    if let Wait::Until(moment) = on {
                        wake = wake.min(moment);
                    }
                    waits.insert(unit, on);
                }
            }
        }
        self.prepare(preparations);
        self.await_hands();
        self.world.wait(waits, now);
        let say = self.world.say_waits(now, &self.board.events);
        let (rows, ready) = views::rows(&self.world, now);
        self.board.show(rows, ready);
        self.board.tell_from(self.world.told_from());
        say.map_or(wake, |say| wake.min(say))
    }

    /// Awaits those whom a person runs, each once nothing is left that ran in its place, and nobody else.
    fn await_hands(&mut self) {
        let World { by_hand, specs, hands, units, .. } = &mut self.world;
        let rotation = &self.around.rotation;
        hands.retain(|unit, hand| {
            let stays = specs.get(unit).is_some_and(|spec| hand.is_of(spec));
            if !stays {
                rotation.gone(&by_hand::id(unit));
            }
            stays
        });
        for (unit, port) in by_hand.iter() {
            let Some(spec) = specs.get(unit) else { continue };
            if self.order == Order::Run && !hands.contains_key(unit) && !units.contains_key(unit) {
                let hand = Hand::await_at(spec.clone(), *port, &self.around, &self.hands, &self.board.events);
                hands.insert(unit.clone(), hand);
            }
        }
    }

    fn prepare(&mut self, wanted: Vec<(UnitName, Revision)>) {
        let mut specs = BTreeMap::new();
        for (name, revision) in wanted {
            let (Some(unit), Some(spec)) = (self.world.units.get_mut(&name), self.world.specs.get(&name))
            else {
                continue;
            };
            unit.next = Some((revision.clone(), Preparation::Running));
            specs.insert(name, (spec.clone(), revision));
        }
        for task in prepare::all(specs, &self.around.config.logs) {
            self.preparations.start(task, self.board.clone(), self.cancel_builds.clone());
        }
    }

    fn start(&mut self, name: UnitName) {
        let Some(unit) = self.world.units.get_mut(&name) else { return };
        let Some((revision, release)) = unit.active.clone() else { return };
        if unit.vacant > 0 {
            unit.vacant -= 1;
            unit.restarts += 1;
        }
        let config = &self.around.config;
        let id = new_id(&name);
        let log = logfile::path(&config.logs, name.as_str(), &id.0);
        prune_logs(unit.instances.values().map(|one| one.log.clone()).collect(), &log, config.old_logs);
        let origin = unit.lost.pop().map(|why| format!("restarted: {why}"));
        let (orders, heard) = watch::channel(Order::Run);
        self.started += 1;
        let state = InstanceState {
            revision,
            release,
            phase: Phase::Unready,
            order: self.started,
            orders,
            pid: None,
            address: None,
            health: "starting".to_owned(),
            since: proc::wall_clock(),
            log,
            waits: None,
            origin,
            record: None,
        };
        self.spawn(&name, id, state, heard, None);
    }

    /// Puts an instance into the world, and has its task live its life.
    fn spawn(
        &mut self,
        unit: &UnitName,
        id: InstanceId,
        state: InstanceState,
        orders: watch::Receiver<Order>,
        adopted: Option<Adopted>,
    ) {
        let unit = self.world.unit(unit);
        let instance = Instance {
            id: id.clone(),
            release: state.release.clone(),
            surroundings: self.around.clone(),
            orders,
            tell: self.happenings.clone(),
            reserved: self.reserved.clone(),
            log: state.log.clone(),
            restarts: unit.restarts,
            ready_since: None,
        };
        unit.instances.insert(id.clone(), state);
        let task = self.instances.spawn(instance.run(adopted));
        self.tasks.insert(task.id(), id);
    }

    /// Goes on with what a node before this one left, and stops what is left of the rest.
    fn take_over(&mut self, found: Found, told: &watch::Sender<Told>) {
        for adopted in found.adopted {
            self.adopt(adopted);
        }
        for lost in found.lost {
            self.lose(lost, told.subscribe());
        }
    }

    fn adopt(&mut self, adopted: Adopted) {
        let Adopted { record, release, ready, .. } = &adopted;
        let (name, id) = (record.unit.clone(), record.instance.clone());
        let (pid, address) = (adopted.held.identity().pid, ready.flatten());
        let revision = Revision::adopted(release.spec.slice.clone());
        let unit = self.world.unit(&name);
        unit.restarts = unit.restarts.max(record.restarts);
        unit.settled |= ready.is_some();
        // Of several releases the last one to be started is what was to be.
        unit.active = Some((revision.clone(), release.clone()));
        let (orders, heard) = watch::channel(Order::Run);
        let (phase, health) = match ready {
            Some(_) => (Phase::Ready, "ready"),
            None => (Phase::Unready, "not ready yet"),
        };
        self.started += 1;
        let state = InstanceState {
            revision,
            release: release.clone(),
            phase,
            order: self.started,
            orders,
            pid: Some(pid.cast_unsigned()),
            address,
            health: health.to_owned(),
            since: record.started_at,
            log: record.log.clone(),
            waits: None,
            origin: Some("adopted".to_owned()),
            record: Some(record.clone()),
        };
        let at = address.map(|at| format!(", http://{at}")).unwrap_or_default();
        self.board.events.emit_of((&name, release), Some(&id), EventKind::Adopted, format!("pid {pid}{at}"));
        self.spawn(&name, id, state, heard, Some(adopted));
    }

    fn lose(&mut self, lost: Lost, told: watch::Receiver<Told>) {
        self.board.events.emit(&lost.unit, Some(&lost.id), EventKind::Restarted, lost.why.clone());
        self.world.unit(&lost.unit).lost.push(lost.why.clone());
        self.strays.spawn(lost.stop(self.around.clone(), self.board.clone(), killed(told)));
    }

    fn stop(&mut self, unit: &UnitName, id: &InstanceId) {
        let Some(unit) = self.world.units.get_mut(unit) else { return };
        let Some(instance) = unit.instances.get_mut(id) else { return };
        instance.enter(Phase::Stopping, "stopping");
        instance.orders.send_replace(Order::Stop);
    }
}

fn prune_logs(live: BTreeSet<PathBuf>, log: &std::path::Path, keep: usize) {
    let Some(folder) = log.parent().map(ToOwned::to_owned) else { return };
    spawn_blocking(move || {
        if folder.exists()
            && let Err(error) = logfile::prune(&folder, &live, keep)
        {
            warn!(folder = %folder.display(), %error, "failed to remove old logs");
        }
    });
}

/// The unit's name and six random letters and digits.
fn new_id(unit: &UnitName) -> InstanceId {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    let suffix: String =
        (0..6).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect();
    InstanceId(format!("{unit}-{suffix}").into())
}

/// The ports that a program or a listener insists on, which nobody else shall be told.
fn reserved(system: &System) -> BTreeSet<u16> {
    let fixed = system.units.values().filter_map(|unit| match unit.port {
        PortRule::Fixed(port) => Some(port),
        _ => None,
    });
    let listened = system.services.values().filter_map(|service| service.listen);
    fixed.chain(listened.map(|at| at.port())).chain([system.gateway.listen.port()]).collect()
}

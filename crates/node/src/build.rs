//! The one place where a node is put together, in the order in which its parts start.

use std::{
    collections::BTreeMap,
    io,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use madang_calls::{Directory, Killer};
use madang_discovery::{Keeper, Registry};
use madang_gateway::{Gateway, Identity, Snapshot};
use madang_issuer::Issuer;
use madang_model::{System, Telemetry, UnitName};
use madang_store::Store;
use madang_supervisor::Supervisor;
use madang_telemetry::{
    Annotations, Archive, ArchiveConfig, External, Lifetime, LogConfig, Logs, MetricConfig, Metrics, Records,
    TraceConfig, Traces, Why,
    forward::{Forward, ForwardConfig},
    otlp::{Receiver, Stores},
};
use madang_wire::admin::Event;
use tokio::{
    net::UnixListener,
    sync::{broadcast, watch},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{
    StartError,
    admin::{self, access::Access, audit::Audit},
    api_keys::Keys,
    by_hand, changes, disk,
    doors::Doors,
    edits,
    elsewhere::Outside,
    environment::InstanceEnvironment,
    faults::{self, Executioner, Faults},
    forward::{self, BackEnd},
    gauges::{self, Gauges},
    hex, holder,
    identity::Issuers,
    isolation::Isolation,
    issuer::{self, Passwords, listening::Listening},
    join,
    journal::Journal,
    left, lifetime, limits,
    node::{LAST, Node, Shared, now},
    owner::Owner,
    place::Place,
    ports::KeptPorts,
    rotation::Switchboard,
    scrape,
    service_api::{Inbox, ServiceApi, otlp::Intake},
    session_keys::SessionKeys,
    socket,
    stops::Stops,
    tls::{self, Certificates, Current},
    tokens::{self, Tokens},
};

/// How a node is set up, beyond what its manifest says.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The manifest file, absolute.
    pub manifest: PathBuf,
    /// The environment whose files are laid over those of the manifest.
    pub environment: Option<String>,
    /// How many threads answer requests; as many as the machine has cores if absent.
    pub workers: Option<NonZeroUsize>,
    /// The units that are not started, because a person runs them; a service stands for its unit.
    pub except: Vec<String>,
    /// The name under which the system runs beside itself, with ports and state of its own.
    pub isolated: Option<String>,
}

impl Node {
    /// Starts a node: when this returns its listeners are open and its units are being built and started.
    ///
    /// # Errors
    /// If the manifest is refused, the system is already run, or something that a node needs cannot be had.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        let system = crate::manifest::load(&config.manifest, config.environment.as_deref(), &|name| {
            std::env::var(name).ok()
        })?
        .system;
        let place = Place::new(&system.root, config.isolated.as_deref());
        let started = Self::start_at(&place, config, system).await;
        if let Err(error) = &started
            && !matches!(error, StartError::Owner(_))
        {
            place.clear();
        }
        started
    }

    async fn start_at(place: &Place, config: NodeConfig, system: System) -> Result<Self, StartError> {
        let except = by_hand::excepted(&system, &config.except)?;
        let owner = Owner::take(place, Some(&system)).await?;
        let stopping = CancellationToken::new();
        let stopped = CancellationToken::new();

        // What is kept, and what is known.
        let state = Store::open(&format!("sqlite:{}", left::state_file(owner.data()).display()))?;
        let telemetry = owner.data().join("telemetry.db");
        let archive = Archive::open(&telemetry, archive_config(&system.telemetry)).await?;
        let annotations = Annotations::open(&archive).await?;
        let back_end = system.telemetry.forward.clone().and_then(BackEnd::new);
        let forward = back_end.as_ref().map(|to| Forward::new(to.to_string(), ForwardConfig::default()));
        let logs = Logs::new(owner.data().join("logs"), &archive, log_config(&system.telemetry))
            .forwarding(forward.clone());
        let (lifetime, cut) = Lifetime::open(&archive, now()).await?;
        let traces = Traces::new(&archive, trace_config(&system.telemetry));
        let metrics = Metrics::open(&archive, MetricConfig::default()).await?;
        let external = External::open(&archive).await?;
        let tokens = Tokens::open(&state, random_key()?).await?;
        let ports = KeptPorts::open(&state).await?;
        let isolation = place.isolated().map(|_| Isolation::new(place.clone(), ports.clone()));
        let system = Arc::new(match &isolation {
            Some(isolation) => isolation.of(system).await?,
            None => system,
        });
        let access = Access::open(&state, random_key()?, random_key()?, &place.socket()).await?;
        let identity = Identity::new(&principal_seed(&state).await?);
        let session_keys = SessionKeys::open(&state, &identity).await?;
        let api_keys = Keys::open(&state, &identity).await?;
        let (audit, stops) = (Audit::open(&state).await?, Stops::open(&state).await?);
        let registry = Registry::open(&state).await?;
        let directory = Directory::default();
        let faults = Faults::open(&state).await?;
        let switchboard = Arc::new(Switchboard::new(registry.clone(), directory.clone()));
        switchboard.declare(system.services.keys().cloned());
        let keeper = Keeper::new(registry, state.clone());
        let (system_now, system_seen) = watch::channel(system.clone());
        let passwords = Arc::new(Passwords::new(directory.clone(), system_seen.clone()));
        let issuer = Issuer::open(&state, passwords).await?;
        let gateway_secret = hex::encode(&random_key()?);
        issuer.follow(issuer::settings(&system, &gateway_secret).await.map_err(StartError::ClientSecret)?);
        let client_secret = issuer::client_secret(&system, &gateway_secret).await;
        identity.take_client_secret(client_secret.map_err(StartError::ClientSecret)?);
        let journal = Arc::new(Journal::new(annotations.clone()));
        if let Some(cut) = cut {
            journal.record(lifetime::killed(system.name.as_str(), &cut));
        }

        // The listener of services and their doors, where those that are left know them; then the units, whoever is
        // left of them first.
        let (service_listener, _) =
            ports.listener("service-api", &system).await.map_err(StartError::ServiceApi)?;
        let service_api = service_listener.local_addr().map_err(StartError::ServiceApi)?;
        let hands =
            by_hand::all_ports(except, &ports, &tokens, &system).await.map_err(StartError::HandPort)?;
        let doors = Doors::new(ports.clone());
        let plan = doors.plan(&system, &[]).await?;
        let faults_at = |from: &_, to: &_| faults.at(from, to);
        let certificates = Certificates::new(owner.data().to_owned());
        let shown = certificates.of(&system)?;
        let snapshot = Snapshot::compile(&system, &directory, &plan.doors, &faults_at, &identity)?;
        let snapshot = Current::secure(shown.as_ref(), snapshot, &system);
        certificates.in_force(shown);
        let (listeners, open) = plan.split();
        doors.opened(open);
        let environment = Arc::new(InstanceEnvironment {
            tokens: tokens.clone(),
            service_api,
            doors: doors.clone(),
            principal_keys: identity.verifying_keys(),
        });
        let (supervisor, supervisor_handle) = Supervisor::start(
            supervisor_config(&owner, hands.clone()),
            system.clone(),
            state.clone(),
            switchboard.clone(),
            environment.clone(),
        )
        .await?;
        for (unit, why) in stops.all().await? {
            supervisor_handle.hold(unit, why);
        }

        // The listeners for outside and for the owner, once there is somebody to answer.
        let (gateway, gateway_handle) =
            Gateway::start_with(gateway_config(&config), snapshot, listeners).await.map_err(no_gateway)?;
        let (socket_path, admin_listener) = bind_admin(place.socket())?;
        let dashboard = admin::open(&system, place.isolated().is_some(), &ports).await?;
        let dashboard_url = dashboard.as_ref().and_then(|listener| listener.local_addr().ok());
        access.write_file().map_err(StartError::AdminToken)?;
        let (issuer_listening, issuer_changes) = Listening::new();
        issuer_listening.commit(issuer_listening.plan(&system, None).await?);
        let scrapes = scrape::bind(system.telemetry.metrics).await?;

        let unit_events = supervisor_handle.subscribe();

        let outside = Outside::new(switchboard.clone(), directory.clone());
        let inbox = Inbox::default();
        let shared = Arc::new(Shared {
            manifest: config.manifest,
            environment: config.environment,
            place: place.clone(),
            isolation,
            system: system_now,
            directory,
            faults: faults.clone(),
            switchboard: switchboard.clone(),
            doors: doors.clone(),
            ports,
            hands,
            told: environment,
            gateway: gateway_handle,
            supervisor: supervisor_handle,
            logs: logs.clone(),
            records: Records::default(),
            inbox: inbox.clone(),
            traces: traces.clone(),
            forward: forward.clone(),
            annotations: annotations.clone(),
            metrics: metrics.clone(),
            external: external.clone(),
            gauges: Gauges::default(),
            why: Why {
                traces: traces.clone(),
                annotations: annotations.clone(),
                logs: logs.clone(),
                metrics: metrics.clone(),
                slow: system.telemetry.slow,
            },
            journal: journal.clone(),
            outside: outside.clone(),
            tokens: tokens.clone(),
            identity: identity.clone(),
            certificates,
            issuer: issuer.clone(),
            issuer_listening,
            gateway_secret,
            api_keys,
            access: Arc::new(access),
            dashboard: dashboard_url.map(|address| format!("http://{address}")),
            audit,
            stops,
            service_api,
            started_at: now(),
            refused: Mutex::default(),
            applying: tokio::sync::Mutex::default(),
            degraded: Mutex::default(),
            stopping: stopping.clone(),
            stopped: stopped.clone(),
            hurry: CancellationToken::new(),
        });

        let killer: Arc<dyn Killer> = Arc::new(Executioner(Arc::downgrade(&shared)));
        shared.directory.kill_with(killer.clone());

        // Cancelled once the last lines of the logs are read.
        let read = CancellationToken::new();
        let mut node = Self::new(shared.clone());
        node.run("supervisor", endless(supervisor.run(stopped.clone())));
        let recorded = CancellationToken::new();
        node.run("events", endless(record_events(shared.clone(), unit_events, recorded.clone())));
        let noting = lifetime::run(shared.clone(), lifetime, recorded, read.clone());
        node.run("note of what is whole", endless(noting));
        let disk = disk::run(shared.clone(), owner.data().to_owned(), state.clone());
        node.run("watch of the disk", endless(disk));
        node.run("request records", endless(drain_records(shared.clone())));
        node.run("archive", endless(archive.run(stopped.clone().cancelled_owned())));
        node.run("logs", {
            let (stopped, read) = (stopped.clone(), read.clone());
            async move {
                let _read = read.drop_guard();
                logs.run(stopped.cancelled_owned()).await.map_err(io::Error::other)
            }
        });
        node.run("annotations", endless(annotations.run(stopped.clone().cancelled_owned())));
        node.run("changes of health", endless(changes::run(shared.clone())));
        node.run("traces", endless(traces.run(stopped.clone().cancelled_owned())));
        node.run("metrics", endless(metrics.run(stopped.clone().cancelled_owned())));
        node.run("metrics of services", endless(external.run(stopped.clone().cancelled_owned())));
        node.run("gauges", endless(gauges::run(shared.clone())));
        if let (Some(forward), Some(back_end)) = (forward.clone(), back_end) {
            node.run("forwarding", endless(forward::run(shared.clone(), forward, back_end, read)));
        }
        node.run("log-in", until(stopped.clone(), identity.clone().log_in(Arc::new(Issuers))));
        node.run("keys of sessions", until(stopped.clone(), session_keys.run()));
        node.run("keys of issuers", {
            let stopped = stopped.clone();
            async move {
                stopped.run_until_cancelled_owned(identity.run(Arc::new(Issuers))).await;
                Ok(())
            }
        });
        node.run("certificates", endless(tls::run(shared.clone())));
        let connector = Arc::new(limits::Connector::new(system_seen.clone()));
        node.run("shared limits", until(stopped.clone(), shared.gateway.clone().share_limits(connector)));
        node.run("watch of shared limits", endless(limits::watch(shared.clone())));
        node.run("certificates of an authority", endless(tls::ask(shared.clone())));
        node.run("doors", endless(close_doors(shared.clone())));
        node.run("reader of the manifest", endless(edits::run(shared.clone(), stopping.clone())));
        node.run("resolver", endless(outside.run(system_seen.clone(), stopped.clone())));
        let expire = join::expire(switchboard.clone(), journal.clone(), system_seen.clone(), stopped.clone());
        node.run("leases", endless(expire));
        node.run("keeper of leases", endless(keeper.run(stopped.clone())));
        node.run("faults", endless(faults::run(shared.clone())));
        let units = shared.supervisor.clone();
        let stores = Stores {
            traces: shared.traces.clone(),
            logs: shared.logs.clone(),
            external: shared.external.clone(),
        };
        let release_of = Arc::new(move |instance: &_| units.release_of(instance));
        let intake = Intake::new(Receiver::new(stores, forward.clone()), release_of);
        let system = system_seen;
        let api = ServiceApi { switchboard, system, tokens, journal, faults, killer, doors, inbox, intake };
        node.run("service API", api.run(service_listener, stopped.clone()));
        node.run("dashboard", admin::run_over_tcp(shared.clone(), dashboard, stopped.clone()));
        node.run("admin API", {
            let (shared, place) = (shared.clone(), place.clone());
            async move {
                let access = shared.access.clone();
                let ended = admin::run(shared, admin_listener, stopped.clone()).await;
                access.remove_file();
                let _ = std::fs::remove_file(socket_path);
                // Nobody may own the system before nothing of this node is left, this socket the last.
                stopped.cancelled().await;
                place.clear();
                drop((state, owner));
                ended
            }
        });
        node.run("issuer", issuer::listening::run(issuer, issuer_changes, shared.stopped.clone()));
        if let Some(listener) = scrapes {
            node.run("listener for metrics", scrape::run(shared.clone(), listener, shared.stopped.clone()));
        }
        node.run(LAST, stop(shared, gateway));
        Ok(node)
    }
}

/// Stops everything in order once the node is told to: requests from outside are finished before the units that
/// answer them are stopped, these may call each other until they are gone, and whoever looks on sees it to its end.
async fn stop(shared: Arc<Shared>, gateway: Gateway) -> io::Result<()> {
    shared.stopping.cancelled().await;
    tokio::select! {
        () = gateway.drain() => {}
        () = shared.hurry.cancelled() => {}
    }
    shared.supervisor.stop().await;
    shared.stops.forget_all().await;
    tokio::select! {
        stopped = gateway.stop() => if let Err(error) = stopped {
            error!(%error, "the gateway did not stop as it should");
        },
        () = shared.hurry.cancelled() => {}
    }
    shared.drain_records();
    shared.stopped.cancel();
    Ok(())
}

/// Closes the doors that nobody is told of any more.
async fn close_doors(shared: Arc<Shared>) {
    let mut told = shared.supervisor.told_from();
    loop {
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            changed = told.changed() => match changed {
                Ok(()) => shared.settle_doors().await,
                Err(_) => return shared.stopping.cancelled().await,
            },
        }
    }
}

/// Says who has the port, if that is why.
fn no_gateway(error: madang_gateway::Error) -> StartError {
    match holder::taken(&error) {
        Some(taken) => StartError::PortTaken(taken),
        None => StartError::Gateway(error),
    }
}

async fn endless(part: impl Future<Output = ()>) -> io::Result<()> {
    part.await;
    Ok(())
}

/// A part that would go on for ever.
async fn until(stopped: CancellationToken, part: impl Future<Output = ()>) -> io::Result<()> {
    stopped.run_until_cancelled_owned(part).await;
    Ok(())
}

fn gateway_config(config: &NodeConfig) -> madang_gateway::Config {
    madang_gateway::Config { workers: config.workers, ..Default::default() }
}

fn archive_config(telemetry: &Telemetry) -> ArchiveConfig {
    ArchiveConfig { largest: telemetry.size, oldest: telemetry.keep }
}

fn trace_config(telemetry: &Telemetry) -> TraceConfig {
    let Telemetry { spans_per_second, slow, .. } = *telemetry;
    TraceConfig { sampled_per_second: spans_per_second, slow, ..Default::default() }
}

fn log_config(telemetry: &Telemetry) -> LogConfig {
    LogConfig { lines_per_second: telemetry.log_lines_per_second, largest: telemetry.size }
}

fn supervisor_config(owner: &Owner, by_hand: BTreeMap<UnitName, u16>) -> madang_supervisor::Config {
    madang_supervisor::Config { logs: owner.data().join("logs"), by_hand, ..Default::default() }
}

/// The seed of the key by which services are told of principals; kept, so that those that run know it still.
async fn principal_seed(state: &Store) -> Result<[u8; 32], StartError> {
    let key = tokens::kept_key(state, "principals", random_key()?).await?;
    let mut seed = [0; 32];
    seed.copy_from_slice(&key[..32]);
    Ok(seed)
}

pub(crate) fn random_key() -> Result<[u8; tokens::KEY], StartError> {
    let mut key = [0; tokens::KEY];
    getrandom::fill(&mut key).map_err(StartError::Randomness)?;
    Ok(key)
}

/// The owner's lock is held, so that a socket found here belongs to a node that is gone.
fn bind_admin(path: PathBuf) -> Result<(PathBuf, UnixListener), StartError> {
    let failed = |source| StartError::AdminSocket { path: path.clone(), source };
    socket::prepare_folder(&path).map_err(failed)?;
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(failed)?;
    Ok((path, listener))
}

async fn record_events(
    shared: Arc<Shared>,
    mut events: broadcast::Receiver<Event>,
    recorded: CancellationToken,
) {
    let _recorded = recorded.drop_guard();
    loop {
        tokio::select! {
            biased; // what happened before the end comes before the end
            event = events.recv() => match event {
                Ok(event) => shared.journal.record(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    shared.journal.missed(missed);
                    warn!(missed, "events were missed");
                }
                Err(broadcast::error::RecvError::Closed) => break,
            },
            () = shared.stopped.cancelled() => break,
        }
    }
    // The last of them may come after the task that writes them has ended, and are written when the end is noted.
    shared.journal.close();
}

/// How often the records of requests are taken from the workers.
const DRAIN: Duration = Duration::from_millis(250);

async fn drain_records(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(DRAIN);
    loop {
        tokio::select! {
            () = shared.stopped.cancelled() => return,
            _ = ticks.tick() => shared.drain_records(),
        }
    }
}

//! The services of one process: started together, chosen by name, stopped together.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::{FutureExt, future::try_join_all};
use madang_calls::{Client, ClientConfig, Directory, LocalService};
use madang_model::ServiceName;
use madang_wire::Hop;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{service_fn, util::BoxCloneSyncService};
use tracing::Instrument;

use crate::{
    Resources, Service, StartError,
    calls::Outbound,
    changes::Seen,
    database,
    declared::Declared,
    discover::Reach,
    environment::Environment,
    fired::Firing,
    front::{ask, unready},
    principal::Principals,
    records::Courier,
    stack::{panic_message, stack},
    telemetry::{self, Source, Telemetry},
};

/// How long a stop waits until others are told of the last things that were done. With the time for what is under
/// way it is less than what the node allows a process to stop.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The services of one process.
#[derive(Clone)]
pub(crate) struct Host(Arc<Inner>);

struct Inner {
    services: BTreeMap<ServiceName, Hosted>,
    /// Who is believed to be whom.
    principals: Arc<Principals>,
    ready: watch::Sender<bool>,
    stopping: CancellationToken,
    /// The first background task that panicked.
    failed: watch::Sender<Option<(String, String)>>,
    tasks: TaskTracker,
    /// What tells others of the work of the services, and is over after it.
    couriers: TaskTracker,
    over: CancellationToken,
}

/// One of them. What answers for it exists once it is prepared.
struct Hosted {
    service: Service,
    database_url: Option<String>,
    outbound: Arc<Outbound>,
    started: OnceLock<Started>,
}

struct Started {
    resources: Resources,
    answers: LocalService,
}

impl Host {
    /// Checks the services and connects them with each other and with those that they may call.
    pub(crate) fn new(
        services: Vec<Service>,
        environment: &Environment,
        stopping: CancellationToken,
    ) -> Result<Self, StartError> {
        let names = names(&services)?;
        let defaults = ClientConfig::new(Hop::Sdk);
        // Without a node nobody asks for the records.
        let records = environment.service_api.as_ref().map_or(0, |_| defaults.records);
        let client = Client::new(ClientConfig { records, ..defaults });
        let telemetry = Telemetry::new(&environment.telemetry);
        let mut hosted = BTreeMap::new();
        for (name, service) in names.iter().zip(services) {
            let outbound = Arc::new(Outbound {
                caller: name.clone(),
                client: client.clone(),
                directory: Directory::default(),
                declared: Declared::unknown(),
                telemetry: telemetry.source(name.as_str(), names.len() == 1),
            });
            let database_url = database_url(name, &service, environment, names.len() == 1)?;
            let started = OnceLock::new();
            hosted.insert(name.clone(), Hosted { service, database_url, outbound, started });
        }
        refuse_shared_databases(&hosted)?;
        let host = Self(Arc::new(Inner {
            services: hosted,
            principals: environment.principals.clone(),
            ready: watch::Sender::new(false),
            stopping,
            failed: watch::Sender::new(None),
            tasks: TaskTracker::new(),
            couriers: TaskTracker::new(),
            over: CancellationToken::new(),
        }));
        if let Some(api) = &environment.service_api {
            let directories = host.0.services.values().map(|hosted| hosted.outbound.directory.clone());
            let courier = Courier::new(client, Seen::of(directories), api);
            host.0.couriers.spawn(courier.run(host.0.over.clone()));
        }
        let sources = host.0.services.values().map(|hosted| hosted.outbound.telemetry.clone()).collect();
        telemetry.start(sources, &host.0.couriers, &host.0.over);
        host.connect(environment);
        Ok(host)
    }

    fn connect(&self, environment: &Environment) {
        let hosted: BTreeSet<ServiceName> = self.names().cloned().collect();
        for (caller, one) in &self.0.services {
            let directory = &one.outbound.directory;
            for callee in &hosted {
                directory.host(callee.clone(), self.local(callee.clone()));
            }
            let declared = one.outbound.declared.clone();
            let known = Reach::new(caller.clone(), directory.clone(), declared, hosted.clone());
            match &environment.service_api {
                None => known.standalone(&environment.services),
                Some(api) => {
                    let firing = Firing { caller: caller.clone(), api: api.clone() };
                    directory.kill_with(Arc::new(firing));
                    let follow = known.follow(api.clone());
                    self.0.tasks.spawn(self.0.stopping.clone().run_until_cancelled_owned(follow));
                }
            }
        }
    }

    /// A service of this process for callers in this process; waits until it is prepared.
    fn local(&self, name: ServiceName) -> LocalService {
        // Weak, because the directory that this goes into belongs to the host itself.
        let host = Arc::downgrade(&self.0);
        let ready = self.0.ready.subscribe();
        BoxCloneSyncService::new(service_fn(move |request| {
            let (host, name, mut ready) = (host.clone(), name.clone(), ready.clone());
            async move {
                // An error says that the host is gone, which the next line finds out too.
                let _ = ready.wait_for(|ready| *ready).await;
                let service = host.upgrade().and_then(|host| Host(host).started(name.as_str()));
                Ok::<_, Infallible>(match service {
                    Some(service) => ask(service, request).await,
                    None => unready(request.headers(), "the process is stopping"),
                })
            }
        }))
    }

    /// Opens the databases, prepares the services, starts their background tasks; then they are ready.
    pub(crate) async fn start(&self) -> Result<(), StartError> {
        try_join_all(self.0.services.iter().map(|(name, hosted)| self.start_one(name, hosted))).await?;
        self.0.ready.send_replace(true);
        Ok(())
    }

    async fn start_one(&self, name: &ServiceName, hosted: &Hosted) -> Result<(), StartError> {
        let service = &hosted.service;
        let (pool, preparing) = match &hosted.database_url {
            Some(url) => {
                let (pool, preparing) = database::open(service, url).await?;
                (Some(pool), Some(preparing))
            }
            None => (None, None),
        };
        let outbound = hosted.outbound.clone();
        if let Some(pool) = &pool {
            outbound.telemetry.has_database(pool);
        }
        let (stopping, principals) = (self.0.stopping.clone(), self.0.principals.clone());
        let resources = Resources::new(name.clone(), pool, outbound, stopping, principals);
        let span = tracing::info_span!("prepare", service = %name);
        telemetry::begin(&span, hosted.outbound.telemetry.clone());
        for prepare in &service.prepare {
            let prepared = prepare(resources.clone()).instrument(span.clone()).await;
            prepared.map_err(|source| StartError::Prepare { service: name.clone(), source })?;
        }
        if let Some(preparing) = preparing {
            preparing.done().await;
        }
        for background in &service.background {
            self.spawn(name, &hosted.outbound.telemetry, background(resources.clone()));
        }
        let answers = stack(service, resources.clone());
        // Each service is started once, by the only call of `start`.
        let _ = hosted.started.set(Started { resources, answers });
        Ok(())
    }

    fn spawn(
        &self,
        name: &ServiceName,
        source: &Arc<Source>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let span = tracing::info_span!("background", service = %name);
        telemetry::begin(&span, source.clone());
        let (failed, name) = (self.0.failed.clone(), name.to_string());
        let watched = async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                failed.send_if_modified(|failed| {
                    let first = failed.is_none();
                    failed.get_or_insert((name, panic_message(&*panic).to_owned()));
                    first
                });
            }
        };
        self.0.tasks.spawn(watched.instrument(span));
    }

    /// The names of the services.
    pub(crate) fn names(&self) -> impl Iterator<Item = &ServiceName> {
        self.0.services.keys()
    }

    /// Whether all services are ready.
    pub(crate) fn is_ready(&self) -> bool {
        *self.0.ready.borrow()
    }

    /// What answers for a service, once it is started.
    pub(crate) fn started(&self, name: &str) -> Option<LocalService> {
        self.0.services.get(name)?.started.get().map(|started| started.answers.clone())
    }

    /// What a service has, once it is started.
    pub(crate) fn resources(&self, name: &str) -> Option<Resources> {
        self.0.services.get(name)?.started.get().map(|started| started.resources.clone())
    }

    /// Waits until a background task panicked.
    pub(crate) async fn failed(&self) -> StartError {
        let mut failed = self.0.failed.subscribe();
        match failed.wait_for(Option::is_some).await.map(|failed| failed.clone()) {
            Ok(Some((service, message))) => StartError::Background { service, message },
            // The sender lives as long as `self`.
            _ => std::future::pending().await,
        }
    }

    /// Has others told what is left to tell of the work of the services, for a bounded time.
    pub(crate) async fn tell_the_rest(&self) {
        self.0.over.cancel();
        self.0.couriers.close();
        // Who is not there to be told learns it from what it hears the next time.
        let _ = tokio::time::timeout(LAST_WORDS, self.0.couriers.wait()).await;
    }

    /// Waits until the tasks of the services have ended, then closes their databases.
    pub(crate) async fn stop(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
        for started in self.0.services.values().filter_map(|hosted| hosted.started.get()) {
            if let Some(pool) = started.resources.pool() {
                pool.close().await;
            }
        }
    }
}

fn names(services: &[Service]) -> Result<Vec<ServiceName>, StartError> {
    if services.is_empty() {
        return Err(StartError::NoService);
    }
    let names: Vec<ServiceName> =
        services.iter().map(|service| service.name.parse()).collect::<Result<_, _>>()?;
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(*name)) {
        Some(twice) => Err(StartError::Twice(twice.clone())),
        None => Ok(names),
    }
}

/// The URL of the service's database; none if it keeps none.
fn database_url(
    name: &ServiceName,
    service: &Service,
    environment: &Environment,
    alone: bool,
) -> Result<Option<String>, StartError> {
    if service.sqlite.is_none() && service.postgres.is_none() {
        return Ok(None);
    }
    let variable =
        if alone { "DATABASE_URL".to_owned() } else { format!("{}_DATABASE_URL", name.env_prefix()) };
    match environment.database_url(name, alone) {
        Some(url) => Ok(Some(url.to_owned())),
        None => Err(StartError::NoDatabaseUrl { service: name.clone(), variable }),
    }
}

fn refuse_shared_databases(services: &BTreeMap<ServiceName, Hosted>) -> Result<(), StartError> {
    let mut seen = BTreeMap::new();
    for (name, hosted) in services {
        if let Some(url) = &hosted.database_url
            && let Some(first) = seen.insert(url, name)
        {
            return Err(StartError::SharedDatabase { first: first.to_string(), second: name.to_string() });
        }
    }
    Ok(())
}

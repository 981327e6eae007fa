//! The services of one process: started together, chosen by name, stopped together.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::{FutureExt, future::try_join_all};
use http::{Request, Response, header};
use madang_calls::{Body, Client, ClientConfig, Directory, LocalService};
use madang_model::{InvalidName, ServiceName};
use madang_wire::{Code, Hop, Problem, headers};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};
use tracing::Instrument;

use crate::{
    Error, Resources, Service,
    calls::Outbound,
    database,
    declared::Declared,
    discover,
    environment::Environment,
    error::problem_response,
    stack::{panic_message, stack},
};

/// Why a process cannot start, or must end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is nothing to run.
    #[error("no service is given to run")]
    NoService,
    /// A service's name breaks the rule for names.
    #[error("a service cannot have this name")]
    Name(#[from] InvalidName),
    /// A service is given twice.
    #[error("{0} is given twice")]
    Twice(ServiceName),
    /// Two services would share a database.
    #[error("{first} and {second} have the same database: each has one of its own")]
    SharedDatabase {
        /// One service.
        first: String,
        /// The other.
        second: String,
    },
    /// A variable of the environment has a bad value.
    #[error("the variable {name} is not as expected: {expected}")]
    Variable {
        /// The variable.
        name: String,
        /// What it should be.
        expected: String,
    },
    /// A service keeps rows and is not told where.
    #[error("{service} keeps a database: set {variable}, such as sqlite:{service}.db")]
    NoDatabaseUrl {
        /// The service.
        service: ServiceName,
        /// The variable that says where.
        variable: String,
    },
    /// The URL of a database is not one that the service can use.
    #[error("{service} cannot use its database URL: {reason}")]
    DatabaseUrl {
        /// The service.
        service: String,
        /// Why not.
        reason: String,
    },
    /// A database cannot be opened or migrated.
    #[error("failed to open and migrate the database of {service}")]
    Database {
        /// The service.
        service: String,
        /// Why.
        source: sqlx::Error,
    },
    /// What a service does before it is ready failed.
    #[error("failed to prepare {service}")]
    Prepare {
        /// The service.
        service: ServiceName,
        /// Why.
        source: Error,
    },
    /// The port cannot be listened on.
    #[error("failed to listen on 127.0.0.1:{port}")]
    Listen {
        /// The port.
        port: u16,
        /// Why.
        source: std::io::Error,
    },
    /// The runtime or a signal cannot be set up.
    #[error("failed to set up the process")]
    Process(#[source] std::io::Error),
    /// A background task panicked.
    #[error("a background task of {service} panicked: {message}")]
    Background {
        /// The service.
        service: String,
        /// What the panic said.
        message: String,
    },
}

/// The services of one process.
#[derive(Clone)]
pub(crate) struct Host(Arc<Inner>);

struct Inner {
    services: BTreeMap<ServiceName, Hosted>,
    ready: watch::Sender<bool>,
    stopping: CancellationToken,
    /// The first background task that panicked.
    failed: watch::Sender<Option<(String, String)>>,
    tasks: TaskTracker,
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
        let client = Client::new(ClientConfig { hop: Hop::Sdk, records: 0 });
        let mut hosted = BTreeMap::new();
        for (name, service) in names.iter().zip(services) {
            let outbound = Arc::new(Outbound {
                caller: name.clone(),
                client: client.clone(),
                directory: Directory::default(),
                declared: Declared::unknown(),
            });
            let database_url = database_url(name, &service, environment, names.len() == 1)?;
            let started = OnceLock::new();
            hosted.insert(name.clone(), Hosted { service, database_url, outbound, started });
        }
        refuse_shared_databases(&hosted)?;
        let host = Self(Arc::new(Inner {
            services: hosted,
            ready: watch::Sender::new(false),
            stopping,
            failed: watch::Sender::new(None),
            tasks: TaskTracker::new(),
        }));
        host.connect(environment);
        Ok(host)
    }

    fn connect(&self, environment: &Environment) {
        for (caller, hosted) in &self.0.services {
            let Outbound { directory, declared, .. } = &*hosted.outbound;
            for callee in self.0.services.keys() {
                directory.host(callee.clone(), self.local(callee.clone()));
            }
            match &environment.service_api {
                None => {
                    discover::standalone(directory, declared, &environment.services, self.0.services.keys())
                }
                Some(api) => {
                    let watch =
                        discover::watch(api.clone(), caller.clone(), directory.clone(), declared.clone());
                    let stopped = self.0.stopping.clone().cancelled_owned();
                    self.0.tasks.spawn(async move {
                        tokio::select! { () = stopped => (), () = watch => () }
                    });
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
                let Some(host) = host.upgrade().map(Host) else {
                    return Ok::<_, Infallible>(unready("the process is stopping"));
                };
                match host.0.services.get(&name).and_then(|hosted| hosted.started.get()) {
                    Some(started) => started.answers.clone().oneshot(request).await,
                    None => Ok(unready("the service is starting")),
                }
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
        let resources = Resources::new(name.clone(), pool, outbound, self.0.stopping.clone());
        let span = tracing::info_span!("prepare", service = %name);
        for prepare in &service.prepare {
            let prepared = prepare(resources.clone()).instrument(span.clone()).await;
            prepared.map_err(|source| StartError::Prepare { service: name.clone(), source })?;
        }
        if let Some(preparing) = preparing {
            preparing.done().await;
        }
        for background in &service.background {
            self.spawn(name, background(resources.clone()));
        }
        let answers = stack(service, resources.clone());
        // Each service is started once, by the only call of `start`.
        let _ = hosted.started.set(Started { resources, answers });
        Ok(())
    }

    fn spawn(&self, name: &ServiceName, task: impl Future<Output = ()> + Send + 'static) {
        let span = tracing::info_span!("background", service = %name);
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

    /// Waits until a background task panicked.
    pub(crate) async fn failed(&self) -> StartError {
        let mut failed = self.0.failed.subscribe();
        match failed.wait_for(Option::is_some).await.map(|failed| failed.clone()) {
            Ok(Some((service, message))) => StartError::Background { service, message },
            // The sender lives as long as `self`.
            _ => std::future::pending().await,
        }
    }

    /// Waits until the tasks of the services have ended, then closes their databases.
    pub(crate) async fn stop(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.close().await;
    }

    /// Closes the databases, whoever still uses them.
    pub(crate) async fn close(&self) {
        for started in self.0.services.values().filter_map(|hosted| hosted.started.get()) {
            if let Some(pool) = started.resources.pool() {
                pool.close().await;
            }
        }
    }

    /// Answers a request from outside of the process.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let ready = *self.0.ready.borrow();
        match request.uri().path() {
            "/livez" => return Response::new(Body::from("alive\n")),
            "/healthz" if ready => return Response::new(Body::from("ready\n")),
            _ if !ready => return unready("the service is starting"),
            _ => (),
        }
        match self.chosen(&request).and_then(|hosted| hosted.started.get()) {
            Some(started) => match started.answers.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
            None => self.which(&request),
        }
    }

    /// The service that a request is for: the one that it names, or the only one.
    fn chosen(&self, request: &Request<Body>) -> Option<&Hosted> {
        match request.headers().get(headers::SERVICE) {
            Some(name) => self.0.services.get(name.to_str().ok()?),
            None if self.0.services.len() == 1 => self.0.services.values().next(),
            None => None,
        }
    }

    fn which(&self, request: &Request<Body>) -> Response<Body> {
        let hosted: Vec<_> = self.0.services.keys().map(ServiceName::as_str).collect();
        let named = match request.headers().get(headers::SERVICE) {
            Some(name) => format!("it names \"{}\"", name.to_str().unwrap_or_default()),
            None => format!("it has no header {}", headers::SERVICE),
        };
        let detail = format!("{named}; here are: {}", hosted.join(", "));
        problem_response(&Problem::new(Code::WHICH_SERVICE).detail(detail)).map(Body::new)
    }
}

fn unready(detail: &str) -> Response<Body> {
    let mut response = problem_response(&Problem::new(Code::NO_INSTANCE).detail(detail)).map(Body::new);
    response.headers_mut().insert(header::RETRY_AFTER, 1.into());
    response
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

/// How long a stop waits for what is under way.
pub(crate) const DRAIN: Duration = Duration::from_secs(8);

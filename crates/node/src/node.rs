//! A running node: what it holds, what its APIs ask of it, and how it ends.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use madang_calls::Directory;
use madang_gateway::{Identity, Snapshot};
use madang_model::{Service, System, UnitName, manifest};
use madang_telemetry::{Annotations, External, Logs, Metrics, Records, Traces, Why, forward::Forward};
use madang_wire::admin::{
    EnvironmentView, Event, EventKind, HealthView, InstanceView, RouteView, ServiceView, SystemView,
    TokenView,
};
use tokio::{
    sync::watch,
    task::{self, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    StartError,
    admin::{access::Access, audit::Audit},
    api_keys::Keys,
    by_hand::{self, HandEnvironment},
    difference,
    doors::{DoorError, Doors, Plan},
    elsewhere::Outside,
    environment::InstanceEnvironment,
    faults::Faults,
    gauges::Gauges,
    holder,
    isolation::{Isolation, IsolationError},
    issuer::{self, listening::Listening},
    join,
    journal::Journal,
    place::Place,
    ports::KeptPorts,
    rotation::Switchboard,
    service_api::Inbox,
    stops::Stops,
    tls::{CertificateError, Certificates, Current},
    tokens::Tokens,
};

/// A running node. End it with [`Node::stop`] and [`Node::wait`]: dropping it kills whatever its units run.
pub struct Node {
    pub(crate) shared: Arc<Shared>,
    parts: JoinSet<io::Result<()>>,
    names: HashMap<task::Id, &'static str>,
    failed: Option<PartFailed>,
}

/// What the parts of a node share.
pub(crate) struct Shared {
    pub(crate) manifest: PathBuf,
    pub(crate) environment: Option<String>,
    pub(crate) place: Place,
    pub(crate) isolation: Option<Isolation>,
    pub(crate) system: watch::Sender<Arc<System>>,
    pub(crate) directory: Directory,
    pub(crate) faults: Faults,
    pub(crate) switchboard: Arc<Switchboard>,
    pub(crate) doors: Doors,
    pub(crate) ports: KeptPorts,
    /// The units that a person runs, each with the port that it is told if one is assigned.
    pub(crate) hands: BTreeMap<UnitName, u16>,
    pub(crate) told: Arc<InstanceEnvironment>,
    pub(crate) gateway: madang_gateway::Handle,
    pub(crate) supervisor: madang_supervisor::Handle,
    pub(crate) logs: Logs,
    pub(crate) records: Records,
    pub(crate) inbox: Inbox,
    pub(crate) traces: Traces,
    pub(crate) forward: Option<Forward>,
    pub(crate) annotations: Annotations,
    pub(crate) metrics: Metrics,
    pub(crate) external: External,
    pub(crate) gauges: Gauges,
    pub(crate) why: Why,
    pub(crate) journal: Arc<Journal>,
    pub(crate) outside: Outside,
    pub(crate) tokens: Tokens,
    pub(crate) identity: Identity,
    pub(crate) certificates: Certificates,
    pub(crate) issuer: madang_issuer::Issuer,
    pub(crate) issuer_listening: Listening,
    /// By which the gateway proves to the built-in issuer who it is.
    pub(crate) gateway_secret: String,
    pub(crate) api_keys: Keys,
    /// Who may speak to the admin API over TCP.
    pub(crate) access: Arc<Access>,
    /// The dashboard's URL, where it is on.
    pub(crate) dashboard: Option<String>,
    pub(crate) audit: Audit,
    pub(crate) stops: Stops,
    pub(crate) service_api: SocketAddr,
    pub(crate) started_at: u64,
    pub(crate) refused: Mutex<Option<String>>,
    /// Held while the gateway is told something else, so that nothing older comes after it.
    pub(crate) applying: tokio::sync::Mutex<()>,
    /// What cannot be had, see [`crate::disk`].
    pub(crate) degraded: Mutex<Option<String>>,
    /// Cancelled when the node is told to stop.
    pub(crate) stopping: CancellationToken,
    /// Cancelled when it must not wait for anybody's work to end.
    pub(crate) hurry: CancellationToken,
    /// Cancelled once every unit has stopped: what follows the node ends then.
    pub(crate) stopped: CancellationToken,
}

pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

// === impl Node ===

impl Node {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, parts: JoinSet::new(), names: HashMap::new(), failed: None }
    }

    /// Tells the node to stop: every unit in reverse order of dependence, each with time to end its work.
    pub fn stop(&self) {
        self.shared.stop(false);
    }

    /// Tells the node to stop without waiting for anybody's work to end.
    pub fn stop_now(&self) {
        self.shared.stop(true);
    }

    /// Waits until the node has stopped and left nothing behind. If one of its parts ends before its time, the
    /// node stops, as it would be told to.
    ///
    /// # Errors
    /// Names the part that failed first.
    pub async fn wait(&mut self) -> Result<(), PartFailed> {
        while let Some(ended) = self.parts.join_next_with_id().await {
            let (id, why) = match ended {
                Ok((id, Ok(()))) if self.shared.stopping.is_cancelled() => {
                    self.names.remove(&id);
                    continue;
                }
                Ok((id, Ok(()))) => (id, "it ended by itself".to_owned()),
                Ok((id, Err(error))) => (id, error.to_string()),
                Err(panic) => (panic.id(), panic.to_string()),
            };
            let part = self.names.remove(&id).unwrap_or("a part");
            error!(part, why, "a part of the node failed");
            self.failed.get_or_insert(PartFailed { part, why });
            self.shared.stopping.cancel();
            if part == LAST {
                // Nobody else says that all has stopped.
                self.shared.stopped.cancel();
            }
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Adds a part, which runs until the node stops.
    pub(crate) fn run(
        &mut self,
        part: &'static str,
        run: impl Future<Output = io::Result<()>> + Send + 'static,
    ) {
        self.names.insert(self.parts.spawn(run).id(), part);
    }
}

/// A part of the node that failed while it ran; the node has stopped.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the node stopped because its {part} failed: {why}")]
pub struct PartFailed {
    part: &'static str,
    why: String,
}

/// The part that stops all others in their order.
pub(crate) const LAST: &str = "stop";

// === impl Shared ===

impl Shared {
    pub(crate) fn stop(&self, now: bool) {
        if now {
            self.hurry.cancel();
            self.supervisor.kill_now();
        }
        self.stopping.cancel();
    }

    pub(crate) fn system_view(&self) -> SystemView {
        let system = self.system.borrow().clone();
        let stats = self.gateway.stats();
        SystemView {
            name: system.name.to_string(),
            manifest: self.manifest.display().to_string(),
            isolated: self.place.isolated().map(str::to_owned),
            gateway: format!("{}://{}", scheme(&system), system.gateway.listen),
            authority: self.certificates.authority().map(|path| path.display().to_string()),
            dashboard: self.dashboard.clone(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            ready: *self.supervisor.ready().borrow(),
            manifest_error: self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            degraded: self.troubles(),
            forward: self.forward.as_ref().map(Forward::view),
            requests: stats.requests,
            records_dropped: stats.records_dropped + self.inbox.dropped(),
        }
    }

    pub(crate) fn service_view(&self, name: &str) -> Option<ServiceView> {
        self.service_views().into_iter().find(|view| view.name == name)
    }

    /// Every service with all that is known of it.
    pub(crate) fn service_views(&self) -> Vec<ServiceView> {
        let system = self.system.borrow().clone();
        let (routes, instances, health) = (self.gateway.routes(), self.instances(), self.directory.health());
        let views = system
            .services
            .values()
            .map(|service| service_view(service, &system, &routes, &instances, &health));
        views.collect()
    }

    /// Every instance, and every unit that has none yet; then those that joined, and those elsewhere.
    pub(crate) fn instances(&self) -> Vec<InstanceView> {
        let mut instances = self.supervisor.instances();
        instances.extend(join::views(self.switchboard.registry(), &self.system.borrow()));
        instances.extend(self.outside.views());
        self.mark_ejected(&mut instances);
        instances
    }

    /// Says which instances' answers keep them out of use.
    fn mark_ejected(&self, instances: &mut [InstanceView]) {
        let now = now();
        for health in self.directory.health() {
            for answers in health.instances {
                let Some(until) = answers.ejected_until else { continue };
                if let Some(view) = instances.iter_mut().find(|view| view.name == answers.instance) {
                    view.health = match until.saturating_sub(now).div_ceil(1000) {
                        0 => format!("{} fails: next request tries it", health.service),
                        seconds => format!("{} fails: out of use for {seconds} s", health.service),
                    };
                }
            }
        }
    }

    /// What a program that others start needs to join a service, if there is such a service.
    pub(crate) fn token(&self, name: &str) -> Option<TokenView> {
        let system = self.system.borrow();
        let (service, _) = system.services.get_key_value(name)?;
        Some(TokenView {
            service: service.to_string(),
            url: format!("http://{}", self.service_api),
            token: self.tokens.issue_for(service),
            principal_keys: self.identity.verifying_keys(),
        })
    }

    /// How a unit is run by hand; none if it cannot be said.
    pub(crate) async fn environment(&self, unit: &UnitName) -> io::Result<Option<EnvironmentView>> {
        let system = self.system.borrow().clone();
        let kept = self.hands.get(unit).copied();
        let port = match kept {
            Some(port) => port,
            None => by_hand::port(unit, &self.ports, &self.tokens, &system).await?,
        };
        Ok(HandEnvironment(&self.told).of(&system, unit, port).map(|told| EnvironmentView {
            secrets: (!told.sealed.is_empty()).then(|| system.secrets.display().to_string()),
            sealed: told.sealed,
            unit: unit.to_string(),
            folder: told.folder.display().to_string(),
            run: told.run,
            by_hand: kept.is_some(),
            variables: told.variables,
        }))
    }

    /// The unit of this name, or the one that hosts the service of this name.
    pub(crate) fn unit_named(&self, name: &str) -> Option<UnitName> {
        let system = self.system.borrow();
        let unit = system.units.get(name).map(|unit| &unit.name);
        unit.or_else(|| system.services.get(name)?.unit()).cloned()
    }

    /// The name under which the lines of this unit or service are kept: of a service that others start its own.
    pub(crate) fn speaks_as(&self, name: &str) -> Option<UnitName> {
        let alone = || self.system.borrow().services.get(name)?.name.as_str().parse().ok();
        self.unit_named(name).or_else(alone)
    }

    /// Reads the manifest again and puts the difference into force, or says why not and leaves all as it is.
    pub(crate) async fn reload(&self) -> Reload {
        let (manifest, environment) = (self.manifest.clone(), self.environment.clone());
        let loaded = tokio::task::spawn_blocking(move || {
            let loaded =
                crate::manifest::load(&manifest, environment.as_deref(), &|name| std::env::var(name).ok());
            loaded.map(|loaded| loaded.system)
        });
        let outcome = match loaded.await {
            Ok(Ok(system)) => self.apply(system).await.map_err(|error| (Reload::Hindered, error.in_words())),
            Ok(Err(errors)) => Err((Reload::Refused, reasons(&errors))),
            Err(panic) => Err((Reload::Refused, panic.to_string())),
        };
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(applied) => {
                let was_refused = refused.take().is_some();
                if was_refused && applied == Reload::Same {
                    self.announce(EventKind::Applied, "the manifest is what it was and in force");
                }
                applied
            }
            Err((why, reason)) => {
                if refused.as_ref() != Some(&reason) {
                    self.announce(EventKind::Refused, &reason);
                }
                *refused = Some(reason);
                why
            }
        }
    }

    /// Takes the records of requests from the workers, and those that instances have sent.
    pub(crate) fn drain_records(&self) {
        let mut records = self.gateway.records();
        records.append(&mut self.inbox.drain());
        if let Some(forward) = &self.forward {
            forward.records(&records);
        }
        self.metrics.record(&records);
        self.records.push_many(&records);
        self.traces.record(records);
    }

    /// Routes first, so that requests for a new service wait for it and none reaches one that is leaving.
    async fn apply(&self, system: System) -> Result<Reload, Hindrance> {
        let system = Arc::new(match &self.isolation {
            Some(isolation) => isolation.of(system).await?,
            None => system,
        });
        let before = self.system.borrow().clone();
        if *before == *system {
            return Ok(Reload::Same);
        }
        let settings = issuer::settings(&system, &self.gateway_secret).await.map_err(Hindrance::Secret)?;
        let secret = issuer::client_secret(&system, &self.gateway_secret).await.map_err(Hindrance::Secret)?;
        let _applying = self.applying.lock().await;
        let listening = self.issuer_listening.plan(&system).await?;
        self.open(&system, self.plan(&system).await?).await?;
        self.issuer.follow(settings);
        self.identity.take_client_secret(secret);
        self.issuer_listening.commit(listening);
        self.system.send_replace(system.clone());
        self.switchboard.declare(system.services.keys().cloned());
        let changed = difference::in_words(&before, &system);
        self.supervisor.apply(system);
        self.announce(EventKind::Applied, &format!("the manifest is in force: {changed}"));
        Ok(Reload::Changed)
    }

    /// Has the gateway follow the faults in force; services that call others are told by the service API.
    pub(crate) async fn follow_faults(&self) {
        self.refresh("the gateway does not follow the faults", |_| true).await;
    }

    /// Closes the doors that nobody is told of any more.
    pub(crate) async fn settle_doors(&self) {
        self.refresh("doors stay open that are not used any more", |plan| plan.differs(&self.doors)).await;
    }

    /// Has the gateway do what the system in force says, if it is worth it with the doors that there should be.
    async fn refresh(&self, failed: &str, worth_it: impl FnOnce(&Plan) -> bool) {
        let _applying = self.applying.lock().await;
        let system = self.system.borrow().clone();
        let outcome = match self.plan(&system).await {
            Ok(plan) if !worth_it(&plan) => return,
            Ok(plan) => self.open(&system, plan).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = outcome
            && !self.stopping.is_cancelled()
        {
            warn!(error = with_causes(&error), failed, "the gateway does not follow");
        }
    }

    async fn plan(&self, system: &System) -> Result<Plan, DoorError> {
        let told = self.supervisor.told_from().borrow().clone();
        self.doors.plan(system, &told).await
    }

    /// Has the gateway do what a system says, with the faults in force and these doors.
    async fn open(&self, system: &System, plan: Plan) -> Result<(), Hindrance> {
        let faults = |origin: &_, callee: &_| self.faults.at(origin, callee);
        let shown = self.certificates.of(system)?;
        let snapshot = Snapshot::compile(system, &self.directory, &plan.doors, &faults, &self.identity)?;
        let snapshot = Current::secure(shown.as_ref(), snapshot, system);
        let (listeners, open) = plan.split();
        self.gateway.apply(snapshot, listeners).await?;
        self.certificates.in_force(shown);
        self.doors.opened(open);
        Ok(())
    }

    pub(crate) fn announce(&self, kind: EventKind, message: &str) {
        info!(?kind, message, "system changed");
        let unit = self.system.borrow().name.to_string();
        self.journal.record(Event {
            at: now(),
            unit,
            instance: None,
            release: None,
            kind,
            message: message.to_owned(),
        });
    }
}

/// How the gateway is spoken to.
fn scheme(system: &System) -> &'static str {
    if system.gateway.tls.is_some() { "https" } else { "http" }
}

/// All that is known of a service.
fn service_view(
    service: &Service,
    system: &System,
    routes: &[RouteView],
    instances: &[InstanceView],
    health: &[HealthView],
) -> ServiceView {
    let name = service.name.as_str();
    let unit = service.unit().and_then(|unit| system.units.get(unit));
    ServiceView {
        name: service.name.to_string(),
        owner: service.owner.clone(),
        domain: service.domain.as_ref().map(ToString::to_string),
        url: service.url().map(ToString::to_string),
        unit: unit.map(|unit| unit.name.to_string()),
        run: unit.map(|unit| unit.run.clone()),
        folder: unit.map(|unit| unit.folder.display().to_string()),
        listen: service.listen.map(|address| format!("http://{address}")),
        protocol: service.protocol.as_str().to_owned(),
        calls: service.calls.keys().map(ToString::to_string).collect(),
        database: service.database.as_ref().map(|database| without_password(&database.url())),
        routes: routes
            .iter()
            .filter(|route| route.to.iter().any(|target| target.service == name))
            .cloned()
            .collect(),
        instances: instances
            .iter()
            .filter(|view| view.services.iter().any(|service| service == name))
            .cloned()
            .collect(),
        health: health.iter().find(|health| health.service == name).cloned().unwrap_or_default(),
    }
}

/// Each problem on a line, with its place. `madang check` shows the same with the text around it.
fn reasons(errors: &manifest::Errors) -> String {
    let lines = errors.iter().map(|error| match error.place() {
        Some(place) => format!("{place}: {error}"),
        None => error.to_string(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What became of reading the manifest again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reload {
    /// The difference is in force.
    Changed,
    /// There was none.
    Same,
    /// It is not valid.
    Refused,
    /// It is valid, but something on this machine is in its way: a port that somebody else holds.
    Hindered,
}

/// What is in the way of a manifest that is valid.
#[derive(Debug, thiserror::Error)]
enum Hindrance {
    #[error(transparent)]
    Gateway(#[from] madang_gateway::Error),
    #[error(transparent)]
    Door(#[from] DoorError),
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Issuer(#[from] StartError),
    #[error("failed to read the secret of a client: {0}")]
    Secret(String),
}

impl Hindrance {
    /// With who has the port, if that is it, and all that caused it.
    fn in_words(&self) -> String {
        let taken = match self {
            Self::Gateway(error) => holder::taken(error),
            Self::Door(_) | Self::Isolation(_) | Self::Certificate(_) | Self::Issuer(_) | Self::Secret(_) => {
                None
            }
        };
        taken.unwrap_or_else(|| with_causes(self))
    }
}

/// An error with all that caused it.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |said, cause| format!("{said}: {cause}"))
}

/// `scheme://user:password@host/…` without the password.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':')) {
        Some((user, password)) => {
            format!("{scheme}://{user}:…{}", &rest[user.len() + 1 + password.len()..])
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_has_no_password() {
        for (url, shown) in [
            ("postgres://shop:s3cret@db:5432/orders", "postgres://shop:…@db:5432/orders"),
            ("postgres://shop:p@ss:w@db/orders", "postgres://shop:…@db/orders"),
            ("postgres://shop@db/orders", "postgres://shop@db/orders"),
            ("postgres://db/orders?x=a:b@c", "postgres://db/orders?x=a:b@c"),
            ("sqlite:/data/orders.db", "sqlite:/data/orders.db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}

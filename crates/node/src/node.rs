//! A running node: what it holds, what its APIs ask of it, and how it ends.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use madang_calls::Directory;
use madang_gateway::Identity;
use madang_model::{System, UnitName};
use madang_telemetry::{Annotations, External, Logs, Metrics, Records, Traces, Why, forward::Forward};
use madang_wire::admin::{Event, EventKind};
use tokio::{
    sync::watch,
    task::{self, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    admin::{access::Access, audit::Audit},
    api_keys::Keys,
    doors::Doors,
    elsewhere::Outside,
    environment::InstanceEnvironment,
    faults::Faults,
    gauges::Gauges,
    isolation::Isolation,
    issuer::listening::Listening,
    journal::Journal,
    place::Place,
    ports::KeptPorts,
    rotation::Switchboard,
    service_api::Inbox,
    stops::Stops,
    tls::Certificates,
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
        // Behind a pointer: a task of its own kind for each part would be compiled for each kind of runtime.
        let run: Pin<Box<dyn Future<Output = io::Result<()>> + Send>> = Box::pin(run);
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

/// An error with all that caused it.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |said, cause| format!("{said}: {cause}"))
}

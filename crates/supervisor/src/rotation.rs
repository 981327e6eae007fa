//! What the supervisor needs from others: somebody to tell who is ready, and what instances are told.

use std::{collections::BTreeSet, net::SocketAddr, pin::Pin, sync::Arc};

use madang_model::{InstanceId, Protocol, ReleaseId, ServiceName, System, UnitName};

/// An instance that can be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyInstance {
    /// Its id.
    pub id: InstanceId,
    /// Its unit.
    pub unit: UnitName,
    /// The services that it hosts.
    pub services: BTreeSet<ServiceName>,
    /// Where it listens; `None` for a worker that listens nowhere.
    pub address: Option<SocketAddr>,
    /// How it speaks.
    pub protocol: Protocol,
    /// Its release.
    pub release: ReleaseId,
}

/// See [`Rotation::leave`].
pub type Quiet = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Who is told which instances can be called. Called on the path of an exit: it must not wait for anything.
pub trait Rotation: Send + Sync {
    /// The instance can be called.
    fn ready(&self, instance: ReadyInstance);
    /// The instance can not be called any more: it exited, is about to be stopped, or fails its probes. May
    /// be said of one that was never ready, and more than once.
    fn gone(&self, instance: &InstanceId);
    /// As [`Self::gone`], of one that shall be told to stop; resolves once the requests that went to it through
    /// here have been answered. The caller sets the limit.
    fn leave(&self, instance: &InstanceId) -> Quiet;
    /// Nobody starts an instance of the service, for this reason; or somebody does again.
    fn left_out(&self, service: &ServiceName, why: Option<&str>);
}

/// An instance that is about to start.
#[derive(Debug, Clone)]
pub struct InstanceRef {
    /// Its id.
    pub id: InstanceId,
    /// Its unit.
    pub unit: UnitName,
    /// The services that it hosts.
    pub services: BTreeSet<ServiceName>,
    /// Its release.
    pub release: ReleaseId,
    /// The port that it is told to listen on.
    pub port: Option<u16>,
    /// The system of which its release was made: not the one in force if that could not be built.
    pub system: Arc<System>,
}

/// What an instance is told by its environment, beyond what the supervisor itself tells it.
pub trait Environment: Send + Sync {
    /// Names and values. The unit's own `env` wins over them, and `MADANG_INSTANCE` and its like over both.
    fn for_instance(&self, instance: &InstanceRef) -> Vec<(String, String)>;
    /// The URL at which an instance calls a service; none for one that its unit does not declare.
    fn url(&self, instance: &InstanceRef, service: &ServiceName) -> Option<String>;
    /// A secret of the system; or in words why it cannot be told, without anything of it.
    ///
    /// # Errors
    /// If it is not kept, or the key to it is not here.
    fn secret(&self, instance: &InstanceRef, name: &str) -> Result<String, String>;
    /// Who a process is that is in the way, in words, if it is more than a process: another node for instance.
    fn known(&self, _pid: i32) -> Option<String> {
        None
    }
    /// The instance of this system, whichever node started it, that a process with this environment is of. `None`
    /// for anybody else's, also if it says otherwise.
    fn instance_of(&self, environment: &[(String, String)]) -> Option<(UnitName, InstanceId)>;
}

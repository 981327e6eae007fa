//! Who can be called, and the state of each service and instance that survives every change.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::{Request, Response};
use madang_model::ServiceName;
use madang_wire::service::Endpoints;
use tower::util::BoxCloneSyncService;

use crate::Body;

/// A service hosted in this process.
pub type LocalService = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// The limits of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The total time, retries and parking included.
    pub timeout: Duration,
    /// The time of one attempt, to the head of its answer.
    pub attempt_timeout: Duration,
    /// The time to connect.
    pub connect_timeout: Duration,
    /// The time without a byte after which a stream is given up.
    pub idle_timeout: Duration,
    /// How many times a call is tried at most.
    pub attempts: u32,
    /// How many calls of a service may wait for an instance at once.
    pub parked: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(15),
            attempt_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(300),
            attempts: 3,
            parked: 1024,
        }
    }
}

/// Who can be called from this process. Cloning it is cheap and gives the same directory.
#[derive(Clone, Default)]
pub struct Directory {
    upstreams: Arc<ArcSwap<HashMap<ServiceName, Arc<Upstream>>>>,
}

/// One service as seen by its callers: its endpoints and what is known of them.
pub struct Upstream {
    name: ServiceName,
}

impl Upstream {
    /// The service's name.
    pub fn name(&self) -> &ServiceName {
        &self.name
    }
}

impl Directory {
    /// The handle of a service; made on first use, and the same from then on. It may have no endpoints yet.
    pub fn upstream(&self, _service: &ServiceName) -> Arc<Upstream> {
        unimplemented!("skeleton")
    }

    /// Takes over where services are ready. Instances that stay keep their state and connections; a service
    /// absent from `endpoints` loses its instances; services hosted here are left alone.
    pub fn apply(&self, _endpoints: &Endpoints) {
        let _ = &self.upstreams;
        unimplemented!("skeleton")
    }

    /// Hosts a service in this process: calls to it stay inside, each in a task of its own.
    pub fn host(&self, _service: ServiceName, _local: LocalService) {
        unimplemented!("skeleton")
    }
}

//! The service API: what an instance asks of the node that runs it, with its own token (`MADANG_TOKEN`).
//!
//! `GET {MADANG_URL}/v1/endpoints` answers one [`Endpoints`]; with `?watch=true` it answers a stream of them,
//! one JSON document a line, each time something changes and at least every 15 seconds.

use std::{collections::BTreeMap, net::SocketAddr};

use madang_model::{InstanceId, Policy, Protocol, ServiceName};
use serde::{Deserialize, Serialize};

/// Where the services that a caller declares are ready.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// Grows with each change.
    pub version: u64,
    /// Each service with its ready instances; a service without one is there with none.
    pub services: BTreeMap<ServiceName, ServiceEndpoints>,
}

/// A service's ready instances and the limits of calls to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceEndpoints {
    /// The instances in rotation.
    pub instances: Vec<Endpoint>,
    /// The limits of a call by the asker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
}

/// A ready instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its id.
    pub instance: InstanceId,
    /// Where it listens.
    pub address: SocketAddr,
    /// How it speaks.
    pub protocol: Protocol,
}

//! The service API: what an instance asks of the node that runs it, with its own token (`MADANG_TOKEN`).
//!
//! `GET {MADANG_URL}/v1/endpoints` answers one [`Endpoints`]; with `?watch=true` it answers a stream of them,
//! one JSON document a line, each time something changes and at least every 15 seconds.
//!
//! `PUT {MADANG_URL}/v1/services/{service}/instances/{id}` with a [`Join`] puts an instance into rotation for the
//! length of a lease, and renews that; without a body it only renews. It answers a [`Joined`]. `DELETE` leaves.
//! `GET …/instances` lists each [`Member`].

use std::{collections::BTreeMap, net::SocketAddr};

use madang_model::{InstanceId, Policy, Protocol, ReleaseId, ServiceName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{RequestRecord, admin::Event};

/// Where the services that a caller declares are ready.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Endpoints {
    /// Grows with each change.
    pub version: u64,
    /// Each service with its ready instances; a service without one is there with none.
    #[schema(value_type = BTreeMap<String, ServiceEndpoints>)]
    pub services: BTreeMap<ServiceName, ServiceEndpoints>,
    /// Where in the manifest the asker's `calls` are or belong, as `orders/service.toml:4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls_at: Option<String>,
}

/// A service's ready instances and the limits of calls to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceEndpoints {
    /// The instances in rotation.
    pub instances: Vec<Endpoint>,
    /// The limits of a call by the asker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub policy: Option<Policy>,
    /// Why nobody starts one, if nobody does: a call that finds no instance then waits for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

/// A ready instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Endpoint {
    /// Its id.
    #[schema(value_type = String)]
    pub instance: InstanceId,
    /// Where it listens.
    #[schema(value_type = String)]
    pub address: SocketAddr,
    /// How it speaks: `http`, `h2c` or `grpc`.
    #[schema(value_type = String)]
    pub protocol: Protocol,
    /// Its release; absent if Madang did not start it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub release: Option<ReleaseId>,
}

/// An instance that joins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// Where it listens: an IP address and a port, as `127.0.0.1:4001` or `[::1]:4001`.
    pub address: String,
    /// How it speaks: `http`, `h2c` or `grpc`. As its service does if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// How long it stays in rotation without a renewal, from `1s` to `5m`. `10s` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
}

/// The lease of an instance that joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Joined {
    /// How long it lasts from each renewal, as it was asked for: `10s`.
    pub lease: String,
    /// How often to renew it, so that two attempts may fail: `3s`.
    pub renew: String,
    /// When it ends unless it is renewed, in milliseconds since 1970.
    pub ends_at: u64,
}

/// An instance in rotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// Where it listens.
    pub address: String,
    /// How it speaks.
    pub protocol: String,
    /// Its lease; absent if Madang runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<Joined>,
}

/// A fault of kind `kill` met a call: `POST {MADANG_URL}/v1/faults/{id}/fired`. The node kills the instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Fired {
    /// The service whose call it met, which the asker's unit hosts.
    #[schema(value_type = String)]
    pub caller: ServiceName,
    /// The service that was called.
    #[schema(value_type = String)]
    pub service: ServiceName,
    /// The instance that the call went to; the asker itself if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub instance: Option<InstanceId>,
}

/// What an instance knows of the calls that it made itself: `POST {MADANG_URL}/v1/records`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Records {
    /// The calls that are over since the last time.
    pub records: Vec<RequestRecord>,
    /// How many more there were, of which nothing is known.
    #[serde(default)]
    pub dropped: u64,
    /// What changed in how the services answer that it calls: breakers that opened and closed, instances that were put out
    /// of use and came back, as this process has it. The unit of each is the service that is called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// How many more of those there were.
    #[serde(default)]
    pub events_dropped: u64,
}

/// What became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordsTaken {
    /// How many are taken.
    pub taken: u64,
    /// How many are not, because the service that called is not one of the sender's, or because too many wait.
    pub refused: u64,
}

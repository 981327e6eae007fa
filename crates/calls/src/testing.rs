//! What the tests of layers share: a call without a network.

use std::sync::Arc;

use http::{Request, Response};
use madang_model::{InstanceId, Protocol};
use madang_wire::{
    Hop,
    service::{Endpoint, ServiceEndpoints},
};

use crate::{
    Body, Client, ClientConfig, Lane, Origin, Policy, Upstream,
    client::Worker,
    exchange::{Call, Exchange},
};

/// A client and a service to call.
pub(crate) struct Bench {
    pub(crate) worker: Arc<Worker>,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) lane: Arc<Lane>,
    pub(crate) policy: Arc<Policy>,
}

impl Bench {
    pub(crate) fn new(policy: Policy) -> Self {
        let client = Client::new(ClientConfig { seed: 3, ..ClientConfig::new(Hop::Gateway) });
        let upstream = Arc::new(Upstream::new("users".parse().unwrap()));
        let lane = Arc::new(Lane::new(Origin::Listener, upstream.clone()));
        Self { worker: client.worker(), upstream, lane, policy: Arc::new(policy) }
    }

    /// Another way to the same service.
    pub(crate) fn beside(&self) -> Self {
        let lane = Arc::new(Lane::new(Origin::Listener, self.upstream.clone()));
        Self {
            worker: self.worker.clone(),
            upstream: self.upstream.clone(),
            lane,
            policy: self.policy.clone(),
        }
    }

    /// Puts so many instances in rotation; nothing listens there.
    pub(crate) fn rotate(&self, count: u16) -> &Self {
        let endpoint = |n: u16| Endpoint {
            instance: InstanceId(format!("users-{n}").into()),
            address: ([127, 0, 0, 1], n).into(),
            protocol: Protocol::Http,
            release: None,
        };
        let instances = (1..=count).map(endpoint).collect();
        self.upstream.apply(&ServiceEndpoints { instances, ..ServiceEndpoints::default() });
        self
    }

    pub(crate) fn call(&self, mut request: Request<Body>) -> Call {
        let (lane, policy) = (self.lane.clone(), self.policy.clone());
        let context = request.extensions_mut().remove().unwrap_or_default();
        let (head, body) = request.into_parts();
        Exchange::new(self.worker.clone(), lane, policy, context, head, body).first()
    }

    pub(crate) fn get(&self) -> Call {
        self.call(Request::new(Body::empty()))
    }
}

pub(crate) fn status(status: u16) -> Response<Body> {
    Response::builder().status(status).body(Body::empty()).unwrap()
}

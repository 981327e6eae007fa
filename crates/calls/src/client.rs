//! What one worker owns, and the stack that a call goes through.

use std::sync::Arc;

use http::{Request, Response};
use madang_wire::RequestRecord;

use crate::{Body, CallError, Policy, Upstream};

/// How a [`Client`] is set up.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Where its calls are made: decides `hop` in its records.
    pub hop: madang_wire::Hop,
    /// How many records are kept until somebody drains them.
    pub records: usize,
}

/// What one worker owns: upstream connections, a coarse timer and a ring of request records. Cloning it is
/// cheap and gives the same client. Made inside the runtime on which it is used.
#[derive(Clone)]
pub struct Client {
    inner: Arc<ClientConfig>,
}

impl Client {
    /// A client without connections.
    pub fn new(config: ClientConfig) -> Self {
        Self { inner: Arc::new(config) }
    }

    /// Calls a service. The request's extensions carry its [`crate::Context`]; without one, a new one is made.
    pub async fn call(
        &self,
        _upstream: &Arc<Upstream>,
        _policy: &Arc<Policy>,
        _request: Request<Body>,
    ) -> Result<Response<Body>, CallError> {
        unimplemented!("skeleton")
    }

    /// Takes the records so far, and how many were dropped because the ring was full.
    pub fn drain_records(&self) -> (Vec<RequestRecord>, u64) {
        let _ = &self.inner;
        unimplemented!("skeleton")
    }
}

//! Where the services are that one may call: told by the node, or by the environment where there is no node.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use madang_calls::{BoxError, Directory, Policy};
use madang_model::{InstanceId, Protocol, ServiceName};
use madang_wire::service::{Endpoint, Endpoints, ServiceEndpoints};
use tokio::net::TcpStream;

use crate::{
    declared::{Declared, Known},
    environment::ServiceApi,
    error::chain,
};

/// The node says something at least every 15 seconds; after three times that, it is gone.
const SILENCE: Duration = Duration::from_secs(45);
/// The first pause before connecting again; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause before connecting again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The longest line that is read.
const LINE_LIMIT: usize = 4 * 1024 * 1024;

/// What one service learns of those that it may call.
pub(crate) struct Reach {
    directory: Directory,
    declared: Declared,
    /// The services of this process, which are called in it.
    hosted: BTreeSet<ServiceName>,
    /// How often something was learnt.
    version: u64,
}

// === impl Reach ===

impl Reach {
    pub(crate) fn new(directory: Directory, declared: Declared, hosted: BTreeSet<ServiceName>) -> Self {
        Self { directory, declared, hosted, version: 0 }
    }

    /// Without a node: the services are where the environment says, or in this process.
    pub(crate) fn standalone(mut self, services: &BTreeMap<ServiceName, SocketAddr>) {
        let mut endpoints = Endpoints::default();
        for service in &self.hosted {
            endpoints.services.insert(service.clone(), ServiceEndpoints::default());
        }
        for (service, address) in services {
            let instance = InstanceId(format!("{service}-{address}").into());
            let endpoint = Endpoint { instance, address: *address, protocol: Protocol::Http };
            let one = ServiceEndpoints { instances: vec![endpoint], timeout_ms: None };
            endpoints.services.insert(service.clone(), one);
        }
        self.learn(endpoints);
    }

    /// Follows what the node says for as long as it is polled. What was last known stays in force while the
    /// node is away.
    pub(crate) async fn follow(mut self, api: ServiceApi, caller: ServiceName) {
        let mut pause = PAUSE;
        loop {
            let before = self.version;
            let ended = follow(&api, &caller, |endpoints| self.learn(endpoints)).await;
            if self.version > before {
                pause = PAUSE;
            }
            if let Err(error) = ended {
                let error = chain(error.as_ref());
                tracing::warn!(service = %caller, error, "lost the service API; what was known stays in force");
            }
            // Jitter, so that the processes of a node that restarts do not come back all at once.
            let jittered = pause.mul_f64(rand::random_range(0.5..=1.0));
            tokio::time::sleep(jittered).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn learn(&mut self, mut endpoints: Endpoints) {
        self.declared.set(known(&endpoints));
        for (service, endpoints) in &mut endpoints.services {
            if self.hosted.contains(service) {
                endpoints.instances.clear();
            }
        }
        // What a stream says last holds, also if the node has begun to count anew.
        self.version += 1;
        endpoints.version = self.version;
        self.directory.apply(&endpoints);
    }
}

fn known(endpoints: &Endpoints) -> Known {
    let one = |(service, endpoints): (&ServiceName, &ServiceEndpoints)| {
        let mut policy = Policy::default();
        if let Some(millis) = endpoints.timeout_ms {
            policy.timeout = Duration::from_millis(millis);
            policy.attempt_timeout = policy.attempt_timeout.min(policy.timeout);
        }
        (service.clone(), Arc::new(policy))
    };
    endpoints.services.iter().map(one).collect()
}

/// One connection to the node: calls `heard` with each line until the node ends the stream or falls silent.
async fn follow(
    api: &ServiceApi,
    caller: &ServiceName,
    mut heard: impl FnMut(Endpoints),
) -> Result<(), BoxError> {
    let (mut body, _connection) = tokio::time::timeout(SILENCE, open(api, caller)).await??;
    let mut line = BytesMut::new();
    while let Some(frame) = tokio::time::timeout(SILENCE, body.frame()).await? {
        let Ok(data) = frame?.into_data() else { continue };
        line.extend_from_slice(&data);
        while let Some(end) = line.iter().position(|&byte| byte == b'\n') {
            let whole = line.split_to(end + 1);
            heard(serde_json::from_slice(&whole)?);
        }
        if line.len() > LINE_LIMIT {
            return Err("a line of the service API is too long".into());
        }
    }
    Ok(())
}

/// Asks for the stream. The connection is driven by a task that ends when the handle is dropped.
async fn open(api: &ServiceApi, caller: &ServiceName) -> Result<(Incoming, Driven), BoxError> {
    let stream = TcpStream::connect(api.address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driven = Driven(tokio::spawn(async move {
        // The body reports what breaks the connection.
        let _ = connection.await;
    }));
    let request = Request::get(format!("/v1/endpoints?watch=true&service={caller}"))
        .header(header::HOST, api.address.to_string())
        .header(header::AUTHORIZATION, format!("Bearer {}", api.token))
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("the service API answered {}", response.status()).into());
    }
    Ok((response.into_body(), driven))
}

/// A connection that is closed when this is dropped.
struct Driven(tokio::task::JoinHandle<()>);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

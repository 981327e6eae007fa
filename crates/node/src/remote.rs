//! A server that runs elsewhere, as the node itself calls it: by the same stack as every call, with TLS where its URL says
//! so. Its name is asked for again and again, and what was found last stays in force while nothing can be found.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use madang_calls::{Body, Client, ClientConfig, Directory, Elsewhere, Lane, Origin, Policy, Trust};
use madang_model::{InstanceId, Protocol, ServiceName, Url};
use madang_wire::{
    Hop,
    service::{Endpoint, Endpoints, ServiceEndpoints},
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::node::with_causes;

/// How long the addresses of a name are good.
const PERIOD: Duration = Duration::from_secs(30);

/// Who is called; no service has this name, as the directory is the server's own.
const NAME: &str = "remote";

/// The server.
pub(crate) struct Remote {
    url: Url,
    protocol: Protocol,
    patience: Duration,
    longest: usize,
    name: ServiceName,
    client: Client,
    directory: Directory,
    lane: Arc<Lane>,
    policy: Arc<Policy>,
    found: Mutex<Found>,
}

/// What is known of where it is.
#[derive(Default)]
struct Found {
    trust: Option<Trust>,
    at: Option<Instant>,
    addresses: Vec<SocketAddr>,
}

/// An answer, whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

impl Remote {
    /// Of which nothing is known yet. A call takes no longer than `patience`, an answer has `longest` bytes at most. Made
    /// inside the runtime on which it is used.
    pub(crate) fn new(url: Url, protocol: Protocol, patience: Duration, longest: usize) -> Option<Self> {
        let name: ServiceName = NAME.parse().ok()?;
        let directory = Directory::default();
        let lane = directory.lane(Origin::Caller(name.clone()), &name);
        // Whether it is asked again is decided by whoever asks.
        let policy = Policy {
            timeout: patience,
            attempt_timeout: patience,
            attempts: 1,
            ejection: None,
            ..Policy::default()
        };
        Some(Self {
            url,
            protocol,
            patience,
            longest,
            name,
            client: Client::new(ClientConfig { records: 1, ..ClientConfig::new(Hop::Sdk) }),
            directory,
            lane,
            policy: Arc::new(policy),
            found: Mutex::default(),
        })
    }

    /// Believes these about who it is, if there are any, and otherwise whom this machine believes.
    pub(crate) fn believing(mut self, trust: Option<Trust>) -> Self {
        self.found.get_mut().trust = trust;
        self
    }

    /// Calls it where it was found.
    pub(crate) async fn call(&self, request: Request<Body>) -> Result<Answer, String> {
        let answer = self.ask(request).await;
        if answer.is_err() {
            // It may have moved.
            self.found.lock().await.at = None;
        }
        answer
    }

    async fn ask(&self, request: Request<Body>) -> Result<Answer, String> {
        let answer = self.client.call(&self.lane, &self.policy, request).await;
        let (head, body) = answer.map_err(|error| with_causes(&error))?.into_parts();
        let whole = timeout(self.patience, Limited::new(body, self.longest).collect()).await;
        let whole = whole.map_err(|_| "its answer did not come to its end in time".to_owned())?;
        let whole = whole.map_err(|error| format!("its answer broke off: {error}"))?;
        let trailers = whole.trailers().cloned().unwrap_or_default();
        let body = whole.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body, trailers })
    }

    /// Asks for its addresses again if those that are known are old.
    pub(crate) async fn find(&self) -> io::Result<()> {
        let mut found = self.found.lock().await;
        if found.at.is_some_and(|at| at.elapsed() < PERIOD) {
            return Ok(());
        }
        let server = &self.url;
        let elsewhere = if server.is_tls() {
            if found.trust.is_none() {
                let trust = tokio::task::spawn_blocking(Trust::of_this_machine).await;
                found.trust = Some(trust.map_err(io::Error::other)?.map_err(io::Error::other)?);
            }
            found.trust.as_ref().map(|trust| Elsewhere::trusted(server.clone(), trust)).transpose()?
        } else {
            Elsewhere::plain(server.clone())
        };
        let resolving = tokio::net::lookup_host((server.host(), server.port()));
        match timeout(self.patience, resolving).await {
            Ok(Ok(addresses)) => {
                found.addresses = addresses.collect();
                found.addresses.sort();
                found.addresses.dedup();
            }
            // What was known stays in force.
            Ok(Err(error)) if found.addresses.is_empty() => return Err(error),
            Err(_) if found.addresses.is_empty() => return Err(io::ErrorKind::TimedOut.into()),
            Ok(Err(_)) | Err(_) => {}
        }
        if found.addresses.is_empty() {
            return Err(io::Error::other("the name has no address"));
        }
        self.directory.elsewhere(&self.name, elsewhere);
        let endpoint = |address: &SocketAddr| Endpoint {
            instance: InstanceId(address.to_string().as_str().into()),
            address: *address,
            protocol: self.protocol,
            release: None,
        };
        let instances = found.addresses.iter().map(endpoint).collect();
        let service = ServiceEndpoints { instances, ..Default::default() };
        let services = [(self.name.clone(), service)].into();
        self.directory.apply(&Endpoints { services, ..Default::default() });
        found.at = Some(Instant::now());
        Ok(())
    }
}

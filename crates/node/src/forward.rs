//! The way to the back end that gets all telemetry: over HTTP ([`http`]) or gRPC ([`grpc`]), by the same stack as every
//! call, with TLS where its URL says so. When and what is sent is the business of telemetry.

mod grpc;
mod http;
#[cfg(test)]
mod tests;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use ::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header::RETRY_AFTER};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http_body_util::{BodyExt, Limited};
use madang_calls::{Body, Client, ClientConfig, Directory, Elsewhere, Lane, Origin, Policy, Trust};
use madang_model::{Forward, ForwardProtocol, InstanceId, Protocol, ServiceName};
use madang_telemetry::{
    forward::{Carried, Carrier},
    otlp::Signal,
};
use madang_wire::{
    Hop,
    admin::EventKind,
    service::{Endpoint, Endpoints, ServiceEndpoints},
};
use tokio::{
    sync::Mutex,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::node::{Shared, now, with_causes};

/// How long an export may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the addresses of the back end's name are good.
const PERIOD: Duration = Duration::from_secs(30);

/// How often what Madang measures itself is forwarded.
const MEASURED: Duration = Duration::from_secs(10);

/// The longest answer that is read, in bytes.
const ANSWER: usize = 64 * 1024;

/// How much of what the back end says of a failure is told again, in characters.
const SAID: usize = 200;

/// Who is called; no service has this name, as the directory is the back end's own.
const NAME: &str = "telemetry";

/// The back end.
pub(crate) struct BackEnd {
    config: Forward,
    headers: HeaderMap,
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
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    trailers: HeaderMap,
}

// === impl BackEnd ===

impl BackEnd {
    /// Of which nothing is known yet but what the manifest says. Made inside the runtime on which it is used.
    pub(crate) fn new(config: Forward) -> Option<Self> {
        let name: ServiceName = NAME.parse().ok()?;
        let directory = Directory::default();
        let lane = directory.lane(Origin::Caller(name.clone()), &name);
        // Whether it is sent again is decided with what waits in sight.
        let policy = Policy {
            timeout: PATIENCE,
            attempt_timeout: PATIENCE,
            attempts: 1,
            ejection: None,
            ..Policy::default()
        };
        let header = |(name, value): (&String, &String)| {
            let mut value = HeaderValue::try_from(value).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::try_from(name).ok()?, value))
        };
        Some(Self {
            headers: config.headers.iter().filter_map(header).collect(),
            config,
            name,
            client: Client::new(ClientConfig { records: 1, ..ClientConfig::new(Hop::Sdk) }),
            directory,
            lane,
            policy: Arc::new(policy),
            found: Mutex::default(),
        })
    }

    async fn send(&self, signal: Signal, packed: Vec<u8>) -> Carried {
        if let Err(error) = self.find().await {
            let why = format!("{} is not found: {error}", self.config.url);
            return Carried::Later { why, after: None };
        }
        let mut request = match self.config.protocol {
            ForwardProtocol::Http => http::request(signal, &self.config.url.path, packed),
            ForwardProtocol::Grpc => grpc::request(signal, packed),
        };
        request.headers_mut().extend(self.headers.clone());
        match self.call(request).await {
            Ok(answer) => match self.config.protocol {
                ForwardProtocol::Http => http::outcome(signal, &answer),
                ForwardProtocol::Grpc => grpc::outcome(signal, &answer),
            },
            Err(why) => {
                // It may have moved.
                self.found.lock().await.at = None;
                Carried::Later { why, after: None }
            }
        }
    }

    async fn call(&self, request: Request<Body>) -> Result<Answer, String> {
        let answer = self.client.call(&self.lane, &self.policy, request).await;
        let (head, body) = answer.map_err(|error| with_causes(&error))?.into_parts();
        let whole = timeout(PATIENCE, Limited::new(body, ANSWER).collect()).await;
        let whole = whole.map_err(|_| "its answer did not come to its end in time".to_owned())?;
        let whole = whole.map_err(|error| format!("its answer broke off: {error}"))?;
        let trailers = whole.trailers().cloned().unwrap_or_default();
        let body = whole.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body, trailers })
    }

    /// Asks for its addresses again if those that are known are old.
    async fn find(&self) -> io::Result<()> {
        let mut found = self.found.lock().await;
        if found.at.is_some_and(|at| at.elapsed() < PERIOD) {
            return Ok(());
        }
        let server = &self.config.url.server;
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
        match timeout(PATIENCE, resolving).await {
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
        let protocol = match self.config.protocol {
            ForwardProtocol::Http => Protocol::Http,
            ForwardProtocol::Grpc => Protocol::Grpc,
        };
        let endpoint = |address: &SocketAddr| Endpoint {
            instance: InstanceId(address.to_string().as_str().into()),
            address: *address,
            protocol,
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

/// Forwards what comes until the node has stopped, and says when the back end takes nothing, and when it does again.
///
/// What Madang measures itself goes along, now and then and at the end. Nothing more comes once the node has stopped and the
/// last lines of the logs are read, which `read` tells.
pub(crate) async fn run(
    shared: Arc<Shared>,
    forward: madang_telemetry::forward::Forward,
    back_end: BackEnd,
    read: CancellationToken,
) {
    let to = back_end.to_string();
    let node = shared.clone();
    let (own, measured) = (forward.clone(), shared.clone());
    let over = async move {
        let mut ticks = interval(MEASURED);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while measured.stopped.run_until_cancelled(ticks.tick()).await.is_some() {
            own.metrics(&measured.scrape(), now());
        }
        own.metrics(&measured.scrape(), now());
        read.cancelled().await;
    };
    let changed = move |trouble: Option<&str>| match trouble {
        Some(why) => {
            let message = format!("telemetry is not forwarded to {to}: {why}");
            node.announce(EventKind::Degraded, &message);
        }
        None => node.announce(EventKind::Recovered, &format!("telemetry is forwarded to {to} again")),
    };
    forward.run(back_end, rand::random::<f64>, changed, over).await;
}

impl std::fmt::Display for BackEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.config.url)
    }
}

impl Carrier for BackEnd {
    fn carry(&self, signal: Signal, packed: Vec<u8>) -> BoxFuture<'_, Carried> {
        self.send(signal, packed).boxed()
    }
}

// === impl Answer ===

impl Answer {
    /// What a status of HTTP means that is no success.
    fn failed(&self) -> Carried {
        let mut said: String = String::from_utf8_lossy(&self.body).chars().take(SAID).collect();
        said.retain(|char| !char.is_control());
        let why = match said.trim() {
            "" => format!("it answers {}", self.status),
            said => format!("it answers {}: {said}", self.status),
        };
        match self.status.as_u16() {
            429 | 502 | 503 | 504 => Carried::Later { why, after: self.retry_after() },
            _ => Carried::Refused { why },
        }
    }

    /// When it may be tried again, in seconds or as a date (RFC 9110, section 10.2.3).
    fn retry_after(&self) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let date = || httpdate::parse_http_date(text).ok()?.duration_since(std::time::SystemTime::now()).ok();
        text.parse().map(Duration::from_secs).ok().or_else(date)
    }
}

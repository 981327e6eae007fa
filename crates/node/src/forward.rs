//! The way to the back end that gets all telemetry: over HTTP ([`http`]) or gRPC ([`grpc`]), by the same stack as every
//! call, with TLS where its URL says so. When and what is sent is the business of telemetry.

mod grpc;
mod http;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use ::http::{HeaderMap, HeaderName, HeaderValue, header::RETRY_AFTER};
use futures_util::{FutureExt, future::BoxFuture};
use madang_model::{Forward, ForwardProtocol, Protocol};
use madang_telemetry::{
    forward::{Carried, Carrier},
    otlp::Signal,
};
use madang_wire::admin::EventKind;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    node::{Shared, now},
    remote::{Answer, Remote},
};

/// How long an export may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often what Madang measures itself is forwarded.
const MEASURED: Duration = Duration::from_secs(10);

/// The longest answer that is read, in bytes.
const ANSWER: usize = 64 * 1024;

/// How much of what the back end says of a failure is told again, in characters.
const SAID: usize = 200;

/// The back end.
pub(crate) struct BackEnd {
    config: Forward,
    headers: HeaderMap,
    server: Remote,
}

// === impl BackEnd ===

impl BackEnd {
    /// Of which nothing is known yet but what the manifest says. Made inside the runtime on which it is used.
    pub(crate) fn new(config: Forward) -> Option<Self> {
        let protocol = match config.protocol {
            ForwardProtocol::Http => Protocol::Http,
            ForwardProtocol::Grpc => Protocol::Grpc,
        };
        let header = |(name, value): (&String, &String)| {
            let mut value = HeaderValue::try_from(value).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::try_from(name).ok()?, value))
        };
        Some(Self {
            headers: config.headers.iter().filter_map(header).collect(),
            server: Remote::new(config.url.server.clone(), protocol, PATIENCE, ANSWER)?,
            config,
        })
    }

    async fn send(&self, signal: Signal, packed: Vec<u8>) -> Carried {
        if let Err(error) = self.server.find().await {
            let why = format!("{} is not found: {error}", self.config.url);
            return Carried::Later { why, after: None };
        }
        let mut request = match self.config.protocol {
            ForwardProtocol::Http => http::request(signal, &self.config.url.path, packed),
            ForwardProtocol::Grpc => grpc::request(signal, packed),
        };
        request.headers_mut().extend(self.headers.clone());
        match self.server.call(request).await {
            Ok(answer) => match self.config.protocol {
                ForwardProtocol::Http => http::outcome(signal, &answer),
                ForwardProtocol::Grpc => grpc::outcome(signal, &answer),
            },
            Err(why) => Carried::Later { why, after: None },
        }
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

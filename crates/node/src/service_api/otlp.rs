//! Telemetry in, by OpenTelemetry's protocol (OTLP), of whoever has a token: over HTTP ([`http`]) and over gRPC
//! ([`grpc`]), on the same port. See <https://opentelemetry.io/docs/specs/otlp/>.

mod grpc;
mod http;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use ::http::HeaderMap;
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    routing::post,
};
use madang_model::InstanceId;
use madang_telemetry::otlp::{Encoding, Partial, Receiver, Sender, Signal, Unreadable, gunzip};
use madang_wire::{Code, Problem};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::{ApiState, ServiceApi};
use crate::{http::Failure, tokens::Bearer};

pub(crate) use grpc::path as grpc_path;

/// The largest export, packed or not, in bytes. Libraries send some hundred KiB at once.
const LARGEST: usize = 8 << 20;

/// How many exports are read at the same time, which bounds what they take in memory.
const AT_ONCE: usize = 8;

/// How long an export waits for others to be read, and how long it may take to come.
const PATIENCE: Duration = Duration::from_secs(1);
const SLOWEST: Duration = Duration::from_secs(10);

/// The release of an instance that this node runs.
pub(crate) type ReleaseOf = Arc<dyn Fn(&InstanceId) -> Option<String> + Send + Sync>;

/// What keeps the telemetry of services.
#[derive(Clone)]
pub(crate) struct Intake {
    receiver: Receiver,
    release_of: ReleaseOf,
    reading: Arc<Semaphore>,
}

/// The endpoints of both.
pub(super) fn routes() -> Router<ApiState> {
    let mut routes = Router::new();
    for signal in [Signal::Traces, Signal::Logs, Signal::Metrics] {
        let over_http = move |state, headers, body| http::export(signal, state, headers, body);
        let over_grpc = move |state, headers, body| grpc::export(signal, state, headers, body);
        routes = routes.route(http::path(signal), post(over_http)).route(grpc::path(signal), post(over_grpc));
    }
    routes
}

// === impl Intake ===

impl Intake {
    pub(crate) fn new(receiver: Receiver, release_of: ReleaseOf) -> Self {
        Self { receiver, release_of, reading: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The release of an instance, if this node runs it.
    pub(super) fn release(&self, instance: &InstanceId) -> Option<String> {
        (self.release_of)(instance)
    }

    /// Leave to read an export, once those before it are read.
    async fn leave(&self) -> Result<SemaphorePermit<'_>, Failure> {
        match timeout(PATIENCE, self.reading.acquire()).await {
            Ok(Ok(leave)) => Ok(leave),
            _ => {
                let detail = format!("{AT_ONCE} others are being read: send this one again in a second");
                Err(Problem::new(Code::TOO_MUCH_TELEMETRY).detail(detail).into())
            }
        }
    }

    /// Takes one export. It is read beside the requests, as it may be large.
    async fn take(
        &self,
        sender: Sender,
        signal: Signal,
        encoding: Encoding,
        packed: bool,
        body: Bytes,
    ) -> Result<Partial, Failure> {
        let receiver = self.receiver.clone();
        let read = tokio::task::spawn_blocking(move || {
            let unpacked = if packed { Bytes::from(gunzip(&body, LARGEST)?) } else { body };
            receiver.receive(&sender, signal, encoding, &unpacked)
        });
        let read = read.await.map_err(|panic| Problem::new(Code::INTERNAL).detail(panic.to_string()))?;
        Ok(read.map_err(unreadable)?)
    }
}

impl ServiceApi {
    /// Who sends, by the token in the headers.
    fn sender(&self, headers: &HeaderMap) -> Result<Sender, Failure> {
        let system = self.system.borrow().clone();
        let hosted = |unit: &str| {
            let unit = system.units.get(unit);
            unit.into_iter().flat_map(|unit| &unit.services).map(|name| name.as_str().into()).collect()
        };
        let bearer = self.bearer(headers)?;
        let release = match &bearer {
            Bearer::Instance { instance, .. } => self.intake.release(instance),
            Bearer::Unit(_) | Bearer::Service(_) => None,
        };
        let release = release.map(Into::into);
        Ok(match bearer {
            Bearer::Instance { unit, instance } => Sender {
                services: hosted(unit.as_str()),
                name: unit.as_str().into(),
                unit: unit.as_str().into(),
                instance: Some(instance.0),
                release,
            },
            Bearer::Unit(unit) => Sender {
                services: hosted(unit.as_str()),
                name: unit.as_str().into(),
                unit: unit.as_str().into(),
                instance: None,
                release,
            },
            Bearer::Service(service) => {
                let name: Arc<str> = service.as_str().into();
                let unit = system.services.get(&service).and_then(|service| service.unit());
                let unit = unit.map_or_else(|| name.clone(), |unit| unit.as_str().into());
                Sender { services: vec![name.clone()], name, unit, instance: None, release }
            }
        })
    }
}

/// The whole of a body, unless it is too large or slow.
async fn whole(body: Body) -> Result<Bytes, Failure> {
    match timeout(SLOWEST, to_bytes(body, LARGEST)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_large(&error) => Err(unreadable(Unreadable::TooLarge(LARGEST)).into()),
        Ok(Err(_)) => Err(Problem::new(Code::TELEMETRY_STALLED).detail("the connection broke off").into()),
        Err(_) => {
            let detail = format!("its end did not come within {} s", SLOWEST.as_secs());
            Err(Problem::new(Code::TELEMETRY_STALLED).detail(detail).into())
        }
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    let source = std::error::Error::source(error);
    source.is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

fn unreadable(why: Unreadable) -> Problem {
    let code = match why {
        Unreadable::TooLarge(_) => Code::TELEMETRY_TOO_LARGE,
        Unreadable::Packed(_) | Unreadable::Protobuf(_) | Unreadable::Json { .. } => {
            Code::UNREADABLE_TELEMETRY
        }
    };
    Problem::new(code).detail(why.to_string())
}

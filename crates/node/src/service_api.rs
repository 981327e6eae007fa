//! The service API: what an instance asks of its node over loopback, with its own token; `join.rs` is how one that
//! others start comes into rotation.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRef, Query, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::stream;
use http::{HeaderMap, header};
use madang_calls::Killer;
use madang_model::{InstanceId, ServiceName, System};
use madang_wire::{
    Code, Problem,
    admin::FaultView,
    service::{Endpoint, Endpoints, Fired, Join, Joined, Member, Records, RecordsTaken, ServiceEndpoints},
};
use serde::Deserialize;
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;

use crate::{
    doors::Doors,
    faults::Faults,
    http::{Failure, lines, serve},
    join,
    journal::Journal,
    rotation::Switchboard,
    tokens::{Bearer, Tokens},
};

mod fired;
#[cfg(test)]
mod fixture;
pub(crate) mod otlp;
mod records;
#[cfg(test)]
mod strangers;

pub(crate) use records::Inbox;

/// A stream says something at least this often, so that its reader can tell quiet from dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The service API's description.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Madang service API",
        description = "What an instance asks of its node, at MADANG_URL, with `authorization: Bearer $MADANG_TOKEN`. Besides it takes telemetry by OTLP: `POST /v1/traces`, `/v1/logs` and `/v1/metrics`, as protobuf or JSON, and the same over gRPC."
    ),
    paths(endpoints, join::join, join::leave, join::list, fired::fired, records::records),
    components(schemas(
        Endpoints,
        Fired,
        ServiceEndpoints,
        Endpoint,
        Join,
        Joined,
        Member,
        Records,
        RecordsTaken,
        Problem
    ))
)]
pub struct ServiceApiDocument;

#[derive(Clone)]
pub(crate) struct ServiceApi {
    pub(crate) switchboard: Arc<Switchboard>,
    pub(crate) system: watch::Receiver<Arc<System>>,
    pub(crate) tokens: Tokens,
    pub(crate) journal: Arc<Journal>,
    pub(crate) faults: Faults,
    pub(crate) killer: Arc<dyn Killer>,
    pub(crate) doors: Doors,
    pub(crate) inbox: Inbox,
    pub(crate) intake: otlp::Intake,
}

/// What the handlers may ask for: the API, or the sign that it ends.
#[derive(Clone)]
pub(crate) struct ApiState {
    api: ServiceApi,
    shutdown: CancellationToken,
}

impl FromRef<ApiState> for ServiceApi {
    fn from_ref(state: &ApiState) -> Self {
        state.api.clone()
    }
}

impl FromRef<ApiState> for CancellationToken {
    fn from_ref(state: &ApiState) -> Self {
        state.shutdown.clone()
    }
}

impl ServiceApi {
    /// Serves until told to stop; streams end then.
    pub(crate) async fn run(self, listener: TcpListener, shutdown: CancellationToken) -> std::io::Result<()> {
        let router = self.router(shutdown.clone());
        serve::<SocketAddr, _>(listener, router, shutdown).await
    }

    fn router(self, shutdown: CancellationToken) -> Router {
        Router::new()
            .route("/v1/endpoints", get(endpoints))
            .route("/v1/faults/{id}/fired", post(fired::fired))
            .route("/v1/records", post(records::records).layer(DefaultBodyLimit::max(records::LARGEST)))
            .merge(join::routes())
            .merge(otlp::routes())
            .route("/openapi.json", get(|| async { axum::Json(ServiceApiDocument::openapi()) }))
            .with_state(ApiState { api: self, shutdown })
    }

    pub(crate) fn bearer(&self, headers: &HeaderMap) -> Result<Bearer, Failure> {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        // The scheme's case does not matter (RFC 9110, section 11.1).
        let token = given.and_then(|value| value.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token);
        token.and_then(|token| self.tokens.check(token)).ok_or_else(|| {
            let detail = "send `authorization: Bearer $MADANG_TOKEN`, from the environment of the instance";
            Problem::new(Code::TOKEN).detail(detail).into()
        })
    }

    /// Who asks, and the services whose instance that is.
    pub(crate) fn hosted(&self, bearer: &Bearer) -> (String, BTreeSet<ServiceName>) {
        let system = self.system.borrow();
        match bearer {
            Bearer::Instance { unit, .. } | Bearer::Unit(unit) => {
                let services = system.units.get(unit).into_iter().flat_map(|unit| &unit.services);
                (unit.to_string(), services.cloned().collect())
            }
            Bearer::Service(own) => (
                own.to_string(),
                system.services.contains_key(own).then(|| own.clone()).into_iter().collect(),
            ),
        }
    }

    /// The service that asks: the one it names, which its unit must host or its token be for, or else the only one.
    fn asker(&self, bearer: &Bearer, named: Option<ServiceName>) -> Result<ServiceName, Failure> {
        let (asks, hosted) = self.hosted(bearer);
        let found = match named {
            Some(name) => hosted.get(&name),
            None => hosted.first().filter(|_| hosted.len() == 1),
        };
        found.cloned().ok_or_else(|| {
            let names: Vec<_> = hosted.iter().map(|name| name.as_str()).collect();
            let detail = format!("ask with ?service= for one that {asks} hosts: {}", names.join(", "));
            Problem::new(Code::UNKNOWN_NAME).detail(detail).into()
        })
    }

    /// Where a service that runs elsewhere is called by those who cannot call it themselves, for want of TLS: at the
    /// door of the asker's unit, or else at Madang's own listener for the service.
    fn way_outside(&self, system: &System, asker: &ServiceName, callee: &ServiceName) -> Option<Endpoint> {
        let service = system.services.get(callee)?;
        let unit = system.services.get(asker)?.unit().and_then(|unit| system.units.get(unit));
        let door = unit.and_then(|unit| self.doors.of(system, unit).get(callee).copied());
        let instance =
            InstanceId(format!("{callee}-{}", if door.is_some() { "door" } else { "listener" }).into());
        let address = door.or(service.listen)?;
        Some(Endpoint { instance, address, protocol: service.protocol, release: None })
    }

    /// What the asker declares, with its own limits; versions come from the registry.
    fn declared(&self, asker: &ServiceName) -> Endpoints {
        let system = self.system.borrow().clone();
        let known = self.switchboard.registry().snapshot();
        let mut services = BTreeMap::new();
        for callee in system.services.get(asker).into_iter().flat_map(|service| service.calls.keys()) {
            let mut entry = known.services.get(callee).cloned().unwrap_or_default();
            let mut policy = system.policy_of_call(asker, callee);
            if system.services.get(callee).is_some_and(|service| service.url().is_some()) {
                entry.instances = self.way_outside(&system, asker, callee).into_iter().collect();
                // Whoever listens there tries again, and has the faults: twice is too much of both.
                policy.attempts = 1;
                policy.faults.clear();
            } else {
                policy.faults.extend(self.faults.of(Some(asker), callee));
            }
            entry.policy = Some(policy);
            services.insert(callee.clone(), entry);
        }
        let calls_at = system.services.get(asker).map(|service| service.calls_at.to_string());
        Endpoints { version: known.version, services, calls_at }
    }
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    watch: bool,
    service: Option<ServiceName>,
}

/// Where the services are that the asker declares to call, with the limits of its calls.
#[utoipa::path(get, path = "/v1/endpoints",
    params(
        ("watch" = Option<bool>, Query, description = "Go on with each change, one JSON document a line, at least every 15 seconds."),
        ("service" = Option<String>, Query, description = "The service that asks, if the unit hosts several.")),
    responses((status = 200, body = Endpoints), (status = 401, body = Problem), (status = 404, body = Problem)))]
async fn endpoints(
    State(api): State<ServiceApi>,
    State(shutdown): State<CancellationToken>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let asker = api.asker(&api.bearer(&headers)?, asked.service)?;
    if !asked.watch {
        return Ok(axum::Json(api.declared(&asker)).into_response());
    }
    let mut system = api.system.clone();
    system.mark_changed();
    let (registry, faults) = (api.switchboard.registry().watch(), api.faults.watch());
    let watching = Watching { registry, system, faults, api, asker, shutdown };
    Ok(lines(stream::unfold(watching, |mut watching| async {
        let next = watching.next().await?;
        Some((next, watching))
    })))
}

/// One reader of `?watch=true`.
struct Watching {
    registry: madang_discovery::Watch,
    system: watch::Receiver<Arc<System>>,
    faults: watch::Receiver<Arc<Vec<FaultView>>>,
    api: ServiceApi,
    asker: ServiceName,
    shutdown: CancellationToken,
}

impl Watching {
    /// Waits for a change of what is ready, of what is declared or of the faults in force, or for the heartbeat.
    async fn next(&mut self) -> Option<Endpoints> {
        let changed = async {
            tokio::select! {
                next = self.registry.next() => next.map(drop),
                changed = self.system.changed() => changed.ok(),
                changed = self.faults.changed() => changed.ok(),
            }
        };
        tokio::select! {
            () = self.shutdown.cancelled() => return None,
            changed = timeout(HEARTBEAT, changed) => if let Ok(gone) = changed { gone? },
        }
        Some(self.api.declared(&self.asker))
    }
}

#[cfg(test)]
mod tests;

//! Joining from outside: an instance that others start comes into rotation by the service API, and stays for as long
//! as it renews its lease.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    routing::{get, put},
};
use http::{HeaderMap, StatusCode};
use madang_discovery::{Lease, MOST_JOINED, Refused, Registry};
use madang_model::{
    InstanceId, Protocol, Service, ServiceName, System, format_duration, nearest, parse_duration,
};
use madang_wire::{
    Code, Problem,
    admin::{Event, EventKind, InstanceView, State as InstanceState},
    service::{Endpoint, Join, Joined, Member},
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    http::Failure,
    journal::Journal,
    node::now,
    rotation::Switchboard,
    service_api::{ApiState, ServiceApi},
    tokens::Bearer,
};

/// The lease of an instance that asks for none.
const LEASE: Duration = Duration::from_secs(10);
/// The shortest lease: renewals are no load.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest: so long requests may go to an instance that is gone.
const LONGEST: Duration = Duration::from_secs(5 * 60);
/// The longest id, in bytes.
const LONGEST_ID: usize = 64;
/// The largest request, in bytes.
const LARGEST: usize = 16 * 1024;

type Answer<T> = Result<T, Failure>;

/// The endpoints of those who join.
pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/v1/services/{service}/instances", get(list))
        .route("/v1/services/{service}/instances/{id}", put(join).delete(leave))
        .layer(DefaultBodyLimit::max(LARGEST))
}

/// Puts an instance into rotation until its lease ends, or renews that; without a body it only renews.
#[utoipa::path(put, path = "/v1/services/{service}/instances/{id}",
    params(
        ("service" = String, Path),
        ("id" = String, Path, description = "1 to 64 letters, digits and `.`, `_`, `:`, `-`; one's own choice, and the same for each renewal.")),
    request_body = Option<Join>,
    responses(
        (status = 200, description = "Renewed.", body = Joined),
        (status = 201, description = "New in rotation.", body = Joined),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, description = "There is no such service, or nothing to renew.", body = Problem),
        (status = 409, body = Problem)))]
pub(crate) async fn join(
    State(api): State<ServiceApi>,
    Path((service, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<(StatusCode, Json<Joined>)> {
    let (system, service) = api.joinable(&headers, &service)?;
    let id = instance_id(&id)?;
    if body.is_empty() {
        return match api.switchboard.registry().renew(&service.name, &id) {
            Some(lease) => Ok((StatusCode::OK, Json(joined(&lease)))),
            None => Err(nothing_to_renew(&service.name, &id)),
        };
    }
    let (endpoint, length) = read(&body, id, service.protocol)?;
    let (lease, new) = api
        .switchboard
        .change(|registry| registry.join(&service.name, endpoint, length))
        .map_err(|why| refused(&service.name, why))?;
    if new {
        let message = format!("at {}, lease {}", lease.endpoint.address, format_duration(length));
        api.journal.record(event(&system, &lease, EventKind::Joined, message));
    }
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(joined(&lease))))
}

/// Takes an instance that joined out of rotation. One that is not there is no error.
#[utoipa::path(delete, path = "/v1/services/{service}/instances/{id}",
    params(("service" = String, Path), ("id" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem)))]
pub(crate) async fn leave(
    State(api): State<ServiceApi>,
    Path((service, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer<StatusCode> {
    let (system, service) = api.joinable(&headers, &service)?;
    let id = instance_id(&id)?;
    if let Some(lease) = api.switchboard.change(|registry| registry.leave(&service.name, &id)) {
        api.journal.record(event(&system, &lease, EventKind::Left, "left".to_owned()));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The instances of a service that are in rotation.
#[utoipa::path(get, path = "/v1/services/{service}/instances", params(("service" = String, Path)),
    responses((status = 200, body = Vec<Member>), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem)))]
pub(crate) async fn list(
    State(api): State<ServiceApi>,
    Path(service): Path<String>,
    headers: HeaderMap,
) -> Answer<Json<Vec<Member>>> {
    let (_, service) = api.joinable(&headers, &service)?;
    let registry = api.switchboard.registry();
    let leases = registry.leases();
    let lease_of = |endpoint: &Endpoint| {
        leases.iter().find(|held| held.service == service.name && held.endpoint.instance == endpoint.instance)
    };
    let known = registry.snapshot();
    let instances = known.services.get(&service.name).into_iter().flat_map(|known| &known.instances);
    Ok(Json(
        instances
            .map(|endpoint| Member {
                id: endpoint.instance.to_string(),
                address: endpoint.address.to_string(),
                protocol: endpoint.protocol.as_str().to_owned(),
                joined: lease_of(endpoint).map(joined),
            })
            .collect(),
    ))
}

// === impl ServiceApi ===

impl ServiceApi {
    /// The service of this name, if whoever asks may join it.
    fn joinable(&self, headers: &HeaderMap, name: &str) -> Answer<(Arc<System>, Service)> {
        let bearer = self.bearer(headers)?;
        let system = self.system.borrow().clone();
        let Some(service) = system.services.get(name).cloned() else {
            let near = nearest(name, system.services.keys().map(ServiceName::as_str));
            let near = near.map(|near| format!(": did you mean \"{near}\"?")).unwrap_or_default();
            let detail = format!("{} has no service \"{name}\"{near}", system.name);
            return Err(Problem::new(Code::UNKNOWN_NAME).detail(detail).into());
        };
        let (may, whose) = match bearer {
            Bearer::Service(own) => (own == service.name, own.to_string()),
            Bearer::Instance { unit, .. } | Bearer::Unit(unit) => {
                (service.unit() == Some(&unit), unit.to_string())
            }
        };
        if !may {
            let detail =
                format!("this token is {whose}'s; one for {name} is printed by `madang token {name}`");
            return Err(Problem::new(Code::FOREIGN_TOKEN).detail(detail).into());
        }
        if let Some(url) = service.url() {
            let detail = format!("{name} runs elsewhere, at {url}, and its instances are found there");
            return Err(Problem::new(Code::NOT_JOINED).detail(detail).into());
        }
        Ok((system, service))
    }
}

/// Takes those out of rotation whose leases end, until told to stop.
pub(crate) async fn expire(
    switchboard: Arc<Switchboard>,
    journal: Arc<Journal>,
    system: watch::Receiver<Arc<System>>,
    stopped: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stopped.cancelled() => return,
            () = switchboard.registry().lease_ended() => {}
        }
        for lease in switchboard.change(Registry::expire) {
            let message = format!("did not renew its lease of {}", format_duration(lease.length));
            let event = event(&system.borrow(), &lease, EventKind::Expired, message);
            journal.record(event);
        }
    }
}

/// Those who joined, as `ps` shows them.
pub(crate) fn views(registry: &Registry, system: &System) -> Vec<InstanceView> {
    let (at, now) = (now(), Instant::now());
    let view = |lease: Lease| {
        let left = lease.ends.saturating_duration_since(now);
        InstanceView {
            name: lease.endpoint.instance.to_string(),
            unit: unit(system, &lease.service),
            services: vec![lease.service.to_string()],
            release: None,
            state: InstanceState::Ready,
            health: format!("joined, lease {}s", left.as_millis().div_ceil(1000)),
            restarts: 0,
            pid: None,
            memory: None,
            cpu_us: None,
            url: Some(format!("http://{}", lease.endpoint.address)),
            since: at.saturating_sub(now.saturating_duration_since(lease.since).as_millis() as u64),
            reason: None,
            log: None,
            lease_ends: Some(at + left.as_millis() as u64),
            by_hand: false,
        }
    };
    registry.leases().into_iter().map(view).collect()
}

/// The unit that it stands beside; the service itself if others run all of it.
fn unit(system: &System, service: &ServiceName) -> String {
    let unit = system.services.get(service).and_then(Service::unit);
    unit.map_or_else(|| service.to_string(), ToString::to_string)
}

fn event(system: &System, lease: &Lease, kind: EventKind, message: String) -> Event {
    let instance = Some(lease.endpoint.instance.to_string());
    let release = lease.endpoint.release.as_ref().map(ToString::to_string);
    Event { at: now(), unit: unit(system, &lease.service), instance, release, kind, message }
}

fn joined(lease: &Lease) -> Joined {
    let left = lease.ends.saturating_duration_since(Instant::now());
    Joined {
        lease: format_duration(lease.length),
        renew: format_duration(renewal(lease.length)),
        ends_at: now() + left.as_millis() as u64,
    }
}

/// A third of the lease, in whole seconds where that leaves any.
fn renewal(length: Duration) -> Duration {
    let third = length / 3;
    match third.as_secs() {
        0 => Duration::from_millis(third.as_millis() as u64),
        seconds => Duration::from_secs(seconds),
    }
}

fn nothing_to_renew(service: &ServiceName, id: &InstanceId) -> Failure {
    let detail = format!(
        "{service} has no instance {id} that joined: its lease has ended, or it left; send its address to join again"
    );
    Problem::new(Code::UNKNOWN_NAME).detail(detail).into()
}

fn refused(service: &ServiceName, why: Refused) -> Failure {
    match why {
        Refused::Taken => Problem::new(Code::NOT_JOINED).detail(
            "an instance that Madang runs has this id, and is in rotation by itself: choose another id",
        ),
        Refused::Full => Problem::new(Code::TOO_MANY_JOINED).detail(format!(
            "{MOST_JOINED} instances of {service} have joined: let one leave, or its lease end"
        )),
    }
    .into()
}

fn instance_id(given: &str) -> Answer<InstanceId> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    if (1..=LONGEST_ID).contains(&given.len()) && given.bytes().all(allowed) {
        return Ok(InstanceId(given.into()));
    }
    Err(Failure::parameter("id", "an id has 1 to 64 letters, digits and `.`, `_`, `:` or `-`"))
}

/// What a body says, or all that is wrong with it.
fn read(body: &[u8], instance: InstanceId, protocol: Protocol) -> Answer<(Endpoint, Duration)> {
    let join: Join = serde_json::from_slice(body).map_err(|error| {
        let detail = format!(
            "the body is not what joins, such as {{\"address\": \"127.0.0.1:4001\", \"lease\": \"10s\"}}: {error}"
        );
        Failure::from(Problem::new(Code::BAD_PARAMETER).detail(detail))
    })?;
    let address = address(&join.address);
    let protocol = join.protocol.map_or(Ok(protocol), |given| {
        let known = [Protocol::Http, Protocol::H2c, Protocol::Grpc];
        known.into_iter().find(|known| known.as_str() == given).ok_or("expected http, h2c or grpc".to_owned())
    });
    let length = join.lease.map_or(Ok(LEASE), |given| match parse_duration(&given) {
        Ok(length) if (SHORTEST..=LONGEST).contains(&length) => Ok(length),
        Ok(_) => Err("a lease lasts from 1s to 5m".to_owned()),
        Err(error) => Err(error.to_string()),
    });
    let mut problem = Problem::new(Code::BAD_PARAMETER);
    for (field, wrong) in [
        ("address", address.as_ref().err()),
        ("protocol", protocol.as_ref().err()),
        ("lease", length.as_ref().err()),
    ] {
        if let Some(wrong) = wrong {
            problem = problem.field(field, wrong);
        }
    }
    match (address, protocol, length) {
        (Ok(address), Ok(protocol), Ok(length)) => {
            Ok((Endpoint { instance, address, protocol, release: None }, length))
        }
        _ => Err(problem.into()),
    }
}

fn address(given: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = given.parse().map_err(|_| {
        "expected an IP address, not a name, and a port, such as 127.0.0.1:4001 or [::1]:4001".to_owned()
    })?;
    match address.ip() {
        _ if address.port() == 0 => Err("port 0 is no port to call".to_owned()),
        ip if ip.is_unspecified() => Err(format!(
            "{ip} is where to listen, not where to call: write the address that it is reached at"
        )),
        ip if ip.is_multicast() => Err(format!("{ip} is no single host")),
        _ => Ok(address),
    }
}

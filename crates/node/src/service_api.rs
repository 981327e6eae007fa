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
mod tests {
    use axum::body::to_bytes;
    use http::StatusCode;
    use http_body_util::BodyExt;
    use madang_model::policy::FaultEffect;

    use super::{fixture::fixture, *};

    #[tokio::test]
    async fn an_instance_sees_what_it_declares_with_its_own_limits() {
        let fixture = fixture().await;
        fixture.ready("users");
        fixture.ready("orders");
        let answer = fixture.get("/v1/endpoints", &fixture.token("orders")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let seen: Endpoints =
            serde_json::from_slice(&to_bytes(answer.into_body(), 9999).await.unwrap()).unwrap();
        let names: Vec<&str> = seen.services.keys().map(ServiceName::as_str).collect();
        assert_eq!(names, ["catalog", "mail", "users"], "orders itself is not declared");
        assert_eq!(seen.services["users"].instances.len(), 1);
        assert_eq!(seen.services["users"].policy.as_ref().unwrap().timeout, Duration::from_secs(2));
        assert_eq!(seen.services["catalog"].policy.as_ref().unwrap().timeout, Duration::from_millis(500));
        assert!(seen.services["catalog"].instances.is_empty());
        assert_eq!(seen.calls_at.as_deref(), Some("madang.toml:15"), "where to declare another");
    }

    #[tokio::test]
    async fn a_stranger_sees_nothing() {
        let fixture = fixture().await;
        for token in ["", "orders/orders-a/00", &fixture.token("orders").replace("orders", "users")] {
            assert_eq!(
                fixture.get("/v1/endpoints", token).await.status(),
                StatusCode::UNAUTHORIZED,
                "{token}"
            );
        }
        let other = fixture.get("/v1/endpoints?service=users", &fixture.token("orders")).await;
        assert_eq!(other.status(), StatusCode::NOT_FOUND, "a service of another unit");
    }

    #[tokio::test]
    async fn a_watch_tells_of_faults_too() {
        let fixture = fixture().await;
        let mut body = fixture.get("/v1/endpoints?watch=true", &fixture.token("orders")).await.into_body();
        let mut until = async |count: usize| loop {
            let line = body.frame().await.unwrap().unwrap().into_data().unwrap();
            let seen: Endpoints = serde_json::from_slice(&line).unwrap();
            let faults = |service: &str| seen.services[service].policy.as_ref().unwrap().faults.clone();
            assert!(faults("catalog").is_empty());
            if faults("users").len() == count {
                return faults("users");
            }
        };
        until(0).await;
        let fault = fixture.fault(FaultEffect::Hang).await;
        assert_eq!(until(1).await[0].id, fault.id);
    }

    /// So that what was lost on the way is not lost for long.
    #[tokio::test]
    async fn a_watch_tells_all_of_it_anew_every_15_seconds() {
        let fixture = fixture().await;
        fixture.ready("users");
        tokio::time::pause();
        let mut body = fixture.get("/v1/endpoints?watch=true", &fixture.token("orders")).await.into_body();
        let mut told = Vec::new();
        let began = tokio::time::Instant::now();
        while began.elapsed() < 3 * HEARTBEAT {
            let line = body.frame().await.unwrap().unwrap().into_data().unwrap();
            let seen: Endpoints = serde_json::from_slice(&line).unwrap();
            assert_eq!(seen.services["users"].instances.len(), 1, "all of it");
            told.push(began.elapsed().as_secs());
        }
        told.dedup();
        assert_eq!(told, [0, 15, 30, 45]);
    }

    #[tokio::test]
    async fn a_watch_tells_each_change() {
        let fixture = fixture().await;
        let mut body = fixture.get("/v1/endpoints?watch=true", &fixture.token("orders")).await.into_body();
        for expected in [0, 1] {
            let line = loop {
                let line = body.frame().await.unwrap().unwrap().into_data().unwrap();
                let seen: Endpoints = serde_json::from_slice(&line).unwrap();
                // What is known at first may come twice: for the registry and for the manifest.
                if expected == 0 || !seen.services["users"].instances.is_empty() {
                    break seen;
                }
            };
            assert_eq!(line.services["users"].instances.len(), expected);
            fixture.ready("users");
        }
    }

    /// Whoever changes the API sees it here, and whoever uses it reads it there.
    #[test]
    fn the_document_is_the_one_in_docs() {
        let document = ServiceApiDocument::openapi().to_pretty_json().unwrap() + "\n";
        expect_test::expect_file!["../../../docs/openapi/service.json"].assert_eq(&document);
    }

    async fn json<T: serde::de::DeserializeOwned>(answer: Response) -> T {
        serde_json::from_slice(&to_bytes(answer.into_body(), 99_999).await.unwrap()).unwrap()
    }

    const POS: &str = "/v1/services/pos/instances";

    #[tokio::test]
    async fn an_instance_that_others_start_joins_renews_and_leaves() {
        let fixture = fixture().await;
        let token = fixture.token_of("pos");
        let till = format!("{POS}/till-1");
        let join = |body: &'static str| fixture.send("PUT", &till, &token, body);
        let first = join(r#"{"address": "127.0.0.1:4001", "lease": "5m"}"#).await;
        assert_eq!(first.status(), StatusCode::CREATED);
        let lease: Joined = json(first).await;
        assert_eq!((lease.lease.as_str(), lease.renew.as_str()), ("5m", "100s"));
        let left = lease.ends_at - crate::node::now();
        assert!((299_000..=300_000).contains(&left), "{left}");

        let members: Vec<Member> = json(fixture.get(POS, &token).await).await;
        assert_eq!(members.len(), 1);
        assert_eq!((members[0].id.as_str(), members[0].address.as_str()), ("till-1", "127.0.0.1:4001"));
        assert_eq!((members[0].protocol.as_str(), members[0].joined.is_some()), ("http", true));

        assert_eq!(join("").await.status(), StatusCode::OK, "a renewal");
        assert_eq!(join(r#"{"address": "[::1]:4001", "protocol": "grpc"}"#).await.status(), StatusCode::OK);
        let members: Vec<Member> = json(fixture.get(POS, &token).await).await;
        assert_eq!((members[0].address.as_str(), members[0].protocol.as_str()), ("[::1]:4001", "grpc"));

        for _ in 0..2 {
            let gone = fixture.send("DELETE", &till, &token, "").await;
            assert_eq!(gone.status(), StatusCode::NO_CONTENT);
        }
        assert!(json::<Vec<Member>>(fixture.get(POS, &token).await).await.is_empty());
        let late = join("").await;
        assert_eq!(late.status(), StatusCode::NOT_FOUND);
        assert!(json::<Problem>(late).await.detail.unwrap().contains("send its address to join again"));
        assert_eq!(
            fixture.events(),
            ["pos till-1 Joined: at 127.0.0.1:4001, lease 5m", "pos till-1 Left: left"]
        );
    }

    #[tokio::test]
    async fn a_lease_that_is_not_renewed_ends_and_a_later_renewal_is_a_new_registration() {
        let fixture = fixture().await;
        let token = fixture.token_of("pos");
        let stopped = CancellationToken::new();
        let expiring = tokio::spawn(join::expire(
            fixture.switchboard.clone(),
            fixture.journal.clone(),
            fixture.system.subscribe(),
            stopped.clone(),
        ));
        let join = || async {
            let body = r#"{"address": "127.0.0.1:4001", "lease": "2s"}"#;
            fixture.send("PUT", &format!("{POS}/till-1"), &token, body).await.status()
        };
        let members = || async { json::<Vec<Member>>(fixture.get(POS, &token).await).await.len() };
        assert_eq!(join().await, StatusCode::CREATED);
        tokio::time::pause();
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(1_900)).await;
            assert_eq!(join().await, StatusCode::OK);
        }
        tokio::time::sleep(Duration::from_millis(1_998)).await;
        assert_eq!(members().await, 1);
        tokio::time::sleep(Duration::from_millis(4)).await;
        assert_eq!(members().await, 0);
        assert_eq!(join().await, StatusCode::CREATED);
        assert_eq!(members().await, 1);
        assert_eq!(fixture.events()[1], "pos till-1 Expired: did not renew its lease of 2s");
        stopped.cancel();
        expiring.await.unwrap();
    }

    #[tokio::test]
    async fn only_who_has_a_token_of_the_service_may_join_it() {
        let fixture = fixture().await;
        let body = r#"{"address": "127.0.0.1:4001"}"#;
        let status = |service: &'static str, token: String| {
            let fixture = &fixture;
            let path = format!("/v1/services/{service}/instances/mine");
            async move { fixture.send("PUT", &path, &token, body).await.status() }
        };
        assert_eq!(status("pos", String::new()).await, StatusCode::UNAUTHORIZED);
        assert_eq!(status("pos", fixture.token_of("users")).await, StatusCode::FORBIDDEN);
        assert_eq!(status("pos", fixture.token("users")).await, StatusCode::FORBIDDEN);
        assert_eq!(status("users", fixture.token("users")).await, StatusCode::CREATED, "an instance its own");
        assert_eq!(status("orders", fixture.token_of("orders")).await, StatusCode::CREATED);
        assert_eq!(status("mail", fixture.token_of("mail")).await, StatusCode::CONFLICT, "it has a url");

        let unknown =
            fixture.send("PUT", "/v1/services/po/instances/a", &fixture.token_of("pos"), body).await;
        assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
        assert!(json::<Problem>(unknown).await.detail.unwrap().ends_with("did you mean \"pos\"?"));

        fixture.ready("users");
        let (path, token) = ("/v1/services/users/instances/users-a", fixture.token("users"));
        let taken = fixture.send("PUT", path, &token, body).await;
        assert_eq!(taken.status(), StatusCode::CONFLICT);
    }

    #[tokio::test]
    async fn who_joined_may_ask_where_the_services_are_that_it_calls() {
        let fixture = fixture().await;
        fixture.ready("users");
        fixture.ready("mail");
        let seen: Endpoints = json(fixture.get("/v1/endpoints", &fixture.token_of("pos")).await).await;
        assert_eq!(seen.services.keys().map(ServiceName::as_str).collect::<Vec<_>>(), ["mail", "users"]);
        let mail = &seen.services["mail"].instances;
        assert_eq!(
            mail[0].address,
            "127.0.0.1:3025".parse().unwrap(),
            "what has a url is called over Madang"
        );
        assert_eq!(mail.len(), 1);
        let seen: Endpoints = json(fixture.get("/v1/endpoints", &fixture.token("orders")).await).await;
        let (door, system) = (&seen.services["mail"].instances, fixture.system.borrow().clone());
        assert_eq!(
            door[0].address,
            fixture.doors.of(&system, &system.units["orders"])["mail"],
            "a unit has a door"
        );
        let other = fixture.get("/v1/endpoints?service=orders", &fixture.token_of("pos")).await;
        assert_eq!(other.status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn what_cannot_join_is_told_all_that_is_wrong() {
        let fixture = fixture().await;
        let token = fixture.token_of("pos");
        let check = |id: &'static str, body: &'static str, fields: &'static [&'static str]| {
            let (fixture, token) = (&fixture, &token);
            async move {
                let answer = fixture.send("PUT", &format!("{POS}/{id}"), token, body).await;
                assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{id} {body}");
                let problem: Problem = json(answer).await;
                let named: Vec<_> = problem.errors.iter().map(|error| error.field.as_str()).collect();
                assert_eq!(named, fields, "{id} {body}: {problem:?}");
            }
        };
        let good = r#"{"address": "127.0.0.1:4001"}"#;
        check("a%2Fb", good, &["id"]).await;
        check("%C3%A9", good, &["id"]).await;
        check("a", "no", &[]).await;
        check("a", r#"{"adress": "127.0.0.1:4001"}"#, &[]).await;
        check("a", r#"{"address": "localhost:4001"}"#, &["address"]).await;
        check("a", r#"{"address": "127.0.0.1"}"#, &["address"]).await;
        check("a", r#"{"address": "127.0.0.1:0"}"#, &["address"]).await;
        check("a", r#"{"address": "0.0.0.0:4001"}"#, &["address"]).await;
        check("a", r#"{"address": "127.0.0.1:4001", "lease": "999ms"}"#, &["lease"]).await;
        check("a", r#"{"address": "127.0.0.1:4001", "lease": "301s"}"#, &["lease"]).await;
        check("a", r#"{"address": "x", "lease": "10", "protocol": "h3"}"#, &["address", "protocol", "lease"])
            .await;
        assert!(json::<Vec<Member>>(fixture.get(POS, &token).await).await.is_empty());
    }
}

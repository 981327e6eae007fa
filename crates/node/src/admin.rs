//! The admin API: all that the command line, a dashboard or a script may ask of a node.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{ConnectInfo, Path, Query, Request, State},
    middleware::{self, Next},
    routing::{delete, get, post},
};
use http::StatusCode;
use madang_dashboard::Session;
use madang_model::{ServiceName, UnitName};
use madang_telemetry::RecordFilter;
use madang_wire::{
    Code, Problem, RequestRecord, TraceId,
    admin::{
        AnswersView, BreakerState, BreakerView, EnvironmentView, Event, EventKind, FaultSpec, FaultView,
        ForwardView, HealthView, InstanceView, LimitView, RouteView, ServiceView, State as InstanceState,
        SystemView, TargetView, TokenView, TrafficView,
    },
    audit::AuditEntry,
    cache::{CacheView, CachedRoute, PurgeSpec, Purged},
    dashboard::{LoginView, TryAnswer, TryRequest},
    keys::{KeySpec, KeyView, NewKey, SigningKey},
    log::{LogLevel, LogLine, LogSource},
    metrics::{ExternalMetric, InstanceSeries, MetricsSeries, MetricsSummary},
    telemetry::TelemetryView,
    trace::{NotKept, SpanDetails, SpanEvent, SpanLink, SpanView, TraceList, TraceSummary, TraceView},
};
use serde::Deserialize;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use utoipa::OpenApi;

use crate::{
    faults,
    http::{Failure, serve, serve_as_is, whole},
    missing,
    node::{Shared, with_causes},
    peer::Peer,
    scrape,
};

pub(crate) mod access;
pub(crate) mod audit;
mod cache;
mod events;
mod explore;
mod guard;
mod keys;
mod listener;
mod login;
mod logs;
mod metrics;
mod patience;
mod traces;
mod units;
mod why;

pub(crate) use listener::{Bounded, open};

type Answer<T> = Result<T, Failure>;

/// The admin API's description.
#[derive(OpenApi)]
#[openapi(
    info(title = "Madang admin API", description = "What a node's owner asks of it, over its unix socket."),
    paths(
        system,
        instances,
        health,
        services,
        service,
        explore::document,
        routes,
        logs::list,
        events::list,
        requests,
        explore::request,
        traffic,
        traces::list,
        traces::get,
        metrics::summary,
        metrics::series,
        metrics::instances,
        metrics::external,
        missing::telemetry,
        scrape::metrics,
        why::get,
        cache::view,
        cache::purge,
        faults::list,
        faults::add,
        faults::remove,
        faults::remove_all,
        keys::list,
        keys::create,
        keys::revoke,
        keys::rotate,
        units::restart,
        units::stop,
        units::start,
        audit::audit,
        login::login,
        token,
        environment,
        down
    ),
    components(schemas(
        SystemView,
        InstanceView,
        ServiceView,
        HealthView,
        BreakerView,
        LimitView,
        BreakerState,
        AnswersView,
        RouteView,
        TargetView,
        LogLine,
        LogLevel,
        LogSource,
        Event,
        EventKind,
        InstanceState,
        RequestRecord,
        TokenView,
        KeySpec,
        KeyView,
        NewKey,
        SigningKey,
        EnvironmentView,
        TrafficView,
        AuditEntry,
        LoginView,
        TryRequest,
        TryAnswer,
        TraceList,
        TraceSummary,
        TraceView,
        SpanView,
        SpanDetails,
        SpanEvent,
        SpanLink,
        NotKept,
        MetricsSummary,
        MetricsSeries,
        InstanceSeries,
        ExternalMetric,
        TelemetryView,
        CacheView,
        CachedRoute,
        PurgeSpec,
        Purged,
        FaultSpec,
        FaultView,
        ForwardView,
        Problem
    ))
)]
pub struct AdminApi;

/// Serves the API on its unix socket until told to stop.
pub(crate) async fn run(
    shared: Arc<Shared>,
    listener: UnixListener,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    serve::<Peer, _>(listener, router(&shared), shutdown).await
}

/// Serves the API and the dashboard on loopback until told to stop.
pub(crate) async fn run_over_tcp(
    shared: Arc<Shared>,
    listener: Option<TcpListener>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let Some(listener) = listener else {
        shutdown.cancelled().await;
        return Ok(());
    };
    let api = whole(router(&shared));
    // In this process it is the session that asks.
    let of_session = |Extension(session): Extension<Session>, mut request: Request, next: Next| async move {
        request.extensions_mut().insert(ConnectInfo(Peer(session.who)));
        next.run(request).await
    };
    let inside = api.clone().layer(middleware::from_fn(of_session));
    let pages =
        madang_dashboard::router(inside, shutdown.clone()).merge(login::routes(shared.access.clone()));
    let choose = move |request: Request| {
        let page = madang_dashboard::is_page(request.uri().path())
            || madang_dashboard::is_open(request.uri().path());
        let asked = if page { pages.clone() } else { api.clone() };
        async move { asked.oneshot(request).await }
    };
    let all = Router::new().fallback_service(tower::service_fn(choose));
    let all = all.layer(middleware::from_fn_with_state(shared.access.clone(), guard::guard));
    serve_as_is::<Peer, _>(Bounded::new(listener), all, shutdown).await
}

fn router(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/system", get(system))
        .route("/v1/instances", get(instances))
        .route("/v1/health", get(health))
        .route("/v1/services", get(services))
        .route("/v1/services/{name}", get(service))
        .route("/v1/services/{name}/openapi", get(explore::document))
        .route("/v1/routes", get(routes))
        .route("/v1/logs", get(logs::list))
        .route("/v1/events", get(events::list))
        .route("/v1/requests", get(requests).post(explore::request))
        .route("/v1/traffic", get(traffic))
        .route("/v1/traces", get(traces::list))
        .route("/v1/traces/{id}", get(traces::get))
        .route("/v1/metrics/summary", get(metrics::summary))
        .route("/v1/metrics/series", get(metrics::series))
        .route("/v1/metrics/instances", get(metrics::instances))
        .route("/v1/metrics/external", get(metrics::external))
        .route("/v1/telemetry", get(missing::telemetry))
        .route("/metrics", get(scrape::metrics))
        .route("/v1/why/{id}", get(why::get))
        .route("/v1/cache", get(cache::view))
        .route("/v1/cache/purge", post(cache::purge))
        .route("/v1/faults", get(faults::list).post(faults::add).delete(faults::remove_all))
        .route("/v1/faults/{id}", delete(faults::remove))
        .route("/v1/keys", get(keys::list).post(keys::create))
        .route("/v1/keys/{name}", delete(keys::revoke))
        .route("/v1/issuer/keys", post(keys::rotate))
        .route("/v1/restart/{name}", post(units::restart))
        .route("/v1/units/{name}/stop", post(units::stop))
        .route("/v1/units/{name}/start", post(units::start))
        .route("/v1/audit", get(audit::audit))
        .route("/v1/login", get(login::login))
        .route("/v1/tokens", post(token))
        .route("/v1/units/{name}/environment", get(environment))
        .route("/v1/down", post(down))
        .route("/openapi.json", get(|| async { Json(AdminApi::openapi()) }))
        .layer(middleware::from_fn_with_state(shared.clone(), audit::audited))
        .with_state(shared.clone())
}

/// The node and the system that it runs.
#[utoipa::path(get, path = "/v1/system", responses((status = 200, body = SystemView)))]
async fn system(State(node): State<Arc<Shared>>) -> Json<SystemView> {
    Json(node.system_view())
}

/// Every instance, and every unit that has none yet.
#[utoipa::path(get, path = "/v1/instances", responses((status = 200, body = Vec<InstanceView>)))]
async fn instances(State(node): State<Arc<Shared>>) -> Json<Vec<InstanceView>> {
    Json(node.instances())
}

/// How each service answers those who call it through this node.
#[utoipa::path(get, path = "/v1/health", responses((status = 200, body = Vec<HealthView>)))]
async fn health(State(node): State<Arc<Shared>>) -> Json<Vec<HealthView>> {
    Json(node.directory.health())
}

/// Every service with all that is known of it.
#[utoipa::path(get, path = "/v1/services", responses((status = 200, body = Vec<ServiceView>)))]
async fn services(State(node): State<Arc<Shared>>) -> Json<Vec<ServiceView>> {
    Json(node.service_views())
}

/// One service with all that is known of it.
#[utoipa::path(get, path = "/v1/services/{name}", params(("name" = String, Path)),
    responses((status = 200, body = ServiceView), (status = 404, body = Problem)))]
async fn service(State(node): State<Arc<Shared>>, Path(name): Path<String>) -> Answer<Json<ServiceView>> {
    node.service_view(&name).map(Json).ok_or_else(|| unknown(&node, &name))
}

/// The routes in order of precedence.
#[utoipa::path(get, path = "/v1/routes", responses((status = 200, body = Vec<RouteView>)))]
async fn routes(State(node): State<Arc<Shared>>) -> Json<Vec<RouteView>> {
    Json(node.gateway.routes())
}

#[derive(Deserialize)]
struct RequestParams {
    n: Option<usize>,
    service: Option<String>,
    route: Option<String>,
    trace: Option<TraceId>,
    #[serde(default)]
    failed: bool,
}

/// The latest requests of the gateway and of the listeners of services, newest first.
#[utoipa::path(get, path = "/v1/requests",
    params(
        ("n" = Option<usize>, Query, description = "How many; 100 if absent."),
        ("service" = Option<String>, Query, description = "Only those to this service."),
        ("route" = Option<String>, Query, description = "Only those over the route with this template."),
        ("trace" = Option<String>, Query, description = "Only those of this trace."),
        ("failed" = Option<bool>, Query, description = "Only those answered 5xx or not at all.")),
    responses((status = 200, body = Vec<RequestRecord>)))]
async fn requests(
    State(node): State<Arc<Shared>>,
    Query(params): Query<RequestParams>,
) -> Json<Vec<RequestRecord>> {
    let RequestParams { n, service, route, trace, failed } = params;
    node.drain_records();
    Json(node.records.recent(n.unwrap_or(100), &RecordFilter { route, service, trace_id: trace, failed }))
}

/// What the requests add up to since the node started: by route, service and class of status.
#[utoipa::path(get, path = "/v1/traffic", responses((status = 200, body = Vec<TrafficView>)))]
async fn traffic(State(node): State<Arc<Shared>>) -> Json<Vec<TrafficView>> {
    node.drain_records();
    let totals = node.records.totals().into_iter();
    Json(
        totals
            .map(|total| TrafficView {
                route: total.route.as_deref().map(str::to_owned),
                service: total.service.as_deref().map(str::to_owned),
                class: total.class.digit(),
                requests: total.requests,
                duration_us: total.duration_us,
            })
            .collect(),
    )
}

#[derive(Deserialize)]
struct TokenParams {
    service: String,
}

/// A token for programs that others start and that join a service. It is good as long as the node's state is kept.
#[utoipa::path(post, path = "/v1/tokens", params(("service" = String, Query)),
    responses((status = 201, body = TokenView), (status = 404, body = Problem)))]
async fn token(
    State(node): State<Arc<Shared>>,
    Query(params): Query<TokenParams>,
) -> Answer<(StatusCode, Json<TokenView>)> {
    let made = node.token(&params.service).ok_or_else(|| unknown(&node, &params.service))?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// How a unit is run by hand: what its environment would tell it, its token among it. Takes a unit's name or a service's.
#[utoipa::path(get, path = "/v1/units/{name}/environment", params(("name" = String, Path)),
    responses((status = 200, body = EnvironmentView), (status = 404, body = Problem)))]
async fn environment(
    State(node): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Answer<Json<EnvironmentView>> {
    let unit = node.unit_named(&name).ok_or_else(|| unknown(&node, &name))?;
    let failed = |detail: String| Failure::from(Problem::new(Code::INTERNAL).detail(detail));
    let told = node.environment(&unit).await;
    let told = told.map_err(|error| failed(format!("failed to find a port for {unit}: {error}")))?;
    told.map(Json).ok_or_else(|| failed(format!("a placeholder in the manifest of {unit} has no value")))
}

#[derive(Deserialize)]
struct DownParams {
    #[serde(default)]
    now: bool,
}

/// Stops every unit and then the node; with `now=true` without waiting for anything to end its work.
#[utoipa::path(post, path = "/v1/down", params(("now" = Option<bool>, Query)), responses((status = 202)))]
async fn down(State(node): State<Arc<Shared>>, Query(params): Query<DownParams>) -> StatusCode {
    node.stop(params.now);
    StatusCode::ACCEPTED
}

fn unread(error: &madang_store::Error) -> Failure {
    Problem::new(Code::INTERNAL).detail(with_causes(error)).into()
}

fn unknown(node: &Shared, name: &str) -> Failure {
    let system = node.system.borrow().clone();
    if system.services.get(name).is_some_and(|service| service.unit().is_none()) {
        let detail = format!("\"{name}\" runs elsewhere: it has no unit here and no log");
        return Problem::new(Code::UNKNOWN_NAME).detail(detail).into();
    }
    let known =
        system.services.keys().map(ServiceName::as_str).chain(system.units.keys().map(UnitName::as_str));
    let detail = match madang_model::nearest(name, known) {
        Some(near) => format!("{} has no service or unit \"{name}\": did you mean \"{near}\"?", system.name),
        None => format!("{} has no service or unit \"{name}\"", system.name),
    };
    Problem::new(Code::UNKNOWN_NAME).detail(detail).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever changes the API sees it here, and whoever uses it reads it there.
    #[test]
    fn the_document_is_the_one_in_docs() {
        let document = AdminApi::openapi().to_pretty_json().unwrap() + "\n";
        expect_test::expect_file!["../../../docs/openapi/admin.json"].assert_eq(&document);
    }
}

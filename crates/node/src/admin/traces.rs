//! Traces: the newest, and all that is kept of one.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, Query, State},
};
use madang_telemetry::TraceFilter;
use madang_wire::{
    Code, Problem,
    admin::RouteView,
    metrics::GATEWAY,
    trace::{TraceList, TraceView},
};
use serde::Deserialize;

use super::{Answer, Shared, unknown, unread};
use crate::http::Failure;

/// How many are listed at most.
const MOST: u32 = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    #[serde(default)]
    error: bool,
    slow_us: Option<u64>,
    service: Option<String>,
    caller: Option<String>,
    route: Option<String>,
    limit: Option<u32>,
}

/// The newest traces: what the gateway and the listeners of services saw.
#[utoipa::path(get, path = "/v1/traces",
    params(
        ("error" = Option<bool>, Query, description = "Only those in which something failed."),
        ("slow_us" = Option<u64>, Query, description = "Only those that took at least so many microseconds."),
        ("service" = Option<String>, Query, description = "Only those in which this service called or was called."),
        ("caller" = Option<String>, Query, description = "Only those in which this one, `gateway` or a service, called `service`; with `error` or `slow_us` those in which this call failed or took so long."),
        ("route" = Option<String>, Query, description = "Only those with a request over the route with this template, as `GET /v1/routes` has it."),
        ("limit" = Option<u32>, Query, description = "How many, up to 1000; 50 if absent.")),
    responses((status = 200, body = TraceList), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn list(
    State(node): State<Arc<Shared>>,
    Query(params): Query<Params>,
) -> Answer<Json<TraceList>> {
    let Params { error, slow_us, service, caller, route, limit } = params;
    for name in [&service, &caller].into_iter().flatten() {
        if name != GATEWAY && !node.system.borrow().services.contains_key(name.as_str()) {
            return Err(unknown(&node, name));
        }
    }
    if let Some(route) = &route {
        known_route(&node.gateway.routes(), route)?;
    }
    let (service, call) = match (caller, service) {
        (Some(caller), Some(service)) => (None, Some((caller, service))),
        (Some(_), None) => return Err(Failure::parameter("caller", "expected with service, whom it called")),
        (None, service) => (service, None),
    };
    let limit = limit.unwrap_or(TraceFilter::default().limit).min(MOST);
    let slow = slow_us.map(Duration::from_micros);
    let filter = TraceFilter { error, slow, service, route, call, limit, ..TraceFilter::default() };
    settle(&node).await;
    let mut found = node.traces.list(filter).await.map_err(|error| unread(&error))?;
    found.not_kept = node.not_kept();
    Ok(Json(found))
}

/// Whether there is a route with this template.
fn known_route(routes: &[RouteView], template: &str) -> Answer<()> {
    let templates = || routes.iter().map(|route| route.path.as_str());
    if templates().any(|known| known == template) {
        return Ok(());
    }
    let detail = match madang_model::nearest(template, templates()) {
        Some(near) => format!("there is no route \"{template}\": did you mean \"{near}\"?"),
        None => format!("there is no route \"{template}\": `madang routes` lists those there are"),
    };
    Err(Problem::new(Code::UNKNOWN_NAME).detail(detail).into())
}

/// One trace with its spans. Nothing is kept of one that was neither failed nor slow nor in the sample, or is too old.
#[utoipa::path(get, path = "/v1/traces/{id}",
    params(("id" = String, Path, description = "32 hexadecimal digits; or the id of a request from outside, for the latest trace with it.")),
    responses((status = 200, body = TraceView), (status = 404, body = Problem)))]
pub(super) async fn get(State(node): State<Arc<Shared>>, Path(id): Path<String>) -> Answer<Json<TraceView>> {
    settle(&node).await;
    let kept = async {
        match node.traces.find(&id).await? {
            Some(trace) => node.traces.get(trace).await,
            None => Ok(None),
        }
    };
    let found = kept.await.map_err(|error| unread(&error))?;
    found.map(Json).ok_or_else(|| not_kept(&id))
}

pub(super) fn not_kept(id: &str) -> Failure {
    let detail = format!(
        "nothing is kept of a trace or request {id}: there was none, it was not in the sample, or is too old"
    );
    Problem::new(Code::UNKNOWN_NAME).detail(detail).into()
}

/// Has what is over by now among what is read. What cannot be written is counted, and told by the task that writes.
pub(super) async fn settle(node: &Shared) {
    node.drain_records();
    let _ = node.traces.flush().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_known_by_its_template() {
        let view = |path: &str| RouteView {
            host: None,
            path: path.to_owned(),
            methods: Vec::new(),
            headers: Vec::new(),
            to: Vec::new(),
            redirect: None,
            edge: Vec::new(),
            require: None,
            place: String::new(),
        };
        let routes = [view("/orders/**"), view("/users/**")];
        assert!(known_route(&routes, "/users/**").is_ok());
        assert!(known_route(&[], "/users/**").is_err());
        for (given, said) in [
            ("/orders/*", r#"there is no route "/orders/*": did you mean "/orders/**"?"#),
            ("elsewhere", r#"there is no route "elsewhere": `madang routes` lists those there are"#),
        ] {
            let failure = known_route(&routes, given).err().unwrap();
            assert_eq!((failure.0.status, failure.0.detail.as_deref()), (404, Some(said)));
        }
    }
}

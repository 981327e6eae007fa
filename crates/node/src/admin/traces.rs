//! Traces: the newest, and all that is kept of one.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, Query, State},
};
use madang_telemetry::TraceFilter;
use madang_wire::{
    Code, Problem,
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
    limit: Option<u32>,
}

/// The newest traces: what the gateway and the listeners of services saw.
#[utoipa::path(get, path = "/v1/traces",
    params(
        ("error" = Option<bool>, Query, description = "Only those in which something failed."),
        ("slow_us" = Option<u64>, Query, description = "Only those that took at least so many microseconds."),
        ("service" = Option<String>, Query, description = "Only those in which this service called or was called."),
        ("limit" = Option<u32>, Query, description = "How many, up to 1000; 50 if absent.")),
    responses((status = 200, body = TraceList), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn list(
    State(node): State<Arc<Shared>>,
    Query(params): Query<Params>,
) -> Answer<Json<TraceList>> {
    let Params { error, slow_us, service, limit } = params;
    if let Some(name) = &service
        && name != "gateway"
        && !node.system.borrow().services.contains_key(name.as_str())
    {
        return Err(unknown(&node, name));
    }
    let limit = limit.unwrap_or(TraceFilter::default().limit).min(MOST);
    let filter = TraceFilter {
        error,
        slow: slow_us.map(Duration::from_micros),
        service,
        limit,
        ..TraceFilter::default()
    };
    settle(&node).await;
    let mut found = node.traces.list(filter).await.map_err(|error| unread(&error))?;
    found.not_kept = node.not_kept();
    Ok(Json(found))
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

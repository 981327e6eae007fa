//! Restarting, stopping and starting one unit.

use std::sync::Arc;

use axum::extract::{Path, State};
use http::StatusCode;
use madang_model::UnitName;
use madang_wire::{Code, Problem};

use super::{Answer, Shared, unknown};
use crate::node::with_causes;

/// Builds a unit again and replaces its instances; one that was stopped is started. Takes a unit's name or a service's.
#[utoipa::path(post, path = "/v1/restart/{name}", params(("name" = String, Path)),
    responses((status = 202), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn restart(State(node): State<Arc<Shared>>, Path(name): Path<String>) -> Answer<StatusCode> {
    let unit = started_here(&node, &name, "restarts")?;
    release(&node, &unit).await;
    node.supervisor.restart(unit);
    Ok(StatusCode::ACCEPTED)
}

/// Stops a unit: out of rotation first, then with time to end its work. It stays stopped until it is started or
/// restarted, or the system as a whole is stopped. Calls to its services are refused at once. Takes a unit's name or a
/// service's.
#[utoipa::path(post, path = "/v1/units/{name}/stop", params(("name" = String, Path)),
    responses((status = 202), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn stop(State(node): State<Arc<Shared>>, Path(name): Path<String>) -> Answer<StatusCode> {
    let unit = started_here(&node, &name, "stops")?;
    // Clients outside are told it too: who it was is told by the audit only.
    let why = format!("stopped; `madang start {unit}` starts it, and `madang audit` says who stopped it");
    node.stops.keep(&unit, &why).await.map_err(|error| {
        let detail =
            format!("it cannot be kept that {unit} is stopped, so that it runs on: {}", with_causes(&error));
        Problem::new(Code::INTERNAL).detail(detail)
    })?;
    node.supervisor.hold(unit, why);
    Ok(StatusCode::ACCEPTED)
}

/// Starts a unit that was stopped; of one that was not, nothing happens. Takes a unit's name or a service's.
#[utoipa::path(post, path = "/v1/units/{name}/start", params(("name" = String, Path)),
    responses((status = 202), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn start(State(node): State<Arc<Shared>>, Path(name): Path<String>) -> Answer<StatusCode> {
    let unit = started_here(&node, &name, "starts")?;
    release(&node, &unit).await;
    Ok(StatusCode::ACCEPTED)
}

async fn release(node: &Shared, unit: &UnitName) {
    if node.supervisor.release(unit) {
        node.stops.forget(unit).await;
    }
}

/// The unit of this name, if it is Madang that starts it.
fn started_here(node: &Shared, name: &str, verb: &str) -> Answer<UnitName> {
    let unit = node.unit_named(name).ok_or_else(|| unknown(node, name))?;
    if node.hands.contains_key(&unit) {
        let detail = format!("{unit} is run by hand, as `--except` says: whoever started it {verb} it");
        return Err(Problem::new(Code::BAD_PARAMETER).detail(detail).into());
    }
    Ok(unit)
}

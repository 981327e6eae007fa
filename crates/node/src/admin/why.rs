//! Why a request went as it did.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use madang_model::System;
use madang_telemetry::Declared;
use madang_wire::{Problem, why::WhyView};

use super::{Answer, Shared, unread};

/// Why a request went as it did, and who is to blame: with the evidence, and only as far as it goes. Asked of a request of
/// the last two seconds, it waits until what services tell of it has come.
#[utoipa::path(get, path = "/v1/why/{id}",
    params(("id" = String, Path, description = "The id of a request from outside, or the 32 hexadecimal digits of a trace.")),
    responses((status = 200, body = WhyView), (status = 404, body = Problem)))]
pub(super) async fn get(State(node): State<Arc<Shared>>, Path(id): Path<String>) -> Answer<Json<WhyView>> {
    super::traces::settle(&node).await;
    let declared = declared(&node.system.borrow().clone());
    let found = node.why.ask(&id, &declared).await.map_err(|error| unread(&error))?;
    found.map(Json).ok_or_else(|| super::traces::not_kept(&id))
}

fn declared(system: &System) -> Declared {
    let units = system
        .units
        .values()
        .flat_map(|unit| unit.services.iter().map(|service| (service.to_string(), unit.name.to_string())));
    let calls = system
        .services
        .values()
        .map(|service| (service.name.to_string(), service.calls.keys().map(ToString::to_string).collect()));
    Declared { units: units.collect(), calls: calls.collect() }
}

//! Charges and refunds, each once per key.

use madang::{
    Error, Json, Path, Problem, Query, Result, Sqlite,
    axum::{
        extract::State,
        http::{HeaderMap, StatusCode, header},
        response::{IntoResponse, Response},
    },
};
use serde::Deserialize;
use shop_idempotency::{InFlight, Key};
use utoipa::IntoParams;

use crate::{
    answers::Answer,
    charge::{self, Charge, NewCharge, NewRefund, Refund},
    once,
};

/// Takes money from a user's account.
///
/// A charge that the account cannot cover is declined: 402, and nothing moves. Either answer is given again, word
/// for word, to the same request with the same key.
#[utoipa::path(
    post,
    path = "/payments/charges",
    operation_id = "charge",
    params(("Idempotency-Key" = String, Header, description = "names the effect that must happen once")),
    request_body = NewCharge,
    responses(
        (status = 201, description = "the money moved", body = Charge),
        (status = 400, description = "no key, or a malformed one", body = Problem, content_type = "application/problem+json"),
        (status = 402, description = "declined", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "a request with this key is being answered", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "a bad field, or the key was used for another request", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn post_charge(
    Sqlite(pool): Sqlite,
    State(in_flight): State<InFlight>,
    headers: HeaderMap,
    Json(new): Json<NewCharge>,
) -> Result<Response> {
    let key = Key::required(&headers)?;
    once::charge(&pool, &in_flight, &key, &new).await.map(reply)
}

/// Pays back a charge or a part of it.
#[utoipa::path(
    post,
    path = "/payments/charges/{id}/refunds",
    operation_id = "refund",
    params(
        ("id" = i64, Path, description = "the charge"),
        ("Idempotency-Key" = String, Header, description = "names the effect that must happen once"),
    ),
    request_body = NewRefund,
    responses(
        (status = 201, description = "the money moved back", body = Refund),
        (status = 400, description = "no key, or a malformed one", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "no such charge", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "less is left of the charge, or a request with this key is being answered", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "a bad field, or the key was used for another request", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn post_refund(
    Sqlite(pool): Sqlite,
    State(in_flight): State<InFlight>,
    Path(id): Path<i64>,
    headers: HeaderMap,
    Json(new): Json<NewRefund>,
) -> Result<Response> {
    let key = Key::required(&headers)?;
    once::refund(&pool, &in_flight, &key, id, &new).await.map(reply)
}

/// One charge.
#[utoipa::path(
    get,
    path = "/payments/charges/{id}",
    operation_id = "getCharge",
    params(("id" = i64, Path, description = "the charge")),
    responses(
        (status = 200, description = "the charge", body = Charge),
        (status = 404, description = "no such charge", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_charge(Sqlite(pool): Sqlite, Path(id): Path<i64>) -> Result<Json<Charge>> {
    let charge = charge::find(&pool, id).await?;
    charge.map(Json).ok_or_else(|| Error::not_found(format_args!("charge {id}")))
}

/// Which charges to find.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ChargesWanted {
    /// The key that the charge was asked for with.
    key: String,
}

/// The charge that was asked for with a key: one, or none if that charge was never made.
#[utoipa::path(
    get,
    path = "/payments/charges",
    operation_id = "findCharges",
    params(ChargesWanted),
    responses(
        (status = 200, description = "the charge, or none", body = Vec<Charge>),
        (status = 422, description = "a bad field", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn find_charges(
    Sqlite(pool): Sqlite,
    Query(wanted): Query<ChargesWanted>,
) -> Result<Json<Vec<Charge>>> {
    let key = Key::parse(&wanted.key).map_err(|why| Error::invalid("key", why))?;
    Ok(Json(charge::find_by_key(&pool, &key).await?.into_iter().collect()))
}

/// The stored answer, the same bytes each time.
fn reply(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    (status, [(header::CONTENT_TYPE, kind)], answer.body).into_response()
}

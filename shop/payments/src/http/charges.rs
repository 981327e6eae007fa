//! Charges and refunds, each once per key.

use std::time::{SystemTime, UNIX_EPOCH};

use madang::{
    Code, Error, Json, Path, Problem, Query, Result, Sqlite,
    axum::{
        extract::State,
        http::{HeaderMap, StatusCode, header},
        response::{IntoResponse, Response},
    },
};
use serde::{Deserialize, Serialize};
use shop_idempotency::{InFlight, Key};
use utoipa::IntoParams;

use crate::{
    answers::{self, Answer, Known},
    charge::{self, Charge, NewCharge, NewRefund, Refund, Refused},
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
    validate(&new)?;
    let fingerprint = serde_json::to_string(&("charge", &new))?;
    let _claim = in_flight.claim(&key)?;
    let mut tx = madang::begin_write(&pool).await?;
    let answer = match answers::recall(&mut tx, &key, &fingerprint).await? {
        Known::Answer(answer) => return Ok(reply(answer)),
        Known::OtherRequest => return Err(shop_idempotency::other_request()),
        Known::Nothing => match charge::charge(&mut tx, &key, &new, now()).await? {
            (charge, None) => answer(StatusCode::CREATED, &charge)?,
            (charge, Some(why)) => answer(StatusCode::PAYMENT_REQUIRED, &declined(&charge, why))?,
        },
    };
    answers::remember(&mut tx, &key, &fingerprint, &answer).await?;
    tx.commit().await?;
    Ok(reply(answer))
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
    if new.amount.is_some_and(|amount| amount < 1) {
        return Err(Error::invalid("amount", "must be at least 1"));
    }
    let fingerprint = serde_json::to_string(&("refund", id, &new))?;
    let _claim = in_flight.claim(&key)?;
    let mut tx = madang::begin_write(&pool).await?;
    let answer = match answers::recall(&mut tx, &key, &fingerprint).await? {
        Known::Answer(answer) => return Ok(reply(answer)),
        Known::OtherRequest => return Err(shop_idempotency::other_request()),
        Known::Nothing => match charge::refund(&mut tx, id, &new, now()).await? {
            Ok(refund) => answer(StatusCode::CREATED, &refund)?,
            Err(refused) => return Err(refusal(id, &refused)),
        },
    };
    answers::remember(&mut tx, &key, &fingerprint, &answer).await?;
    tx.commit().await?;
    Ok(reply(answer))
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

fn validate(new: &NewCharge) -> Result<()> {
    if new.user < 1 {
        return Err(Error::invalid("user", "must be at least 1"));
    }
    if !(1..=100).contains(&new.order.chars().count()) {
        return Err(Error::invalid("order", "must have 1 to 100 characters"));
    }
    if new.amount < 1 {
        return Err(Error::invalid("amount", "must be at least 1"));
    }
    Ok(())
}

fn declined(charge: &Charge, why: String) -> Problem {
    Problem {
        kind: "urn:shop:error:payment-declined".into(),
        title: "The payment was declined".into(),
        code: "SHOP-PAY-001".into(),
        ..Problem::new(Code::CONFLICT)
    }
    .with_status(StatusCode::PAYMENT_REQUIRED)
    .detail(why)
    .instance(format!("/payments/charges/{}", charge.id))
}

fn refusal(id: i64, refused: &Refused) -> Error {
    match refused {
        Refused::NoCharge => Error::not_found(format_args!("charge {id}")),
        Refused::Declined => Error::conflict("the charge was declined: there is nothing to pay back"),
        Refused::TooMuch { left } => Error::conflict(format!("amount: only {left} is left of the charge")),
    }
}

fn answer(status: StatusCode, body: &impl Serialize) -> Result<Answer> {
    Ok(Answer { status: status.as_u16(), body: serde_json::to_string(body)? })
}

/// The stored answer, the same bytes each time.
fn reply(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    (status, [(header::CONTENT_TYPE, kind)], answer.body).into_response()
}

/// The wall clock, in seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

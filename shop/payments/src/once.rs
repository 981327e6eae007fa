//! Charges and refunds, each once per key however often and over whichever protocol it is asked for.

use std::time::{SystemTime, UNIX_EPOCH};

use madang::{Code, Error, Problem, Result, axum::http::StatusCode};
use serde::Serialize;
use shop_idempotency::{InFlight, Key};
use sqlx::SqlitePool;

use crate::{
    answers::{self, Answer, Known},
    charge::{self, Charge, NewCharge, NewRefund, Refused},
};

/// Takes money from a user's account: 201 with the charge, or 402 with a problem if it is declined. Either is given
/// again, word for word, to the same request with the same key.
pub async fn charge(pool: &SqlitePool, in_flight: &InFlight, key: &Key, new: &NewCharge) -> Result<Answer> {
    validate(new)?;
    let fingerprint = serde_json::to_string(&("charge", new))?;
    let _claim = in_flight.claim(key)?;
    let mut tx = madang::begin_write(pool).await?;
    let answer = match answers::recall(&mut tx, key, &fingerprint).await? {
        Known::Answer(answer) => return Ok(answer),
        Known::OtherRequest => return Err(shop_idempotency::other_request()),
        Known::Nothing => match charge::charge(&mut tx, key, new, now()).await? {
            (charge, None) => answer(StatusCode::CREATED, &charge)?,
            (charge, Some(why)) => answer(StatusCode::PAYMENT_REQUIRED, &declined(&charge, why))?,
        },
    };
    answers::remember(&mut tx, key, &fingerprint, &answer).await?;
    tx.commit().await?;
    Ok(answer)
}

/// Pays back a charge or a part of it: 201 with the refund.
pub async fn refund(
    pool: &SqlitePool,
    in_flight: &InFlight,
    key: &Key,
    id: i64,
    new: &NewRefund,
) -> Result<Answer> {
    if new.amount.is_some_and(|amount| amount < 1) {
        return Err(Error::invalid("amount", "must be at least 1"));
    }
    let fingerprint = serde_json::to_string(&("refund", id, new))?;
    let _claim = in_flight.claim(key)?;
    let mut tx = madang::begin_write(pool).await?;
    let answer = match answers::recall(&mut tx, key, &fingerprint).await? {
        Known::Answer(answer) => return Ok(answer),
        Known::OtherRequest => return Err(shop_idempotency::other_request()),
        Known::Nothing => match charge::refund(&mut tx, id, new, now()).await? {
            Ok(refund) => answer(StatusCode::CREATED, &refund)?,
            Err(refused) => return Err(refusal(id, &refused)),
        },
    };
    answers::remember(&mut tx, key, &fingerprint, &answer).await?;
    tx.commit().await?;
    Ok(answer)
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

/// The wall clock, in seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

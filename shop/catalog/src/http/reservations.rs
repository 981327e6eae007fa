//! Stock held for other services.

use madang::{
    Code, Error, Json, Path, Problem, Result, Sqlite,
    axum::{extract::State, http::StatusCode},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Config,
    clock::millis,
    reservations::{self, Line, Refused, Reservation},
};

/// The longest key, in characters.
const KEY_MAX: usize = 100;
/// The most lines.
const LINES_MAX: usize = 100;
/// The most of one product.
const QUANTITY_MAX: u32 = 1_000;

/// Stock to hold.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReservation {
    /// Names the reservation; the same key again gives the same reservation.
    #[schema(min_length = 1, max_length = 100)]
    pub key: String,
    /// What to hold: 1 to 100 different products.
    #[schema(min_items = 1, max_items = 100)]
    pub lines: Vec<Line>,
}

/// Holds stock, all lines or none, until it is confirmed, released or expired.
#[utoipa::path(
    post,
    path = "/reservations",
    operation_id = "reserve",
    request_body = NewReservation,
    responses(
        (status = 201, description = "the stock is held", body = Reservation),
        (status = 409, description = "not enough of a product, or the reservation is over", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "a bad field, or the key was used for other lines", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn reserve(
    Sqlite(pool): Sqlite,
    State(config): State<Config>,
    Json(new): Json<NewReservation>,
) -> Result<(StatusCode, Json<Reservation>)> {
    check_key("key", &new.key)?;
    check_lines(&new.lines)?;
    let mut tx = madang::begin_write(&pool).await?;
    let (now, hold) = (config.clock.now(), millis(config.hold));
    let reservation = reservations::reserve(&mut tx, &new.key, &new.lines, now, hold).await?;
    let reservation = reservation.map_err(|refused| refusal(&new.key, refused))?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(reservation)))
}

/// One reservation.
#[utoipa::path(
    get,
    path = "/reservations/{key}",
    operation_id = "getReservation",
    params(("key" = String, Path, description = "the reservation")),
    responses(
        (status = 200, description = "the reservation", body = Reservation),
        (status = 404, description = "no such reservation", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn one(Sqlite(pool): Sqlite, Path(key): Path<String>) -> Result<Json<Reservation>> {
    let mut snapshot = pool.begin().await?;
    let found = reservations::find(&mut snapshot, &key).await?;
    found.map(Json).ok_or_else(|| refusal(&key, Refused::Unknown))
}

/// Sells what is held. Safe to repeat.
#[utoipa::path(
    post,
    path = "/reservations/{key}/confirm",
    operation_id = "confirmReservation",
    params(("key" = String, Path, description = "the reservation")),
    responses(
        (status = 200, description = "the stock is sold", body = Reservation),
        (status = 404, description = "no such reservation", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "it was released, or it expired and the stock is gone", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn confirm(Sqlite(pool): Sqlite, Path(key): Path<String>) -> Result<Json<Reservation>> {
    let mut tx = madang::begin_write(&pool).await?;
    let reservation =
        reservations::confirm(&mut tx, &key).await?.map_err(|refused| refusal(&key, refused))?;
    tx.commit().await?;
    Ok(Json(reservation))
}

/// Gives back what is held. Safe to repeat; a key that was never used is closed for good.
#[utoipa::path(
    delete,
    path = "/reservations/{key}",
    operation_id = "releaseReservation",
    params(("key" = String, Path, description = "the reservation")),
    responses(
        (status = 200, description = "nothing is held under the key any more", body = Reservation),
        (status = 409, description = "it was confirmed", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "a bad key", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn release(
    Sqlite(pool): Sqlite,
    State(config): State<Config>,
    Path(key): Path<String>,
) -> Result<Json<Reservation>> {
    check_key("key", &key)?;
    let mut tx = madang::begin_write(&pool).await?;
    let reservation = reservations::release(&mut tx, &key, config.clock.now()).await?;
    let reservation = reservation.map_err(|refused| refusal(&key, refused))?;
    tx.commit().await?;
    Ok(Json(reservation))
}

fn check_key(field: &str, key: &str) -> Result<()> {
    if key.is_empty() || key.chars().count() > KEY_MAX || key.chars().any(char::is_control) {
        return Err(Error::invalid(field, "must have 1 to 100 characters, none of them a control character"));
    }
    Ok(())
}

pub(super) fn check_count(lines: usize) -> Result<()> {
    if !(1..=LINES_MAX).contains(&lines) {
        return Err(Error::invalid("lines", "must have 1 to 100 lines"));
    }
    Ok(())
}

fn check_lines(lines: &[Line]) -> Result<()> {
    check_count(lines.len())?;
    for (index, line) in lines.iter().enumerate() {
        if !(1..=QUANTITY_MAX).contains(&line.quantity) {
            return Err(Error::invalid(format!("lines[{index}].quantity"), "must be 1 to 1000"));
        }
        if lines[..index].iter().any(|before| before.product == line.product) {
            return Err(Error::invalid(format!("lines[{index}].product"), "is in another line already"));
        }
    }
    Ok(())
}

fn refusal(key: &str, refused: Refused) -> Error {
    match refused {
        Refused::NoProduct { line } => {
            Error::invalid(format!("lines[{line}].product"), "there is no such product")
        }
        Refused::Short { line, name, available } => out_of_stock(line, &name, available),
        Refused::OtherLines => Error::invalid("key", "was used for other lines"),
        Refused::Over(state) => {
            Error::conflict(format!("the reservation {key} is {}", format!("{state:?}").to_lowercase()))
        }
        Refused::Unknown => Error::not_found(format_args!("reservation {key}")),
    }
}

fn out_of_stock(line: usize, name: &str, available: i64) -> Error {
    let message = format!("{available} of {name:?} are left");
    let problem = Problem {
        kind: "urn:shop:error:out-of-stock".into(),
        title: "Not enough in stock".into(),
        code: "SHOP-CAT-001".into(),
        ..Problem::new(Code::CONFLICT)
    };
    Error::problem(problem.detail(message.clone()).field(format!("lines[{line}].product"), message))
}

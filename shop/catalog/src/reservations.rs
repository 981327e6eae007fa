//! Stock that is held for an order until it is confirmed, released or expired.
//!
//! Every function runs inside the caller's write transaction; one that does not answer its good case must be
//! rolled back.

use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;
use utoipa::ToSchema;

/// Where a reservation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The stock is set aside.
    Held,
    /// The stock is sold.
    Confirmed,
    /// The stock went back, or was never taken.
    Released,
    /// The stock went back because the time ran out.
    Expired,
}

madang::stored_as_text!(State);

/// Some of one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, madang::FromRow)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The product's id.
    #[sqlx(rename = "product_id")]
    #[schema(example = 1, minimum = 1)]
    pub product: i64,
    /// How many.
    #[schema(example = 2, minimum = 1, maximum = 1000)]
    pub quantity: u32,
}

/// Stock held for an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reservation {
    /// The key under which it was made.
    pub key: String,
    /// Where it stands.
    pub state: State,
    /// When it expires if it is still held then, in milliseconds since 1970.
    pub expires_at: i64,
    /// What is held, in the order of the products' ids.
    pub lines: Vec<Line>,
}

/// Why stock is not held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is no such product.
    NoProduct {
        /// The line.
        line: usize,
    },
    /// There is not enough of a product.
    Short {
        /// The line.
        line: usize,
        /// The product's English name.
        name: String,
        /// How many there are.
        available: i64,
    },
    /// The key was used for other lines.
    OtherLines,
    /// The reservation is over.
    Over(State),
    /// There is no such reservation.
    Unknown,
}

/// How long a reservation that is over is remembered: longer than anybody asks for it again.
const REMEMBERED: i64 = 30 * 24 * 60 * 60 * 1_000;
/// How many reservations expire, and are forgotten, in one transaction.
const BATCH: u32 = 500;

/// Holds stock under a key, all lines or none. The same key and lines again give the same reservation.
pub async fn reserve(
    tx: &mut SqliteConnection,
    key: &str,
    lines: &[Line],
    now: i64,
    hold: i64,
) -> sqlx::Result<Result<Reservation, Refused>> {
    if let Some(before) = find(tx, key).await? {
        return Ok(match before.state {
            State::Held | State::Confirmed if same_lines(&before.lines, lines) => Ok(before),
            // A release that overtook this reservation knows no lines.
            State::Released | State::Expired => Err(Refused::Over(before.state)),
            State::Held | State::Confirmed => Err(Refused::OtherLines),
        });
    }
    // What is due goes back first, so that nobody is refused for stock that is no longer held.
    expire(tx, now).await?;
    insert(tx, key, State::Held, now.saturating_add(hold)).await?;
    for (index, line) in lines.iter().enumerate() {
        let taken = sqlx::query(
            "UPDATE products SET reserved = reserved + ?2 WHERE id = ?1 AND stock - reserved >= ?2",
        )
        .bind(line.product)
        .bind(line.quantity)
        .execute(&mut *tx)
        .await?;
        if taken.rows_affected() == 0 {
            return Ok(Err(refusal(tx, index, line.product).await?));
        }
        sqlx::query("INSERT INTO reservation_lines (key, product_id, quantity) VALUES (?, ?, ?)")
            .bind(key)
            .bind(line.product)
            .bind(line.quantity)
            .execute(&mut *tx)
            .await?;
    }
    Ok(find(tx, key).await?.ok_or(Refused::Unknown))
}

/// Sells what is held. If the reservation expired but the stock is still there, it is sold all the same.
pub async fn confirm(tx: &mut SqliteConnection, key: &str) -> sqlx::Result<Result<Reservation, Refused>> {
    let Some(reservation) = find(tx, key).await? else { return Ok(Err(Refused::Unknown)) };
    match reservation.state {
        State::Confirmed => return Ok(Ok(reservation)),
        State::Released => return Ok(Err(Refused::Over(State::Released))),
        State::Held => {
            sqlx::query(
                "UPDATE products SET stock = stock - l.quantity, reserved = reserved - l.quantity
                 FROM reservation_lines l WHERE l.key = ? AND l.product_id = products.id",
            )
            .bind(key)
            .execute(&mut *tx)
            .await?;
        }
        State::Expired => {
            for (index, line) in reservation.lines.iter().enumerate() {
                let taken = sqlx::query(
                    "UPDATE products SET stock = stock - ?2 WHERE id = ?1 AND stock - reserved >= ?2",
                )
                .bind(line.product)
                .bind(line.quantity)
                .execute(&mut *tx)
                .await?;
                if taken.rows_affected() == 0 {
                    return Ok(Err(refusal(tx, index, line.product).await?));
                }
            }
        }
    }
    set_state(tx, key, State::Confirmed).await?;
    Ok(Ok(Reservation { state: State::Confirmed, ..reservation }))
}

/// Gives back what is held. A key that was never used is closed, so that a late reservation is refused.
pub async fn release(
    tx: &mut SqliteConnection,
    key: &str,
    now: i64,
) -> sqlx::Result<Result<Reservation, Refused>> {
    let Some(reservation) = find(tx, key).await? else {
        insert(tx, key, State::Released, now).await?;
        return Ok(find(tx, key).await?.ok_or(Refused::Unknown));
    };
    match reservation.state {
        State::Confirmed => return Ok(Err(Refused::Over(State::Confirmed))),
        State::Held => give_back(tx, key, State::Released).await?,
        // Closed for good: an expired reservation could still be confirmed.
        State::Expired | State::Released => set_state(tx, key, State::Released).await?,
    }
    Ok(Ok(Reservation { state: State::Released, ..reservation }))
}

/// Gives back what is held too long, and forgets what has been over for long; says how many expired.
pub async fn expire(tx: &mut SqliteConnection, now: i64) -> sqlx::Result<usize> {
    let due: Vec<String> = sqlx::query_scalar(
        "SELECT key FROM reservations WHERE state = 'held' AND expires_at <= ? ORDER BY expires_at LIMIT ?",
    )
    .bind(now)
    .bind(BATCH)
    .fetch_all(&mut *tx)
    .await?;
    for key in &due {
        give_back(tx, key, State::Expired).await?;
    }
    sqlx::query(
        "DELETE FROM reservations WHERE key IN (
             SELECT key FROM reservations
             WHERE state IN ('confirmed', 'released', 'expired') AND expires_at < ? LIMIT ?)",
    )
    .bind(now.saturating_sub(REMEMBERED))
    .bind(BATCH)
    .execute(tx)
    .await?;
    Ok(due.len())
}

/// One reservation.
pub async fn find(tx: &mut SqliteConnection, key: &str) -> sqlx::Result<Option<Reservation>> {
    let row: Option<(State, i64)> =
        sqlx::query_as("SELECT state, expires_at FROM reservations WHERE key = ?")
            .bind(key)
            .fetch_optional(&mut *tx)
            .await?;
    let Some((state, expires_at)) = row else { return Ok(None) };
    let lines = sqlx::query_as(
        "SELECT product_id, quantity FROM reservation_lines WHERE key = ? ORDER BY product_id",
    )
    .bind(key)
    .fetch_all(tx)
    .await?;
    Ok(Some(Reservation { key: key.to_owned(), state, expires_at, lines }))
}

/// Puts what is held back on the shelf and closes the reservation.
async fn give_back(tx: &mut SqliteConnection, key: &str, closed: State) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE products SET reserved = reserved - l.quantity
         FROM reservation_lines l WHERE l.key = ? AND l.product_id = products.id",
    )
    .bind(key)
    .execute(&mut *tx)
    .await?;
    set_state(tx, key, closed).await
}

async fn insert(tx: &mut SqliteConnection, key: &str, state: State, expires_at: i64) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO reservations (key, state, expires_at) VALUES (?, ?, ?)")
        .bind(key)
        .bind(state)
        .bind(expires_at)
        .execute(tx)
        .await?;
    Ok(())
}

async fn set_state(tx: &mut SqliteConnection, key: &str, state: State) -> sqlx::Result<()> {
    sqlx::query("UPDATE reservations SET state = ? WHERE key = ?").bind(state).bind(key).execute(tx).await?;
    Ok(())
}

/// Why a line could not be taken.
async fn refusal(tx: &mut SqliteConnection, line: usize, product: i64) -> sqlx::Result<Refused> {
    let row: Option<(String, i64)> =
        sqlx::query_as("SELECT name_en, stock - reserved FROM products WHERE id = ?")
            .bind(product)
            .fetch_optional(tx)
            .await?;
    Ok(match row {
        Some((name, available)) => Refused::Short { line, name, available },
        None => Refused::NoProduct { line },
    })
}

fn same_lines(held: &[Line], asked: &[Line]) -> bool {
    held.len() == asked.len() && asked.iter().all(|line| held.contains(line))
}

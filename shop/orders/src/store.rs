//! The orders' tables.

use std::collections::HashMap;

use madang::FromRow;
use shop_idempotency::Key;
use shop_money::{Currency, Money};
use sqlx::{SqliteConnection, SqlitePool};

use crate::{
    machine::{Event, Status},
    order::{Line, Order, Passed},
};

/// An order before it has a row.
pub struct Draft<'a> {
    /// The client's key, if it gave one.
    pub key: Option<&'a Key>,
    /// The request, to tell it from another with the same key.
    pub fingerprint: &'a str,
    /// The user who orders.
    pub user: i64,
    /// What it costs.
    pub total: Money,
    /// What is ordered.
    pub lines: &'a [Line],
}

#[derive(FromRow)]
struct Row {
    id: i64,
    key: String,
    user_id: i64,
    currency: Currency,
    total: i64,
    status: Status,
    charge_id: Option<i64>,
    reason: Option<String>,
    field: Option<String>,
    created_at: i64,
}

#[derive(FromRow)]
struct LineRow {
    order_id: i64,
    product_id: i64,
    product: String,
    quantity: u32,
    price: i64,
}

/// Writes a new order, due for the background after `due_at`.
pub async fn insert(pool: &SqlitePool, draft: &Draft<'_>, now: i64, due_at: i64) -> sqlx::Result<i64> {
    let mut tx = madang::begin_write(pool).await?;
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO orders (request_key, fingerprint, user_id, currency, total, created_at, due_at)
         VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
    )
    .bind(draft.key.map(Key::as_str))
    .bind(draft.fingerprint)
    .bind(draft.user)
    .bind(draft.total.currency)
    .bind(draft.total.amount)
    .bind(now)
    .bind(due_at)
    .fetch_one(&mut *tx)
    .await?;
    for (position, line) in (0_i64..).zip(draft.lines) {
        sqlx::query(
            "INSERT INTO lines (order_id, position, product_id, product, quantity, price)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(id)
        .bind(position)
        .bind(line.product_id)
        .bind(&line.product)
        .bind(line.quantity)
        .bind(line.price.amount)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(id)
}

/// Moves an order on and writes its history, unless the event comes too late to matter; gives where it moved to.
pub async fn apply(
    pool: &SqlitePool,
    id: i64,
    event: &Event,
    now: i64,
    due_at: i64,
) -> sqlx::Result<Option<Status>> {
    let mut tx = madang::begin_write(pool).await?;
    let status: Status =
        sqlx::query_scalar("SELECT status FROM orders WHERE id = ?").bind(id).fetch_one(&mut *tx).await?;
    let Some(next) = status.after(event) else { return Ok(None) };
    let charge = match event {
        Event::Charged { charge } => Some(*charge),
        _ => None,
    };
    let reason = event.reason();
    sqlx::query(
        "UPDATE orders SET status = ?, due_at = ?, tries = 0, charge_id = coalesce(?, charge_id),
             reason = coalesce(?, reason), field = coalesce(?, field)
         WHERE id = ?",
    )
    .bind(next)
    .bind(next.step().map(|_| due_at))
    .bind(charge)
    .bind(reason.map(|reason| &reason.detail))
    .bind(reason.and_then(|reason| reason.field.as_ref()))
    .bind(id)
    .execute(&mut *tx)
    .await?;
    if next == Status::Failed {
        give_key_back(&mut tx, id).await?;
    }
    sqlx::query(
        "INSERT INTO history (order_id, position, status, at)
         SELECT ?1, count(*), ?2, ?3 FROM history WHERE order_id = ?1",
    )
    .bind(id)
    .bind(next)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Some(next))
}

/// A failed order had no effect: the client may try again with the same key.
async fn give_key_back(tx: &mut SqliteConnection, id: i64) -> sqlx::Result<()> {
    sqlx::query("UPDATE orders SET request_key = NULL WHERE id = ?").bind(id).execute(tx).await?;
    Ok(())
}

/// Puts the next step of an order off after it failed; each time in a row for twice as long, up to a minute.
pub async fn put_off(pool: &SqlitePool, id: i64, now: i64, first: i64) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE orders SET due_at = ?2 + min(60000, ?3 << min(tries, 16)), tries = tries + 1
         WHERE id = ?1 AND due_at IS NOT NULL",
    )
    .bind(id)
    .bind(now)
    .bind(first)
    .execute(pool)
    .await?;
    Ok(())
}

/// Makes every unfinished order due at once: whoever was at it is gone.
pub async fn all_due(pool: &SqlitePool, now: i64) -> sqlx::Result<u64> {
    let orders =
        sqlx::query("UPDATE orders SET due_at = ? WHERE due_at IS NOT NULL").bind(now).execute(pool).await?;
    Ok(orders.rows_affected())
}

/// Takes up to so many orders that are due, and keeps others from them until `until`.
pub async fn take_due(pool: &SqlitePool, now: i64, until: i64, limit: u32) -> sqlx::Result<Vec<i64>> {
    let any: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM orders WHERE due_at IS NOT NULL AND due_at <= ?)")
            .bind(now)
            .fetch_one(pool)
            .await?;
    if !any {
        return Ok(Vec::new());
    }
    sqlx::query_scalar(
        "UPDATE orders SET due_at = ?2 WHERE id IN (
             SELECT id FROM orders WHERE due_at IS NOT NULL AND due_at <= ?1 ORDER BY due_at LIMIT ?3)
         RETURNING id",
    )
    .bind(now)
    .bind(until)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// The orders after an id, in the order of their ids; of one user, if one is given.
pub async fn page(pool: &SqlitePool, user: Option<i64>, after: i64, limit: u32) -> sqlx::Result<Vec<Order>> {
    let mut snapshot = pool.begin().await?;
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, key, user_id, currency, total, status, charge_id, reason, field, created_at FROM orders
         WHERE id > ?1 AND (?2 IS NULL OR user_id = ?2) ORDER BY id LIMIT ?3",
    )
    .bind(after)
    .bind(user)
    .bind(limit)
    .fetch_all(&mut *snapshot)
    .await?;
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(Vec::new()) };
    let lines: Vec<LineRow> = sqlx::query_as(
        "SELECT order_id, product_id, product, quantity, price FROM lines
         JOIN orders ON orders.id = order_id
         WHERE order_id BETWEEN ?1 AND ?2 AND (?3 IS NULL OR user_id = ?3) ORDER BY order_id, position",
    )
    .bind(first.id)
    .bind(last.id)
    .bind(user)
    .fetch_all(&mut *snapshot)
    .await?;
    let mut by_order: HashMap<i64, Vec<LineRow>> = HashMap::new();
    for line in lines {
        by_order.entry(line.order_id).or_default().push(line);
    }
    Ok(rows
        .into_iter()
        .map(|row| {
            let lines = by_order.remove(&row.id).unwrap_or_default();
            row.order(lines, Vec::new())
        })
        .collect())
}

/// One order with its history.
pub async fn find(pool: &SqlitePool, id: i64) -> sqlx::Result<Option<Order>> {
    let mut snapshot = pool.begin().await?;
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, key, user_id, currency, total, status, charge_id, reason, field, created_at
         FROM orders WHERE id = ?",
    )
    .bind(id)
    .fetch_optional(&mut *snapshot)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let lines = sqlx::query_as(
        "SELECT order_id, product_id, product, quantity, price FROM lines WHERE order_id = ? ORDER BY position",
    )
    .bind(id)
    .fetch_all(&mut *snapshot)
    .await?;
    let history: Vec<Passed> =
        sqlx::query_as("SELECT status, at FROM history WHERE order_id = ? ORDER BY position")
            .bind(id)
            .fetch_all(&mut *snapshot)
            .await?;
    Ok(Some(row.order(lines, history)))
}

/// The id of the order that a client's key was used for, and the request it was used with.
pub async fn find_by_key(pool: &SqlitePool, key: &Key) -> sqlx::Result<Option<(i64, String)>> {
    sqlx::query_as("SELECT id, fingerprint FROM orders WHERE request_key = ?")
        .bind(key.as_str())
        .fetch_optional(pool)
        .await
}

// === impl Row ===

impl Row {
    fn order(self, lines: Vec<LineRow>, history: Vec<Passed>) -> Order {
        let line = |line: LineRow| Line {
            product_id: line.product_id,
            product: line.product,
            quantity: line.quantity,
            price: Money::new(self.currency, line.price),
        };
        let lines: Vec<Line> = lines.into_iter().map(line).collect();
        Order {
            id: self.id,
            user: self.user_id,
            product: lines.first().map(|line| line.product.clone()).unwrap_or_default(),
            status: self.status,
            total: Money::new(self.currency, self.total),
            lines,
            charge: self.charge_id,
            reason: self.reason,
            created_at: self.created_at,
            history,
            key: self.key,
            field: self.field,
        }
    }
}

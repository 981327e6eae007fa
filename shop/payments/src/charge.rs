//! Charges and refunds: what they are, and how each becomes a transaction of the ledger.

use serde::{Deserialize, Serialize};
use shop_idempotency::Key;
use shop_money::{Currency, Money};
use sqlx::{SqliteConnection, SqlitePool};
use utoipa::ToSchema;

use crate::ledger::{self, Kind, Moved, Owner, Transfer};

/// A charge to make.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCharge {
    /// The user who pays.
    #[schema(example = 1, minimum = 1)]
    pub user: i64,
    /// What it is for: the order's key.
    #[schema(example = "order-7", max_length = 100)]
    pub order: String,
    /// The amount in minor units.
    #[schema(example = 15000, minimum = 1)]
    pub amount: i64,
    /// Its currency.
    pub currency: Currency,
}

/// A refund to make.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRefund {
    /// The amount in minor units of the charge's currency; all that is left of the charge if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 5000, minimum = 1)]
    pub amount: Option<i64>,
}

/// What became of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The money moved to the shop.
    Captured,
    /// The account did not have as much; nothing moved.
    Declined,
}

madang::stored_as_text!(Status);

/// A charge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, madang::FromRow)]
pub struct Charge {
    /// The id, from 1.
    pub id: i64,
    /// The key that it was asked for with.
    pub key: String,
    /// The user who pays.
    #[sqlx(rename = "user_id")]
    pub user: i64,
    /// What it is for.
    #[sqlx(rename = "order_ref")]
    pub order: String,
    /// The amount in minor units.
    pub amount: i64,
    /// Its currency.
    pub currency: Currency,
    /// What became of it.
    pub status: Status,
    /// How much of it was paid back.
    pub refunded: i64,
}

/// A refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, madang::FromRow)]
pub struct Refund {
    /// The id, from 1.
    pub id: i64,
    /// The charge that it pays back.
    #[sqlx(rename = "charge_id")]
    pub charge: i64,
    /// The amount in minor units of the charge's currency.
    pub amount: i64,
}

/// Why a refund is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is no such charge.
    NoCharge,
    /// The charge was declined: there is nothing to pay back.
    Declined,
    /// Less than that is left of the charge.
    TooMuch {
        /// How much is left.
        left: i64,
    },
}

const BY_ID: &str =
    "SELECT id, key, user_id, order_ref, amount, currency, status, refunded FROM charges WHERE id = ?";
const BY_KEY: &str =
    "SELECT id, key, user_id, order_ref, amount, currency, status, refunded FROM charges WHERE key = ?";

/// Takes money from a user's account, or declines; either is a charge. The second part says why it declined.
pub async fn charge(
    tx: &mut SqliteConnection,
    key: &Key,
    new: &NewCharge,
    now: i64,
) -> sqlx::Result<(Charge, Option<String>)> {
    let money = Money::new(new.currency, new.amount);
    let moved = ledger::transfer(
        tx,
        &Transfer {
            kind: Kind::Charge,
            reference: &new.order,
            from: Owner::User(new.user),
            to: Owner::Shop,
            money,
        },
        now,
    )
    .await?;
    let (status, transaction, why) = match moved {
        Moved::Transaction(id) => (Status::Captured, Some(id), None),
        Moved::Insufficient { balance } => {
            let balance = Money::new(new.currency, balance);
            (Status::Declined, None, Some(format!("the account has {balance}, the charge is {money}")))
        }
    };
    let charge = sqlx::query_as(
        "INSERT INTO charges (key, user_id, order_ref, currency, amount, status, transaction_id)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         RETURNING id, key, user_id, order_ref, amount, currency, status, refunded",
    )
    .bind(key.as_str())
    .bind(new.user)
    .bind(&new.order)
    .bind(new.currency)
    .bind(new.amount)
    .bind(status)
    .bind(transaction)
    .fetch_one(tx)
    .await?;
    Ok((charge, why))
}

/// Pays back a charge or a part of it.
pub async fn refund(
    tx: &mut SqliteConnection,
    id: i64,
    new: &NewRefund,
    now: i64,
) -> sqlx::Result<Result<Refund, Refused>> {
    let charge: Option<Charge> = sqlx::query_as(BY_ID).bind(id).fetch_optional(&mut *tx).await?;
    let Some(charge) = charge else { return Ok(Err(Refused::NoCharge)) };
    if charge.status == Status::Declined {
        return Ok(Err(Refused::Declined));
    }
    let left = charge.amount - charge.refunded;
    let amount = new.amount.unwrap_or(left);
    if amount > left || left == 0 {
        return Ok(Err(Refused::TooMuch { left }));
    }
    let back = Transfer {
        kind: Kind::Refund,
        reference: &charge.order,
        from: Owner::Shop,
        to: Owner::User(charge.user),
        money: Money::new(charge.currency, amount),
    };
    let transaction = match ledger::transfer(tx, &back, now).await? {
        Moved::Transaction(id) => id,
        // Cannot be while the shop only ever pays back: it holds every charge less its refunds.
        Moved::Insufficient { .. } => return Ok(Err(Refused::TooMuch { left: 0 })),
    };
    sqlx::query("UPDATE charges SET refunded = refunded + ? WHERE id = ?")
        .bind(amount)
        .bind(id)
        .execute(&mut *tx)
        .await?;
    let refund = sqlx::query_as(
        "INSERT INTO refunds (charge_id, amount, transaction_id) VALUES (?, ?, ?)
         RETURNING id, charge_id, amount",
    )
    .bind(id)
    .bind(amount)
    .bind(transaction)
    .fetch_one(tx)
    .await?;
    Ok(Ok(refund))
}

/// One charge.
pub async fn find(pool: &SqlitePool, id: i64) -> sqlx::Result<Option<Charge>> {
    sqlx::query_as(BY_ID).bind(id).fetch_optional(pool).await
}

/// The charge that was asked for with a key.
pub async fn find_by_key(pool: &SqlitePool, key: &Key) -> sqlx::Result<Option<Charge>> {
    sqlx::query_as(BY_KEY).bind(key.as_str()).fetch_optional(pool).await
}

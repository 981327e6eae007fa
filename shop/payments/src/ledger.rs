//! The double-entry ledger: money only ever moves from one account to another.
//!
//! The rules themselves are constraints and triggers of the schema; this is how they are used.

use serde::{Deserialize, Serialize};
use shop_money::{Currency, Money};
use sqlx::{SqliteConnection, SqlitePool};
use utoipa::ToSchema;

/// Whose account it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A customer.
    User(i64),
    /// The shop.
    Shop,
    /// Where money comes into this system; the only one that may owe.
    Bank,
}

/// Why money moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An account opens with a balance.
    Opening,
    /// A customer pays.
    Charge,
    /// A customer is paid back.
    Refund,
}

madang::stored_as_text!(Kind);

/// Some money that moves from one account to another.
#[derive(Debug, Clone)]
pub struct Transfer<'a> {
    /// Why.
    pub kind: Kind,
    /// What for, in words of the one who asked.
    pub reference: &'a str,
    /// Whose balance goes down.
    pub from: Owner,
    /// Whose balance goes up.
    pub to: Owner,
    /// How much; positive.
    pub money: Money,
}

/// What came of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// The money moved, in this transaction of the ledger.
    Transaction(i64),
    /// It did not: the account has less than that.
    Insufficient {
        /// What the account has.
        balance: i64,
    },
}

/// What a customer's account holds when it is first seen.
pub const OPENING: [Money; 2] =
    [Money::new(Currency::Krw, 1_000_000_000), Money::new(Currency::Usd, 100_000_000)];

// === impl Owner ===

impl Owner {
    /// As it is stored and shown.
    pub fn name(self) -> String {
        match self {
            Self::User(id) => format!("user:{id}"),
            Self::Shop => "shop".to_owned(),
            Self::Bank => "bank".to_owned(),
        }
    }
}

/// Moves money inside the caller's write transaction.
pub async fn transfer(tx: &mut SqliteConnection, transfer: &Transfer<'_>, now: i64) -> sqlx::Result<Moved> {
    let Transfer { kind, reference, from, to, money } = transfer;
    let (from_id, balance) = account(tx, *from, money.currency, now).await?;
    let (to_id, _) = account(tx, *to, money.currency, now).await?;
    if *from != Owner::Bank && balance < money.amount {
        return Ok(Moved::Insufficient { balance });
    }
    let id = post(tx, *kind, reference, &[(from_id, -money.amount), (to_id, money.amount)], now).await?;
    Ok(Moved::Transaction(id))
}

/// What the accounts of an owner hold; nothing if the owner was never seen.
pub async fn balances(pool: &SqlitePool, owner: Owner) -> sqlx::Result<Vec<Money>> {
    let rows: Vec<(Currency, i64)> =
        sqlx::query_as("SELECT currency, balance FROM accounts WHERE owner = ? ORDER BY currency")
            .bind(owner.name())
            .fetch_all(pool)
            .await?;
    Ok(rows.into_iter().map(|(currency, amount)| Money { currency, amount }).collect())
}

/// The account's id and balance. A customer's account opens with [`OPENING`] when it is first seen.
async fn account(
    tx: &mut SqliteConnection,
    owner: Owner,
    currency: Currency,
    now: i64,
) -> sqlx::Result<(i64, i64)> {
    let name = owner.name();
    let find = "SELECT id, balance FROM accounts WHERE owner = ? AND currency = ?";
    if let Some(found) = sqlx::query_as(find).bind(&name).bind(currency).fetch_optional(&mut *tx).await? {
        return Ok(found);
    }
    let id = open(tx, &name, currency).await?;
    let opening = OPENING.iter().find(|money| money.currency == currency);
    let (Owner::User(_), Some(opening)) = (owner, opening) else { return Ok((id, 0)) };
    let bank = Owner::Bank.name();
    let bank = match sqlx::query_scalar("SELECT id FROM accounts WHERE owner = ? AND currency = ?")
        .bind(&bank)
        .bind(currency)
        .fetch_optional(&mut *tx)
        .await?
    {
        Some(id) => id,
        None => open(tx, &bank, currency).await?,
    };
    post(tx, Kind::Opening, &name, &[(bank, -opening.amount), (id, opening.amount)], now).await?;
    Ok((id, opening.amount))
}

async fn open(tx: &mut SqliteConnection, owner: &str, currency: Currency) -> sqlx::Result<i64> {
    sqlx::query_scalar("INSERT INTO accounts (owner, currency) VALUES (?, ?) RETURNING id")
        .bind(owner)
        .bind(currency)
        .fetch_one(tx)
        .await
}

/// Writes one transaction with its entries and seals it.
async fn post(
    tx: &mut SqliteConnection,
    kind: Kind,
    reference: &str,
    entries: &[(i64, i64)],
    now: i64,
) -> sqlx::Result<i64> {
    let id: i64 =
        sqlx::query_scalar("SELECT coalesce(max(id), 0) + 1 FROM transactions").fetch_one(&mut *tx).await?;
    sqlx::query("INSERT INTO transactions (id, kind, reference, at, seal) VALUES (?1, ?2, ?3, ?4, ?1)")
        .bind(id)
        .bind(kind)
        .bind(reference)
        .bind(now)
        .execute(&mut *tx)
        .await?;
    for (position, (account, amount)) in (0_i64..).zip(entries) {
        sqlx::query("INSERT INTO entries (transaction_id, position, account_id, amount) VALUES (?, ?, ?, ?)")
            .bind(id)
            .bind(position)
            .bind(account)
            .bind(amount)
            .execute(&mut *tx)
            .await?;
    }
    sqlx::query("INSERT INTO seals (transaction_id) VALUES (?)").bind(id).execute(&mut *tx).await?;
    Ok(id)
}

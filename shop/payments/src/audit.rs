//! The ledger read back: its transactions page by page, and the proof that it balances.

use serde::{Deserialize, Serialize};
use shop_money::{Currency, Money};
use sqlx::SqlitePool;
use utoipa::ToSchema;

use crate::ledger::Kind;

/// A transaction of the ledger with its entries, which sum to zero in every currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transaction {
    /// The id, from 1, without gaps.
    pub id: i64,
    /// Why the money moved.
    pub kind: Kind,
    /// What for.
    pub reference: String,
    /// When, in seconds since 1970.
    pub at: i64,
    /// The accounts whose balance changed.
    pub entries: Vec<Entry>,
}

/// What a transaction does to one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Entry {
    /// The account's owner: `user:7`, `shop` or `bank`.
    #[schema(example = "user:1")]
    pub account: String,
    /// The currency.
    pub currency: Currency,
    /// The change in minor units.
    pub amount: i64,
}

/// Whether the ledger balances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Balance {
    /// Whether everything below is as it must be.
    pub balanced: bool,
    /// How many transactions there are.
    pub transactions: i64,
    /// The sum of all entries per currency: zero.
    pub sums: Vec<Money>,
    /// Transactions whose entries do not sum to zero: none. At most 100 are listed.
    pub unbalanced: Vec<i64>,
    /// Owners of an account whose balance is not the sum of its entries: none. At most 100 are listed.
    pub drifted: Vec<String>,
}

/// The transactions after an id, in the order in which they happened.
pub async fn page(pool: &SqlitePool, after: i64, limit: u32) -> sqlx::Result<Vec<Transaction>> {
    let rows: Vec<(i64, Kind, String, i64, String, Currency, i64)> = sqlx::query_as(
        "SELECT t.id, t.kind, t.reference, t.at, a.owner, a.currency, e.amount
         FROM (SELECT * FROM transactions WHERE id > ? ORDER BY id LIMIT ?) AS t
         JOIN entries e ON e.transaction_id = t.id
         JOIN accounts a ON a.id = e.account_id
         ORDER BY t.id, e.position",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    let mut page: Vec<Transaction> = Vec::new();
    for (id, kind, reference, at, account, currency, amount) in rows {
        if page.last().is_none_or(|last| last.id != id) {
            page.push(Transaction { id, kind, reference, at, entries: Vec::new() });
        }
        if let Some(last) = page.last_mut() {
            last.entries.push(Entry { account, currency, amount });
        }
    }
    Ok(page)
}

/// Adds everything up again from the entries, in one snapshot of the database.
pub async fn check(pool: &SqlitePool) -> sqlx::Result<Balance> {
    let mut snapshot = pool.begin().await?;
    let transactions =
        sqlx::query_scalar("SELECT count(*) FROM transactions").fetch_one(&mut *snapshot).await?;
    let sums: Vec<(Currency, i64)> = sqlx::query_as(
        "SELECT a.currency, sum(e.amount) FROM entries e JOIN accounts a ON a.id = e.account_id
         GROUP BY a.currency ORDER BY a.currency",
    )
    .fetch_all(&mut *snapshot)
    .await?;
    let unbalanced: Vec<i64> = sqlx::query_scalar(
        "SELECT DISTINCT e.transaction_id FROM entries e JOIN accounts a ON a.id = e.account_id
         GROUP BY e.transaction_id, a.currency HAVING sum(e.amount) <> 0 LIMIT 100",
    )
    .fetch_all(&mut *snapshot)
    .await?;
    let drifted: Vec<String> = sqlx::query_scalar(
        "SELECT owner FROM accounts a
         WHERE balance <> (SELECT coalesce(sum(amount), 0) FROM entries WHERE account_id = a.id) LIMIT 100",
    )
    .fetch_all(&mut *snapshot)
    .await?;
    let sums: Vec<Money> = sums.into_iter().map(|(currency, amount)| Money { currency, amount }).collect();
    let balanced = unbalanced.is_empty() && drifted.is_empty() && sums.iter().all(|money| money.amount == 0);
    Ok(Balance { balanced, transactions, sums, unbalanced, drifted })
}

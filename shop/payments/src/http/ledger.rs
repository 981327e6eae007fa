//! The ledger and its accounts, to be read.

use madang::{Error, Json, Path, Problem, Query, Result, Sqlite};
use serde::{Deserialize, Serialize};
use shop_money::Money;
use utoipa::{IntoParams, ToSchema};

use crate::{
    audit::{self, Balance, Transaction},
    ledger::{self, Owner},
};

/// A user's accounts.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// The user.
    pub user: i64,
    /// What the accounts hold, one per currency that the user ever paid in.
    pub balances: Vec<Money>,
}

/// What a user's accounts hold.
#[utoipa::path(
    get,
    path = "/payments/accounts/{user}",
    operation_id = "getAccount",
    params(("user" = i64, Path, description = "the user")),
    responses((status = 200, description = "the balances; none before the first charge", body = Account))
)]
pub(super) async fn get_account(Sqlite(pool): Sqlite, Path(user): Path<i64>) -> Result<Json<Account>> {
    Ok(Json(Account { user, balances: ledger::balances(&pool, Owner::User(user)).await? }))
}

/// Which part of the ledger to read.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct LedgerWanted {
    /// `next` of the page before; the first page if absent.
    #[serde(default)]
    #[param(minimum = 0)]
    cursor: i64,
    /// How many transactions at most: 1 to 500.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: u32,
}

fn default_limit() -> u32 {
    100
}

/// A page of the ledger.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LedgerPage {
    /// The transactions, oldest first.
    pub items: Vec<Transaction>,
    /// The cursor of the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

/// The ledger, oldest first.
#[utoipa::path(
    get,
    path = "/payments/ledger",
    operation_id = "getLedger",
    params(LedgerWanted),
    responses(
        (status = 200, description = "a page", body = LedgerPage),
        (status = 422, description = "a bad field", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_ledger(
    Sqlite(pool): Sqlite,
    Query(LedgerWanted { cursor, limit }): Query<LedgerWanted>,
) -> Result<Json<LedgerPage>> {
    if cursor < 0 {
        return Err(Error::invalid("cursor", "must be `next` of a page"));
    }
    if !(1..=500).contains(&limit) {
        return Err(Error::invalid("limit", "must be 1 to 500"));
    }
    let mut items = audit::page(&pool, cursor, limit + 1).await?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items.last().filter(|_| more).map(|last| last.id);
    Ok(Json(LedgerPage { items, next }))
}

/// Adds the whole ledger up again.
#[utoipa::path(
    get,
    path = "/payments/balance-check",
    operation_id = "checkBalance",
    responses((status = 200, description = "what was found; `balanced` says whether it is right", body = Balance))
)]
pub(super) async fn balance_check(Sqlite(pool): Sqlite) -> Result<Json<Balance>> {
    Ok(Json(audit::check(&pool).await?))
}

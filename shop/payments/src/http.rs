//! The endpoints of payments.

use std::time::{SystemTime, UNIX_EPOCH};

use madang::{
    Code, Error, Json, Path, Problem, Query, Result, Sqlite,
    axum::{
        Router,
        extract::State,
        http::{HeaderMap, StatusCode, header},
        response::{IntoResponse, Response},
        routing::{get, post},
    },
};
use serde::{Deserialize, Serialize};
use shop_idempotency::{InFlight, Key};
use shop_money::Money;
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::{
    answers::{self, Answer, Known},
    audit::{self, Balance, Transaction},
    charge::{self, Charge, NewCharge, NewRefund, Refund, Refused},
    ledger::{self, Owner},
};

/// The endpoints of payments, as a document.
#[derive(OpenApi)]
#[openapi(
    info(title = "payments", description = "Accounts, a double-entry ledger, charges and refunds."),
    paths(post_charge, post_refund, get_charge, find_charges, get_ledger, balance_check, get_account)
)]
pub struct ApiDoc;

/// The routes of payments.
pub fn routes() -> Router {
    Router::new()
        .route("/payments/charges", post(post_charge).get(find_charges))
        .route("/payments/charges/{id}", get(get_charge))
        .route("/payments/charges/{id}/refunds", post(post_refund))
        .route("/payments/accounts/{user}", get(get_account))
        .route("/payments/ledger", get(get_ledger))
        .route("/payments/balance-check", get(balance_check))
        .with_state(InFlight::default())
}

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
async fn post_charge(
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
async fn post_refund(
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
async fn get_charge(Sqlite(pool): Sqlite, Path(id): Path<i64>) -> Result<Json<Charge>> {
    let charge = charge::find(&pool, id).await?;
    charge.map(Json).ok_or_else(|| Error::not_found(format_args!("charge {id}")))
}

/// Which charges to find.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ChargesWanted {
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
async fn find_charges(
    Sqlite(pool): Sqlite,
    Query(wanted): Query<ChargesWanted>,
) -> Result<Json<Vec<Charge>>> {
    let key = Key::parse(&wanted.key).map_err(|why| Error::invalid("key", why))?;
    Ok(Json(charge::find_by_key(&pool, &key).await?.into_iter().collect()))
}

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
async fn get_account(Sqlite(pool): Sqlite, Path(user): Path<i64>) -> Result<Json<Account>> {
    Ok(Json(Account { user, balances: ledger::balances(&pool, Owner::User(user)).await? }))
}

/// Which part of the ledger to read.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct LedgerWanted {
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
async fn get_ledger(
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
async fn balance_check(Sqlite(pool): Sqlite) -> Result<Json<Balance>> {
    Ok(Json(audit::check(&pool).await?))
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

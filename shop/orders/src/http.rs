//! The endpoints of orders.

use madang::{
    Calls, Code, Error, Json, Path, Principal, Problem, Query, Result, Sqlite,
    axum::{
        Router,
        extract::State,
        http::{HeaderMap, HeaderValue, header},
        response::Response,
        routing::get,
    },
};
use serde::Deserialize;
use shop_idempotency::{InFlight, Key};
use sqlx::SqlitePool;
use tracing::Instrument;
use utoipa::{IntoParams, OpenApi};

use crate::{
    Config,
    answer::answer,
    checkout::{Checkout, Mode, millis, now},
    machine::Reason,
    order::{self, Line, NewOrder, Order},
    peers::Peers,
    store::{self, Draft},
};

/// The endpoints of orders, as a document.
#[derive(OpenApi)]
#[openapi(info(title = "orders", description = "Orders, from asked for to paid."), paths(list, create, one))]
pub struct ApiDoc;

#[derive(Clone)]
struct Shared {
    config: Config,
    in_flight: InFlight,
}

/// The routes of orders.
pub fn routes(config: Config) -> Router {
    Router::new()
        .route("/orders", get(list).post(create))
        .route("/orders/{id}", get(one))
        .with_state(Shared { config, in_flight: InFlight::default() })
}

/// Which orders to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The id of the last order of the page before; from the start if absent.
    #[serde(default)]
    #[param(minimum = 0)]
    after: i64,
    /// How many orders at most: 1 to 500.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: u32,
    /// Only those of this user.
    user: Option<i64>,
}

fn default_limit() -> u32 {
    100
}

/// Lists orders in the order of their ids.
#[utoipa::path(
    get,
    path = "/orders",
    operation_id = "listOrders",
    params(Wanted),
    responses(
        (status = 200, description = "a page of orders", body = Vec<Order>,
         headers(("link" = String, description = "where the next page is (`rel=\"next\"`); absent on the last"))),
        (status = 403, description = "they are another's than of whoever is logged in", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "a bad field", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    Sqlite(pool): Sqlite,
    principal: Option<Principal>,
    Query(Wanted { after, limit, user }): Query<Wanted>,
) -> Result<(HeaderMap, Json<Vec<Order>>)> {
    if after < 0 {
        return Err(Error::invalid("after", "must not be negative"));
    }
    if !(1..=500).contains(&limit) {
        return Err(Error::invalid("limit", "must be 1 to 500"));
    }
    let user = match whose(principal.as_ref())? {
        None => user,
        Some(own) if user.is_none_or(|user| user == own) => Some(own),
        Some(_) => return Err(not_theirs()),
    };
    let mut orders = store::page(&pool, user, after, limit + 1).await?;
    let more = orders.len() > limit as usize;
    orders.truncate(limit as usize);
    let mut headers = HeaderMap::new();
    if let Some(last) = orders.last().filter(|_| more) {
        let of = user.map(|user| format!("&user={user}")).unwrap_or_default();
        let next = format!("</orders?after={}&limit={limit}{of}>; rel=\"next\"", last.id);
        headers.insert(header::LINK, HeaderValue::try_from(next).map_err(Error::internal)?);
    }
    Ok((headers, Json(orders)))
}

/// One order with its history.
#[utoipa::path(
    get,
    path = "/orders/{id}",
    operation_id = "getOrder",
    params(("id" = i64, Path, description = "the order")),
    responses(
        (status = 200, description = "the order", body = Order),
        (status = 404, description = "no such order", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn one(Sqlite(pool): Sqlite, principal: Option<Principal>, Path(id): Path<i64>) -> Result<Json<Order>> {
    let own = whose(principal.as_ref())?;
    // That somebody else's is there is theirs to know.
    let order = store::find(&pool, id).await?.filter(|order| own.is_none_or(|own| own == order.user));
    order.map(Json).ok_or_else(|| Error::not_found(format_args!("order {id}")))
}

/// Whose orders a request is about, if it is made for somebody who logged in: their own. A program with a key or a client
/// of its own says for whom it orders, and so does whoever calls from inside for nobody.
fn whose(principal: Option<&Principal>) -> Result<Option<i64>> {
    let Some(subject) = principal.map(Principal::subject) else { return Ok(None) };
    if subject.starts_with("key:") || subject.starts_with("client:") {
        return Ok(None);
    }
    subject.parse().map(Some).map_err(|_| not_theirs())
}

fn not_theirs() -> Error {
    Error::problem(
        Problem::new(Code::NOT_ALLOWED).detail("whoever is logged in sees and makes their own orders"),
    )
}

/// Makes an order.
///
/// With an `Idempotency-Key`, the same request again is answered by the same order, which it drives on if it is
/// unfinished; an order that failed gives its key back, so that the same request then tries anew.
#[utoipa::path(
    post,
    path = "/orders",
    operation_id = "placeOrder",
    params(("Idempotency-Key" = Option<String>, Header, description = "names the order, which then is made once")),
    request_body = NewOrder,
    responses(
        (status = 201, description = "paid", body = Order,
         headers(("location" = String, description = "where the order is"))),
        (status = 202, description = "the outcome is not known yet: see the order later", body = Order,
         headers(("location" = String, description = "where the order is"))),
        (status = 400, description = "a malformed key", body = Problem, content_type = "application/problem+json"),
        (status = 402, description = "the payment was declined and the stock released", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "it is for another than whoever is logged in", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "not enough in stock, or a request with this key is being answered", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "a bad field, or the key was used for another request", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "a service that it takes could not be reached; nothing is held or paid", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn create(
    Sqlite(pool): Sqlite,
    State(Shared { config, in_flight }): State<Shared>,
    principal: Option<Principal>,
    calls: Calls,
    headers: HeaderMap,
    Json(new): Json<NewOrder>,
) -> Result<Response> {
    if whose(principal.as_ref())?.is_some_and(|own| own != new.user) {
        return Err(not_theirs());
    }
    let key = Key::optional(&headers)?;
    let _claim = key.as_ref().map(|key| in_flight.claim(key)).transpose()?;
    let fingerprint = serde_json::to_string(&new)?;
    let peers = Peers::new(calls, config.payments);
    let checkout = Checkout::new(pool.clone(), peers.clone(), config.clone());
    let (id, mode) = match made_before(&pool, key.as_ref(), &fingerprint).await? {
        Some(id) => (id, Mode::Later),
        None => {
            let due_after = millis(config.lease);
            let id = write_down(&pool, &peers, &new, key.as_ref(), &fingerprint, due_after).await?;
            (id, Mode::Live)
        }
    };
    // In a task of its own, so that a client who leaves does not stop the order half way.
    let driven = tokio::spawn(async move { checkout.drive(id, mode).await }.in_current_span());
    Ok(answer(&new, driven.await.map_err(Error::internal)??))
}

/// Checks an order with the other services, fixes its prices and writes it; gives its id.
async fn write_down(
    pool: &SqlitePool,
    peers: &Peers,
    new: &NewOrder,
    key: Option<&Key>,
    fingerprint: &str,
    due_after: i64,
) -> Result<i64> {
    let wanted = new.lines().map_err(bad_field)?;
    peers.check_user(new.user).await?;
    let lines = peers.quote(new, &wanted).await?;
    distinct(&lines)?;
    let total = order::total(&lines, new.currency)
        .ok_or_else(|| Error::invalid("lines", "cost more than can be counted"))?;
    if new.total.is_some_and(|shown| shown != total.amount) {
        return Err(Error::invalid("total", format!("it costs {total} now")));
    }
    let draft = Draft { key, fingerprint, user: new.user, total, lines: &lines };
    let now = now();
    let inserted = store::insert(pool, &draft, now, now + due_after).await;
    inserted.map_err(|error| match error.as_database_error() {
        // Another process of this service was faster.
        Some(cause) if cause.is_unique_violation() => shop_idempotency::in_flight(),
        _ => error.into(),
    })
}

/// The id of the order that this key was used for; 422 if it was for another request.
async fn made_before(pool: &SqlitePool, key: Option<&Key>, fingerprint: &str) -> Result<Option<i64>> {
    let Some(key) = key else { return Ok(None) };
    match store::find_by_key(pool, key).await? {
        None => Ok(None),
        Some((id, first)) if first == fingerprint => Ok(Some(id)),
        Some(_) => Err(shop_idempotency::other_request()),
    }
}

/// A product has two names but belongs in one line.
fn distinct(lines: &[Line]) -> Result<()> {
    for (index, line) in lines.iter().enumerate() {
        if lines[..index].iter().any(|before| before.product_id == line.product_id) {
            return Err(Error::invalid(format!("lines[{index}].product"), "is in another line already"));
        }
    }
    Ok(())
}

fn bad_field(reason: Reason) -> Error {
    Error::invalid(reason.field.unwrap_or_default(), reason.detail)
}

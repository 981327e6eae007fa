//! Products: found, read, priced and counted.

use madang::{Error, Json, Path, Problem, Query, Result, Sqlite, axum::extract::State};
use serde::{Deserialize, Serialize};
use shop_money::Money;
use utoipa::{IntoParams, ToSchema};

use crate::{
    Config,
    cursor::Cursor,
    product::{PriceChange, Product},
    products::{self, Stocked},
    search::Search,
};

/// How many price changes of a product are shown.
const CHANGES: u32 = 100;

/// Which products to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListWanted {
    /// Words that the names must contain, in either language, each as a part of a word or more.
    #[serde(default)]
    #[param(max_length = 100)]
    query: String,
    /// `next` of the page before; the first page if absent.
    cursor: Option<String>,
    /// How many products at most: 1 to 100.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: u32,
}

fn default_limit() -> u32 {
    20
}

/// A page of products.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Page {
    /// The products, in the order of their ids.
    pub items: Vec<Product>,
    /// The cursor of the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Lists and searches products.
#[utoipa::path(
    get,
    path = "/products",
    operation_id = "listProducts",
    params(ListWanted),
    responses(
        (status = 200, description = "a page of products", body = Page),
        (status = 422, description = "a bad field", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    Sqlite(pool): Sqlite,
    Query(ListWanted { query, cursor, limit }): Query<ListWanted>,
) -> Result<Json<Page>> {
    let search = Search::parse(&query).map_err(|why| Error::invalid("query", why))?;
    let cursor = match cursor {
        None => Cursor::default(),
        Some(text) => {
            Cursor::parse(&text).ok_or_else(|| Error::invalid("cursor", "must be `next` of a page"))?
        }
    };
    if !(1..=100).contains(&limit) {
        return Err(Error::invalid("limit", "must be 1 to 100"));
    }
    let mut items = products::page(&pool, &search, cursor, limit + 1).await?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items.last().filter(|_| more).map(|last| Cursor { after: last.id }.to_string());
    Ok(Json(Page { items, next }))
}

/// One product.
#[utoipa::path(
    get,
    path = "/products/{id}",
    operation_id = "getProduct",
    params(("id" = i64, Path, description = "the product")),
    responses(
        (status = 200, description = "the product", body = Product),
        (status = 404, description = "no such product", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn one(Sqlite(pool): Sqlite, Path(id): Path<i64>) -> Result<Json<Product>> {
    products::find(&pool, id).await?.map(Json).ok_or_else(|| no_product(id))
}

/// The product with this very name, in either language.
#[utoipa::path(
    get,
    path = "/products/by-name/{name}",
    operation_id = "getProductByName",
    params(("name" = String, Path, description = "the whole name")),
    responses(
        (status = 200, description = "the product", body = Product),
        (status = 404, description = "no such product", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn by_name(Sqlite(pool): Sqlite, Path(name): Path<String>) -> Result<Json<Product>> {
    let product = products::find_by_name(&pool, &name).await?;
    product.map(Json).ok_or_else(|| Error::not_found(format_args!("product {name:?}")))
}

/// Sets the price in one currency. Orders that were made keep theirs.
#[utoipa::path(
    put,
    path = "/products/{id}/price",
    operation_id = "setPrice",
    params(("id" = i64, Path, description = "the product")),
    request_body = Money,
    responses(
        (status = 200, description = "the product with its prices", body = Product),
        (status = 404, description = "no such product", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "a bad field", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn set_price(
    Sqlite(pool): Sqlite,
    State(config): State<Config>,
    Path(id): Path<i64>,
    Json(price): Json<Money>,
) -> Result<Json<Product>> {
    if !(1..=products::MAX_PRICE).contains(&price.amount) {
        return Err(Error::invalid("amount", "must be 1 to 1000000000000 minor units"));
    }
    let mut tx = madang::begin_write(&pool).await?;
    if !products::set_price(&mut tx, id, price, config.clock.now()).await? {
        return Err(no_product(id));
    }
    tx.commit().await?;
    products::find(&pool, id).await?.map(Json).ok_or_else(|| no_product(id))
}

/// The last 100 price changes of a product, the newest first.
#[utoipa::path(
    get,
    path = "/products/{id}/prices",
    operation_id = "listPriceChanges",
    params(("id" = i64, Path, description = "the product")),
    responses(
        (status = 200, description = "the changes", body = Vec<PriceChange>),
        (status = 404, description = "no such product", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn price_changes(
    Sqlite(pool): Sqlite,
    Path(id): Path<i64>,
) -> Result<Json<Vec<PriceChange>>> {
    products::find(&pool, id).await?.ok_or_else(|| no_product(id))?;
    Ok(Json(products::price_changes(&pool, id, CHANGES).await?))
}

/// How many are on the shelf.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Stock {
    /// How many, those reserved included.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    pub quantity: i64,
}

/// Sets how many are on the shelf, those reserved included.
#[utoipa::path(
    put,
    path = "/products/{id}/stock",
    operation_id = "setStock",
    params(("id" = i64, Path, description = "the product")),
    request_body = Stock,
    responses(
        (status = 200, description = "the product", body = Product),
        (status = 404, description = "no such product", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "more is reserved", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "a bad field", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn set_stock(
    Sqlite(pool): Sqlite,
    Path(id): Path<i64>,
    Json(Stock { quantity }): Json<Stock>,
) -> Result<Json<Product>> {
    if !(0..=1_000_000_000).contains(&quantity) {
        return Err(Error::invalid("quantity", "must be 0 to 1000000000"));
    }
    let mut tx = madang::begin_write(&pool).await?;
    match products::set_stock(&mut tx, id, quantity).await? {
        Stocked::Done => tx.commit().await?,
        Stocked::NoProduct => return Err(no_product(id)),
        Stocked::Reserved(reserved) => {
            return Err(Error::conflict(format!("quantity: {reserved} are reserved")));
        }
    }
    products::find(&pool, id).await?.map(Json).ok_or_else(|| no_product(id))
}

fn no_product(id: i64) -> Error {
    Error::not_found(format_args!("product {id}"))
}

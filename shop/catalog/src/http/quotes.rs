//! What an order would cost now: names become products with prices, in one call.

use madang::{Code, Error, Json, Problem, Result, Sqlite};
use serde::{Deserialize, Serialize};
use shop_money::{Currency, Money};
use utoipa::ToSchema;

use super::reservations::check_count;
use crate::products;

/// What is asked for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuoteWanted {
    /// The currency of the prices.
    pub currency: Currency,
    /// The products: 1 to 100.
    #[schema(min_items = 1, max_items = 100)]
    pub lines: Vec<Wanted>,
}

/// A product, by its name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The whole name, in either language.
    #[schema(example = "Book")]
    pub product: String,
}

/// What it costs now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Quote {
    /// A line for each asked for, in the same order.
    pub lines: Vec<QuoteLine>,
}

/// What one product costs now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct QuoteLine {
    /// The product's id.
    pub product: i64,
    /// Its English name.
    pub name: String,
    /// The price of one.
    pub price: Money,
}

/// What products cost now. An unknown one is a problem that names its line.
#[utoipa::path(
    post,
    path = "/quotes",
    operation_id = "quote",
    request_body = QuoteWanted,
    responses(
        (status = 200, description = "the prices", body = Quote),
        (status = 422, description = "a bad field", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn quote(Sqlite(pool): Sqlite, Json(wanted): Json<QuoteWanted>) -> Result<Json<Quote>> {
    check_count(wanted.lines.len())?;
    let mut unknown = Problem::new(Code::INVALID);
    let mut lines = Vec::with_capacity(wanted.lines.len());
    for (index, Wanted { product: name }) in wanted.lines.iter().enumerate() {
        let found = products::find_by_name(&pool, name).await?;
        let line = found.and_then(|product| {
            let price = product.price(wanted.currency)?;
            Some(QuoteLine { product: product.id, name: product.name.en, price })
        });
        match line {
            Some(line) => lines.push(line),
            None => unknown = unknown.field(format!("lines[{index}].product"), "there is no such product"),
        }
    }
    if let Some(first) = unknown.errors.first() {
        let detail = format!("{}: {}", first.field, first.message);
        return Err(Error::problem(unknown.detail(detail)));
    }
    Ok(Json(Quote { lines }))
}

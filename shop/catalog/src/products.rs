//! The products' table.

use shop_money::{Currency, Money};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqlitePool};

use crate::{
    cursor::Cursor,
    product::{PriceChange, Product, Row},
    search::Search,
};

/// The highest price, in minor units: low enough that no order's total overflows.
pub const MAX_PRICE: i64 = 1_000_000_000_000;

/// What came of setting a stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stocked {
    /// It is so.
    Done,
    /// There is no such product.
    NoProduct,
    /// More than that is reserved.
    Reserved(i64),
}

/// The products that a search finds after a cursor, in the order of their ids.
pub async fn page(
    pool: &SqlitePool,
    search: &Search,
    cursor: Cursor,
    limit: u32,
) -> sqlx::Result<Vec<Product>> {
    let mut sql: QueryBuilder<Sqlite> =
        QueryBuilder::new("SELECT id, name_en, name_ko, krw, usd, stock, reserved FROM products WHERE id > ");
    sql.push_bind(cursor.after);
    search.push(&mut sql);
    sql.push(" ORDER BY id LIMIT ").push_bind(limit);
    let rows: Vec<Row> = sql.build_query_as().fetch_all(pool).await?;
    Ok(rows.into_iter().map(Product::from).collect())
}

/// One product.
pub async fn find(pool: &SqlitePool, id: i64) -> sqlx::Result<Option<Product>> {
    let row: Option<Row> =
        sqlx::query_as("SELECT id, name_en, name_ko, krw, usd, stock, reserved FROM products WHERE id = ?")
            .bind(id)
            .fetch_optional(pool)
            .await?;
    Ok(row.map(Product::from))
}

/// The product with this very name, in either language.
pub async fn find_by_name(pool: &SqlitePool, name: &str) -> sqlx::Result<Option<Product>> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, name_en, name_ko, krw, usd, stock, reserved FROM products
         WHERE name_en = ?1 OR name_ko = ?1",
    )
    .bind(name)
    .fetch_optional(pool)
    .await?;
    Ok(row.map(Product::from))
}

/// Sets a price and keeps the one before; says whether there is such a product. Inside the caller's write
/// transaction.
pub async fn set_price(tx: &mut SqliteConnection, id: i64, price: Money, now: i64) -> sqlx::Result<bool> {
    let before: Option<i64> =
        sqlx::query_scalar("SELECT CASE ? WHEN 'KRW' THEN krw ELSE usd END FROM products WHERE id = ?")
            .bind(price.currency)
            .bind(id)
            .fetch_optional(&mut *tx)
            .await?;
    let Some(before) = before else { return Ok(false) };
    if before == price.amount {
        return Ok(true);
    }
    let update = match price.currency {
        Currency::Krw => "UPDATE products SET krw = ? WHERE id = ?",
        Currency::Usd => "UPDATE products SET usd = ? WHERE id = ?",
    };
    sqlx::query(update).bind(price.amount).bind(id).execute(&mut *tx).await?;
    sqlx::query("INSERT INTO price_changes (product_id, currency, before, after, at) VALUES (?, ?, ?, ?, ?)")
        .bind(id)
        .bind(price.currency)
        .bind(before)
        .bind(price.amount)
        .bind(now)
        .execute(tx)
        .await?;
    Ok(true)
}

/// The latest price changes of a product, the newest first.
pub async fn price_changes(pool: &SqlitePool, id: i64, limit: u32) -> sqlx::Result<Vec<PriceChange>> {
    sqlx::query_as(
        "SELECT currency, before, after, at FROM price_changes WHERE product_id = ? ORDER BY id DESC LIMIT ?",
    )
    .bind(id)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// Sets how many are on the shelf, those reserved included. Inside the caller's write transaction.
pub async fn set_stock(tx: &mut SqliteConnection, id: i64, quantity: i64) -> sqlx::Result<Stocked> {
    let reserved: Option<i64> = sqlx::query_scalar("SELECT reserved FROM products WHERE id = ?")
        .bind(id)
        .fetch_optional(&mut *tx)
        .await?;
    match reserved {
        None => Ok(Stocked::NoProduct),
        Some(reserved) if reserved > quantity => Ok(Stocked::Reserved(reserved)),
        Some(_) => {
            sqlx::query("UPDATE products SET stock = ? WHERE id = ?")
                .bind(quantity)
                .bind(id)
                .execute(tx)
                .await?;
            Ok(Stocked::Done)
        }
    }
}

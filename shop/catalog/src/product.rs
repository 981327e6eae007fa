//! A product as it is shown.

use serde::{Deserialize, Serialize};
use shop_money::{Currency, Money};
use utoipa::ToSchema;

/// A product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Product {
    /// The id, from 1.
    #[schema(example = 1)]
    pub id: i64,
    /// The name in each language; either is unique and can be ordered by.
    pub name: Names,
    /// The price in each currency.
    pub prices: Vec<Money>,
    /// How many can be ordered now: on the shelf and not reserved.
    #[schema(example = 12)]
    pub available: i64,
}

/// A name in each language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Names {
    /// In English.
    #[schema(example = "Book")]
    pub en: String,
    /// In Korean.
    #[schema(example = "책")]
    pub ko: String,
}

/// A price that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, madang::FromRow)]
pub struct PriceChange {
    /// The currency.
    pub currency: Currency,
    /// The price before, in minor units.
    pub before: i64,
    /// The price after, in minor units.
    pub after: i64,
    /// When, in milliseconds since 1970.
    pub at: i64,
}

/// A row of the products' table.
#[derive(madang::FromRow)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) name_en: String,
    pub(crate) name_ko: String,
    pub(crate) krw: i64,
    pub(crate) usd: i64,
    pub(crate) stock: i64,
    pub(crate) reserved: i64,
}

impl From<Row> for Product {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            name: Names { en: row.name_en, ko: row.name_ko },
            prices: vec![Money::new(Currency::Krw, row.krw), Money::new(Currency::Usd, row.usd)],
            available: row.stock - row.reserved,
        }
    }
}

impl Product {
    /// The price in a currency.
    pub fn price(&self, currency: Currency) -> Option<Money> {
        self.prices.iter().copied().find(|price| price.currency == currency)
    }
}

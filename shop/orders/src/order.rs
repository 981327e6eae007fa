//! An order as it is asked for, and as it is shown.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use shop_money::{Currency, Money};
use utoipa::ToSchema;

use crate::machine::{Reason, Status};

/// The most lines of an order.
pub const LINES_MAX: usize = 100;
/// The most of one product in an order.
pub const QUANTITY_MAX: u32 = 1_000;

/// An order to make: one `product`, or `lines`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"user": 1, "product": "Book"}))]
pub struct NewOrder {
    /// The user who orders.
    #[schema(minimum = 1)]
    pub user: i64,
    /// The name of the one product; not with `lines`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// How many of `product`: 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub quantity: Option<u32>,
    /// Several products; not with `product`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 100)]
    pub lines: Option<Vec<NewLine>>,
    /// The currency to pay in: KRW if absent.
    #[serde(default = "won")]
    pub currency: Currency,
    /// What the client was shown that it costs, in minor units: it is not ordered if it costs anything else now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub total: Option<i64>,
}

fn won() -> Currency {
    Currency::Krw
}

/// Some of one product.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLine {
    /// The product's name, in either language.
    #[schema(example = "Book")]
    pub product: String,
    /// How many: 1 if absent.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 1000)]
    pub quantity: u32,
}

fn one() -> u32 {
    1
}

/// An order.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Order {
    /// The id, from 1.
    pub id: i64,
    /// The user who ordered.
    pub user: i64,
    /// The name of the first product.
    #[schema(example = "Book")]
    pub product: String,
    /// Where the order stands.
    pub status: Status,
    /// What it costs, all lines together, at the prices of when it was made.
    pub total: Money,
    /// What is ordered.
    pub lines: Vec<Line>,
    /// The charge of payments, once it is known to be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge: Option<i64>,
    /// Why it ended badly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was made, in milliseconds since 1970.
    pub created_at: i64,
    /// Every status it had; shown for one order, not in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Passed>,
    /// Names its effects in other services.
    #[serde(skip)]
    pub key: String,
    /// The field of the request that is to blame, in terms of lines.
    #[serde(skip)]
    pub field: Option<String>,
}

/// Some of one product, at its price of when it was ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Line {
    /// The product's id in the catalog.
    pub product_id: i64,
    /// Its English name.
    pub product: String,
    /// How many.
    pub quantity: u32,
    /// The price of one.
    pub price: Money,
}

/// A status that an order had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, madang::FromRow)]
pub struct Passed {
    /// The status.
    pub status: Status,
    /// Since when, in milliseconds since 1970.
    pub at: i64,
}

// === impl NewOrder ===

impl NewOrder {
    /// What is ordered, or why that cannot be.
    pub fn lines(&self) -> Result<Cow<'_, [NewLine]>, Reason> {
        if self.user < 1 {
            return Err(bad("user", "must be at least 1"));
        }
        let lines = match (&self.product, &self.lines) {
            (Some(product), None) => {
                Cow::Owned(vec![NewLine { product: product.clone(), quantity: self.quantity.unwrap_or(1) }])
            }
            (None, Some(_)) if self.quantity.is_some() => {
                return Err(bad("quantity", "belongs to `product`: give each of the lines its own"));
            }
            (None, Some(lines)) => Cow::Borrowed(lines.as_slice()),
            (Some(_), Some(_)) => return Err(bad("lines", "give either `product` or `lines`, not both")),
            (None, None) => return Err(bad("product", "is missing: give `product` or `lines`")),
        };
        if !(1..=LINES_MAX).contains(&lines.len()) {
            return Err(bad("lines", "must have 1 to 100 lines"));
        }
        for (index, line) in lines.iter().enumerate() {
            if !(1..=200).contains(&line.product.trim().chars().count()) {
                return Err(self.blame(bad(format!("lines[{index}].product"), "must name a product")));
            }
            if !(1..=QUANTITY_MAX).contains(&line.quantity) {
                return Err(self.blame(bad(format!("lines[{index}].quantity"), "must be 1 to 1000")));
            }
        }
        Ok(lines)
    }

    /// A reason with its field as the client wrote it: an order of one `product` has no lines.
    pub fn blame(&self, mut reason: Reason) -> Reason {
        if self.lines.is_none() {
            reason.field = reason.field.map(|field| match field.strip_prefix("lines[0].") {
                Some(name) => name.to_owned(),
                None => field,
            });
        }
        reason
    }
}

fn bad(field: impl Into<String>, detail: &str) -> Reason {
    Reason { detail: detail.to_owned(), field: Some(field.into()) }
}

/// What the lines cost together; nothing if that is too large a number.
pub fn total(lines: &[Line], currency: Currency) -> Option<Money> {
    let mut total = Money::new(currency, 0);
    for line in lines {
        total = total.plus(line.price.times(line.quantity)?)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(json: &str) -> Option<String> {
        let order: NewOrder = serde_json::from_str(json).unwrap();
        order.lines().err().and_then(|reason| reason.field)
    }

    #[test]
    fn an_order_has_one_product_or_lines_and_the_bad_field_is_named() {
        assert_eq!(field(r#"{"user":1,"product":"Book"}"#), None);
        assert_eq!(field(r#"{"user":1,"lines":[{"product":"Book","quantity":1000}]}"#), None);
        let check = |json: &str, bad: &str| assert_eq!(field(json).as_deref(), Some(bad), "{json}");
        check(r#"{"user":0,"product":"Book"}"#, "user");
        check(r#"{"user":1}"#, "product");
        check(r#"{"user":1,"product":" "}"#, "product");
        check(r#"{"user":1,"product":"Book","quantity":0}"#, "quantity");
        check(r#"{"user":1,"product":"Book","lines":[]}"#, "lines");
        check(r#"{"user":1,"lines":[]}"#, "lines");
        check(r#"{"user":1,"quantity":2,"lines":[{"product":"Book"}]}"#, "quantity");
        check(r#"{"user":1,"lines":[{"product":"A"},{"product":"B","quantity":1001}]}"#, "lines[1].quantity");
        check(r#"{"user":1,"lines":[{"product":""}]}"#, "lines[0].product");
        let many = vec![r#"{"product":"A"}"#; 101].join(",");
        check(&format!(r#"{{"user":1,"lines":[{many}]}}"#), "lines");
    }

    #[test]
    fn the_total_adds_up_or_is_refused() {
        let line = |quantity, amount| Line {
            product_id: 1,
            product: "A".to_owned(),
            quantity,
            price: Money::new(Currency::Krw, amount),
        };
        let sum = total(&[line(2, 300), line(1, 50)], Currency::Krw);
        assert_eq!(sum, Some(Money::new(Currency::Krw, 650)));
        assert_eq!(total(&[line(1, 300)], Currency::Usd), None);
        assert_eq!(total(&[line(3, i64::MAX / 2)], Currency::Krw), None);
    }
}

//! An order as orders shows it.

use serde::Deserialize;
use shop_money::Money;

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Order {
    /// The id.
    pub id: i64,
    /// Who ordered.
    pub user: i64,
    /// Where it stands.
    pub status: Status,
    /// What it costs.
    pub total: Money,
    /// What is ordered.
    pub lines: Vec<Line>,
    /// Why it ended badly.
    #[serde(default)]
    pub reason: Option<String>,
    /// When it was made, in milliseconds since 1970.
    pub created_at: i64,
    /// Every status it had; absent in lists.
    #[serde(default)]
    pub history: Vec<Passed>,
}

/// Some of one product.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Line {
    /// The product's id.
    pub product_id: i64,
    /// Its name.
    pub product: String,
    /// How many.
    pub quantity: u32,
    /// The price of one.
    pub price: Money,
}

/// A status that an order had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Passed {
    /// The status.
    pub status: Status,
    /// Since when, in milliseconds since 1970.
    pub at: i64,
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // orders says what each means
pub enum Status {
    Pending,
    Reserved,
    Charging,
    PaymentUnknown,
    Paid,
    Confirmed,
    OutOfStock,
    Declining,
    Declined,
    Failing,
    Failed,
    Refunding,
    Refunded,
    /// One that a newer orders has.
    #[serde(other)]
    Other,
}

impl Status {
    /// Whether the order goes nowhere from here.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Confirmed | Self::OutOfStock | Self::Declined | Self::Failed | Self::Refunded)
    }
}

//! The life of an order as a pure state machine: what is to be done in each status, and where it leads.
//!
//! ```text
//! pending ─▶ reserved ─▶ charging ─┬──────────────────────▶ paid ─┬─▶ confirmed
//!                                  ├─▶ payment_unknown ─▶ (either) └─▶ refunding ─▶ refunded
//!                                  └──────────────────────▶ declining ─▶ declined
//! pending ─▶ out_of_stock
//! pending, charging ─▶ failing ─▶ failed
//! ```
//!
//! A status is written before its work begins, so that a crash at any point leaves an order whose next step is
//! known; every step can be repeated.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The prices are fixed; stock is to be held.
    Pending,
    /// Stock is held; payment may begin.
    Reserved,
    /// The payment was asked for and its answer is awaited. After a crash: unknown.
    Charging,
    /// Nobody knows whether the payment was made: it is asked for again with the same key.
    PaymentUnknown,
    /// The payment was made; the stock is to be sold.
    Paid,
    /// Paid, and the stock is sold.
    Confirmed,
    /// There was not enough of a product; nothing happened.
    OutOfStock,
    /// The payment was declined; the stock is to be released.
    Declining,
    /// The payment was declined and the stock is released.
    Declined,
    /// A service could not be reached; what may be held is to be released.
    Failing,
    /// A service could not be reached; nothing is held and nothing was paid.
    Failed,
    /// Paid, but the stock is gone; the money is to be paid back.
    Refunding,
    /// The stock was gone and the money is paid back.
    Refunded,
}

madang::stored_as_text!(Status);

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Hold the stock.
    Reserve,
    /// Write down that the payment begins.
    BeginCharge,
    /// Take the payment, by the one who began it.
    Charge,
    /// Ask for the payment again, with the same key.
    AskAgain,
    /// Sell the stock.
    Sell,
    /// Release the stock.
    Release,
    /// Pay the money back.
    PayBack,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The stock is held.
    StockHeld,
    /// There is not enough.
    StockShort(Reason),
    /// Nobody knows whether the stock is held, or it cannot be.
    StockFailed(Reason),
    /// The payment begins.
    ChargeBegun,
    /// The payment was made.
    Charged {
        /// Its id.
        charge: i64,
    },
    /// The payment was declined.
    ChargeDeclined(Reason),
    /// The payment was certainly not made.
    ChargeFailed(Reason),
    /// The payment may have been made.
    ChargeUnknown,
    /// The stock is sold.
    StockSold,
    /// The stock is gone.
    StockLost(Reason),
    /// The stock is released.
    StockReleased,
    /// The money is paid back.
    PaidBack,
}

/// Why an order ends badly, in words for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What happened.
    pub detail: String,
    /// The field of the request that is to blame, if one is.
    pub field: Option<String>,
}

// === impl Status ===

impl Status {
    /// Every status there is.
    pub const ALL: [Self; 13] = [
        Self::Pending,
        Self::Reserved,
        Self::Charging,
        Self::PaymentUnknown,
        Self::Paid,
        Self::Confirmed,
        Self::OutOfStock,
        Self::Declining,
        Self::Declined,
        Self::Failing,
        Self::Failed,
        Self::Refunding,
        Self::Refunded,
    ];

    /// What is to be done in this status; nothing once the order is over.
    pub fn step(self) -> Option<Step> {
        match self {
            Self::Pending => Some(Step::Reserve),
            Self::Reserved => Some(Step::BeginCharge),
            Self::Charging => Some(Step::Charge),
            Self::PaymentUnknown => Some(Step::AskAgain),
            Self::Paid => Some(Step::Sell),
            Self::Declining | Self::Failing => Some(Step::Release),
            Self::Refunding => Some(Step::PayBack),
            Self::Confirmed | Self::OutOfStock | Self::Declined | Self::Failed | Self::Refunded => None,
        }
    }

    /// Where an event leads; nowhere if it comes too late to matter.
    pub fn after(self, event: &Event) -> Option<Self> {
        match (self, event) {
            (Self::Pending, Event::StockHeld) => Some(Self::Reserved),
            (Self::Pending, Event::StockShort(_)) => Some(Self::OutOfStock),
            (Self::Pending, Event::StockFailed(_)) => Some(Self::Failing),
            (Self::Reserved, Event::ChargeBegun) => Some(Self::Charging),
            (Self::Charging | Self::PaymentUnknown, Event::Charged { .. }) => Some(Self::Paid),
            (Self::Charging | Self::PaymentUnknown, Event::ChargeDeclined(_)) => Some(Self::Declining),
            // Only the one who began knows that nothing was sent; who asks again does not.
            (Self::Charging, Event::ChargeFailed(_)) => Some(Self::Failing),
            (Self::Charging, Event::ChargeUnknown) => Some(Self::PaymentUnknown),
            (Self::Paid, Event::StockSold) => Some(Self::Confirmed),
            (Self::Paid, Event::StockLost(_)) => Some(Self::Refunding),
            (Self::Declining, Event::StockReleased) => Some(Self::Declined),
            (Self::Failing, Event::StockReleased) => Some(Self::Failed),
            (Self::Refunding, Event::PaidBack) => Some(Self::Refunded),
            _ => None,
        }
    }
}

// === impl Event ===

impl Event {
    /// Why it went badly, if it did.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::StockShort(reason)
            | Self::StockFailed(reason)
            | Self::ChargeDeclined(reason)
            | Self::ChargeFailed(reason)
            | Self::StockLost(reason) => Some(reason),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Vec<Event> {
        let reason = || Reason { detail: "so".to_owned(), field: None };
        vec![
            Event::StockHeld,
            Event::StockShort(reason()),
            Event::StockFailed(reason()),
            Event::ChargeBegun,
            Event::Charged { charge: 1 },
            Event::ChargeDeclined(reason()),
            Event::ChargeFailed(reason()),
            Event::ChargeUnknown,
            Event::StockSold,
            Event::StockLost(reason()),
            Event::StockReleased,
            Event::PaidBack,
        ]
    }

    /// The whole machine: a row for each status, with where each event leads, in the order of [`events`].
    #[test]
    fn the_table_is_the_machine() {
        use Status::{
            Charging, Confirmed, Declined, Declining, Failed, Failing, OutOfStock, Paid, PaymentUnknown,
            Pending, Refunded, Refunding, Reserved,
        };
        const NO: Option<Status> = None;
        #[rustfmt::skip]
        let table = [
            // status          held            short             failed         begun           charged     declined         not made       unknown               sold             lost             released        paid back
            (Pending,        [Some(Reserved), Some(OutOfStock), Some(Failing), NO,             NO,         NO,              NO,            NO,                   NO,              NO,              NO,             NO]),
            (Reserved,       [NO,             NO,               NO,            Some(Charging), NO,         NO,              NO,            NO,                   NO,              NO,              NO,             NO]),
            (Charging,       [NO,             NO,               NO,            NO,             Some(Paid), Some(Declining), Some(Failing), Some(PaymentUnknown), NO,              NO,              NO,             NO]),
            (PaymentUnknown, [NO,             NO,               NO,            NO,             Some(Paid), Some(Declining), NO,            NO,                   NO,              NO,              NO,             NO]),
            (Paid,           [NO,             NO,               NO,            NO,             NO,         NO,              NO,            NO,                   Some(Confirmed), Some(Refunding), NO,             NO]),
            (Confirmed,      [NO; 12]),
            (OutOfStock,     [NO; 12]),
            (Declining,      [NO,             NO,               NO,            NO,             NO,         NO,              NO,            NO,                   NO,              NO,              Some(Declined), NO]),
            (Declined,       [NO; 12]),
            (Failing,        [NO,             NO,               NO,            NO,             NO,         NO,              NO,            NO,                   NO,              NO,              Some(Failed),   NO]),
            (Failed,         [NO; 12]),
            (Refunding,      [NO,             NO,               NO,            NO,             NO,         NO,              NO,            NO,                   NO,              NO,              NO,             Some(Refunded)]),
            (Refunded,       [NO; 12]),
        ];
        assert_eq!(table.map(|(status, _)| status), Status::ALL);
        for (status, row) in table {
            for (event, expected) in events().iter().zip(row) {
                assert_eq!(status.after(event), expected, "{status:?} after {event:?}");
            }
        }
    }

    #[test]
    fn an_order_is_over_exactly_when_nothing_is_left_to_do() {
        for status in Status::ALL {
            let leads_on = events().iter().any(|event| status.after(event).is_some());
            assert_eq!(status.step().is_some(), leads_on, "{status:?}");
        }
    }

    /// No order can go round in circles: each status leads only to statuses of a longer way.
    #[test]
    fn every_way_ends() {
        fn longest(status: Status, seen: usize) -> usize {
            assert!(seen <= Status::ALL.len(), "{status:?} is on a circle");
            let next = events().into_iter().filter_map(|event| status.after(&event));
            next.map(|next| 1 + longest(next, seen + 1)).max().unwrap_or(0)
        }
        assert_eq!(longest(Status::Pending, 0), 6);
    }
}

//! An amount of money in the minor units of its currency, as it is stored, added up and sent.
//!
//! Knows nothing of prices, orders or accounts, and never rounds: there is no arithmetic here that could.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A currency that the shop takes (ISO 4217).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Currency {
    /// The South Korean won, which has no minor unit.
    Krw,
    /// The US dollar, counted in cents.
    Usd,
}

madang::stored_as_text!(Currency);

/// An amount in the minor units of its currency: whole won, or US cents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// The currency.
    pub currency: Currency,
    /// The amount in minor units; negative where money is owed.
    pub amount: i64,
}

// === impl Currency ===

impl Currency {
    /// Every currency there is.
    pub const ALL: [Self; 2] = [Self::Krw, Self::Usd];

    /// The code of ISO 4217.
    pub fn code(self) -> &'static str {
        match self {
            Self::Krw => "KRW",
            Self::Usd => "USD",
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

// === impl Money ===

impl Money {
    /// An amount in the minor units of a currency.
    pub const fn new(currency: Currency, amount: i64) -> Self {
        Self { currency, amount }
    }

    /// The sum, unless the currencies differ or it is too large.
    pub fn plus(self, other: Self) -> Option<Self> {
        if self.currency != other.currency {
            return None;
        }
        Some(Self { amount: self.amount.checked_add(other.amount)?, ..self })
    }

    /// This amount so many times, unless it is too large.
    pub fn times(self, count: u32) -> Option<Self> {
        Some(Self { amount: self.amount.checked_mul(i64::from(count))?, ..self })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.amount < 0 { "-" } else { "" };
        let minor = self.amount.unsigned_abs();
        match self.currency {
            Currency::Krw => write!(f, "{sign}{minor} KRW"),
            Currency::Usd => write!(f, "{sign}{}.{:02} USD", minor / 100, minor % 100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn won_have_no_decimals_and_dollars_have_cents() {
        let check = |currency, amount, expected: &str| {
            assert_eq!(Money::new(currency, amount).to_string(), expected);
        };
        check(Currency::Krw, 15_000, "15000 KRW");
        check(Currency::Usd, 1_205, "12.05 USD");
        check(Currency::Usd, -5, "-0.05 USD");
        check(Currency::Usd, i64::MIN, "-92233720368547758.08 USD");
    }

    #[test]
    fn what_does_not_fit_is_refused_and_currencies_do_not_mix() {
        let won = |amount| Money::new(Currency::Krw, amount);
        assert_eq!(won(2).plus(won(3)), Some(won(5)));
        assert_eq!(won(2).plus(Money::new(Currency::Usd, 3)), None);
        assert_eq!(won(i64::MAX).plus(won(1)), None);
        assert_eq!(won(7).times(3), Some(won(21)));
        assert_eq!(won(i64::MAX / 2).times(3), None);
    }

    #[test]
    fn json_is_the_code_and_a_whole_number() {
        let json = r#"{"currency":"USD","amount":1205}"#;
        let money: Money = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&money).unwrap(), json);
        assert!(serde_json::from_str::<Money>(r#"{"currency":"USD","amount":12.05}"#).is_err());
    }
}

//! An amount of money as people write it.

use shop_money::{Currency, Money};

/// `₩15,000` or `$11.99`.
pub fn money(money: Money) -> String {
    let sign = if money.amount < 0 { "−" } else { "" };
    let minor = money.amount.unsigned_abs();
    match money.currency {
        Currency::Krw => format!("{sign}₩{}", grouped(minor)),
        Currency::Usd => format!("{sign}${}.{:02}", grouped(minor / 100), minor % 100),
    }
}

/// With a comma between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped_and_cents_shown() {
        let check =
            |currency, amount, expected: &str| assert_eq!(money(Money::new(currency, amount)), expected);
        check(Currency::Krw, 0, "₩0");
        check(Currency::Krw, 999, "₩999");
        check(Currency::Krw, 90_000_000, "₩90,000,000");
        check(Currency::Usd, 6_599_905, "$65,999.05");
        check(Currency::Usd, -100_000, "−$1,000.00");
    }
}

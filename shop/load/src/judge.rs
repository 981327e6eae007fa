//! Whether what must hold does: pure, from what the services said before and after.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    audit::{After, Before, Order},
    tally::Told,
};

/// What must hold, each as a number that must be 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// Minor units by which what was taken from anybody, less what was paid back, differs from what their orders cost;
    /// and by which the ledger does not sum to zero.
    pub money: i64,
    /// Things by which what was sold, what is left and what is still held differ from what there was.
    pub stock: i64,
    /// Payments for an order that was paid already, and orders that one key made beyond the first.
    pub double_charges: u64,
    /// Orders that customers were told of and that are not there.
    pub lost_orders: u64,
    /// Orders that are not over, so that nothing is proven of them.
    pub unfinished: u64,
    /// What these numbers are made of.
    pub seen: Seen,
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// How many orders were made, by how they ended.
    pub orders: BTreeMap<String, u64>,
    /// Taken, in minor units of each currency.
    pub captured: BTreeMap<String, i64>,
    /// Paid back.
    pub paid_back: BTreeMap<String, i64>,
    /// How many things there were of the products that could be bought.
    pub initial: i64,
    /// How many were sold.
    pub sold: i64,
    /// How many are left.
    pub left: i64,
    /// How many are held for orders that are not over.
    pub reserved: i64,
}

impl Judgement {
    /// Whether everything holds that was looked at.
    pub fn holds(&self) -> bool {
        (self.money, self.stock, self.double_charges, self.lost_orders) == (0, 0, 0, 0)
    }
}

/// Compares what the services say with each other, with what was before, and with what customers were told.
pub fn judge(before: &Before, after: &After, told: &[Told]) -> Judgement {
    let mut judged = Judgement { double_charges: doubles(after, told), ..Judgement::default() };
    let known: BTreeSet<i64> = after.orders.iter().map(|order| order.id).collect();
    let lost: BTreeSet<i64> = told.iter().map(|told| told.order).filter(|id| !known.contains(id)).collect();
    judged.lost_orders = lost.len() as u64;
    judged.unfinished = after.orders.iter().filter(|order| !order.is_over()).count() as u64;
    for order in &after.orders {
        *judged.seen.orders.entry(order.status.clone()).or_default() += 1;
    }
    judged.money = money(after, &mut judged.seen);
    judged.stock = stock(before, after, &mut judged.seen);
    judged
}

/// Each customer's payments against each customer's orders, and the ledger against itself.
fn money(after: &After, seen: &mut Seen) -> i64 {
    let mut owed: BTreeMap<(String, String), i64> = BTreeMap::new();
    for transaction in &after.transactions {
        let total = match transaction.kind.as_str() {
            "charge" => &mut seen.captured,
            "refund" => &mut seen.paid_back,
            _ => continue,
        };
        for entry in transaction.entries.iter().filter(|entry| entry.account.starts_with("user:")) {
            *total.entry(entry.currency.clone()).or_default() += entry.amount.abs();
            *owed.entry((entry.account.clone(), entry.currency.clone())).or_default() -= entry.amount;
        }
    }
    for order in after.orders.iter().filter(|order| is_paid(order)) {
        let account = (format!("user:{}", order.user), order.total.currency.clone());
        *owed.entry(account).or_default() -= order.total.amount;
    }
    let apart: i64 = owed.values().map(|difference| difference.abs()).sum();
    let unbalanced: i64 = after.balance.sums.iter().map(|sum| sum.amount.abs()).sum();
    // A ledger that is not right in a way that no sum shows is off by something all the same.
    apart + unbalanced.max(i64::from(!after.balance.balanced))
}

fn stock(before: &Before, after: &After, seen: &mut Seen) -> i64 {
    let mut gone: BTreeMap<i64, i64> = BTreeMap::new();
    for order in &after.orders {
        let counted = match order.status.as_str() {
            "confirmed" => &mut seen.sold,
            "reserved" | "charging" | "payment_unknown" | "paid" => &mut seen.reserved,
            _ => continue,
        };
        for line in order.lines.iter().filter(|line| before.available.contains_key(&line.product_id)) {
            *counted += line.quantity;
            *gone.entry(line.product_id).or_default() += line.quantity;
        }
    }
    seen.initial = before.available.values().sum();
    seen.left = after.available.values().sum();
    let apart = |(id, initial): (&i64, &i64)| {
        let left = after.available.get(id).copied().unwrap_or_default();
        (initial - left - gone.get(id).copied().unwrap_or_default()).abs()
    };
    before.available.iter().map(apart).sum()
}

/// Payments beyond the first under one order's key, and orders beyond the first under one client's key.
fn doubles(after: &After, told: &[Told]) -> u64 {
    let mut charges: BTreeMap<&str, u64> = BTreeMap::new();
    for transaction in after.transactions.iter().filter(|transaction| transaction.kind == "charge") {
        *charges.entry(&transaction.reference).or_default() += 1;
    }
    // An order that failed cost nothing and gives its key back: the next one under it is the first.
    let paid: BTreeSet<i64> =
        after.orders.iter().filter(|order| is_paid(order)).map(|order| order.id).collect();
    let mut keys: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
    for told in told.iter().filter(|told| paid.contains(&told.order)) {
        keys.entry(&told.key).or_default().insert(told.order);
    }
    let beyond_first = |count: u64| count.saturating_sub(1);
    let charged: u64 = charges.values().map(|count| beyond_first(*count)).sum();
    charged + keys.values().map(|orders| beyond_first(orders.len() as u64)).sum::<u64>()
}

/// Whether money was taken for it and not paid back.
fn is_paid(order: &Order) -> bool {
    matches!(order.status.as_str(), "paid" | "confirmed" | "refunding")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Balance, Entry, Line, Money, Transaction};

    fn won(amount: i64) -> Money {
        Money { currency: "KRW".to_owned(), amount }
    }

    fn order(id: i64, status: &str, quantity: i64) -> Order {
        let lines = vec![Line { product_id: 1, quantity }];
        Order { id, user: 7, status: status.to_owned(), total: won(100 * quantity), lines }
    }

    fn moved(kind: &str, reference: &str, amount: i64) -> Transaction {
        let entry =
            |account: &str, amount| Entry { account: account.to_owned(), currency: "KRW".to_owned(), amount };
        let entries = vec![entry("user:7", -amount), entry("shop", amount)];
        Transaction { id: 1, kind: kind.to_owned(), reference: reference.to_owned(), entries }
    }

    fn told(key: &str, order: i64) -> Told {
        Told { key: key.to_owned(), order }
    }

    /// Three of ten sold to two customers, one order paid back, one out of stock: all is right.
    fn fine() -> (Before, After, Vec<Told>) {
        let before = Before { order: 1, transaction: 0, available: [(1, 10)].into() };
        let after = After {
            orders: vec![
                order(2, "confirmed", 2),
                order(3, "confirmed", 1),
                order(4, "refunded", 4),
                order(5, "out_of_stock", 9),
            ],
            transactions: vec![
                moved("opening", "user:7", -1_000),
                moved("charge", "a", 200),
                moved("charge", "b", 100),
                moved("charge", "c", 400),
                moved("refund", "c", -400),
            ],
            balance: Balance { balanced: true, transactions: 5, sums: vec![won(0)] },
            available: [(1, 7)].into(),
        };
        (before, after, vec![told("k2", 2), told("k2", 2), told("k3", 3), told("k5", 5)])
    }

    fn check(change: impl FnOnce(&mut After, &mut Vec<Told>), expected: (i64, i64, u64, u64)) {
        let (before, mut after, mut told) = fine();
        change(&mut after, &mut told);
        let judged = judge(&before, &after, &told);
        let Judgement { money, stock, double_charges, lost_orders, .. } = judged;
        assert_eq!((money, stock, double_charges, lost_orders), expected, "{judged:?}");
        assert_eq!(judged.holds(), expected == (0, 0, 0, 0));
    }

    #[test]
    fn what_holds_is_found_to_hold() {
        check(|_, _| {}, (0, 0, 0, 0));
        let (before, after, told) = fine();
        let seen = judge(&before, &after, &told).seen;
        assert_eq!((seen.initial, seen.sold, seen.left, seen.reserved), (10, 3, 7, 0));
        assert_eq!((seen.captured["KRW"], seen.paid_back["KRW"], seen.orders["confirmed"]), (700, 400, 2));
    }

    #[test]
    fn money_that_is_off_is_found() {
        // Charged twice for one order: the money is off by it, too.
        check(|after, _| after.transactions.push(moved("charge", "a", 200)), (200, 0, 1, 0));
        // Paid, but for another customer's order.
        check(|after, _| after.orders[1].user = 8, (200, 0, 0, 0));
        // Paid back without a reason, and never paid back.
        check(|after, _| after.transactions.push(moved("refund", "b", -100)), (100, 0, 0, 0));
        check(|after, _| drop(after.transactions.pop()), (400, 0, 0, 0));
        // Never charged.
        check(|after, _| drop(after.transactions.remove(1)), (200, 0, 0, 0));
        // The ledger itself.
        check(|after, _| after.balance.sums = vec![won(-3)], (3, 0, 0, 0));
        check(|after, _| after.balance.balanced = false, (1, 0, 0, 0));
    }

    #[test]
    fn stock_that_is_off_is_found() {
        check(|after, _| after.available = [(1, 8)].into(), (0, 1, 0, 0));
        check(|after, _| after.available = [(1, 5)].into(), (0, 2, 0, 0));
        check(|after, _| after.available = BTreeMap::new(), (0, 7, 0, 0));
        // A product that could not be bought is nobody's business.
        check(|after, _| after.orders[0].lines.push(Line { product_id: 2, quantity: 5 }), (0, 0, 0, 0));
    }

    #[test]
    fn orders_that_are_lost_or_doubled_are_found() {
        check(|_, told| told.push(self::told("k9", 9)), (0, 0, 0, 1));
        check(|_, told| told.push(self::told("k2", 3)), (0, 0, 1, 0));
        // The first under this key failed, and cost nothing.
        check(|_, told| told.push(self::told("k2", 5)), (0, 0, 0, 0));
    }

    #[test]
    fn what_is_held_for_an_order_that_is_not_over_is_not_missing() {
        let (before, mut after, told) = fine();
        after.orders.push(order(6, "payment_unknown", 2));
        after.available = [(1, 5)].into();
        let judged = judge(&before, &after, &told);
        assert_eq!((judged.stock, judged.seen.reserved, judged.unfinished), (0, 2, 1));
    }
}

//! What the history of an order means to the one who ordered: what is done, what is going on, what is to come.

use crate::order::{Order, Status};

/// A step of an order as a customer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What happens.
    pub title: &'static str,
    /// What that means.
    pub text: &'static str,
    /// How far it is.
    pub state: State,
    /// When it began, in milliseconds since 1970; absent for what is to come.
    pub at: Option<i64>,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is behind.
    Done,
    /// It is going on.
    Now,
    /// It went badly, or undoes what was done.
    Bad,
    /// It is still to come, if all goes well.
    Ahead,
}

/// The way of an order for which all goes well.
const WAY: [Status; 5] =
    [Status::Pending, Status::Reserved, Status::Charging, Status::Paid, Status::Confirmed];

/// The steps of an order, the first one first.
pub fn steps(order: &Order) -> Vec<Step> {
    let last = order.history.len().saturating_sub(1);
    let mut steps: Vec<Step> = order
        .history
        .iter()
        .enumerate()
        .map(|(index, passed)| Step {
            at: Some(passed.at),
            ..step(passed.status, index == last && !order.status.is_over())
        })
        .collect();
    // A payment that nobody answered may still be made.
    let reached = if order.status == Status::PaymentUnknown { Status::Charging } else { order.status };
    let ahead = WAY.iter().skip_while(|status| **status != reached).skip(1);
    steps.extend(ahead.map(|status| Step { state: State::Ahead, ..step(*status, false) }));
    steps
}

/// In one line: where the order stands.
pub fn summary(status: Status) -> &'static str {
    step(status, false).title
}

/// How well an order goes.
pub fn mood(status: Status) -> State {
    match status {
        Status::Confirmed => State::Done,
        status => step(status, !status.is_over()).state,
    }
}

fn step(status: Status, is_now: bool) -> Step {
    let (title, text) = words(status);
    let bad = matches!(
        status,
        Status::PaymentUnknown
            | Status::OutOfStock
            | Status::Declining
            | Status::Declined
            | Status::Failing
            | Status::Failed
            | Status::Refunding
            | Status::Refunded
    );
    let state = match (bad, is_now) {
        (true, _) => State::Bad,
        (false, true) => State::Now,
        (false, false) => State::Done,
    };
    Step { title, text, state, at: None }
}

fn words(status: Status) -> (&'static str, &'static str) {
    match status {
        Status::Pending => ("Order placed", "The prices are fixed; the stock is being set aside."),
        Status::Reserved => ("Stock set aside", "Nobody else can buy it now."),
        Status::Charging => ("Payment asked for", "The answer is awaited."),
        Status::PaymentUnknown => (
            "Payment not answered yet",
            "It is asked for again with the same key until somebody knows: you pay once, whatever happened.",
        ),
        Status::Paid => ("Paid", "The stock is being sold to you."),
        Status::Confirmed => ("Confirmed", "Paid, and yours."),
        Status::OutOfStock => ("Out of stock", "There was not enough left. Nothing was charged."),
        Status::Declining => ("Payment declined", "What was set aside is being given back."),
        Status::Declined => {
            ("Cancelled", "The payment was declined and the stock given back. Nothing was charged.")
        }
        Status::Failing => ("Could not be completed", "What may be set aside is being given back."),
        Status::Failed => {
            ("Cancelled", "A service could not be reached. Nothing is set aside, nothing was charged.")
        }
        Status::Refunding => ("Stock gone", "You paid, but it was sold out: your money is on its way back."),
        Status::Refunded => ("Paid back", "It was sold out after you paid, and you have your money back."),
        Status::Other => ("On its way", "The order is in a state that this page does not know."),
    }
}

#[cfg(test)]
mod tests {
    use shop_money::{Currency, Money};

    use super::*;
    use crate::order::Passed;

    fn check(history: &[Status], expected: &str) {
        let order = Order {
            id: 1,
            user: 1,
            status: *history.last().unwrap(),
            total: Money::new(Currency::Krw, 1),
            lines: Vec::new(),
            reason: None,
            created_at: 0,
            history: history.iter().zip(0..).map(|(status, at)| Passed { status: *status, at }).collect(),
        };
        let shown: Vec<String> =
            steps(&order).iter().map(|step| format!("{} {:?}", step.title, step.state)).collect();
        assert_eq!(shown.join(", "), expected);
    }

    #[test]
    fn what_is_done_what_goes_on_and_what_is_to_come() {
        use Status::{
            Charging, Confirmed, Declined, Declining, OutOfStock, Paid, PaymentUnknown, Pending, Reserved,
        };
        check(
            &[Pending],
            "Order placed Now, Stock set aside Ahead, Payment asked for Ahead, Paid Ahead, Confirmed Ahead",
        );
        check(
            &[Pending, Reserved, Charging, PaymentUnknown],
            "Order placed Done, Stock set aside Done, Payment asked for Done, Payment not answered yet Bad, \
             Paid Ahead, Confirmed Ahead",
        );
        check(
            &[Pending, Reserved, Charging, Paid, Confirmed],
            "Order placed Done, Stock set aside Done, Payment asked for Done, Paid Done, Confirmed Done",
        );
        check(&[Pending, OutOfStock], "Order placed Done, Out of stock Bad");
        check(
            &[Pending, Reserved, Charging, Declining, Declined],
            "Order placed Done, Stock set aside Done, Payment asked for Done, Payment declined Bad, Cancelled Bad",
        );
    }
}

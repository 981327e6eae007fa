//! The services that orders call, and what each of their answers means here.

use madang::{CallError, Calls, Code, Error, Problem, Reply, Result, axum::http::StatusCode};
use serde::{Deserialize, Serialize};
use shop_money::{Currency, Money};

use crate::{
    PaymentsBy,
    machine::{Event, Reason},
    order::{Line, NewLine, NewOrder, Order},
    payments::Payments,
};

/// The other services of the shop, as seen from orders.
#[derive(Clone)]
pub struct Peers {
    calls: Calls,
    payments: Payments,
}

/// How a payment is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// For the first time: if no request left, no payment was made.
    First,
    /// Again: whatever this try says of itself, an earlier one may have been heard.
    Again,
}

#[derive(Serialize)]
struct QuoteWanted<'a> {
    currency: Currency,
    lines: Vec<Wanted<'a>>,
}

#[derive(Serialize)]
struct Wanted<'a> {
    product: &'a str,
}

#[derive(Deserialize)]
struct Quote {
    lines: Vec<QuoteLine>,
}

#[derive(Deserialize)]
struct QuoteLine {
    product: i64,
    name: String,
    price: Money,
}

#[derive(Serialize)]
struct NewReservation<'a> {
    key: &'a str,
    lines: Vec<ReservationLine>,
}

#[derive(Serialize)]
struct ReservationLine {
    product: i64,
    quantity: u32,
}

// === impl Peers ===

impl Peers {
    /// The services behind these calls.
    pub fn new(calls: Calls, payments: PaymentsBy) -> Self {
        Self { payments: Payments::new(&calls, payments), calls }
    }

    /// Whether there is such a user; 422 if not.
    pub async fn check_user(&self, user: i64) -> Result<()> {
        let reply = self.calls.to("users").get(format!("/users/{user}")).send().await?;
        match reply.status() {
            StatusCode::OK => Ok(()),
            StatusCode::NOT_FOUND => Err(Error::invalid("user", "there is no such user")),
            _ => Err(unexpected("users", reply).await),
        }
    }

    /// The products that are wanted, at their prices of now; 422 that names the line of an unknown one.
    pub async fn quote(&self, order: &NewOrder, wanted: &[NewLine]) -> Result<Vec<Line>> {
        let lines = wanted.iter().map(|line| Wanted { product: line.product.trim() }).collect();
        let body = QuoteWanted { currency: order.currency, lines };
        let reply = self.calls.to("catalog").post("/quotes").json(&body).send().await?;
        match reply.status() {
            StatusCode::OK => {}
            StatusCode::UNPROCESSABLE_ENTITY => return Err(invalid(order, reply.problem().await)),
            _ => return Err(unexpected("catalog", reply).await),
        }
        let quote: Quote = reply.json().await?;
        if quote.lines.len() != wanted.len() {
            return Err(Error::internal("the catalog quoted another number of lines than was asked for"));
        }
        let lines = quote.lines.into_iter().zip(wanted);
        Ok(lines
            .map(|(line, wanted)| Line {
                product_id: line.product,
                product: line.name,
                quantity: wanted.quantity,
                price: line.price,
            })
            .collect())
    }

    /// Holds the stock of an order.
    pub async fn reserve(&self, order: &Order) -> Result<Event, Reason> {
        let lines = order.lines.iter();
        let lines = lines.map(|line| ReservationLine { product: line.product_id, quantity: line.quantity });
        let body = NewReservation { key: &order.key, lines: lines.collect() };
        // The catalog knows the reservation by the key in the body; the header makes it safe to retry.
        let call = self.calls.to("catalog").post("/reservations").idempotency_key(quoted(&order.key));
        let reply = call.json(&body).send().await.map_err(no_answer)?;
        match reply.status() {
            StatusCode::CREATED => Ok(Event::StockHeld),
            StatusCode::CONFLICT => {
                let problem = reply.problem().await;
                let field = problem.errors.first().map(|error| error.field.clone());
                let reason = Reason { detail: detail(&problem), field };
                // Without a line to blame, it is the reservation that is over.
                let short = reason.field.is_some();
                Ok(if short { Event::StockShort(reason) } else { Event::StockFailed(reason) })
            }
            _ => Err(refused("catalog", reply).await),
        }
    }

    /// Takes the payment of an order, always with the same key.
    pub async fn charge(&self, order: &Order, asking: Asking) -> Result<Event, Reason> {
        self.payments.charge(order, asking).await
    }

    /// Sells what is held for an order.
    pub async fn sell(&self, order: &Order) -> Result<Event, Reason> {
        let path = format!("/reservations/{}/confirm", order.key);
        let call = self.calls.to("catalog").post(path).idempotency_key(quoted(&order.key));
        let reply = call.send().await.map_err(no_answer)?;
        match reply.status() {
            StatusCode::OK => Ok(Event::StockSold),
            StatusCode::CONFLICT | StatusCode::NOT_FOUND => {
                let problem = reply.problem().await;
                let field = problem.errors.first().map(|error| error.field.clone());
                Ok(Event::StockLost(Reason { detail: detail(&problem), field }))
            }
            _ => Err(refused("catalog", reply).await),
        }
    }

    /// Releases what may be held for an order.
    pub async fn release(&self, order: &Order) -> Result<Event, Reason> {
        let path = format!("/reservations/{}", order.key);
        let reply = self.calls.to("catalog").delete(path).send().await.map_err(no_answer)?;
        match reply.status() {
            StatusCode::OK => Ok(Event::StockReleased),
            _ => Err(refused("catalog", reply).await),
        }
    }

    /// Pays an order back.
    pub async fn pay_back(&self, order: &Order) -> Result<Event, Reason> {
        let Some(charge) = order.charge else {
            return Err(Reason { detail: "the order has no charge".to_owned(), field: None });
        };
        self.payments.refund(order, charge).await
    }
}

/// As the header has it: a string in double quotes. The keys of orders are hexadecimal.
pub(crate) fn quoted(key: &str) -> String {
    format!("\"{key}\"")
}

pub(crate) fn no_answer(error: CallError) -> Reason {
    Reason { detail: error.to_string(), field: None }
}

pub(crate) async fn refused(service: &str, reply: Reply) -> Reason {
    let status = reply.status();
    Reason { detail: format!("{service} answered {status}: {}", detail(&reply.problem().await)), field: None }
}

pub(crate) fn detail(problem: &Problem) -> String {
    problem.detail.clone().unwrap_or_else(|| problem.title.clone().into_owned())
}

/// What another service finds wrong with the lines, in terms of the client's request.
fn invalid(order: &NewOrder, problem: Problem) -> Error {
    let mut answer = Problem::new(Code::INVALID);
    for error in problem.errors {
        let reason = order.blame(Reason { detail: error.message, field: Some(error.field) });
        answer = answer.field(reason.field.unwrap_or_default(), reason.detail);
    }
    let text = answer.errors.first().map(|first| format!("{}: {}", first.field, first.message));
    Error::problem(match text {
        Some(text) => answer.detail(text),
        None => answer,
    })
}

/// An answer that says nothing about the client's request.
async fn unexpected(service: &str, reply: Reply) -> Error {
    let cause = refused(service, reply).await.detail;
    let problem = Problem::new(Code::INTERNAL).with_status(StatusCode::BAD_GATEWAY);
    Error::problem(problem.detail(format!("{service} failed"))).caused_by(cause)
}

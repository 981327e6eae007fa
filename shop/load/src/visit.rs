//! What one customer does: looks at a page, or buys and asks again with the same key until there is an answer.

use std::time::Duration;

use http::{Method, StatusCode};
use tokio::time::{Instant, sleep};

use crate::{
    client::{Answer, Client, Failure},
    scenario::{Purchase, Want},
    tally::{Outcome, Tally},
};

/// How often somebody asks who got no answer, or one that says to try again.
const TRIES: u32 = 6;
/// How long they wait before the second time; then ever twice as long.
const PAUSE: Duration = Duration::from_millis(100);

/// Does what one customer wants who was due at this moment.
pub async fn visit(client: Client, tally: &Tally, want: Want, due: Instant) {
    match want {
        Want::See(kind, path) => {
            let outcome = seen(client.get(&path).await);
            tally.ended(kind, outcome, due.elapsed());
        }
        Want::Buy(purchase) if purchase.twice => {
            tally.sent();
            tokio::join!(
                buy(&client, tally, &purchase, "place order", due),
                buy(&client, tally, &purchase, "second click", due),
            );
        }
        Want::Buy(purchase) => buy(&client, tally, &purchase, "place order", due).await,
    }
}

fn seen(answer: Result<Answer, Failure>) -> Outcome {
    match answer {
        Ok(answer) if answer.status.is_success() && answer.is_old => Outcome::Other("as it was lately"),
        Ok(answer) if answer.status.is_success() => Outcome::Good,
        Ok(answer) => Outcome::Failed(answer.class()),
        Err(failure) => Outcome::Failed(failure.class()),
    }
}

async fn buy(client: &Client, tally: &Tally, purchase: &Purchase, kind: &'static str, due: Instant) {
    let mut pause = PAUSE;
    for tried in 1.. {
        let answer = client.send(Method::POST, "/orders", Some(&purchase.key), Some(&purchase.order)).await;
        match bought(answer) {
            Bought::Order(order, outcome) => {
                tally.tell(&purchase.key, order);
                return tally.ended(kind, outcome, due.elapsed());
            }
            Bought::Not(class) => return tally.ended(kind, Outcome::Failed(class), due.elapsed()),
            Bought::Unknown(class) if tried == TRIES => {
                return tally.ended(kind, Outcome::Failed(class), due.elapsed());
            }
            Bought::Unknown(_) => {
                tally.again();
                // As a person would, who does not press the button without a pause.
                sleep(pause).await;
                pause *= 2;
            }
        }
    }
}

/// What an answer to an order means.
#[derive(Debug, PartialEq, Eq)]
enum Bought {
    /// There is an order.
    Order(i64, Outcome),
    /// There is none, and asking again would not change that.
    Not(String),
    /// Nobody knows, or it may be asked for again.
    Unknown(String),
}

fn bought(answer: Result<Answer, Failure>) -> Bought {
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => return Bought::Unknown(failure.class()),
    };
    let body = answer.json();
    let named = body["instance"].as_str().and_then(|path| path.strip_prefix("/orders/")?.parse().ok());
    match (answer.status, body["id"].as_i64(), named) {
        (StatusCode::CREATED, Some(order), _) => Bought::Order(order, Outcome::Good),
        (StatusCode::ACCEPTED, Some(order), _) => {
            Bought::Order(order, Outcome::Other("paid or not: not known yet"))
        }
        (StatusCode::PAYMENT_REQUIRED, _, Some(order)) => Bought::Order(order, Outcome::Other("declined")),
        (StatusCode::CONFLICT, _, Some(order)) => Bought::Order(order, Outcome::Other("sold out")),
        // The other click is being answered.
        (StatusCode::CONFLICT, _, None) => Bought::Unknown(answer.class()),
        (status, ..) if status.is_server_error() => Bought::Unknown(answer.class()),
        _ => Bought::Not(answer.class()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_to_an_order_means() {
        let check = |status: u16, body: &str, expected: Bought| {
            let status = StatusCode::from_u16(status).unwrap();
            let answer = Answer { status, is_old: false, body: body.to_owned().into() };
            assert_eq!(bought(Ok(answer)), expected, "{status} {body}");
        };
        check(201, r#"{"id":7}"#, Bought::Order(7, Outcome::Good));
        check(202, r#"{"id":7}"#, Bought::Order(7, Outcome::Other("paid or not: not known yet")));
        check(402, r#"{"instance":"/orders/7"}"#, Bought::Order(7, Outcome::Other("declined")));
        check(409, r#"{"instance":"/orders/7"}"#, Bought::Order(7, Outcome::Other("sold out")));
        check(409, r#"{"code":"MDG-SVC-003"}"#, Bought::Unknown("409 MDG-SVC-003".to_owned()));
        check(503, r#"{"code":"SHOP-ORD-003"}"#, Bought::Unknown("503 SHOP-ORD-003".to_owned()));
        check(502, "bad gateway", Bought::Unknown("502".to_owned()));
        check(422, r#"{"code":"MDG-SVC-001"}"#, Bought::Not("422 MDG-SVC-001".to_owned()));
        check(201, "{}", Bought::Not("201".to_owned()));
    }
}

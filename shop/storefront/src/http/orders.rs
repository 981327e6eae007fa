//! Orders: placed, listed, and watched.

use madang::{
    Path, Resources,
    axum::{
        extract::State,
        http::{StatusCode, header},
        response::{IntoResponse, Response},
    },
};
use shop_idempotency::Key;
use shop_money::{Currency, Money};
use tokio::time::{Duration, Instant, sleep};

use super::{Looking, Shared, cart, to};
use crate::{
    cart::Cart,
    form::Form,
    order::Order,
    pages::{self, Checkout, Failed},
    peers::{Attempt, NewLine, NewOrder, Peers, Placed, Trouble},
    visitor::Visitor,
};

/// How many orders the list shows, and how many pages are read at most to find the newest.
const LISTED: usize = 50;
const PAGES: usize = 20;

/// How soon an attempt that another request is making is asked for again: nobody tells when that one is done.
const AGAIN: Duration = Duration::from_millis(100);

pub(super) async fn list(looking: Looking) -> Response {
    let (peers, user) = (looking.peers.clone(), looking.visitor.user);
    let own = async {
        match user {
            Some(user) => Some(newest(&peers, user).await),
            None => None,
        }
    };
    let (shell, orders) = looking.with(own).await;
    pages::orders(&shell, orders.as_ref()).into_response()
}

/// The newest orders of a user, the newest first: orders gives the oldest first.
async fn newest(peers: &Peers, user: i64) -> Result<Vec<Order>, Trouble> {
    let mut newest: Vec<Order> = Vec::new();
    for _ in 0..PAGES {
        let after = newest.last().map_or(0, |order| order.id);
        let page = peers.orders(user, after).await?;
        let is_last = page.len() < Peers::ORDERS;
        newest.extend(page);
        newest.drain(..newest.len().saturating_sub(LISTED));
        if is_last {
            break;
        }
    }
    newest.reverse();
    Ok(newest)
}

pub(super) async fn one(looking: Looking, Path(id): Path<String>) -> Result<Response, Failed> {
    let Ok(id) = id.parse() else {
        return Err(Failed::not_found(&looking.context, &format!("order {id} of yours")));
    };
    let (peers, user) = (looking.peers.clone(), looking.visitor.user);
    let (shell, found) = looking.with(peers.order(id)).await;
    match found {
        Ok(Some(order)) if Some(order.user) == user => Ok(pages::order(&shell, &order).into_response()),
        Ok(_) => Err(Failed::not_found(&shell.context, &format!("order {id} of yours"))),
        Err(trouble) => Ok(pages::order_missing(&shell, id, &trouble).into_response()),
    }
}

/// The timeline each time that it moves, as server-sent events.
pub(super) async fn events(
    State(shared): State<Shared>,
    resources: Resources,
    looking: Looking,
    Path(id): Path<i64>,
) -> Result<Response, Failed> {
    let found = looking.peers.order(id).await;
    let allowed = match &found {
        Ok(order) => order.as_ref().is_some_and(|order| Some(order.user) == looking.visitor.user),
        Err(_) => false,
    };
    match found {
        Ok(_) if allowed => {}
        Ok(_) => return Err(Failed::not_found(&looking.context, &format!("order {id} of yours"))),
        Err(_) => {
            let detail = "The orders service is not available right now.";
            return Err(Failed::new(Some(&looking.context), StatusCode::SERVICE_UNAVAILABLE, detail));
        }
    }
    match shared.live.watch(resources, id) {
        Some(events) => Ok(events.into_response()),
        None => {
            let detail = "As many orders are watched as may be. The page works by loading it again.";
            let failed = Failed::new(Some(&looking.context), StatusCode::SERVICE_UNAVAILABLE, detail);
            Ok(([(header::RETRY_AFTER, "5")], failed).into_response())
        }
    }
}

/// Places the order that the form shows, once for each form.
pub(super) async fn place(
    State(shared): State<Shared>,
    looking: Looking,
    form: Form,
) -> Result<Response, Failed> {
    let Some(user) = looking.visitor.user else { return Ok(to("/shop/account?back=/shop/cart", &[])) };
    let Some((attempt, checkout)) = read(user, &form) else {
        let detail = "The form is not as the page had it. Go back to the cart; nothing was ordered.";
        return Err(Failed::new(Some(&looking.context), StatusCode::UNPROCESSABLE_ENTITY, detail));
    };
    let (trouble, is_known) = match until_placed(&looking.peers, &attempt, shared.config.twice).await {
        Placed::Order(id) => {
            return Ok(to(&format!("/shop/orders/{id}"), &[Visitor::set_cart(&Cart::default())]));
        }
        Placed::Refused(trouble) if trouble.is_refusal() && !trouble.problem.errors.is_empty() => {
            let alert = format!("Nothing was ordered: {}.", trouble.detail());
            return Ok(cart::page(looking, Some(&alert)).await);
        }
        Placed::Refused(trouble) => (trouble, true),
        Placed::Unknown(trouble) => (trouble, false),
        Placed::InFlight => return Ok(to("/shop/orders", &[])),
    };
    let (shell, ()) = looking.with(std::future::ready(())).await;
    Ok(shell.ask_again(&checkout, &trouble, is_known).into_response())
}

/// Places an order; if another request is placing it already, as after a double click, waits for the same answer.
async fn until_placed(peers: &Peers, attempt: &Attempt, limit: Duration) -> Placed {
    let began = Instant::now();
    loop {
        match peers.place(attempt).await {
            Placed::InFlight if began.elapsed() < limit => sleep(AGAIN).await,
            placed => return placed,
        }
    }
}

/// The attempt that the form of the cart makes, and what that form showed.
fn read(user: i64, form: &Form) -> Option<(Attempt, Checkout)> {
    let key = Key::parse(form.get("key")).ok()?.as_str().to_owned();
    let line = |line: &str| {
        let (quantity, product) = line.split_once(' ')?;
        Some(NewLine { product: product.to_owned(), quantity: quantity.parse().ok()? })
    };
    let lines: Vec<NewLine> = form.all("line").map(line).collect::<Option<_>>()?;
    let (code, amount) = form.get("total").split_once(' ')?;
    let currency = Currency::ALL.into_iter().find(|currency| currency.code() == code)?;
    let total: i64 = amount.parse().ok()?;
    let order = NewOrder { user, lines: lines.clone(), currency, total };
    let checkout = Checkout { key: key.clone(), lines, totals: vec![Money::new(currency, total)] };
    (!order.lines.is_empty()).then_some((Attempt { key, order }, checkout))
}

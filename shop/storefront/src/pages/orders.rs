//! Orders: one with its timeline, and the list.

use maud::{Markup, html};

use super::{Page, Shell, money::money};
use crate::{
    order::Order,
    peers::Trouble,
    timeline::{State, Step, mood, steps, summary},
};
use madang::axum::http::StatusCode;

/// One order.
pub fn order(shell: &Shell, order: &Order) -> Page {
    let content = html! {
        p { a href="/shop/orders" { "← Orders" } }
        h1 { "Order " (order.id) }
        @let watch = (!order.status.is_over()).then(|| format!("/shop/orders/{}/events", order.id));
        section aria-labelledby="so-far" {
            h2 id="so-far" { "How far it is" }
            div id="timeline" data-live=[watch] { (timeline(order)) }
            // The script says here what moved, so that the whole is not read out each time.
            p.fine id="moved" role="status" {}
        }
        section {
            h2 { "What you ordered" }
            ul.lines {
                @for line in &order.lines {
                    li { (line.quantity) " × " (line.product) span.prices { (line.price.times(line.quantity).map(money).unwrap_or_default()) } }
                }
            }
            p.total { "Total " strong { (money(order.total)) } }
            p.fine { "Ordered at " (time(order.created_at)) }
        }
    };
    let title = format!("Order {}", order.id);
    if order.status.is_over() { shell.page(&title, &content) } else { shell.moving_page(&title, &content) }
}

/// An order that cannot be shown now.
pub fn order_missing(shell: &Shell, id: i64, trouble: &Trouble) -> Page {
    let content = html! {
        h1 { "Order " (id) }
        (shell.missing("The order is not shown", trouble))
        p { "It goes on without this page, which asks again by itself." }
    };
    shell.moving_page(&format!("Order {id}"), &content).with_status(StatusCode::SERVICE_UNAVAILABLE)
}

/// The timeline of an order, which is also what is sent when it moves.
pub fn timeline(order: &Order) -> Markup {
    html! {
        p class={ "status " (class(mood(order.status))) } data-status=(format!("{:?}", order.status)) { (summary(order.status)) }
        @if let Some(reason) = &order.reason { p.error { (reason) } }
        ol.timeline { @for step in steps(order) { (entry(&step)) } }
    }
}

fn entry(step: &Step) -> Markup {
    let current = (step.state == State::Now).then_some("step");
    html! {
        li class=(class(step.state)) aria-current=[current] {
            strong { (step.title) }
            @if let Some(at) = step.at { " " (time(at)) }
            @if step.state == State::Ahead { span.sr { " (to come)" } } @else { p { (step.text) } }
        }
    }
}

fn class(state: State) -> &'static str {
    match state {
        State::Done => "done",
        State::Now => "now",
        State::Bad => "bad",
        State::Ahead => "ahead",
    }
}

/// The time of day, to the millisecond: the steps of an order are close to each other.
fn time(at: i64) -> Markup {
    let second = at.div_euclid(1_000);
    let (hour, minute) = (second.div_euclid(3_600).rem_euclid(24), second.div_euclid(60).rem_euclid(60));
    let text = format!("{hour:02}:{minute:02}:{:02}.{:03}", second.rem_euclid(60), at.rem_euclid(1_000));
    html! { time data-at=(at) title="UTC" { (text) } }
}

/// The orders of a user, the newest first.
pub fn orders(shell: &Shell, orders: Option<&Result<Vec<Order>, Trouble>>) -> Page {
    let content = html! {
        h1 { "Orders" }
        @match orders {
            None => p { a.button href="/shop/account?back=/shop/orders" { "Say who you are to see yours" } },
            Some(Err(trouble)) => (shell.missing("Your orders are not shown", trouble)),
            Some(Ok(orders)) if orders.is_empty() => {
                p.empty { "You have not ordered anything. " a href="/" { "To the catalogue" } }
            }
            Some(Ok(orders)) => {
                ul.lines {
                    @for order in orders {
                        li {
                            h2 { a href={ "/shop/orders/" (order.id) } { "Order " (order.id) } }
                            p { (order.lines.iter().map(|line| format!("{} × {}", line.quantity, line.product)).collect::<Vec<_>>().join(", ")) }
                            p.prices { (money(order.total)) }
                            p class={ "status " (class(mood(order.status))) } { (summary(order.status)) }
                        }
                    }
                }
            }
        }
    };
    let page = shell.page("Orders", &content);
    if matches!(orders, Some(Err(_))) { page.with_status(StatusCode::SERVICE_UNAVAILABLE) } else { page }
}

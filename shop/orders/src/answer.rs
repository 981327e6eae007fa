//! What an order's status means to the one who asked for it.

use std::time::Duration;

use madang::{
    Code, Error, Json, Problem,
    axum::{
        http::{StatusCode, header},
        response::{IntoResponse, Response},
    },
};

use crate::{
    machine::{Reason, Status},
    order::{NewOrder, Order},
};

/// The answer to a request for an order: the order itself, or a problem that says where it is.
pub fn answer(new: &NewOrder, order: Order) -> Response {
    let location = format!("/orders/{}", order.id);
    let shown = |status: StatusCode, order: Order| {
        (status, [(header::LOCATION, location.clone())], Json(order)).into_response()
    };
    match order.status {
        Status::Paid | Status::Confirmed => shown(StatusCode::CREATED, order),
        Status::Pending | Status::Reserved | Status::Charging | Status::PaymentUnknown => {
            shown(StatusCode::ACCEPTED, order)
        }
        Status::Declining | Status::Declined => {
            let title = "The payment was declined";
            let problem = problem(new, &order, "payment-declined", "SHOP-ORD-001", title);
            refuse(problem.with_status(StatusCode::PAYMENT_REQUIRED), &location)
        }
        Status::OutOfStock | Status::Refunding | Status::Refunded => {
            let problem = problem(new, &order, "out-of-stock", "SHOP-ORD-002", "Not enough in stock");
            refuse(problem.with_status(StatusCode::CONFLICT), &location)
        }
        Status::Failing | Status::Failed => {
            let title = "The order could not be completed";
            let problem = problem(new, &order, "not-completed", "SHOP-ORD-003", title);
            let error = Error::problem(problem.with_status(StatusCode::SERVICE_UNAVAILABLE));
            located(error.retry_after(Duration::from_secs(1)), &location)
        }
    }
}

fn problem(new: &NewOrder, order: &Order, kind: &str, code: &'static str, title: &'static str) -> Problem {
    let detail = order.reason.clone().unwrap_or_else(|| title.to_owned());
    let reason = new.blame(Reason { detail, field: order.field.clone() });
    let problem = Problem {
        kind: format!("urn:shop:error:{kind}").into(),
        title: title.into(),
        code: code.into(),
        ..Problem::new(Code::CONFLICT)
    };
    let problem = problem.instance(format!("/orders/{}", order.id)).detail(reason.detail.clone());
    match reason.field {
        Some(field) => problem.field(field, reason.detail),
        None => problem,
    }
}

fn refuse(problem: Problem, location: &str) -> Response {
    located(Error::problem(problem), location)
}

fn located(error: Error, location: &str) -> Response {
    ([(header::LOCATION, location.to_owned())], error).into_response()
}

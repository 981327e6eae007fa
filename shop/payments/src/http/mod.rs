//! The endpoints of payments.

mod charges;
mod ledger;

use madang::axum::{
    Router,
    routing::{get, post},
};
use shop_idempotency::InFlight;
use utoipa::OpenApi;

pub use ledger::{Account, LedgerPage};

/// The endpoints of payments, as a document.
#[derive(OpenApi)]
#[openapi(
    info(title = "payments", description = "Accounts, a double-entry ledger, charges and refunds."),
    paths(
        charges::post_charge,
        charges::post_refund,
        charges::get_charge,
        charges::find_charges,
        ledger::get_ledger,
        ledger::balance_check,
        ledger::get_account,
    )
)]
pub struct ApiDoc;

/// The routes of payments over HTTP.
pub fn routes(in_flight: InFlight) -> Router {
    Router::new()
        .route("/payments/charges", post(charges::post_charge).get(charges::find_charges))
        .route("/payments/charges/{id}", get(charges::get_charge))
        .route("/payments/charges/{id}/refunds", post(charges::post_refund))
        .route("/payments/accounts/{user}", get(ledger::get_account))
        .route("/payments/ledger", get(ledger::get_ledger))
        .route("/payments/balance-check", get(ledger::balance_check))
        .with_state(in_flight)
}

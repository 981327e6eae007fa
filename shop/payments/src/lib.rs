//! The payments service: accounts, a double-entry ledger in which every transaction sums to zero, and charges
//! and refunds that happen once per `Idempotency-Key`.
//!
//! Knows users by their id and orders by the words of the caller; calls nobody.
//!
//! Map: [`ledger`] moves money between accounts, [`charge`] says why, [`answers`] sees to it that it happens
//! once, [`audit`] proves that it adds up.

pub mod answers;
pub mod audit;
pub mod charge;
mod http;
pub mod ledger;

use utoipa::OpenApi;

pub use http::{Account, LedgerPage, routes};

/// The whole service.
pub fn service() -> madang::Service {
    madang::Service::new("payments")
        .sqlite(madang::migrate!("./migrations"))
        .routes(http::routes())
        .openapi(http::ApiDoc::openapi())
}

//! The payments service: accounts, a double-entry ledger in which every transaction sums to zero, and charges
//! and refunds that happen once per `Idempotency-Key`.
//!
//! Knows users by their id and orders by the words of the caller; calls nobody.
//!
//! Map: [`ledger`] moves money between accounts, [`charge`] says why, [`once`] and [`answers`] see to it that it
//! happens once, [`audit`] proves that it adds up; `http` and `grpc` are two ways to ask for the same.

pub mod answers;
pub mod audit;
pub mod charge;
mod grpc;
mod http;
pub mod ledger;
pub mod once;

use madang::axum::Router;
use shop_idempotency::InFlight;
use utoipa::OpenApi;

pub use http::{Account, LedgerPage};

/// The whole service.
pub fn service() -> madang::Service {
    madang::Service::new("payments")
        .sqlite(madang::migrate!("./migrations"))
        .routes(routes())
        .openapi(http::ApiDoc::openapi())
}

/// Its routes: HTTP and gRPC, which know the same keys.
pub fn routes() -> Router {
    let in_flight = InFlight::default();
    http::routes(in_flight.clone()).merge(grpc::routes(in_flight))
}

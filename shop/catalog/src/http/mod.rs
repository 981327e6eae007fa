//! The endpoints of the catalog.

mod products;
mod quotes;
mod reservations;

use madang::axum::{
    Router,
    routing::{get, post, put},
};
use utoipa::OpenApi;

use crate::Config;

pub use products::{Page, Stock};
pub use quotes::{Quote, QuoteLine, QuoteWanted, Wanted};
pub use reservations::NewReservation;

/// The endpoints of the catalog, as a document.
#[derive(OpenApi)]
#[openapi(
    info(title = "catalog", description = "Products, prices and stock."),
    paths(
        products::list,
        products::one,
        products::by_name,
        products::set_price,
        products::price_changes,
        products::set_stock,
        quotes::quote,
        reservations::reserve,
        reservations::one,
        reservations::confirm,
        reservations::release,
    )
)]
pub struct ApiDoc;

/// The routes of the catalog. Those outside of `/products` are for other services, not for the gateway.
pub fn routes(config: Config) -> Router {
    Router::new()
        .route("/products", get(products::list))
        .route("/products/{id}", get(products::one))
        .route("/products/by-name/{name}", get(products::by_name))
        .route("/products/{id}/price", put(products::set_price))
        .route("/products/{id}/prices", get(products::price_changes))
        .route("/products/{id}/stock", put(products::set_stock))
        .route("/quotes", post(quotes::quote))
        .route("/reservations", post(reservations::reserve))
        .route("/reservations/{key}", get(reservations::one).delete(reservations::release))
        .route("/reservations/{key}/confirm", post(reservations::confirm))
        .with_state(config)
}

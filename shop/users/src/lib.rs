//! The users service: who can order, and by which password they log in.
//!
//! Knows nothing of orders; calls nobody.

mod http;
pub mod password;
pub mod store;
pub mod user;

use utoipa::OpenApi;

/// The whole service.
pub fn service() -> madang::Service {
    madang::Service::new("users")
        .sqlite(madang::migrate!("./migrations"))
        .routes(http::routes())
        .openapi(http::ApiDoc::openapi())
}

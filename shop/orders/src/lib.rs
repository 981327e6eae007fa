//! The orders service: an order is checked, its prices fixed, its stock held, its payment taken, its stock sold.
//!
//! Knows the users, catalog and payments services by their HTTP interfaces only.
//!
//! Map: [`machine`] is the life of an order, pure; [`store`] writes it down; [`peers`] makes the calls;
//! [`checkout`] joins the three and takes up again what a crash or a failure left unfinished.

mod answer;
pub mod checkout;
mod http;
pub mod machine;
pub mod order;
pub mod peers;
pub mod store;

use std::time::Duration;

use utoipa::OpenApi;

/// What the service runs by.
#[derive(Debug, Clone)]
pub struct Config {
    /// How often unfinished orders are looked for.
    pub sweep: Duration,
    /// How soon a step that failed is tried again; each time in a row after twice as long, up to a minute.
    pub retry: Duration,
    /// How long an order is left to whoever is at it. Longer than any call takes.
    pub lease: Duration,
    /// How long a charge may take, in place of what the manifest says.
    pub charge_timeout: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sweep: Duration::from_secs(1),
            retry: Duration::from_secs(1),
            lease: Duration::from_secs(30),
            charge_timeout: None,
        }
    }
}

/// The whole service.
pub fn service() -> madang::Service {
    service_with(Config::default())
}

/// The whole service, run by this configuration.
pub fn service_with(config: Config) -> madang::Service {
    madang::Service::new("orders")
        .sqlite(madang::migrate!("./migrations"))
        .routes(http::routes(config.clone()))
        .openapi(http::ApiDoc::openapi())
        .prepare(checkout::prepare)
        .background(move |resources| checkout::resume(resources, config.clone()))
}

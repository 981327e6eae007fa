//! The orders service: an order is checked, its prices fixed, its stock held, its payment taken, its stock sold.
//!
//! Knows the users, catalog and payments services by their interfaces only: HTTP, and of payments gRPC besides.
//!
//! Map: [`machine`] is the life of an order, pure; [`store`] writes it down; [`peers`] makes the calls, those to
//! payments in either of two ways;
//! [`checkout`] joins the three and takes up again what a crash or a failure left unfinished.

mod answer;
pub mod checkout;
mod http;
pub mod machine;
pub mod order;
mod payments;
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
    /// How payments is called.
    pub payments: PaymentsBy,
}

/// How payments is called.
#[derive(Debug, Clone, Copy)]
pub struct PaymentsBy {
    /// Over gRPC; over HTTP and JSON if not.
    pub grpc: bool,
    /// How long a charge may take, in place of what the manifest says.
    pub timeout: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sweep: Duration::from_secs(1),
            retry: Duration::from_secs(1),
            lease: Duration::from_secs(30),
            payments: PaymentsBy { grpc: false, timeout: None },
        }
    }
}

/// The whole service. The variable `PAYMENTS_OVER` says how payments is called: `http` or `grpc`.
///
/// # Panics
/// If it says anything else.
pub fn service() -> madang::Service {
    let grpc = match std::env::var("PAYMENTS_OVER").as_deref() {
        Err(_) | Ok("http") => false,
        Ok("grpc") => true,
        Ok(other) => panic!("PAYMENTS_OVER is \"{other}\": it must be http or grpc"),
    };
    service_with(Config { payments: PaymentsBy { grpc, timeout: None }, ..Config::default() })
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

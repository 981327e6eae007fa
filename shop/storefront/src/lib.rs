//! The storefront: the shop's pages, rendered here from what the other services answer.
//!
//! Keeps nothing. Who shops and what is in the cart is in the browser's cookies, and an order belongs to orders; so any
//! number of these processes may run, and one that is killed loses nothing. Knows the other services by their
//! interfaces only. A part of a page whose service does not answer says so, and the rest is shown.
//!
//! Map: `http` is a handler for each address, `pages` the HTML; `peers` makes the calls; `visitor` and `cart`
//! read the cookies, [`form`] what a browser sends; [`timeline`] says what an order's history means, and [`live`] tells
//! it to browsers as it moves.

pub mod cart;
pub mod form;
mod http;
pub mod live;
pub mod order;
mod pages;
pub mod peers;
pub mod timeline;
pub mod visitor;

use std::time::Duration;

/// What the service runs by.
#[derive(Debug, Clone)]
pub struct Config {
    /// How soon an order that is watched is asked for again at first; then ever later, up to two seconds.
    pub look: Duration,
    /// How many browsers may watch an order at a time.
    pub watchers: usize,
    /// How long the answer to the same order is waited for that another request is getting already.
    pub twice: Duration,
    /// Who says who shops.
    pub identity: Identity,
}

/// Who says who shops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Identity {
    /// Whoever shops says it, and is believed.
    #[default]
    Chosen,
    /// The gateway, at which they log in.
    LoggedIn,
}

/// The variable that says `gateway` where people log in.
const IDENTITY: &str = "SHOP_IDENTITY";

impl Default for Config {
    fn default() -> Self {
        Self {
            look: Duration::from_millis(200),
            watchers: 200,
            twice: Duration::from_secs(10),
            identity: Identity::default(),
        }
    }
}

/// The whole service.
pub fn service() -> madang::Service {
    let identity = match std::env::var(IDENTITY).as_deref() {
        Ok("gateway") => Identity::LoggedIn,
        _ => Identity::Chosen,
    };
    service_with(Config { identity, ..Config::default() })
}

/// The whole service, run by this configuration.
pub fn service_with(config: Config) -> madang::Service {
    // A form is a few fields; the longest is a cart.
    madang::Service::new("storefront").routes(http::routes(config)).body_limit(64 * 1024)
}

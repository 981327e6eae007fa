//! The catalog service: products with prices in two currencies, search, and stock that can be held for a while.
//!
//! Knows nothing of orders but the key under which stock is held; calls nobody.
//!
//! Map: [`products`] and [`reservations`] hold the SQL, [`search`] and [`cursor`] read what clients send,
//! [`seed`] makes the first 10,000 products, [`clock`] says when a reservation is over.

pub mod clock;
pub mod cursor;
mod http;
pub mod product;
pub mod products;
pub mod reservations;
pub mod search;
pub mod seed;

use std::time::Duration;

use madang::{Error, Resources, Result};
use tokio::time::MissedTickBehavior;
use utoipa::OpenApi;

use crate::clock::Clock;

pub use http::{NewReservation, Page, Quote, QuoteLine, QuoteWanted, Stock, Wanted, routes};

/// How often reservations that are due are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// What the service runs by.
#[derive(Debug, Clone)]
pub struct Config {
    /// The wall clock.
    pub clock: Clock,
    /// How long stock is held.
    pub hold: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { clock: Clock::system(), hold: Duration::from_secs(15 * 60) }
    }
}

/// The whole service.
pub fn service() -> madang::Service {
    service_with(Config::default())
}

/// The whole service, run by this configuration.
pub fn service_with(config: Config) -> madang::Service {
    madang::Service::new("catalog")
        .sqlite(madang::migrate!("./migrations"))
        .routes(http::routes(config.clone()))
        .openapi(http::ApiDoc::openapi())
        .prepare(fill)
        .background(move |resources| sweep(resources, config.clone()))
}

/// Seeds the products if there are none.
pub async fn fill(resources: Resources) -> Result<()> {
    let mut tx = madang::begin_write(&resources.sqlite()?).await?;
    if seed::fill(&mut tx).await? {
        tx.commit().await?;
        tracing::info!(products = seed::PRODUCTS, "the catalog is seeded");
    }
    Ok(())
}

/// Gives back the stock of reservations that are due, for as long as the service runs.
async fn sweep(resources: Resources, config: Config) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = config.clock.moved() => {}
            () = resources.stopping() => return,
        }
        match sweep_once(&resources, &config).await {
            Ok(0) => {}
            Ok(expired) => tracing::info!(expired, "reservations expired"),
            Err(error) => tracing::warn!(%error, "failed to expire reservations"),
        }
    }
}

async fn sweep_once(resources: &Resources, config: &Config) -> Result<usize> {
    let mut tx = madang::begin_write(&resources.sqlite()?).await?;
    let expired = reservations::expire(&mut tx, config.clock.now()).await?;
    tx.commit().await.map_err(Error::from)?;
    Ok(expired)
}

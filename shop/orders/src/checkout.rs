//! An order is driven on, one persisted step at a time, until it is over or a step has to wait.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use madang::{Error, Resources, Result};
use sqlx::SqlitePool;
use tokio::task::JoinSet;

use crate::{
    Config,
    machine::{Event, Reason, Step},
    order::Order,
    peers::{Asking, Peers},
    store,
};

/// How many orders are taken up again at once.
const AT_ONCE: u32 = 8;

/// Drives orders on.
#[derive(Clone)]
pub struct Checkout {
    pool: SqlitePool,
    peers: Peers,
    config: Config,
}

/// On whose behalf an order is driven on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A client waits: what cannot be done now is given up while nothing is paid.
    Live,
    /// Nobody waits: what cannot be done now is tried again later.
    Later,
}

// === impl Checkout ===

impl Checkout {
    /// Drives the orders of this database on.
    pub fn new(pool: SqlitePool, peers: Peers, config: Config) -> Self {
        Self { pool, peers, config }
    }

    /// Takes the next steps of an order until it is over or a step has to wait.
    ///
    /// Two may drive the same order: each step can be repeated, and of two outcomes the first that is written
    /// counts.
    pub async fn drive(&self, id: i64, mode: Mode) -> Result<Order> {
        loop {
            let order = store::find(&self.pool, id).await?;
            let order = order.ok_or_else(|| Error::not_found(format_args!("order {id}")))?;
            let Some(step) = order.status.step() else { return Ok(order) };
            match self.take(step, &order, mode).await {
                Ok(event) => {
                    let now = now();
                    let due = now + millis(self.config.lease);
                    let moved = store::apply(&self.pool, id, &event, now, due).await?;
                    if let Some(status) = moved.filter(|status| status.step().is_none()) {
                        tracing::info!(order = id, ?status, "an order is over");
                    }
                }
                Err(reason) => {
                    tracing::warn!(
                        order = id,
                        ?step,
                        reason = reason.detail,
                        "a step of an order has to wait"
                    );
                    store::put_off(&self.pool, id, now(), millis(self.config.retry)).await?;
                    return Ok(order);
                }
            }
        }
    }

    /// Takes one step; an error means that it has to wait.
    async fn take(&self, step: Step, order: &Order, mode: Mode) -> Result<Event, Reason> {
        match step {
            Step::Reserve => match self.peers.reserve(order).await {
                Err(reason) if mode == Mode::Live => Ok(Event::StockFailed(reason)),
                taken => taken,
            },
            Step::BeginCharge => Ok(Event::ChargeBegun),
            Step::Charge if mode == Mode::Live => {
                self.peers.charge(order, Asking::First).await.or(Ok(Event::ChargeUnknown))
            }
            // Whoever began this payment is gone and took its outcome along.
            Step::Charge => Ok(Event::ChargeUnknown),
            // The client gets its answer now; the payment is asked for again soon.
            Step::AskAgain if mode == Mode::Live => Err(unknown()),
            Step::AskAgain => self.peers.charge(order, Asking::Again).await,
            Step::Sell => self.peers.sell(order).await,
            Step::Release => self.peers.release(order).await,
            Step::PayBack => self.peers.pay_back(order).await,
        }
    }
}

fn unknown() -> Reason {
    Reason { detail: "the outcome of the payment is unknown".to_owned(), field: None }
}

/// Makes every unfinished order due at once: whoever was at it is gone.
pub async fn prepare(resources: Resources) -> Result<()> {
    let unfinished = store::all_due(&resources.sqlite()?, now()).await?;
    if unfinished > 0 {
        tracing::info!(unfinished, "unfinished orders are taken up again");
    }
    Ok(())
}

/// Takes up unfinished orders when they are due, for as long as the service runs.
pub async fn resume(resources: Resources, config: Config) {
    let mut ticks = tokio::time::interval(config.sweep);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = resources.stopping() => return,
        }
        tokio::select! {
            resumed = resume_due(&resources, &config) => if let Err(error) = resumed {
                tracing::warn!(%error, "failed to take up unfinished orders");
            },
            () = resources.stopping() => return,
        }
    }
}

/// Takes up the orders that are due, a few at a time, until none is left.
async fn resume_due(resources: &Resources, config: &Config) -> Result<()> {
    let pool = resources.sqlite()?;
    let peers = Peers::new(resources.calls(), config.payments);
    let checkout = Checkout::new(pool.clone(), peers, config.clone());
    loop {
        let now = now();
        let due = store::take_due(&pool, now, now + millis(config.lease), AT_ONCE).await?;
        if due.is_empty() {
            return Ok(());
        }
        let mut driven = JoinSet::new();
        for id in due {
            let checkout = checkout.clone();
            driven
                .spawn(async move { checkout.drive(id, Mode::Later).await.map(|order| (id, order.status)) });
        }
        while let Some(done) = driven.join_next().await {
            match done.map_err(Error::internal)? {
                Ok((order, status)) => tracing::info!(order, ?status, "an order was taken up again"),
                Err(error) => tracing::warn!(%error, "failed to take up an order"),
            }
        }
    }
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn now() -> i64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub(crate) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

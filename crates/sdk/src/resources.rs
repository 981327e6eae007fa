//! What a service has while it runs: its database, its calls and the signal to stop.

use std::sync::Arc;

use madang_model::ServiceName;
use sqlx::{PgPool, SqlitePool};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use crate::{
    Calls, Error, Result,
    calls::Outbound,
    database::Pool,
    principal::Principals,
    telemetry::{Counter, Source},
};

/// What a service has while it runs. Cloning it is cheap and gives the same resources.
#[derive(Clone)]
pub struct Resources(Arc<Inner>);

struct Inner {
    service: ServiceName,
    pool: Option<Pool>,
    outbound: Arc<Outbound>,
    stopping: CancellationToken,
    principals: Arc<Principals>,
}

impl Resources {
    pub(crate) fn new(
        service: ServiceName,
        pool: Option<Pool>,
        outbound: Arc<Outbound>,
        stopping: CancellationToken,
        principals: Arc<Principals>,
    ) -> Self {
        Self(Arc::new(Inner { service, pool, outbound, stopping, principals }))
    }

    /// The service's name.
    pub fn service(&self) -> &str {
        self.0.service.as_str()
    }

    /// The service's SQLite database; an error if it has none.
    pub fn sqlite(&self) -> Result<SqlitePool> {
        match &self.0.pool {
            Some(Pool::Sqlite(pool)) => Ok(pool.clone()),
            _ => Err(Error::internal(format!("{} has no SQLite database", self.0.service))),
        }
    }

    /// The service's PostgreSQL database; an error if it has none.
    pub fn postgres(&self) -> Result<PgPool> {
        match &self.0.pool {
            Some(Pool::Postgres(pool)) => Ok(pool.clone()),
            _ => Err(Error::internal(format!("{} has no PostgreSQL database", self.0.service))),
        }
    }

    /// Calls that are made on nobody's behalf: each begins a trace of its own.
    pub fn calls(&self) -> Calls {
        Calls::background(self.0.outbound.clone())
    }

    /// A number of the service's own that only grows, such as `orders_placed`: told as a metric of this name every ten
    /// seconds to whom the environment names, as all that the service tells of itself. There are 64 at most.
    pub fn counter(&self, name: &'static str) -> Counter {
        self.telemetry().counter(name)
    }

    /// Waits until the process is told to stop.
    pub fn stopping(&self) -> WaitForCancellationFuture<'_> {
        self.0.stopping.cancelled()
    }

    /// The signal to stop, to hand to a task or to ask without waiting.
    pub fn stop_token(&self) -> CancellationToken {
        self.0.stopping.clone()
    }

    pub(crate) fn outbound(&self) -> &Arc<Outbound> {
        &self.0.outbound
    }

    pub(crate) fn principals(&self) -> &Arc<Principals> {
        &self.0.principals
    }

    pub(crate) fn telemetry(&self) -> &Arc<Source> {
        &self.0.outbound.telemetry
    }

    pub(crate) fn pool(&self) -> Option<&Pool> {
        self.0.pool.as_ref()
    }
}

//! Traces, kept over restarts in the [archive](crate::archive).
//!
//! - [`span`]: what is kept of a span, and what a request record is as one;
//! - [`queue`]: what waits to be written, and the rule by which it is dropped;
//! - [`schema`]: the tables;
//! - [`write`]: from the queue into the tables, a commit for all that came in a quarter of a second;
//! - [`recent`]: the numbers of traces; [`ids`]: a trace by its id; [`places`]: traces by what they have to do with;
//! - [`list`] and [`query`]: what may be asked;
//! - [`delete`]: the oldest.

mod delete;
mod ids;
mod list;
mod places;
mod query;
mod queue;
mod recent;
mod schema;
mod seen;
mod span;
#[cfg(test)]
mod tests;
mod write;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use madang_store::rusqlite::Transaction;
use madang_wire::{
    RequestRecord, TraceId,
    trace::{NotKept, TraceList, TraceView},
};
use tokio::time::Instant;

use crate::{
    archive::{Archive, Part},
    writing::{self, Said},
};
use delete::delete;
use queue::Queue;
use recent::Recent;
pub(crate) use span::{Attributes, Span, Told};

pub use list::TraceFilter;

/// How often what waits is written: this much is lost if the node is killed.
const FLUSH: Duration = Duration::from_millis(250);

/// What is kept, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceConfig {
    /// How many spans a second are kept of those that neither failed nor were slow.
    pub sampled_per_second: u32,
    /// From which duration on a request is slow.
    pub slow: Duration,
    /// How many spans wait to be written at most.
    pub waiting: usize,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self { sampled_per_second: 1000, slow: Duration::from_secs(1), waiting: 16 * 1024 }
    }
}

/// What the archive knows of them: a trace is as old as its first span.
pub(crate) const PART: Part =
    Part { name: "traces", migrations: schema::MIGRATIONS, table: "traces", time: "start", delete };

/// The traces of a system. Clones share them.
#[derive(Clone)]
pub struct Traces {
    archive: Archive,
    config: Arc<TraceConfig>,
    waiting: Arc<Mutex<Waiting>>,
    /// Held while something is written.
    recent: Arc<Mutex<Recent>>,
    /// Held by whoever writes, so that all that came is written when another one's turn is over.
    flushing: Arc<tokio::sync::Mutex<()>>,
}

/// What waits, and how many ordinary spans may be written now: what a second allows at most.
struct Waiting {
    queue: Queue<span::Waiting>,
    allowed: f64,
    counted: Instant,
}

// === impl Traces ===

impl Traces {
    /// Those of an archive.
    pub fn new(archive: &Archive, config: TraceConfig) -> Self {
        let waiting = Waiting {
            queue: Queue::new(config.waiting),
            allowed: config.sampled_per_second.into(),
            counted: Instant::now(),
        };
        let waiting = Arc::new(Mutex::new(waiting));
        Self {
            archive: archive.clone(),
            config: Arc::new(config),
            waiting,
            recent: Arc::default(),
            flushing: Arc::default(),
        }
    }

    /// Takes what the hops knew of requests. Never waits: what finds no room is dropped by the rule of the queue.
    pub fn record(&self, records: Vec<RequestRecord>) {
        let mut waiting = self.waiting();
        for record in records {
            let urgent = record.failed() || self.is_slow(record.duration_us);
            waiting.queue.push(record.trace_id, urgent, 1, || span::Waiting::Hop(record));
        }
    }

    /// Takes what services told, each with about how many bytes it takes; by the same rule.
    /// Says for how many spans there was no room, of these or in their favour.
    pub(crate) fn told(&self, spans: Vec<(Span, usize)>) -> u64 {
        let mut waiting = self.waiting();
        let before = waiting.queue.not_kept.sampled + waiting.queue.not_kept.overflow;
        for (span, bytes) in spans {
            let urgent = span.error || self.is_slow(span.duration);
            let (trace, units) = (span.trace, span::units(bytes));
            waiting.queue.push(trace, urgent, units, || span::Waiting::Span(Box::new(span), units));
        }
        let dropped = waiting.queue.not_kept;
        dropped.sampled + dropped.overflow - before
    }

    /// Writes what came, until `shutdown` ends; what came by then is written.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let said = Said { fails: "traces are not kept", recovers: "traces are kept again" };
        writing::until(shutdown, FLUSH, said, || self.flush()).await;
    }

    /// Writes what waits; [`Traces::run`] does it four times a second.
    ///
    /// # Errors
    /// If the file cannot be written: what could not be is lost, and counted.
    pub async fn flush(&self) -> Result<(), madang_store::Error> {
        let _one = self.flushing.lock().await;
        let records = self.waiting().take(self.config.sampled_per_second.into());
        let count = records.len() as u64;
        let mut records = records.into_iter();
        let (mut unwritten, mut written) = (count, Ok(()));
        while unwritten > 0 && written.is_ok() {
            let some = write::batch(&mut records);
            let count = some.len() as u64;
            let recent = self.recent.clone();
            let write = move |tx: &Transaction<'_>| {
                write::insert(tx, some, &mut recent.lock().unwrap_or_else(PoisonError::into_inner))
            };
            written = self.archive.write(write).await;
            unwritten -= if written.is_ok() { count } else { 0 };
        }
        self.waiting().queue.not_kept.unwritten += unwritten;
        written
    }

    /// The newest traces that the filter lets through.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn list(&self, filter: TraceFilter) -> Result<TraceList, madang_store::Error> {
        let traces = self.archive.read(move |conn| list::list(conn, &filter)).await?;
        Ok(TraceList { traces, not_kept: self.not_kept() })
    }

    /// One trace with its spans; none if nothing is kept of it.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn get(&self, trace: TraceId) -> Result<Option<TraceView>, madang_store::Error> {
        self.archive.read(move |conn| query::get(conn, trace)).await
    }

    /// The trace that is meant: by its own id, or by that of a request from outside, the latest if there are several;
    /// none if no such request is kept.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn find(&self, id: &str) -> Result<Option<TraceId>, madang_store::Error> {
        let digits = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if let (true, Ok(trace)) = (digits, id.parse()) {
            return Ok(Some(trace));
        }
        let id = id.to_owned();
        self.archive.read(move |conn| query::of_request(conn, &id)).await
    }

    /// Whom a service called in vain between two moments, in microseconds since 1970, in other traces that began then.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) async fn failed_calls(
        &self,
        service: &str,
        from_us: u64,
        until_us: u64,
        but: TraceId,
    ) -> Result<Vec<String>, madang_store::Error> {
        let service = service.to_owned();
        let between =
            (i64::try_from(from_us).unwrap_or(i64::MAX), i64::try_from(until_us).unwrap_or(i64::MAX));
        self.archive.read(move |conn| query::failed_calls(conn, &service, between, but)).await
    }

    /// What was not kept since it was opened.
    pub fn not_kept(&self) -> NotKept {
        self.waiting().queue.not_kept
    }

    fn is_slow(&self, duration_us: u64) -> bool {
        u128::from(duration_us) >= self.config.slow.as_micros()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Waiting ===

impl Waiting {
    fn take(&mut self, per_second: f64) -> Vec<span::Waiting> {
        let now = Instant::now();
        let passed = now.duration_since(self.counted).as_secs_f64();
        self.counted = now;
        self.allowed = (self.allowed + passed * per_second).min(per_second);
        let (taken, sampled) = self.queue.take(self.allowed as usize);
        self.allowed -= sampled as f64;
        taken
    }
}

//! Annotations: what happened to the units of a system and to the calls between its services, kept over restarts in the
//! [archive](crate::archive) to be laid beside its traces and logs.
//!
//! - [`schema`]: the table;
//! - [`query`]: what may be asked.

mod query;
mod schema;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use madang_store::Error;
use madang_wire::admin::Event;

use crate::{
    archive::Archive,
    writing::{self, Said},
};

pub use query::EventFilter;
pub(crate) use schema::PART;

/// How often what waits is written: this much is lost if the node is killed.
const FLUSH: Duration = Duration::from_millis(250);

/// How many events wait to be written at most; the oldest make room.
const WAITING: usize = 4096;

/// The annotations of a system. Clones share them.
#[derive(Clone)]
pub struct Annotations {
    archive: Archive,
    waiting: Arc<Mutex<Waiting>>,
}

/// The events that are yet to be written, each with the number that it was given.
#[derive(Default)]
struct Waiting {
    queue: VecDeque<(i64, Event)>,
    last: i64,
    lost: u64,
}

// === impl Annotations ===

impl Annotations {
    /// Those of an archive.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn open(archive: &Archive) -> Result<Self, Error> {
        let last = archive.read(query::last).await?;
        let waiting = Arc::new(Mutex::new(Waiting { last, ..Waiting::default() }));
        Ok(Self { archive: archive.clone(), waiting })
    }

    /// Takes an event in, and gives its number: events are numbered in the order in which they come. Never waits.
    pub fn record(&self, event: &Event) -> i64 {
        let mut waiting = self.waiting();
        if waiting.queue.len() == WAITING {
            waiting.queue.pop_front();
            waiting.lost += 1;
        }
        waiting.last += 1;
        let last = waiting.last;
        waiting.queue.push_back((last, event.clone()));
        last
    }

    /// The number of the last event that came.
    pub fn last(&self) -> i64 {
        self.waiting().last
    }

    /// Counts events that never came here.
    pub fn missed(&self, events: u64) {
        self.waiting().lost += events;
    }

    /// How many events found no room before they could be written, here or on their way.
    pub fn lost(&self) -> u64 {
        self.waiting().lost
    }

    /// Writes what came, until `shutdown` ends; what came by then is written.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let said = Said { fails: "events wait to be kept", recovers: "events are kept again" };
        writing::until(shutdown, FLUSH, said, || self.flush()).await;
    }

    /// Writes what waits; [`Annotations::run`] does it four times a second.
    ///
    /// # Errors
    /// If the file cannot be written: what waits goes on waiting.
    pub async fn flush(&self) -> Result<(), Error> {
        let some: Vec<_> = self.waiting().queue.iter().cloned().collect();
        let Some((last, _)) = some.last() else { return Ok(()) };
        let last = *last;
        self.archive.write(move |tx| schema::insert(tx, &some)).await?;
        self.waiting().queue.retain(|(number, _)| *number > last);
        Ok(())
    }

    /// The last events that the filter lets through, in the order in which they came.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn list(&self, filter: EventFilter) -> Result<Vec<Event>, Error> {
        // Taken before the file is read: what is written meanwhile is in both, and told apart by its number.
        let waiting: Vec<_> = self.waiting().queue.iter().cloned().collect();
        self.archive.read(move |conn| query::list(conn, &filter, waiting)).await
    }

    /// Everything that happened from one moment to another, both in milliseconds since 1970 and included, up to a
    /// thousand events.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn between(&self, from: u64, until: u64) -> Result<Vec<Event>, Error> {
        let filter = EventFilter { since: Some(from), until: Some(until), last: 1000, ..Default::default() };
        self.list(filter).await
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

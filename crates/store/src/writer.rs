//! The one thread that writes: what arrives while a commit is under way shares the next one.
//!
//! Each write runs inside a savepoint, so that one that fails takes nothing of the others with it. Nobody
//! hears of success before the commit that covers it is on the disk.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error};

use crate::{
    Error,
    file::{self, Settings},
};

/// How many writes wait at most; whoever brings one more waits for a place.
pub(crate) const QUEUE: usize = 1024;

/// How many writes share one commit at most, so that the first of them does not wait for ever.
const LARGEST_GROUP: usize = 256;

/// A write that waits for its turn, and whoever waits for it.
pub(crate) trait Job: Send {
    /// Runs the write, and keeps what it gave until the commit has decided. Gives its failure, if it failed.
    fn run(&mut self, tx: &Transaction<'_>) -> Option<Error>;
    /// Tells whoever waits how it ended.
    fn finish(self: Box<Self>, committed: Result<(), Error>);
}

struct Write<F, T> {
    write: Option<F>,
    outcome: Option<Result<T, Error>>,
    waiter: oneshot::Sender<Result<T, Error>>,
}

/// The thread's state.
pub(crate) struct Writer {
    pub(crate) path: PathBuf,
    pub(crate) settings: Settings,
    pub(crate) jobs: mpsc::Receiver<Box<dyn Job>>,
    pub(crate) commits: Arc<AtomicU64>,
    pub(crate) failing: Arc<Mutex<Option<Error>>>,
}

/// A job, and where its result will be.
pub(crate) fn job<T: Send + 'static>(
    write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
) -> (Box<dyn Job>, oneshot::Receiver<Result<T, Error>>) {
    let (waiter, result) = oneshot::channel();
    (Box::new(Write { write: Some(write), outcome: None, waiter }), result)
}

// === impl Write ===

impl<F, T> Job for Write<F, T>
where
    F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn run(&mut self, tx: &Transaction<'_>) -> Option<Error> {
        self.outcome = self.write.take().map(|write| isolated(tx, write));
        self.outcome.as_ref()?.as_ref().err().cloned()
    }

    fn finish(self: Box<Self>, committed: Result<(), Error>) {
        let Self { outcome, waiter, .. } = *self;
        let outcome = committed.and_then(|()| outcome.unwrap_or(Err(Error::Closed)));
        // Whoever stopped waiting does not need to know.
        let _ = waiter.send(outcome);
    }
}

fn isolated<T>(
    tx: &Transaction<'_>,
    write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> Result<T, Error> {
    tx.execute_batch("SAVEPOINT one_write")?;
    let outcome = catch_unwind(AssertUnwindSafe(|| write(tx)));
    let end = if matches!(outcome, Ok(Ok(_))) {
        "RELEASE one_write"
    } else {
        "ROLLBACK TO one_write; RELEASE one_write"
    };
    // Some failures, a full disk among them, roll back the whole transaction: the group's failure, then.
    let ended = if tx.is_autocommit() { Ok(()) } else { tx.execute_batch(end) };
    let value = outcome.map_err(|_| Error::Panicked)??;
    ended?;
    Ok(value)
}

// === impl Writer ===

impl Writer {
    /// Writes until the store is closed and the queue empty.
    pub(crate) fn run(mut self, connection: Connection) {
        let mut connection = Some(connection);
        let mut group = Vec::new();
        while let Some(first) = self.jobs.blocking_recv() {
            group.push(first);
            while group.len() < LARGEST_GROUP
                && let Ok(next) = self.jobs.try_recv()
            {
                group.push(next);
            }
            let committed = self.commit(&mut connection, &mut group);
            let before = {
                let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::replace(&mut *failing, committed.clone().err())
            };
            if let Err(error) = &committed {
                let (writes, source) = (group.len(), std::error::Error::source(error));
                // On a full disk every commit fails: once is enough for the log, which has no room either.
                match before {
                    None => error!(writes, %error, ?source, "commit failed"),
                    Some(_) => debug!(writes, %error, ?source, "commit failed again"),
                }
                // What the connection believes about the file is not trusted after that.
                connection = None;
            }
            for job in group.drain(..) {
                job.finish(committed.clone());
            }
        }
    }

    fn commit(&self, connection: &mut Option<Connection>, group: &mut [Box<dyn Job>]) -> Result<(), Error> {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(file::open_writer(&self.path, self.settings)?),
        };
        let failed = |source| Error::Commit { source: Arc::new(source) };
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        for job in group {
            let failure = job.run(&tx);
            if tx.is_autocommit() {
                return Err(match failure {
                    Some(Error::Statement { source }) => Error::Commit { source },
                    _ => Error::TransactionEnded,
                });
            }
        }
        tx.commit().map_err(failed)?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

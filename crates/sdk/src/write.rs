//! Turns at writing: SQLite has one writer at a time.

use std::{
    collections::HashMap,
    ops::{Deref, DerefMut},
    path::PathBuf,
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
    time::Duration,
};

use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::{
    sync::{Mutex as Queue, OwnedMutexGuard},
    time::Instant,
};

use crate::telemetry;

/// How long a writer waits for its turn, in this process and then among processes.
pub(crate) const TURN: Duration = Duration::from_secs(5);

/// The queue of each database file that somebody writes to.
static QUEUES: LazyLock<Mutex<HashMap<PathBuf, Weak<Queue<()>>>>> = LazyLock::new(Mutex::default);

/// A transaction that may write; rolled back if it is dropped before [`Write::commit`].
///
/// It stands for its connection: `query.execute(&mut *write)`.
#[must_use = "what is not committed is rolled back"]
pub struct Write {
    transaction: Transaction<'static, Sqlite>,
    // After the transaction, because it is dropped after it.
    _turn: OwnedMutexGuard<()>,
}

/// Begins a transaction that is going to write.
///
/// SQLite has one writer at a time. A transaction that begins with reading and writes later fails if another
/// one wrote in between; this one takes its turn at the start. Within a process the turns are in order of
/// arrival, and whoever waits holds no connection of the pool: readers go on.
///
/// # Errors
/// [`sqlx::Error::PoolTimedOut`] if its turn does not come within five seconds.
pub async fn begin_write(pool: &SqlitePool) -> sqlx::Result<Write> {
    let began = Instant::now();
    let queue = queue(pool.connect_options().get_filename().to_owned());
    let turn = tokio::time::timeout(TURN, queue.lock_owned()).await;
    telemetry::waited("wait for the turn to write", began);
    let turn = turn.map_err(|_| sqlx::Error::PoolTimedOut)?;
    Ok(Write { transaction: pool.begin_with("BEGIN IMMEDIATE").await?, _turn: turn })
}

/// The queue of a file, for as long as somebody is in it.
fn queue(file: PathBuf) -> Arc<Queue<()>> {
    // What it guards is valid after every step.
    let mut queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(queue) = queues.get(&file).and_then(Weak::upgrade) {
        return queue;
    }
    queues.retain(|_, queue| queue.strong_count() > 0);
    let queue = Arc::new(Queue::new(()));
    queues.insert(file, Arc::downgrade(&queue));
    queue
}

// === impl Write ===

impl Write {
    /// Makes the changes durable.
    pub async fn commit(self) -> sqlx::Result<()> {
        let began = Instant::now();
        let committed = self.transaction.commit().await;
        telemetry::waited("wait for the commit", began);
        committed
    }

    /// Takes the changes back.
    pub async fn rollback(self) -> sqlx::Result<()> {
        self.transaction.rollback().await
    }
}

impl Deref for Write {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.transaction
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_does_not_come_is_an_error() {
        let pool = SqlitePool::connect_lazy("sqlite:never-opened.db").unwrap();
        let held = queue("never-opened.db".into()).lock_owned().await;
        assert!(matches!(begin_write(&pool).await, Err(sqlx::Error::PoolTimedOut)));
        drop(held);
    }

    #[test]
    fn queues_that_nobody_is_in_are_forgotten() {
        let held = queue("held.db".into());
        for number in 0..100 {
            drop(queue(format!("{number}.db").into()));
        }
        assert!(Arc::ptr_eq(&held, &queue("held.db".into())));
        assert!(QUEUES.lock().unwrap().len() < 10);
    }
}

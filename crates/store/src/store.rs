//! The handle.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use rusqlite::{Connection, Transaction};
use tokio::sync::mpsc;

use crate::{
    Error, file,
    file::Settings,
    migrate,
    readers::Readers,
    writer::{self, Job, QUEUE, Writer},
};

/// The state of a node. Cloning it is cheap and gives the same state; once the last clone is dropped, what
/// was queued is written and the file is closed.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    readers: Readers,
    commits: Arc<AtomicU64>,
    failing: Arc<Mutex<Option<Error>>>,
}

// === impl Store ===

impl Store {
    /// Opens the state, and makes it where there is none: `sqlite:/path/state.db`.
    ///
    /// # Errors
    /// If the URL names no absolute path or an engine that is not built in, or the file cannot be opened.
    pub fn open(url: &str) -> Result<Self, Error> {
        Self::open_with(url, Settings::default())
    }

    /// The same, for something other than the state of a node.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(url: &str, settings: Settings) -> Result<Self, Error> {
        let path = file::path_of(url)?;
        file::create(&path)?;
        let connection = file::open_writer(&path, settings)?;
        let commits = Arc::new(AtomicU64::new(0));
        let (queue, jobs) = mpsc::channel(QUEUE);
        let failing = Arc::default();
        let writer = Writer {
            path: path.clone(),
            settings,
            jobs,
            commits: commits.clone(),
            failing: Arc::clone(&failing),
        };
        let thread = thread::Builder::new()
            .name("state-writer".to_owned())
            .spawn(move || writer.run(connection))
            .map_err(|source| Error::Thread { source: Arc::new(source) })?;
        let readers = Readers::new(path.clone());
        let inner = Inner { path, queue: Some(queue), thread: Some(thread), readers, commits, failing };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Runs `write` in a transaction, and returns once it is committed and on the disk.
    ///
    /// Writes that wait at the same time share a commit, each in a savepoint of its own: one that fails leaves
    /// the others as they are. Keep it to statements: everybody waits for it. A constraint that is deferred to
    /// the commit fails the whole group, so schemas do without. Once this future has been polled, dropping it
    /// does not undo the write.
    ///
    /// # Errors
    /// If `write` fails or panics, or the commit does: then nothing of it is kept. The state can be written
    /// again after each of these.
    pub async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let (job, result) = writer::job(write);
        let queue = self.inner.queue.as_ref().ok_or(Error::Closed)?;
        queue.send(job).await.map_err(|_| Error::Closed)?;
        result.await.map_err(|_| Error::Closed)?
    }

    /// Runs `query` on a connection that only reads; it sees every write that has returned.
    ///
    /// # Errors
    /// If `query` fails or panics, or tries to write.
    pub async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.inner.readers.read(query).await
    }

    /// Brings an engine's tables to the version that `migrations` end at, each of them one step from the
    /// version before. A published step never changes; a new one is added at the end.
    ///
    /// # Errors
    /// If a step fails, which leaves the tables as they were, or if they are newer than the last step.
    pub async fn migrate(&self, engine: &str, migrations: &[&str]) -> Result<(), Error> {
        let engine = engine.to_owned();
        let migrations: Vec<String> = migrations.iter().map(|&sql| sql.to_owned()).collect();
        self.write(move |tx| migrate::migrate(tx, &engine, &migrations)).await?
    }

    /// Why the last commit failed, if it did: because the disk is full, mostly.
    pub fn failing(&self) -> Option<Error> {
        self.inner.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Finds out whether it can be written, by writing what changes nothing.
    ///
    /// # Errors
    /// If it cannot.
    pub async fn check(&self) -> Result<(), Error> {
        let same = |tx: &Transaction<'_>| {
            let version: i64 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            tx.pragma_update(None, "user_version", version)
        };
        self.write(same).await
    }

    /// How many commits there were since it was opened.
    pub fn commits(&self) -> u64 {
        self.inner.commits.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Readers first: the last connection to close folds the write-ahead log into the file.
        self.readers.close();
        self.queue = None;
        let writer = self.thread.take().filter(|writer| writer.thread().id() != thread::current().id());
        if let Some(writer) = writer {
            // It ends once it has written what was queued; had it panicked, nobody would be waiting.
            let _ = writer.join();
        }
    }
}

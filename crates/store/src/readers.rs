//! Connections that only read, bounded in number; each sees what was committed when its statement began.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{Error, file};

/// How many reads run at once; more wait.
const MOST: usize = 4;

#[derive(Clone)]
pub(crate) struct Readers {
    path: Arc<PathBuf>,
    turns: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path: Arc::new(path), turns: Arc::new(Semaphore::new(MOST)), idle: Arc::default() }
    }

    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| Error::Closed)?;
        let readers = self.clone();
        let read = spawn_blocking(move || {
            let connection = match readers.take() {
                Some(connection) => connection,
                None => file::open_reader(&readers.path)?,
            };
            let found = query(&connection);
            // A connection that a panic passed through is not put back.
            readers.put(connection);
            drop(turn);
            Ok(found?)
        });
        read.await.unwrap_or(Err(Error::Panicked))
    }

    fn take(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    /// Closes the connections that nobody uses.
    pub(crate) fn close(&self) {
        self.turns.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

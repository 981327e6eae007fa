//! The file: where a URL says it is, who may read it, and how SQLite treats it.

use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use crate::Error;

/// How long a connection waits for a lock. Readers and the writer do not block each other in WAL mode, so
/// that this only ever passes while another program has the file open.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// How many prepared statements a connection keeps: more than one engine has, so that none is prepared each time.
const STATEMENTS: usize = 64;

/// What is wanted of a file, where that is not what the state of a node needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// Whether the latest commits may be lost with the machine's power; never with the process.
    pub lossy: bool,
    /// The size in bytes that the file never exceeds: what would make it larger fails. Pages that are freed are given
    /// back by `PRAGMA incremental_vacuum`. The write-ahead log beside it comes on top, see [`WAL`].
    pub largest: Option<u64>,
}

/// How large the write-ahead log beside a file becomes, in bytes, if no write changes more than 4 MiB of pages and no
/// read takes long: its content is moved into the file after 1000 pages.
pub const WAL: u64 = 8 << 20;

/// The file that a URL names.
pub(crate) fn path_of(url: &str) -> Result<PathBuf, Error> {
    let invalid = || Error::Url { url: url.to_owned() };
    let (scheme, rest) = url.split_once(':').ok_or_else(invalid)?;
    match scheme {
        "sqlite" => {
            let path = Path::new(rest.strip_prefix("//").unwrap_or(rest));
            if path.is_absolute() && path.file_name().is_some() {
                Ok(path.to_owned())
            } else {
                Err(invalid())
            }
        }
        "postgres" | "postgresql" => Err(Error::NotBuiltIn { scheme: scheme.to_owned() }),
        _ => Err(invalid()),
    }
}

/// Makes the file, readable by its owner only, in a folder that only its owner can enter. What exists stays
/// as it is.
pub(crate) fn create(path: &Path) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| Error::Create { path, source: Arc::new(source) }
    };
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
    }
    // SQLite gives its side files the mode of this one.
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600).open(path).map(drop).map_err(failed(path))
}

/// The connection that writes.
pub(crate) fn open_writer(path: &Path, settings: Settings) -> Result<Connection, Error> {
    open(path, OpenFlags::SQLITE_OPEN_READ_WRITE, |connection| {
        if settings.largest.is_some() {
            // Of effect only on a file without content, which the journal mode gives it.
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        }
        // Returns the mode in force, which stays another where WAL is impossible.
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
            let message = format!("the file system allows only the journal mode \"{mode}\", not \"wal\"");
            return Err(rusqlite::Error::SqliteFailure(code, Some(message)));
        }
        connection.pragma_update(None, "synchronous", if settings.lossy { "NORMAL" } else { "FULL" })?;
        // What a savepoint would restore is otherwise written to a temporary file, page by page; it is bounded as a
        // group of writes is.
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        let Some(largest) = settings.largest else { return Ok(()) };
        let page: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let pages = i64::try_from(largest).unwrap_or(i64::MAX) / page.max(1);
        // Both tell what is in force.
        for (pragma, value) in [("max_page_count", pages), ("journal_size_limit", WAL as i64)] {
            connection.query_row(&format!("PRAGMA {pragma} = {value}"), [], |_| Ok(()))?;
        }
        Ok(())
    })
}

/// A connection that reads.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, Error> {
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY, |_| Ok(()))
}

fn open(
    path: &Path,
    access: OpenFlags,
    settle: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> Result<Connection, Error> {
    let open = || {
        let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(LOCK_WAIT)?;
        connection.execute_batch("PRAGMA foreign_keys = ON")?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        settle(&connection)?;
        Ok(connection)
    };
    open().map_err(|source| Error::Open { path: path.to_owned(), source: Arc::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_an_absolute_path() {
        for url in ["sqlite:/data/state.db", "sqlite:///data/state.db"] {
            assert_eq!(path_of(url).unwrap(), Path::new("/data/state.db"), "{url}");
        }
        for url in
            ["", "/data/state.db", "sqlite:", "sqlite::memory:", "sqlite:state.db", "sqlite:/", "mysql:/x"]
        {
            assert!(matches!(path_of(url), Err(Error::Url { .. })), "{url}");
        }
    }

    #[test]
    fn an_engine_to_come_is_named() {
        let error = path_of("postgres://db/madang").unwrap_err();
        assert!(error.to_string().contains("\"postgres:\" URL: that engine is not built in yet"), "{error}");
    }
}

//! A service's own database: opened by its URL, created if it is missing, migrated.

use std::{fs::File, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use log::LevelFilter;
use sqlx::{
    Connection, PgConnection, PgPool, SqliteConnection, SqlitePool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{Service, StartError, write::TURN};

/// How long a request waits for a connection of the pool.
const ACQUIRE: Duration = Duration::from_secs(5);
/// Connections to a SQLite file: readers run beside each other and beside one writer.
const SQLITE_CONNECTIONS: u32 = 8;
/// Connections to a PostgreSQL server by one process.
const POSTGRES_CONNECTIONS: u32 = 10;
/// The key of the lock under which one process at a time migrates and prepares a PostgreSQL database.
const PREPARE_LOCK: i64 = 0x6d61_6461_6e67;

/// An open database.
#[derive(Clone)]
pub(crate) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// Held while one process migrates and prepares a database that others may open at the same time.
pub(crate) enum Preparing {
    Sqlite(#[expect(dead_code, reason = "dropping the file releases its lock")] File),
    Postgres(PgConnection),
}

/// Opens the database of a service at `url`, with its migrations applied.
pub(crate) async fn open(service: &Service, url: &str) -> Result<(Pool, Preparing), StartError> {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    let (migrations, other) = match scheme {
        "sqlite" => (&service.sqlite, ".sqlite(…)"),
        "postgres" | "postgresql" => (&service.postgres, ".postgres(…)"),
        _ => return Err(bad_url(service, "it starts with neither `sqlite:` nor `postgres:`")),
    };
    let Some(migrations) = migrations.as_ref() else {
        return Err(bad_url(service, &format!("the service has no migrations for it: add `{other}`")));
    };
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(bad_url(service, "a database in memory does not outlive a restart: name a file"));
    }
    let opened = match scheme {
        "sqlite" => open_sqlite(url, migrations).await,
        _ => open_postgres(url, migrations).await,
    };
    opened.map_err(|source| StartError::Database { service: service.name.clone(), source })
}

fn bad_url(service: &Service, reason: &str) -> StartError {
    StartError::DatabaseUrl { service: service.name.clone(), reason: reason.to_owned() }
}

async fn open_sqlite(url: &str, migrations: &Arc<Migrator>) -> Result<(Pool, Preparing), sqlx::Error> {
    let options = SqliteConnectOptions::from_str(url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(TURN);
    let lock = lock_file(options.get_filename().to_owned()).await?;
    let pool = SqlitePoolOptions::new()
        .max_connections(SQLITE_CONNECTIONS)
        .acquire_timeout(ACQUIRE)
        .acquire_time_level(LevelFilter::Debug) // for the telemetry of waiting
        .after_release(|connection, _| Box::pin(is_whole(connection)))
        .connect_with(options)
        .await?;
    migrations.run(&pool).await?;
    Ok((Pool::Sqlite(pool), Preparing::Sqlite(lock)))
}

/// Whether a connection can be used again. On a full disk SQLite itself ends a transaction that cannot be committed; sqlx
/// then takes it to be open still, and commits what comes later within it, which is to say, not at all.
async fn is_whole(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // A transaction that was dropped is rolled back by the connection's own thread, before it answers this.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

/// Creates the folder of a SQLite file and takes the lock beside it (`orders.db-prepare`), waiting for its turn.
/// SQLite's own locks last no longer than a transaction.
async fn lock_file(database: PathBuf) -> std::io::Result<File> {
    let locked = tokio::task::spawn_blocking(move || {
        if let Some(folder) = database.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut path = database.into_os_string();
        path.push("-prepare");
        let file = File::create(path)?;
        if file.try_lock().is_err() {
            tracing::info!("waiting for another process to prepare the database");
            file.lock()?;
        }
        Ok(file)
    });
    locked.await.map_err(std::io::Error::other)?
}

async fn open_postgres(url: &str, migrations: &Arc<Migrator>) -> Result<(Pool, Preparing), sqlx::Error> {
    let options = PgConnectOptions::from_str(url)?;
    let mut lock = match PgConnection::connect_with(&options).await {
        Err(error) if is_code(&error, "3D000") => {
            create_database(&options).await?;
            PgConnection::connect_with(&options).await?
        }
        connected => connected?,
    };
    sqlx::query("SELECT pg_advisory_lock($1)").bind(PREPARE_LOCK).execute(&mut lock).await?;
    let pool = PgPoolOptions::new()
        .max_connections(POSTGRES_CONNECTIONS)
        .acquire_timeout(ACQUIRE)
        .acquire_time_level(LevelFilter::Debug) // for the telemetry of waiting
        .connect_with(options)
        .await?;
    migrations.run(&pool).await?;
    Ok((Pool::Postgres(pool), Preparing::Postgres(lock)))
}

/// Creates the database that the options name, from the one that every server has.
async fn create_database(options: &PgConnectOptions) -> Result<(), sqlx::Error> {
    let name = options.get_database().unwrap_or_else(|| options.get_username()).replace('"', "\"\"");
    let mut server = PgConnection::connect_with(&options.clone().database("postgres")).await?;
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE \"{name}\""));
    let created = sqlx::query(create).execute(&mut server).await;
    server.close().await?;
    match created {
        // Another process was faster: it exists by now, or its row is already written.
        Err(error) if is_code(&error, "42P04") || is_code(&error, "23505") => Ok(()),
        created => created.map(drop),
    }
}

fn is_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|found| found == code)
}

// === impl Pool ===

impl Pool {
    /// What it is, by the names of OpenTelemetry's conventions.
    pub(crate) fn system(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgresql",
        }
    }

    /// How many connections are in use, how many are idle, and how many there are at most.
    pub(crate) fn connections(&self) -> [u32; 3] {
        let (size, idle, most) = match self {
            Self::Sqlite(pool) => (pool.size(), pool.num_idle(), pool.options().get_max_connections()),
            Self::Postgres(pool) => (pool.size(), pool.num_idle(), pool.options().get_max_connections()),
        };
        let idle = u32::try_from(idle).unwrap_or(size);
        [size.saturating_sub(idle), idle, most]
    }

    /// Waits for the connections in use and closes them all.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

// === impl Preparing ===

impl Preparing {
    /// Lets the next process migrate and prepare.
    pub(crate) async fn done(self) {
        if let Self::Postgres(lock) = self
            && let Err(error) = lock.close().await
        {
            tracing::warn!(%error, "failed to close the connection that held the lock for preparing");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a full disk leaves behind: SQLite has ended the transaction, and the pool's connection does not know it.
    #[tokio::test]
    async fn a_connection_that_takes_an_ended_transaction_to_be_open_is_not_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("x.db").display());
        let migrations = Arc::new(Migrator::DEFAULT);
        let (Pool::Sqlite(pool), _preparing) = open_sqlite(&url, &migrations).await.unwrap() else {
            panic!()
        };
        sqlx::raw_sql("CREATE TABLE x (y)").execute(&pool).await.unwrap();
        let dropped = pool.begin().await.unwrap();
        drop(dropped);
        assert!(!pool.acquire().await.unwrap().is_in_transaction(), "one that was dropped is rolled back");
        let mut ended = pool.begin().await.unwrap();
        sqlx::raw_sql("ROLLBACK").execute(&mut *ended).await.unwrap();
        assert!(ended.commit().await.is_err());
        let mut transaction = pool.begin().await.unwrap();
        sqlx::raw_sql("INSERT INTO x VALUES (1)").execute(&mut *transaction).await.unwrap();
        assert!(sqlx::raw_sql("BEGIN").execute(&mut *transaction).await.is_err(), "it is a whole one");
        assert_eq!(transaction.commit().await.ok(), Some(()));
        let connections: Vec<_> = futures_util::future::join_all((0..3).map(|_| pool.acquire())).await;
        assert!(connections.iter().all(|connection| !connection.as_ref().unwrap().is_in_transaction()));
    }
}

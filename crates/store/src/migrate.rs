//! Schema versions: each engine's tables go forward, one migration at a time, and never back.

use rusqlite::{Connection, OptionalExtension};

use crate::Error;

const VERSIONS: &str = "
    CREATE TABLE IF NOT EXISTS schema_versions (engine TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT
";

/// Runs those of an engine's migrations that have not run. Part of one transaction: all of them or none.
pub(crate) fn migrate(
    tx: &Connection,
    engine: &str,
    migrations: &[String],
) -> rusqlite::Result<Result<(), Error>> {
    tx.execute_batch(VERSIONS)?;
    let version = "SELECT version FROM schema_versions WHERE engine = ?1";
    let found: Option<u32> = tx.query_row(version, [engine], |row| row.get(0)).optional()?;
    let found = found.unwrap_or(0);
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    if found > known {
        return Ok(Err(Error::Newer { engine: engine.to_owned(), found, known }));
    }
    for migration in migrations.iter().skip(found as usize) {
        tx.execute_batch(migration)?;
    }
    let set = "INSERT INTO schema_versions (engine, version) VALUES (?1, ?2)
               ON CONFLICT (engine) DO UPDATE SET version = excluded.version";
    tx.execute(set, (engine, known))?;
    Ok(Ok(()))
}

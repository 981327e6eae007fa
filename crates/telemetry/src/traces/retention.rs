//! What is deleted, so that neither age nor size exceeds its bound: the oldest traces, a few at a time.

use std::time::{SystemTime, UNIX_EPOCH};

use madang_store::{Store, WAL, rusqlite};
use rusqlite::{Connection, Result};

use super::TraceConfig;

/// How many traces are deleted in one write, so that others get their turn.
const BATCH: u32 = 250;

/// How many such writes follow each other at most: what is left waits for the next flush.
const BATCHES: usize = 64;

/// Deletes what is too old, and the oldest while the file is larger than nine tenths of what it may be.
pub(super) async fn trim(
    store: &Store,
    config: &TraceConfig,
) -> std::result::Result<(), madang_store::Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let oldest = i64::try_from(now.saturating_sub(config.oldest).as_micros()).unwrap_or(i64::MAX);
    let room = config.largest.saturating_sub(WAL) / 10 * 9;
    for _ in 0..BATCHES {
        let due = store.read(move |conn| due(conn, oldest, room)).await?;
        if !due || !store.write(move |tx| batch(tx, oldest, room)).await? {
            break;
        }
    }
    Ok(())
}

/// Whether anything is to be deleted.
fn due(conn: &Connection, oldest: i64, room: u64) -> Result<bool> {
    let old = conn.prepare_cached("SELECT 1 FROM traces WHERE start < ?1 LIMIT 1")?.exists([oldest])?;
    Ok(old || size(conn)? > room)
}

/// Deletes some, and gives the pages back to the file system. Whether there may be more.
fn batch(tx: &Connection, oldest: i64, room: u64) -> Result<bool> {
    let all = size(tx)? > room;
    let chosen = "SELECT trace FROM traces WHERE ?1 OR start < ?2 ORDER BY start LIMIT ?3";
    let spans = format!("DELETE FROM spans WHERE trace IN ({chosen})");
    tx.prepare_cached(&spans)?.execute((all, oldest, BATCH))?;
    let traces = format!("DELETE FROM traces WHERE trace IN ({chosen})");
    let deleted = tx.prepare_cached(&traces)?.execute((all, oldest, BATCH))?;
    // Each step gives back one page.
    let mut vacuum = tx.prepare("PRAGMA incremental_vacuum(1000)")?;
    let mut steps = vacuum.query([])?;
    while steps.next()?.is_some() {}
    Ok(deleted > 0)
}

/// The size of the file in bytes.
fn size(conn: &Connection) -> Result<u64> {
    conn.query_row("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", [], |row| {
        Ok(row.get::<_, i64>(0)?.unsigned_abs())
    })
}

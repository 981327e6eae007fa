//! How the oldest traces are deleted.

use madang_store::rusqlite::{Connection, OptionalExtension, Result};

use super::{ids, places};

/// Deletes whole traces that began before this, the oldest first and so many at most; and says how many.
pub(super) fn delete(tx: &Connection, before: i64, most: u32) -> Result<usize> {
    let chosen = "FROM traces WHERE start < ?1 ORDER BY start LIMIT ?2";
    let resources = "SELECT id FROM span_resources WHERE used < ?1 ORDER BY used LIMIT ?2";
    let resources = format!("DELETE FROM span_resources WHERE id IN ({resources})");
    tx.prepare_cached(&resources)?.execute((before, most))?;
    let spans = format!("DELETE FROM spans WHERE trace IN (SELECT key {chosen})");
    tx.prepare_cached(&spans)?.execute((before, most))?;
    // Up to the first trace that stays.
    let stays = "SELECT start FROM traces ORDER BY start LIMIT 1 OFFSET ?1";
    let stays: Option<i64> = tx.prepare_cached(stays)?.query_one([most], |row| row.get(0)).optional()?;
    let traces = format!("DELETE FROM traces WHERE number IN (SELECT number {chosen})");
    let deleted = tx.prepare_cached(&traces)?.execute((before, most))?;
    if deleted > 0 {
        places::forget(tx, before.min(stays.unwrap_or(i64::MAX)))?;
        ids::forget(tx)?;
    }
    Ok(deleted)
}

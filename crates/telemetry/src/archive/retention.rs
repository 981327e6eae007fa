//! What is deleted, so that neither age nor size exceeds its bound: the oldest, a little at a time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use madang_store::{
    Error, Store,
    rusqlite::{Connection, OptionalExtension, Result},
};

use super::Part;

/// How many rows of each part are deleted in one write, so that others get their turn.
const BATCH: u32 = 250;

/// How many such writes follow each other at most: what is left waits for the next time.
const BATCHES: usize = 64;

/// Deletes what is older than `oldest`, and the oldest while the file has more than `room` bytes.
pub(super) async fn trim(
    store: &Store,
    parts: &'static [Part],
    oldest: Duration,
    room: u64,
) -> std::result::Result<(), Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let oldest = i64::try_from(now.saturating_sub(oldest).as_micros()).unwrap_or(i64::MAX);
    for _ in 0..BATCHES {
        let due = store.read(move |conn| due(conn, parts, oldest, room)).await?;
        if !due || !store.write(move |tx| batch(tx, parts, oldest, room)).await? {
            break;
        }
    }
    Ok(())
}

/// Whether anything is to be deleted.
fn due(conn: &Connection, parts: &[Part], oldest: i64, room: u64) -> Result<bool> {
    for Part { table, time, .. } in parts {
        let sql = format!("SELECT 1 FROM {table} WHERE {time} < ?1 LIMIT 1");
        if conn.prepare_cached(&sql)?.exists([oldest])? {
            return Ok(true);
        }
    }
    Ok(size(conn)? > room)
}

/// Deletes some, and gives the pages back to the file system. Whether there may be more.
fn batch(tx: &Connection, parts: &[Part], oldest: i64, room: u64) -> Result<bool> {
    let before = if size(tx)? > room { oldest.max(moment(tx, parts)?) } else { oldest };
    let mut deleted = 0;
    for part in parts {
        deleted += (part.delete)(tx, before, BATCH)?;
    }
    // Each step gives back one page.
    let mut vacuum = tx.prepare("PRAGMA incremental_vacuum(1000)")?;
    let mut steps = vacuum.query([])?;
    while steps.next()?.is_some() {}
    Ok(deleted > 0)
}

/// Before when everything may go, to make room: when the part with the most rows has a batch of them behind it. So each
/// step frees something, and a part that has little does not lose it for another that has much.
fn moment(tx: &Connection, parts: &[Part]) -> Result<i64> {
    let mut most = (-1, i64::MIN);
    for Part { table, time, .. } in parts {
        // The rows are numbered as they come, so that this is about how many there are, without counting.
        let sql = format!("SELECT coalesce(max(rowid) - min(rowid), -1) FROM {table}");
        let rows: i64 = tx.prepare_cached(&sql)?.query_one([], |row| row.get(0))?;
        if rows <= most.0 {
            continue;
        }
        let sql = format!("SELECT {time} FROM {table} ORDER BY {time} LIMIT 1 OFFSET {BATCH}");
        let later: Option<i64> = tx.prepare_cached(&sql)?.query_one([], |row| row.get(0)).optional()?;
        most = (rows, later.unwrap_or(i64::MAX));
    }
    // Rows of the same time go together; without this one more of them than a batch would stay for ever.
    Ok(most.1.saturating_add(1))
}

/// The size of the file in bytes.
pub(super) fn size(conn: &Connection) -> Result<u64> {
    conn.prepare_cached("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")?
        .query_one([], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()))
}

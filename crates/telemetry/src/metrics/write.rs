//! Into the tables: what came is added to what is there, intervals that are over are added up to longer ones, and what
//! is too old or too much is deleted. So nothing depends on what the node knew when it ended.

use std::collections::HashMap;

use madang_store::rusqlite::{Connection, OptionalExtension, Result};

use super::{
    point::Point,
    schema::{FIVE_MINUTES, TEN, int},
    series::Key,
};

/// How many points are written or deleted at once, so that others get their turn.
pub(super) const MOST: usize = 500;

/// Adds what series add up to in intervals of ten seconds.
pub(super) fn add(tx: &Connection, points: Vec<(u64, Key, Point)>) -> Result<()> {
    let mut name = tx.prepare_cached(
        "INSERT OR IGNORE INTO metric_series (id, caller, service, release, route) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut there =
        tx.prepare_cached("SELECT point FROM metric_points WHERE step = ?1 AND series = ?2 AND at = ?3")?;
    for (at, key, mut point) in points {
        let id = key.id();
        name.execute((
            id,
            &*key.caller,
            key.service.as_deref(),
            key.release.as_deref(),
            key.route.as_deref(),
        ))?;
        let found = there.query_row((int(TEN), id, int(at)), |row| row.get::<_, Vec<u8>>(0)).optional()?;
        if let Some(before) = found.and_then(|bytes| Point::decode(&bytes)) {
            point.add(&before);
        }
        put(tx, TEN, id, at, &point)?;
    }
    Ok(())
}

fn put(tx: &Connection, step: u64, series: i64, at: u64, point: &Point) -> Result<()> {
    let mut bytes = Vec::new();
    point.encode(&mut bytes);
    tx.prepare_cached(
        "INSERT INTO metric_points (step, series, at, point) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (step, series, at) DO UPDATE SET point = excluded.point",
    )?
    .execute((int(step), series, int(at), bytes))
    .map(drop)
}

/// Where intervals of five minutes are not added up yet: after the last that are.
pub(super) fn rolled(conn: &Connection) -> Result<u64> {
    let sql = "SELECT coalesce(max(at) + ?1, 0) FROM metric_points WHERE step = ?1";
    conn.prepare_cached(sql)?.query_one([int(FIVE_MINUTES)], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()))
}

/// Adds up the first interval of five minutes that begins at `from` or later and ends at `until` at the latest, if
/// there is one with calls; and says where the next may begin.
pub(super) fn roll(tx: &Connection, from: u64, until: u64) -> Result<Option<u64>> {
    let sql = "SELECT min(at) FROM metric_points WHERE step = ?1 AND at >= ?2 AND at < ?3";
    let given = (int(TEN), int(from), int(until));
    let first: Option<i64> = tx.prepare_cached(sql)?.query_one(given, |row| row.get(0))?;
    let Some(first) = first else { return Ok(None) };
    let at = first.unsigned_abs() / FIVE_MINUTES * FIVE_MINUTES;
    let mut sums: HashMap<i64, Point> = HashMap::new();
    let mut found = tx
        .prepare_cached("SELECT series, point FROM metric_points WHERE step = ?1 AND at >= ?2 AND at < ?3")?;
    let mut rows = found.query((int(TEN), int(at), int(at + FIVE_MINUTES)))?;
    while let Some(row) = rows.next()? {
        if let Some(point) = Point::decode(row.get_ref(1)?.as_blob()?) {
            sums.entry(row.get(0)?).or_default().add(&point);
        }
    }
    for (series, point) in sums {
        put(tx, FIVE_MINUTES, series, at, &point)?;
    }
    Ok(Some(at + FIVE_MINUTES))
}

/// Deletes some of the points of a length that are too old or too much. Whether there may be more.
pub(super) fn trim(tx: &Connection, step: u64, oldest: u64, most_bytes: u64) -> Result<bool> {
    let sql = "SELECT bytes FROM metric_sizes WHERE step = ?1";
    let bytes: i64 = tx.prepare_cached(sql)?.query_one([int(step)], |row| row.get(0))?;
    let much = bytes > int(most_bytes);
    let before = if much { i64::MAX } else { int(oldest) };
    let deleted = tx
        .prepare_cached(
            "DELETE FROM metric_points WHERE (step, series, at) IN (
                 SELECT step, series, at FROM metric_points WHERE step = ?1 AND at < ?2 ORDER BY at LIMIT ?3)",
        )?
        .execute((int(step), before, MOST as i64))?;
    Ok(deleted == MOST || (deleted > 0 && much))
}

/// Forgets what the series were of which nothing is left, and gives room back to the file system.
pub(super) fn tidy(tx: &Connection) -> Result<()> {
    tx.execute(
        "DELETE FROM metric_series WHERE NOT EXISTS (
             SELECT 1 FROM metric_points WHERE step IN (?1, ?2) AND series = id)",
        (int(TEN), int(FIVE_MINUTES)),
    )?;
    // Each step gives back one page.
    let mut vacuum = tx.prepare("PRAGMA incremental_vacuum(1000)")?;
    let mut steps = vacuum.query([])?;
    while steps.next()?.is_some() {}
    Ok(())
}

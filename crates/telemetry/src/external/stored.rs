//! What is kept of it over restarts, in the [archive](crate::archive), as far as it is shown: each series as it adds up,
//! and its points of the last hour. Like the metrics of calls it has bounds of its own, so that it neither pushes out
//! traces and lines nor is pushed out by them: an eighth of the file.

use std::collections::{BTreeMap, VecDeque};

use madang_store::rusqlite::{Connection, Result, params};
use madang_wire::metrics::{ExternalKind, ExternalPoint};
use serde::{Deserialize, Serialize};

use super::{GONE, Id, POINTS, STEP, Series, value::Kept};

/// Each is a step from the version before; a published one never changes.
pub(super) const MIGRATIONS: &[&str] = &["
    CREATE TABLE external_series (
        number INTEGER PRIMARY KEY,
        service TEXT NOT NULL,
        name TEXT NOT NULL,
        attributes TEXT NOT NULL,
        at INTEGER NOT NULL,
        state TEXT NOT NULL
    ) STRICT;
    CREATE TABLE external_points (
        series INTEGER NOT NULL,
        step INTEGER NOT NULL,
        at INTEGER NOT NULL,
        value REAL NOT NULL,
        count INTEGER,
        PRIMARY KEY (series, step)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX external_points_by_step ON external_points (step);
"];

/// About how many bytes a point takes in the table and its index.
const POINT: u64 = 64;

/// How many rows are deleted at once, so that others get their turn.
const MOST: i64 = 1000;

/// A series as it is to be written.
pub(super) struct Row {
    number: i64,
    service: String,
    name: String,
    attributes: String,
    at: u64,
    state: String,
    point: Option<ExternalPoint>,
}

/// All of a series but what it is called.
#[derive(Serialize, Deserialize)]
struct State {
    kind: ExternalKind,
    unit: String,
    description: String,
    kept: Kept,
    latest: (u64, f64),
    before: (u64, f64),
}

// === impl Row ===

impl Row {
    pub(super) fn number(&self) -> i64 {
        self.number
    }

    pub(super) fn of(service: &str, id: &Id, series: &Series) -> Self {
        let Series { kind, unit, description, kept, latest, before, .. } = series;
        let (unit, description, kept) = (unit.clone(), description.clone(), kept.clone());
        let state = State { kind: *kind, unit, description, kept, latest: *latest, before: *before };
        Self {
            number: series.number,
            service: service.to_owned(),
            name: id.name.clone(),
            attributes: serde_json::to_string(&id.attributes).unwrap_or_default(),
            at: series.at,
            state: serde_json::to_string(&state).unwrap_or_default(),
            point: series.points.back().copied(),
        }
    }
}

/// Writes series, each with its latest point.
pub(super) fn write(tx: &Connection, rows: &[Row]) -> Result<()> {
    let mut series = tx.prepare_cached(
        "INSERT INTO external_series (number, service, name, attributes, at, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (number) DO UPDATE SET at = excluded.at, state = excluded.state",
    )?;
    let mut points = tx.prepare_cached(
        "INSERT INTO external_points (series, step, at, value, count) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (series, step) DO UPDATE SET at = excluded.at, value = excluded.value, count = excluded.count",
    )?;
    for row in rows {
        series.execute(params![row.number, row.service, row.name, row.attributes, int(row.at), row.state])?;
        let Some(ExternalPoint { at, value, count }) = row.point else { continue };
        points.execute(params![row.number, int(at / STEP), int(at), value, count.map(int)])?;
    }
    Ok(())
}

/// A series with its service and what it is called there.
type Named = (String, Id, Series);

/// The series that are still known at this time in milliseconds since 1970, and the number of the last that ever was.
pub(super) fn read(conn: &Connection, now: u64) -> Result<(Vec<Named>, i64)> {
    let last =
        conn.query_row("SELECT coalesce(max(number), 0) FROM external_series", [], |row| row.get(0))?;
    let mut found = conn.prepare(
        "SELECT number, service, name, attributes, at, state FROM external_series WHERE at >= ?1 ORDER BY number",
    )?;
    let mut points = conn.prepare(
        "SELECT at, value, count FROM external_points WHERE series = ?1 AND step > ?2 ORDER BY step",
    )?;
    let mut rows = found.query([int(now.saturating_sub(GONE))])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        let attributes: String = row.get(3)?;
        let state: String = row.get(5)?;
        let attributes: Option<BTreeMap<String, String>> = serde_json::from_str(&attributes).ok();
        // What a newer version wrote is not known here: it begins anew.
        let (Some(attributes), Ok(state)) = (attributes, serde_json::from_str::<State>(&state)) else {
            continue;
        };
        let point = |row: &madang_store::rusqlite::Row<'_>| {
            let count = row.get::<_, Option<i64>>(2)?.map(i64::unsigned_abs);
            Ok(ExternalPoint { at: row.get::<_, i64>(0)?.unsigned_abs(), value: row.get(1)?, count })
        };
        let shown = points.query_map((number, oldest(now)), point)?.collect::<Result<VecDeque<_>>>()?;
        let State { kind, unit, description, kept, latest, before } = state;
        let at = row.get::<_, i64>(4)?.unsigned_abs();
        let id = Id { name: row.get(2)?, attributes };
        let series = Series {
            number,
            kind,
            unit,
            description,
            at,
            kept,
            latest,
            before,
            points: shown,
            changed: false,
        };
        all.push((row.get(1)?, id, series));
    }
    Ok((all, last))
}

/// Deletes some of what is too old, or more than so many bytes allow. Whether there may be more.
pub(super) fn trim(tx: &Connection, now: u64, most_bytes: u64) -> Result<bool> {
    let mut delete = tx.prepare_cached(
        "DELETE FROM external_points WHERE (series, step) IN (
             SELECT series, step FROM external_points WHERE step <= ?1 ORDER BY step LIMIT ?2)",
    )?;
    let old = delete.execute((oldest(now), MOST))?;
    let points: i64 = tx.query_row("SELECT count(*) FROM external_points", [], |row| row.get(0))?;
    let beyond = points.saturating_sub(int(most_bytes / POINT)).clamp(0, MOST);
    let much = delete.execute((i64::MAX, beyond))?;
    let gone = tx
        .prepare_cached(
            "DELETE FROM external_series WHERE number IN (
             SELECT number FROM external_series WHERE at < ?1 LIMIT ?2)",
        )?
        .execute((int(now.saturating_sub(GONE)), MOST))?;
    tx.prepare_cached(
        "DELETE FROM external_points WHERE series NOT IN (SELECT number FROM external_series)",
    )?
    .execute([])?;
    Ok([old, much, gone].iter().any(|deleted| *deleted as i64 == MOST))
}

/// The last step that is not shown any more.
fn oldest(now: u64) -> i64 {
    int((now / STEP).saturating_sub(POINTS as u64))
}

/// The integers of the tables are signed.
fn int(number: u64) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

//! The newest traces of a kind, found without reading those of other kinds: rare ones are found as quickly among
//! millions as frequent ones.

use std::{collections::HashSet, time::Duration};

use madang_store::rusqlite::{Connection, OptionalExtension, Result, Row, named_params, params};
use madang_wire::{TraceId, trace::TraceSummary};

/// Which traces to list; the default lists the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceFilter {
    /// Only those in which something failed.
    pub error: bool,
    /// Only those that took at least so long.
    pub slow: Option<Duration>,
    /// Only those in which this service called or was called.
    pub service: Option<String>,
    /// Only those that began before this, in microseconds since 1970.
    pub before_us: Option<u64>,
    /// How many.
    pub limit: u32,
}

impl Default for TraceFilter {
    fn default() -> Self {
        Self { error: false, slow: None, service: None, before_us: None, limit: 50 }
    }
}

/// From which durations on, in microseconds, a trace is in the next class of the index by speed: with schema version 4.
const SPEEDS: [i64; 10] =
    [10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000];

/// How the traces of a service are marked in which something failed, and those that took at least [`MARKED`]: with
/// schema version 5.
pub(super) const FAILED: i64 = 0;
pub(super) const SLOW: i64 = 1;

/// From which duration on a trace is marked as slow, in microseconds.
pub(super) const MARKED: i64 = 200_000;

/// The class of the index by speed for a trace, as the index has it.
pub(super) const SPEED: &str = "CASE
    WHEN finish - start < 20000 THEN 1 WHEN finish - start < 50000 THEN 2 WHEN finish - start < 100000 THEN 3
    WHEN finish - start < 200000 THEN 4 WHEN finish - start < 500000 THEN 5 WHEN finish - start < 1000000 THEN 6
    WHEN finish - start < 2000000 THEN 7 WHEN finish - start < 5000000 THEN 8 WHEN finish - start < 10000000 THEN 9
    ELSE 10 END";

/// What a list is made of.
struct Found {
    trace: [u8; 16],
    start: i64,
}

pub(super) fn list(conn: &Connection, filter: &TraceFilter) -> Result<Vec<TraceSummary>> {
    let before = filter.before_us.and_then(|before| before.try_into().ok()).unwrap_or(i64::MAX);
    let slow = filter.slow.map_or(0, |slow| i64::try_from(slow.as_micros()).unwrap_or(i64::MAX));
    let service = filter.service.as_deref();
    let mut found = match service {
        Some(service) if slow >= MARKED => by_mark(conn, filter, slow, service, before, SLOW)?,
        Some(service) if filter.error => by_mark(conn, filter, slow, service, before, FAILED)?,
        _ if slow >= SPEEDS[0] => by_speed(conn, filter, slow, before)?,
        Some(service) => by_service(conn, filter, slow, service, before)?,
        None => by_time(conn, filter, slow, before)?,
    };
    found.sort_by_key(|found| std::cmp::Reverse(found.start));
    found.truncate(filter.limit as usize);
    found.iter().filter_map(|found| summary(conn, &found.trace).transpose()).collect()
}

/// Those that took long: the newest of each class, and of the lowest class only those that took long enough.
fn by_speed(conn: &Connection, filter: &TraceFilter, slow: i64, before: i64) -> Result<Vec<Found>> {
    let lowest = SPEEDS.iter().take_while(|from| **from <= slow).count() as i64;
    let sql = format!(
        "SELECT trace, start FROM traces INDEXED BY traces_by_speed
         WHERE finish - start >= 10000 AND {SPEED} = :class AND start < :before
             AND finish - start >= :slow AND errors >= :errors AND {IN_SERVICE}
         ORDER BY start DESC LIMIT :limit"
    );
    let mut found = Vec::new();
    for class in lowest..=SPEEDS.len() as i64 {
        let given = named_params! {
            ":class": class, ":before": before, ":slow": slow, ":errors": filter.error,
            ":service": filter.service, ":limit": filter.limit,
        };
        let rows = conn.prepare_cached(&sql)?.query_map(given, Found::of)?.collect::<Result<Vec<_>>>()?;
        found.extend(rows);
    }
    Ok(found)
}

/// Whether a service takes part in a trace; true of all if none is given.
const IN_SERVICE: &str = "(:service IS NULL OR EXISTS
    (SELECT 1 FROM spans WHERE spans.trace = traces.trace AND :service IN (service, peer)))";

/// Those in which a service takes part.
fn by_service(
    conn: &Connection,
    filter: &TraceFilter,
    slow: i64,
    service: &str,
    before: i64,
) -> Result<Vec<Found>> {
    // What came in two parts is there twice.
    let mut rows = conn.prepare_cached(
        "SELECT traces.trace, traces.start FROM trace_services JOIN traces USING (trace)
         WHERE service = ?1 AND trace_services.start < ?2 AND traces.start < ?2
             AND finish - traces.start >= ?3 AND errors >= ?4
         ORDER BY trace_services.start DESC LIMIT ?5",
    )?;
    let given = params![service, before, slow, filter.error, filter.limit.saturating_mul(4)];
    once(rows.query_map(given, Found::of)?)
}

/// Those in which a service takes part, of which something failed or which were slow.
fn by_mark(
    conn: &Connection,
    filter: &TraceFilter,
    slow: i64,
    service: &str,
    before: i64,
    mark: i64,
) -> Result<Vec<Found>> {
    // What came in two parts may be there twice.
    let mut rows = conn.prepare_cached(
        "SELECT traces.trace, traces.start FROM trace_marks JOIN traces USING (trace)
         WHERE service = ?1 AND mark = ?2 AND trace_marks.start < ?3 AND traces.start < ?3
             AND finish - traces.start >= ?4 AND errors >= ?5
         ORDER BY trace_marks.start DESC LIMIT ?6",
    )?;
    let given = params![service, mark, before, slow, filter.error, filter.limit.saturating_mul(4)];
    once(rows.query_map(given, Found::of)?)
}

/// Each trace once, the first time that it is found.
fn once(found: impl Iterator<Item = Result<Found>>) -> Result<Vec<Found>> {
    let mut seen = HashSet::new();
    let mut found = found.collect::<Result<Vec<_>>>()?;
    found.retain(|found| seen.insert(found.trace));
    Ok(found)
}

/// The newest, of those that failed if that is what is asked for.
fn by_time(conn: &Connection, filter: &TraceFilter, slow: i64, before: i64) -> Result<Vec<Found>> {
    // The condition on errors is text, so that the index that has only those is used.
    let errors = if filter.error { "errors > 0" } else { "TRUE" };
    let sql = format!(
        "SELECT trace, start FROM traces
         WHERE {errors} AND start < :before AND finish - start >= :slow
         ORDER BY start DESC LIMIT :limit"
    );
    let given = named_params! { ":before": before, ":slow": slow, ":limit": filter.limit };
    conn.prepare_cached(&sql)?.query_map(given, Found::of)?.collect()
}

fn summary(conn: &Connection, trace: &[u8; 16]) -> Result<Option<TraceSummary>> {
    // The first span: without a parent if there is such a one.
    let mut found = conn.prepare_cached(
        "SELECT traces.start, finish - traces.start, spans, errors, name, service
         FROM traces LEFT JOIN spans ON spans.trace = traces.trace WHERE traces.trace = ?1
         ORDER BY parent IS NOT NULL, spans.start, row LIMIT 1",
    )?;
    let summary = |row: &Row<'_>| {
        let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        Ok(TraceSummary {
            trace_id: TraceId(u128::from_be_bytes(*trace)),
            start_us: number(0)?,
            duration_us: number(1)?,
            spans: number(2)?,
            errors: number(3)?,
            name: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
            service: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
        })
    };
    found.query_one([trace], summary).optional()
}

impl Found {
    fn of(row: &Row<'_>) -> Result<Self> {
        Ok(Self { trace: row.get(0)?, start: row.get(1)? })
    }
}

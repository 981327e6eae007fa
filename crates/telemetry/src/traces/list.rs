//! The newest traces of a kind, found without reading those of other kinds: rare ones are found as quickly among
//! millions as frequent ones.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use madang_store::rusqlite::{Connection, OptionalExtension, Result, Row, ToSql, named_params};
use madang_wire::{TraceId, trace::TraceSummary};

use super::places::{CLASS, Name, classes};

/// Which traces to list; the default lists the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceFilter {
    /// Only those in which something failed.
    pub error: bool,
    /// Only those that took at least so long.
    pub slow: Option<Duration>,
    /// Only those in which this service called or was called.
    pub service: Option<String>,
    /// Only those with a request that came by this route, given by its template.
    pub route: Option<String>,
    /// Only those in which the first of these services called the second. With `error` and `slow`: in which this call
    /// failed and took so long.
    pub call: Option<(String, String)>,
    /// Only those that began before this, in microseconds since 1970.
    pub before_us: Option<u64>,
    /// How many.
    pub limit: u32,
}

impl Default for TraceFilter {
    fn default() -> Self {
        let (service, route, call) = Default::default();
        Self { error: false, slow: None, service, route, call, before_us: None, limit: 50 }
    }
}

/// From which durations on, in microseconds, a trace is in the next class of the index by speed: with schema version 4.
const SPEEDS: [i64; 10] =
    [10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000];

/// The class of the index by speed for a trace, as the index has it.
pub(super) const SPEED: &str = "CASE
    WHEN finish - start < 20000 THEN 1 WHEN finish - start < 50000 THEN 2 WHEN finish - start < 100000 THEN 3
    WHEN finish - start < 200000 THEN 4 WHEN finish - start < 500000 THEN 5 WHEN finish - start < 1000000 THEN 6
    WHEN finish - start < 2000000 THEN 7 WHEN finish - start < 5000000 THEN 8 WHEN finish - start < 10000000 THEN 9
    ELSE 10 END";

/// What a list is made of.
struct Found {
    number: i64,
    start: i64,
}

pub(super) fn list(conn: &Connection, filter: &TraceFilter) -> Result<Vec<TraceSummary>> {
    let before = filter.before_us.and_then(|before| before.try_into().ok()).unwrap_or(i64::MAX);
    let slow = filter.slow.map_or(0, |slow| i64::try_from(slow.as_micros()).unwrap_or(i64::MAX));
    let Some(names) = names(conn, filter)? else { return Ok(Vec::new()) };
    let mut found = match &names[..] {
        [first, others @ ..] => by_name(conn, filter, slow, before, *first, others)?,
        [] if slow >= SPEEDS[0] => by_speed(conn, filter, slow, before)?,
        [] => by_time(conn, filter, slow, before)?,
    };
    found.sort_by_key(|found| std::cmp::Reverse(found.start));
    found.truncate(filter.limit as usize);
    let mut traces: Vec<TraceSummary> = Vec::new();
    let mut places: HashMap<TraceId, usize> = HashMap::new();
    for Found { number, .. } in found {
        let Some(summary) = summary(conn, number)? else { continue };
        match places.entry(summary.trace_id) {
            // What came much later than the rest of a trace has a number of its own.
            Entry::Occupied(place) => join(&mut traces[*place.get()], summary),
            Entry::Vacant(place) => {
                place.insert(traces.len());
                traces.push(summary);
            }
        }
    }
    Ok(traces)
}

/// The numbers of what is asked for, the most particular first; none if no trace has to do with one of them.
fn names(conn: &Connection, filter: &TraceFilter) -> Result<Option<Vec<i64>>> {
    let call =
        filter.call.as_ref().map(|(caller, callee)| Name::Call((&**caller).into(), (&**callee).into()));
    let route = filter.route.as_deref().map(|route| Name::Route(route.into()));
    let service = filter.service.as_deref().map(|service| Name::Service(service.into()));
    [call, route, service].iter().flatten().map(|name| name.number(conn)).collect()
}

/// Those that have to do with all of these: from where the first stands, of which each class is looked at.
fn by_name(
    conn: &Connection,
    filter: &TraceFilter,
    slow: i64,
    before: i64,
    first: i64,
    others: &[i64],
) -> Result<Vec<Found>> {
    // What is said of a call must hold for its own span.
    let held = match &filter.call {
        None => "finish - traces.start >= :slow AND errors >= :errors",
        Some(_) if slow == 0 && !filter.error => "TRUE",
        Some(_) => {
            "EXISTS (SELECT 1 FROM spans WHERE spans.trace = traces.key AND service = :caller AND peer = :callee
                 AND duration >= :slow AND error >= :errors)"
        }
    };
    let (caller, callee) = filter.call.as_ref().map(|(caller, callee)| (caller, callee)).unzip();
    let too = format!(
        "AND EXISTS (SELECT 1 FROM trace_places AS other WHERE other.class = {CLASS}
             AND other.start = traces.start AND other.trace = number AND other.name = "
    );
    let others: String = others.iter().map(|name| format!("{too}{name})")).collect();
    // What came in two parts may be there twice as a call.
    let sql = format!(
        "SELECT DISTINCT number, traces.start FROM trace_places AS place JOIN traces ON number = place.trace
         WHERE place.name = :name AND place.class = :class AND place.start < :before AND traces.start < :before
             AND {held} {others}
         ORDER BY place.start DESC LIMIT :limit"
    );
    let mut found = HashMap::new();
    for class in classes(filter.error, slow) {
        let mut rows = conn.prepare_cached(&sql)?;
        let mut given: Vec<(&str, &dyn ToSql)> =
            vec![(":name", &first), (":class", &class), (":before", &before), (":limit", &filter.limit)];
        if held.contains(":slow") {
            given.extend([(":slow", &slow as &dyn ToSql), (":errors", &filter.error)]);
        }
        if held.contains(":caller") {
            given.extend([(":caller", &caller as &dyn ToSql), (":callee", &callee)]);
        }
        for row in rows.query_map(&*given, Found::of)? {
            let Found { number, start } = row?;
            found.insert(number, start);
        }
    }
    Ok(found.into_iter().map(|(number, start)| Found { number, start }).collect())
}

/// Those that took long: the newest of each class, and of the lowest class only those that took long enough.
fn by_speed(conn: &Connection, filter: &TraceFilter, slow: i64, before: i64) -> Result<Vec<Found>> {
    let lowest = SPEEDS.iter().take_while(|from| **from <= slow).count() as i64;
    let sql = format!(
        "SELECT number, start FROM traces INDEXED BY traces_by_speed
         WHERE finish - start >= 10000 AND {SPEED} = :class AND start < :before
             AND finish - start >= :slow AND errors >= :errors
         ORDER BY start DESC LIMIT :limit"
    );
    let mut found = Vec::new();
    for class in lowest..=SPEEDS.len() as i64 {
        let given = named_params! {
            ":class": class, ":before": before, ":slow": slow, ":errors": filter.error,
            ":limit": filter.limit,
        };
        let rows = conn.prepare_cached(&sql)?.query_map(given, Found::of)?.collect::<Result<Vec<_>>>()?;
        found.extend(rows);
    }
    Ok(found)
}

/// The newest, of those that failed if that is what is asked for.
fn by_time(conn: &Connection, filter: &TraceFilter, slow: i64, before: i64) -> Result<Vec<Found>> {
    // The condition on errors is text, so that the index that has only those is used.
    let errors = if filter.error { "errors > 0" } else { "TRUE" };
    let sql = format!(
        "SELECT number, start FROM traces
         WHERE {errors} AND start < :before AND finish - start >= :slow
         ORDER BY start DESC LIMIT :limit"
    );
    let given = named_params! { ":before": before, ":slow": slow, ":limit": filter.limit };
    conn.prepare_cached(&sql)?.query_map(given, Found::of)?.collect()
}

/// Adds what came of a trace earlier or later.
fn join(trace: &mut TraceSummary, other: TraceSummary) {
    let end = |one: &TraceSummary| one.start_us + one.duration_us;
    let finish = end(trace).max(end(&other));
    let (spans, errors) = (trace.spans + other.spans, trace.errors + other.errors);
    if other.start_us < trace.start_us {
        *trace = other;
    }
    (trace.duration_us, trace.spans, trace.errors) = (finish - trace.start_us, spans, errors);
}

fn summary(conn: &Connection, number: i64) -> Result<Option<TraceSummary>> {
    // The first span: without a parent if there is such a one.
    let mut found = conn.prepare_cached(
        "SELECT traces.start, finish - traces.start, spans, errors, name, service, id
         FROM traces LEFT JOIN spans ON spans.trace = traces.key WHERE number = ?1
         ORDER BY parent IS NOT NULL, spans.start, row LIMIT 1",
    )?;
    let summary = |row: &Row<'_>| {
        let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        Ok(TraceSummary {
            trace_id: TraceId(u128::from_be_bytes(row.get(6)?)),
            start_us: number(0)?,
            duration_us: number(1)?,
            spans: number(2)?,
            errors: number(3)?,
            name: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
            service: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
        })
    };
    found.query_one([number], summary).optional()
}

impl Found {
    fn of(row: &Row<'_>) -> Result<Self> {
        Ok(Self { number: row.get(0)?, start: row.get(1)? })
    }
}

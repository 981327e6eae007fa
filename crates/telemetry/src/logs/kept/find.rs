//! Which lines of the archive are wanted, by the index that leads to them soonest, and what they say.
//!
//! Each function is one read of bounded length, so that no reader holds up the write-ahead log.

use madang_store::rusqlite::{CachedStatement, Connection, OptionalExtension, Result, Row, named_params};
use madang_wire::{
    SpanId, TraceId,
    log::{LogLevel, LogLine, LogSource},
};

use super::{
    filter::Wanted,
    shelves::{Mark, Shelf, any_of},
    write,
};
use crate::logs::{
    entry::line,
    recognise::{self, Recognised},
};

/// The time and the row of a line: the order in which lines are shown.
pub(crate) type Key = (i64, i64);

/// Before all keys, and after them.
pub(crate) const FIRST: Key = (0, 0);
pub(crate) const LAST: Key = (i64::MAX, i64::MAX);

/// How many rows one read looks at where no index knows the words.
const LOOKED_AT: u32 = 2000;

/// What a read found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The keys of lines that are wanted, in the order in which they were looked for.
    pub(crate) keys: Vec<Key>,
    /// From where to go on; none if there is nothing more.
    pub(crate) next: Option<Key>,
}

/// Of the lines of one unit, or of all, up to so many that are wanted and come before a key, the last first; or after
/// it, the first first.
pub(crate) fn some(
    conn: &Connection,
    wanted: &Wanted,
    unit: Option<&str>,
    from: Key,
    (last_first, up_to, most): (bool, i64, usize),
) -> Result<Found> {
    // No index has all that is wanted: each line is looked at.
    let read_all = wanted.searches() || (unit.is_none() && !wanted.filter.units.is_empty());
    let limit = if read_all { LOOKED_AT } else { u32::try_from(most).unwrap_or(LOOKED_AT).min(LOOKED_AT) };
    let mut rows = select(conn, wanted, unit, last_first)?;
    let filter = &wanted.filter;
    let micros = |at: u64| i64::try_from(at).unwrap_or(i64::MAX).saturating_mul(1000);
    let mut found = rows.query(named_params! {
        ":unit": unit,
        ":trace": filter.trace.map(|id| id.0.to_be_bytes()),
        ":level": write::level(filter.level),
        ":since": filter.since.map_or(0, micros),
        ":until": filter.until.map_or(i64::MAX, |at| micros(at).saturating_add(999)),
        ":at": from.0,
        ":row": from.1,
        ":up_to": up_to,
        ":limit": limit,
    })?;
    let (mut keys, mut looked_at, mut next) = (Vec::new(), 0, None);
    while let Some(row) = found.next()? {
        let key = (row.get("at")?, row.get("row")?);
        (looked_at, next) = (looked_at + 1, Some(key));
        if !read_all || wanted.lets(&read(row)?) {
            keys.push(key);
        }
        if keys.len() == most {
            break;
        }
    }
    let ended = looked_at < limit && keys.len() < most;
    Ok(Found { keys, next: next.filter(|_| !ended) })
}

/// Of the lines of one shelf of the index those that are wanted, up to so many.
pub(crate) fn in_shelf(
    conn: &Connection,
    wanted: &Wanted,
    shelf: Shelf,
    (newest_first, up_to, most): (bool, i64, usize),
) -> Result<Vec<Key>> {
    let Some(text) = wanted.filter.grep.as_deref() else { return Ok(Vec::new()) };
    let Some(marks) = marks(conn, wanted)? else { return Ok(Vec::new()) };
    let marks = if shelf.marked { &*marks } else { "" };
    // What came since it was listed is in it too, and one that was dropped meanwhile was so with its lines.
    let there = Shelf::all(conn)?.into_iter().find(|there| there.number == shelf.number);
    let Some(shelf) = there else { return Ok(Vec::new()) };
    let lookup = shelf.lookup(conn, text)?;
    let mut line = one(conn)?;
    let mut keys = Vec::new();
    shelf.candidates(conn, (&lookup, marks), newest_first, |row| {
        let mut found = line.query([row])?;
        if row <= up_to
            && let Some(found) = found.next()?
            && in_time(wanted, found.get("at")?)
            && wanted.lets(&read(found)?)
        {
            keys.push((found.get("at")?, row));
        }
        Ok(keys.len() < most)
    })?;
    Ok(keys)
}

/// Whether a line of this time may be wanted, which is known before it is read.
fn in_time(wanted: &Wanted, at: i64) -> bool {
    let at = at.unsigned_abs() / 1000;
    wanted.filter.since.is_none_or(|since| at >= since) && wanted.filter.until.is_none_or(|until| at <= until)
}

/// What lines of the units and levels that are wanted are marked with; none if there are no such units.
fn marks(conn: &Connection, wanted: &Wanted) -> Result<Option<String>> {
    let mut marks = String::new();
    if let Some(level) = wanted.filter.level {
        let worse = write::level(Some(level))..=LogLevel::ALL.len() as i64;
        marks.push_str(&any_of(worse.map(Mark::Level)));
    }
    if !wanted.filter.units.is_empty() {
        let mut number = conn.prepare_cached("SELECT unit FROM log_units WHERE name = ?1")?;
        let mut units = Vec::new();
        for unit in &wanted.filter.units {
            units.extend(number.query_row([unit.as_str()], |row| row.get(0)).optional()?.map(Mark::Unit));
        }
        if units.is_empty() {
            return Ok(None);
        }
        marks.push_str(&any_of(units));
    }
    Ok(Some(marks))
}

/// What these lines say; one that was deleted meanwhile says nothing.
pub(crate) fn lines(conn: &Connection, keys: &[Key]) -> Result<Vec<LogLine>> {
    let mut line = one(conn)?;
    let mut lines = Vec::with_capacity(keys.len());
    for (_, row) in keys {
        if let Some(found) = line.query([row])?.next()? {
            lines.push(read(found)?);
        }
    }
    Ok(lines)
}

/// What a line is read from.
const COLUMNS: &str = "at, row, level, trace, span, body, fields,
    (SELECT name FROM log_units WHERE log_units.unit = log_lines.unit) AS unit_name,
    (SELECT instance FROM log_origins WHERE log_origins.origin = log_lines.origin) AS instance,
    (SELECT source FROM log_origins WHERE log_origins.origin = log_lines.origin) AS source,
    (SELECT release FROM log_origins WHERE log_origins.origin = log_lines.origin) AS release";

fn one(conn: &Connection) -> Result<CachedStatement<'_>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM log_lines WHERE row = ?1"))
}

/// The index is named, and not left to be guessed: a wrong guess reads all there is.
fn select<'a>(
    conn: &'a Connection,
    wanted: &Wanted,
    unit: Option<&str>,
    last_first: bool,
) -> Result<CachedStatement<'a>> {
    let trouble = wanted.filter.level.is_some_and(|level| level >= LogLevel::Warn);
    let (index, of) = match (wanted.filter.trace, unit) {
        (Some(_), _) => ("log_lines_by_trace", "trace = :trace AND"),
        (None, Some(_)) if trouble => {
            ("log_lines_of_trouble_by_unit", "unit = (SELECT unit FROM log_units WHERE name = :unit) AND")
        }
        (None, Some(_)) => {
            ("log_lines_by_unit", "unit = (SELECT unit FROM log_units WHERE name = :unit) AND")
        }
        (None, None) if trouble => ("log_lines_of_trouble", ""),
        (None, None) => ("log_lines_by_at", ""),
    };
    let trouble = if trouble { "level >= 4 AND" } else { "" };
    let (order, range) = match last_first {
        true => ("DESC", "at <= :at AND (at < :at OR row < :row)"),
        false => ("ASC", "at >= :at AND (at > :at OR row > :row)"),
    };
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM log_lines INDEXED BY {index}
         WHERE {of} {trouble} {range} AND at >= :since AND at <= :until AND level >= :level AND row <= :up_to
             AND (:trace IS NULL OR trace = :trace)
             AND (:unit IS NULL OR unit = (SELECT unit FROM log_units WHERE name = :unit))
         ORDER BY at {order}, row {order} LIMIT :limit"
    ))
}

fn read(row: &Row<'_>) -> Result<LogLine> {
    let micros = row.get::<_, i64>("at")?.unsigned_abs();
    let body: String = row.get("body")?;
    let unit: Option<String> = row.get("unit_name")?;
    let instance: Option<String> = row.get("instance")?;
    let (unit, instance) = (unit.unwrap_or_default(), instance.unwrap_or_default());
    let number = usize::try_from(row.get::<_, i64>("level")?).ok().and_then(|number| number.checked_sub(1));
    let known = Recognised {
        at: None,
        level: number.and_then(|number| LogLevel::ALL.get(number).copied()),
        trace_id: row.get::<_, Option<[u8; 16]>>("trace")?.map(|id| TraceId(u128::from_be_bytes(id))),
        span_id: row.get::<_, Option<[u8; 8]>>("span")?.map(|id| SpanId(u64::from_be_bytes(id))),
        ..Recognised::default()
    };
    if row.get::<_, Option<i64>>("source")?.unwrap_or_default() == 0 {
        let Recognised { message, fields, .. } = recognise::of(&body);
        return Ok(line(&unit, &instance, body, Recognised { message, fields, ..known }, micros));
    }
    let fields: Option<String> = row.get("fields")?;
    let fields = fields.and_then(|fields| serde_json::from_str(&fields).ok()).unwrap_or_default();
    let mut line = line(&unit, &instance, body, Recognised { fields, ..known }, micros);
    (line.source, line.release) = (LogSource::Otlp, row.get("release")?);
    Ok(line)
}

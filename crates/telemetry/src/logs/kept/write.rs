//! From a batch into the tables.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use madang_store::rusqlite::{Connection, Result, Row, params};
use madang_wire::log::{LogLevel, LogLine, LogSource};

use super::shelves::{Mark, Shelf};
use crate::logs::{collect::Position, entry::Entry};

/// Writes lines, the first of which gets the row after `last`, and how far the files are read with them. A shelf of the
/// index has so many lines.
pub(crate) fn insert(
    tx: &Connection,
    last: i64,
    entries: &[Entry],
    positions: &BTreeMap<PathBuf, Option<Position>>,
    shelf_size: i64,
) -> Result<()> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO log_lines (row, at, origin, unit, level, trace, span, body, fields)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let mut origins = Origins::default();
    let mut shelf: Option<Shelf> = None;
    let (mut row, mut oldest, mut newest) = (last, i64::MAX, 0);
    for Entry { micros, line } in entries {
        row += 1;
        let at = i64::try_from(*micros).unwrap_or(i64::MAX);
        (oldest, newest) = (at.min(oldest), at.max(newest));
        let (origin, unit) = origins.of(tx, line, at)?;
        // What a line of a file says besides is found again in the line itself.
        let fields = (line.source == LogSource::Otlp && !line.fields.is_empty())
            .then(|| serde_json::to_string(&line.fields).unwrap_or_default());
        insert.execute(params![
            row,
            at,
            origin,
            unit,
            level(line.level),
            line.trace_id.map(|id| id.0.to_be_bytes()),
            line.span_id.map(|id| id.0.to_be_bytes()),
            line.line,
            fields,
        ])?;
        let current = match shelf {
            Some(current) if row - current.first < shelf_size => current,
            full => {
                if let Some(full) = full {
                    full.reaches(tx, row - 1, (oldest, newest))?;
                }
                *shelf.insert(Shelf::current(tx, row, shelf_size)?)
            }
        };
        let marks = [Mark::Unit(unit), Mark::Level(level(line.level))];
        current.add(tx, row, line.in_words(), marks)?;
    }
    if let Some(shelf) = shelf {
        shelf.reaches(tx, row, (oldest, newest))?;
    }
    origins.seen(tx)?;
    positions.iter().try_for_each(|(path, position)| place(tx, path, position.as_ref()))
}

/// The row of the last line that was ever written, as far as it matters.
pub(crate) fn last(conn: &Connection) -> Result<i64> {
    let sql = "SELECT max((SELECT coalesce(max(row), 0) FROM log_lines),
                          (SELECT coalesce(max(last), 0) FROM log_shelves))";
    conn.query_row(sql, [], |row| row.get(0))
}

/// How far each file was read.
pub(crate) fn positions(conn: &Connection) -> Result<HashMap<PathBuf, Position>> {
    let mut found = conn.prepare("SELECT path, device, inode, offset, read_at FROM log_files")?;
    let position = |row: &Row<'_>| {
        let number =
            |column| Ok::<_, madang_store::rusqlite::Error>(row.get::<_, i64>(column)?.cast_unsigned());
        let identity = (number(1)?, number(2)?);
        Ok((
            PathBuf::from(row.get::<_, String>(0)?),
            Position { identity, offset: number(3)?, read_at: number(4)? },
        ))
    };
    found.query_map([], position)?.collect()
}

/// A level as the tables have it: 0 if a line says none.
pub(crate) fn level(level: Option<LogLevel>) -> i64 {
    let number = level.and_then(|level| LogLevel::ALL.iter().position(|known| *known == level));
    number.map_or(0, |number| number as i64 + 1)
}

fn place(tx: &Connection, path: &std::path::Path, position: Option<&Position>) -> Result<()> {
    let path = path.to_string_lossy();
    let Some(Position { identity: (device, inode), offset, read_at }) = position else {
        return tx.prepare_cached("DELETE FROM log_files WHERE path = ?1")?.execute([path]).map(drop);
    };
    tx.prepare_cached(
        "INSERT INTO log_files (path, device, inode, offset, read_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (path) DO UPDATE SET
             device = excluded.device, inode = excluded.inode, offset = excluded.offset, read_at = excluded.read_at",
    )?
    .execute(params![
        path,
        device.cast_signed(),
        inode.cast_signed(),
        offset.cast_signed(),
        read_at.cast_signed()
    ])
    .map(drop)
}

/// The numbers of those who wrote, and the time of the last line of each.
#[derive(Default)]
struct Origins(HashMap<(String, String, LogSource), (i64, i64, i64)>);

impl Origins {
    fn of(&mut self, tx: &Connection, line: &LogLine, at: i64) -> Result<(i64, i64)> {
        let LogLine { unit, instance, source, release, .. } = line;
        let key = (unit.clone(), instance.clone(), *source);
        if let Some((origin, unit, last)) = self.0.get_mut(&key) {
            *last = at.max(*last);
            return Ok((*origin, *unit));
        }
        tx.prepare_cached("INSERT OR IGNORE INTO log_units (name) VALUES (?1)")?.execute([unit])?;
        let number = "SELECT unit FROM log_units WHERE name = ?1";
        let unit: i64 = tx.prepare_cached(number)?.query_row([unit], |row| row.get(0))?;
        let source = i64::from(*source == LogSource::Otlp);
        tx.prepare_cached(
            "INSERT INTO log_origins (unit, instance, source, last, release) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (unit, instance, source) DO UPDATE SET release = excluded.release",
        )?
        .execute((unit, instance, source, at, release))?;
        let number = "SELECT origin FROM log_origins WHERE unit = ?1 AND instance = ?2 AND source = ?3";
        let origin = tx.prepare_cached(number)?.query_row((unit, instance, source), |row| row.get(0))?;
        self.0.insert(key, (origin, unit, at));
        Ok((origin, unit))
    }

    fn seen(&self, tx: &Connection) -> Result<()> {
        let mut seen = tx.prepare_cached("UPDATE log_origins SET last = max(last, ?2) WHERE origin = ?1")?;
        self.0.values().try_for_each(|(origin, _, last)| seen.execute((origin, last)).map(drop))
    }
}

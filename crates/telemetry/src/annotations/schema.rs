//! The table: a row for each event, numbered in the order in which they came.

use madang_store::rusqlite::{Connection, Result, params};
use madang_wire::admin::{Event, EventKind};

use crate::archive::Part;

/// The longest message that is kept whole, in bytes.
const LONGEST: usize = 16 * 1024;

/// What the archive knows of them.
pub(crate) const PART: Part = Part {
    name: "annotations",
    migrations: &["
        CREATE TABLE annotations (
            row INTEGER PRIMARY KEY,
            at INTEGER NOT NULL,
            unit TEXT NOT NULL,
            instance TEXT,
            release TEXT,
            kind TEXT NOT NULL,
            message TEXT NOT NULL
        ) STRICT;
        CREATE INDEX annotations_by_at ON annotations (at);
    "],
    table: "annotations",
    time: "at",
    delete,
};

/// Writes events; one that is there already stays as it is.
pub(super) fn insert(tx: &Connection, events: &[(i64, Event)]) -> Result<()> {
    let mut insert = tx.prepare_cached(
        "INSERT OR IGNORE INTO annotations (row, at, unit, instance, release, kind, message)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for (number, event) in events {
        let Event { at, unit, instance, release, kind, message } = event;
        let message = &message[..message.floor_char_boundary(LONGEST)];
        insert.execute(params![number, micros(*at), unit, instance, release, name(*kind), message])?;
    }
    Ok(())
}

/// A time in milliseconds as the table has it.
pub(super) fn micros(at: u64) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX).saturating_mul(1000)
}

/// A kind as the admin API writes it.
pub(super) fn name(kind: EventKind) -> String {
    let name = serde_json::to_value(kind).ok();
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

fn delete(tx: &Connection, before: i64, most: u32) -> Result<usize> {
    let chosen = "SELECT row FROM annotations WHERE at < ?1 ORDER BY at LIMIT ?2";
    let sql = format!("DELETE FROM annotations WHERE row IN ({chosen})");
    tx.prepare_cached(&sql)?.execute((before, most))
}

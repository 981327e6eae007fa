//! The tables, and how the oldest of them is deleted.

use madang_store::rusqlite::{Connection, Result};

use super::shelves;
use crate::archive::Part;

/// What the archive knows of the lines.
pub(crate) const PART: Part = Part {
    name: "logs",
    migrations: &[
        "
        CREATE TABLE log_units (unit INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
        CREATE TABLE log_origins (
            origin INTEGER PRIMARY KEY,
            unit INTEGER NOT NULL,
            instance TEXT NOT NULL,
            source INTEGER NOT NULL,
            last INTEGER NOT NULL,
            UNIQUE (unit, instance, source)
        ) STRICT;
        CREATE TABLE log_lines (
            row INTEGER PRIMARY KEY,
            at INTEGER NOT NULL,
            origin INTEGER NOT NULL,
            unit INTEGER NOT NULL,
            level INTEGER NOT NULL,
            trace BLOB,
            span BLOB,
            body TEXT NOT NULL,
            fields TEXT
        ) STRICT;
        CREATE INDEX log_lines_by_at ON log_lines (at);
        CREATE INDEX log_lines_by_unit ON log_lines (unit, at);
        CREATE INDEX log_lines_of_trouble ON log_lines (at) WHERE level >= 4;
        CREATE INDEX log_lines_by_trace ON log_lines (trace, at) WHERE trace IS NOT NULL;
        CREATE TABLE log_shelves (
            shelf INTEGER PRIMARY KEY,
            first INTEGER NOT NULL,
            last INTEGER NOT NULL,
            newest INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE log_files (
            path TEXT PRIMARY KEY,
            device INTEGER NOT NULL,
            inode INTEGER NOT NULL,
            offset INTEGER NOT NULL,
            read_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
    ",
        "
        ALTER TABLE log_origins ADD COLUMN release TEXT;
    ",
        // The level is in the index, so that those of another need not be read; and in the shelves, see there.
        "
        DROP INDEX log_lines_of_trouble;
        CREATE INDEX log_lines_of_trouble ON log_lines (at, level) WHERE level >= 4;
        CREATE INDEX log_lines_of_trouble_by_unit ON log_lines (unit, at, level) WHERE level >= 4;
        ALTER TABLE log_shelves ADD COLUMN oldest INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE log_shelves ADD COLUMN marked INTEGER NOT NULL DEFAULT 0;
    ",
    ],
    table: "log_lines",
    time: "at",
    delete,
};

fn delete(tx: &Connection, before: i64, most: u32) -> Result<usize> {
    let chosen = "SELECT row FROM log_lines INDEXED BY log_lines_by_at WHERE at < ?1 ORDER BY at LIMIT ?2";
    let sql = format!("DELETE FROM log_lines WHERE row IN ({chosen})");
    let deleted = tx.prepare_cached(&sql)?.execute((before, most))?;
    if deleted > 0 {
        shelves::drop_empty(tx)?;
        // An instance is forgotten with the last of its lines.
        tx.prepare_cached("DELETE FROM log_origins WHERE last < ?1")?.execute([before])?;
    }
    Ok(deleted)
}

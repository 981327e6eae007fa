//! The tables: a row for each span, one for each trace that adds its spans up, and one for the attributes that an
//! instance gives of itself, which its spans share.

/// Each is a step from the version before; a published one never changes.
pub(super) const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE spans (
        row INTEGER PRIMARY KEY,
        trace BLOB NOT NULL,
        span BLOB NOT NULL,
        parent BLOB,
        service TEXT NOT NULL,
        peer TEXT,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        start INTEGER NOT NULL,
        duration INTEGER NOT NULL,
        error INTEGER NOT NULL,
        attributes TEXT NOT NULL,
        UNIQUE (trace, span)
    ) STRICT;
    CREATE TABLE traces (
        trace BLOB PRIMARY KEY,
        start INTEGER NOT NULL,
        finish INTEGER NOT NULL,
        spans INTEGER NOT NULL,
        errors INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX traces_by_start ON traces (start);
    CREATE INDEX traces_with_errors ON traces (start) WHERE errors > 0;
",
    "
    ALTER TABLE spans ADD COLUMN request TEXT;
    CREATE INDEX spans_by_request ON spans (request, start) WHERE request IS NOT NULL;
",
    "
    ALTER TABLE spans ADD COLUMN instance TEXT;
    ALTER TABLE spans ADD COLUMN release TEXT;
    ALTER TABLE spans ADD COLUMN details TEXT;
    ALTER TABLE spans ADD COLUMN resource INTEGER;
    CREATE TABLE span_resources (
        id INTEGER PRIMARY KEY,
        attributes TEXT NOT NULL UNIQUE,
        used INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX span_resources_by_use ON span_resources (used);
",
];

//! The tables: a row for each span, one for each trace that adds its spans up, one for each service in a trace, one more
//! for each in a trace that failed or was slow, and one for the attributes that an instance gives of itself, which its
//! spans share.

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
    "
    CREATE TABLE trace_services (
        service TEXT NOT NULL,
        start INTEGER NOT NULL,
        trace BLOB NOT NULL,
        PRIMARY KEY (service, start, trace)
    ) STRICT, WITHOUT ROWID;
    INSERT OR IGNORE INTO trace_services
        SELECT named.service, traces.start, named.trace
        FROM (SELECT service, trace FROM spans UNION SELECT peer, trace FROM spans WHERE peer IS NOT NULL) AS named
        JOIN traces ON traces.trace = named.trace;
    CREATE INDEX traces_by_speed ON traces (
        CASE
        WHEN finish - start < 20000 THEN 1 WHEN finish - start < 50000 THEN 2 WHEN finish - start < 100000 THEN 3
        WHEN finish - start < 200000 THEN 4 WHEN finish - start < 500000 THEN 5 WHEN finish - start < 1000000 THEN 6
        WHEN finish - start < 2000000 THEN 7 WHEN finish - start < 5000000 THEN 8
        WHEN finish - start < 10000000 THEN 9 ELSE 10 END,
        start
    ) WHERE finish - start >= 10000;
",
    "
    CREATE TABLE trace_marks (
        service TEXT NOT NULL,
        mark INTEGER NOT NULL,
        start INTEGER NOT NULL,
        trace BLOB NOT NULL,
        PRIMARY KEY (service, mark, start, trace)
    ) STRICT, WITHOUT ROWID;
    INSERT OR IGNORE INTO trace_marks
        SELECT named.service, mark, named.start, named.trace
        FROM (SELECT spans.service, traces.start, traces.trace, errors, finish FROM traces JOIN spans USING (trace)
              WHERE errors > 0 OR finish - traces.start >= 200000
              UNION SELECT spans.peer, traces.start, traces.trace, errors, finish FROM traces JOIN spans USING (trace)
              WHERE (errors > 0 OR finish - traces.start >= 200000) AND peer IS NOT NULL) AS named
        JOIN (SELECT 0 AS mark, 0 AS low, 1 AS errs UNION ALL SELECT 1, 200000, 0) AS marks
            ON errors >= errs AND finish - named.start >= low;
",
];

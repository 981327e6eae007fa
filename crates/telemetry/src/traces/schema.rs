//! The tables: a row for each span, one for each trace that adds its spans up, those of [`places`](super::places) by
//! which traces are listed and of [`ids`](super::ids) by which one is found, and one for the attributes that an instance
//! gives of itself, which its spans share.
//!
//! Traces are numbered as they come, and a span names its trace by `traces.key`, which is that number, eight bytes of it,
//! so that what is written at the same time is in the same pages. Those that were kept before version 6 have their id as
//! key.

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
    // What is large is made only once what it replaces is gone: the file has its bound.
    "
    DROP INDEX traces_by_start;
    DROP INDEX traces_with_errors;
    DROP INDEX traces_by_speed;
    CREATE TABLE trace_names (
        id INTEGER PRIMARY KEY,
        what INTEGER NOT NULL,
        name TEXT NOT NULL,
        callee TEXT NOT NULL,
        UNIQUE (what, name, callee)
    ) STRICT;
    CREATE TABLE trace_places (
        name INTEGER NOT NULL,
        class INTEGER NOT NULL,
        start INTEGER NOT NULL,
        trace INTEGER NOT NULL,
        PRIMARY KEY (name, class, start, trace)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE classes (class INTEGER PRIMARY KEY, low INTEGER NOT NULL, high INTEGER NOT NULL) STRICT;
    INSERT INTO classes VALUES
        (0, -9223372036854775808, 9999), (1, 10000, 49999), (2, 50000, 199999), (3, 200000, 999999),
        (4, 1000000, 4999999), (5, 5000000, 9223372036854775807);
    INSERT INTO trace_names (what, name, callee) SELECT DISTINCT 0, service, '' FROM trace_services;
    INSERT OR IGNORE INTO trace_places
        SELECT id, class, traces.start, traces.rowid
        FROM trace_services CROSS JOIN trace_names ON what = 0 AND name = service CROSS JOIN traces USING (trace)
        CROSS JOIN classes ON finish - traces.start BETWEEN low AND high;
    DROP TABLE trace_services;
    DROP TABLE trace_marks;
    INSERT OR IGNORE INTO trace_names (what, name, callee)
        SELECT 1, json_extract(attributes, '$.\"http.route\"'), '' FROM spans
        WHERE resource IS NULL AND json_extract(attributes, '$.\"http.route\"') IS NOT NULL
        UNION SELECT 2, service, peer FROM spans WHERE peer IS NOT NULL;
    INSERT OR IGNORE INTO trace_places
        SELECT id, class, traces.start, traces.rowid
        FROM spans CROSS JOIN traces USING (trace) CROSS JOIN trace_names
            ON what = 1 AND trace_names.name = json_extract(attributes, '$.\"http.route\"') AND callee = ''
        CROSS JOIN classes ON finish - traces.start BETWEEN low AND high
        WHERE resource IS NULL;
    INSERT OR IGNORE INTO trace_places
        SELECT id, class, traces.start, traces.rowid
        FROM spans CROSS JOIN traces USING (trace)
        CROSS JOIN trace_names ON what = 2 AND trace_names.name = service AND callee = peer
        CROSS JOIN classes ON duration BETWEEN low AND high;
    INSERT OR IGNORE INTO trace_places
        SELECT trace_places.name, 6, trace_places.start, trace_places.trace
        FROM traces CROSS JOIN classes ON finish - traces.start BETWEEN low AND high CROSS JOIN trace_names
        CROSS JOIN trace_places ON trace_places.name = trace_names.id AND trace_places.class = classes.class
            AND trace_places.start = traces.start AND trace_places.trace = traces.rowid
        WHERE errors > 0 AND what < 2;
    INSERT OR IGNORE INTO trace_places
        SELECT id, 6, traces.start, traces.rowid
        FROM spans CROSS JOIN traces USING (trace)
        CROSS JOIN trace_names ON what = 2 AND trace_names.name = service AND callee = peer
        WHERE errors > 0 AND error;
    DROP TABLE classes;
    CREATE TABLE numbered (
        number INTEGER PRIMARY KEY,
        id BLOB NOT NULL,
        key BLOB NOT NULL,
        start INTEGER NOT NULL,
        finish INTEGER NOT NULL,
        spans INTEGER NOT NULL,
        errors INTEGER NOT NULL,
        names TEXT NOT NULL
    ) STRICT;
    INSERT INTO numbered
        SELECT rowid, trace, trace, start, finish, spans, errors, '[]' FROM traces ORDER BY rowid;
    DROP TABLE traces;
    ALTER TABLE numbered RENAME TO traces;
    CREATE INDEX traces_by_start ON traces (start);
    CREATE INDEX traces_with_errors ON traces (start) WHERE errors > 0;
    CREATE INDEX traces_by_speed ON traces (
        CASE
        WHEN finish - start < 20000 THEN 1 WHEN finish - start < 50000 THEN 2 WHEN finish - start < 100000 THEN 3
        WHEN finish - start < 200000 THEN 4 WHEN finish - start < 500000 THEN 5 WHEN finish - start < 1000000 THEN 6
        WHEN finish - start < 2000000 THEN 7 WHEN finish - start < 5000000 THEN 8
        WHEN finish - start < 10000000 THEN 9 ELSE 10 END,
        start
    ) WHERE finish - start >= 10000;
    CREATE TABLE trace_tail (row INTEGER PRIMARY KEY, entries BLOB NOT NULL) STRICT;
    CREATE TABLE trace_runs (run INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL) STRICT;
    CREATE TABLE trace_ids (place INTEGER PRIMARY KEY, entries BLOB NOT NULL) STRICT;
",
];

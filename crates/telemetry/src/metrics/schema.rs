//! The tables: what each series is, its points, and how much room they take.

/// Each is a step from the version before; a published one never changes.
pub(super) const MIGRATIONS: &[&str] = &["
    CREATE TABLE metric_series (
        id INTEGER PRIMARY KEY,
        caller TEXT NOT NULL,
        service TEXT,
        release TEXT,
        route TEXT
    ) STRICT;
    CREATE TABLE metric_points (
        step INTEGER NOT NULL,
        series INTEGER NOT NULL,
        at INTEGER NOT NULL,
        point BLOB NOT NULL,
        PRIMARY KEY (step, series, at)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX metric_points_by_time ON metric_points (step, at);
    CREATE TABLE metric_sizes (step INTEGER PRIMARY KEY, bytes INTEGER NOT NULL) STRICT;
    INSERT INTO metric_sizes VALUES (10, 0), (300, 0);
    CREATE TRIGGER metric_points_added AFTER INSERT ON metric_points BEGIN
        UPDATE metric_sizes SET bytes = bytes + length(new.point) + 64 WHERE step = new.step;
    END;
    CREATE TRIGGER metric_points_changed AFTER UPDATE ON metric_points BEGIN
        UPDATE metric_sizes SET bytes = bytes + length(new.point) - length(old.point) WHERE step = new.step;
    END;
    CREATE TRIGGER metric_points_gone AFTER DELETE ON metric_points BEGIN
        UPDATE metric_sizes SET bytes = bytes - length(old.point) - 64 WHERE step = old.step;
    END;
"];

/// The integers of the tables are signed.
pub(super) fn int(number: u64) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// The lengths of the intervals that are kept, in seconds.
pub(super) const TEN: u64 = 10;
pub(super) const FIVE_MINUTES: u64 = 300;

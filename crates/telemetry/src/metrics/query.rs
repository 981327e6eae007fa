//! What is asked of the metrics, and the points of it in the tables.

use std::sync::Arc;

use madang_store::rusqlite::{Connection, Result, Row, named_params};

use super::{point::Point, schema::int, series::Key};

/// Which calls; the default are all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricFilter {
    /// Only those of this caller: a service, `gateway` or `listener`.
    pub caller: Option<String>,
    /// Only those to this service.
    pub service: Option<String>,
    /// Only those that this release answered.
    pub release: Option<String>,
    /// Only those over the route with this template.
    pub route: Option<String>,
}

/// How long a release of a service was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseSpan {
    /// The release.
    pub release: String,
    /// The start of the first ten seconds with a call, in milliseconds since 1970.
    pub first: u64,
    /// The start of the last.
    pub last: u64,
}

// === impl MetricFilter ===

impl MetricFilter {
    pub(super) fn lets(&self, key: &Key) -> bool {
        let same = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        same(&self.caller, Some(&key.caller))
            && same(&self.service, key.service.as_deref())
            && same(&self.release, key.release.as_deref())
            && same(&self.route, key.route.as_deref())
    }
}

/// Each series that the filter lets through, in each interval of this length that begins at `from` or later and before
/// `until`.
pub(super) fn each(
    conn: &Connection,
    filter: &MetricFilter,
    step: u64,
    from: u64,
    until: u64,
    mut see: impl FnMut(u64, &Key, &Point),
) -> Result<()> {
    let mut named = conn.prepare_cached(
        "SELECT id, caller, service, release, route FROM metric_series
         WHERE (:caller IS NULL OR caller = :caller) AND (:service IS NULL OR service = :service)
             AND (:release IS NULL OR release = :release) AND (:route IS NULL OR route = :route)",
    )?;
    let given = named_params! {
        ":caller": filter.caller, ":service": filter.service, ":release": filter.release, ":route": filter.route,
    };
    let mut points = conn.prepare_cached(
        "SELECT at, point FROM metric_points WHERE step = ?1 AND series = ?2 AND at >= ?3 AND at < ?4",
    )?;
    let mut series = named.query(given)?;
    let mut point = Point::default();
    while let Some(row) = series.next()? {
        let text = |column| row.get::<_, Option<String>>(column).map(|text| text.map(Arc::from));
        let caller = row.get::<_, String>(1)?.into();
        let key = Key { caller, service: text(2)?, release: text(3)?, route: text(4)? };
        let mut rows = points.query((int(step), row.get::<_, i64>(0)?, int(from), int(until)))?;
        while let Some(row) = rows.next()? {
            // What another version wrote in another way is not known.
            if point.read(row.get_ref(1)?.as_blob()?).is_some() {
                see(number(row, 0)?, &key, &point);
            }
        }
    }
    Ok(())
}

/// When the first call of those that are kept in this length was; none if none are.
pub(super) fn oldest(conn: &Connection, step: u64) -> Result<Option<u64>> {
    let sql = "SELECT min(at) FROM metric_points WHERE step = ?1";
    let oldest = conn.prepare_cached(sql)?.query_one([int(step)], |row| row.get::<_, Option<i64>>(0))?;
    Ok(oldest.map(i64::unsigned_abs))
}

/// The releases of a service, the one that was called first first.
pub(super) fn releases(conn: &Connection, service: &str) -> Result<Vec<ReleaseSpan>> {
    let mut found = conn.prepare_cached(
        "SELECT release, min(at), max(at) FROM metric_series JOIN metric_points ON series = id
         WHERE service = ?1 AND release IS NOT NULL AND step IN (10, 300) GROUP BY release ORDER BY min(at), max(at)",
    )?;
    let rows = found.query_map([service], |row| {
        Ok(ReleaseSpan { release: row.get(0)?, first: number(row, 1)? * 1000, last: number(row, 2)? * 1000 })
    })?;
    rows.collect()
}

/// What is never negative in the tables.
fn number(row: &Row<'_>, column: usize) -> Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

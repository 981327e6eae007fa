//! What may be asked of the traces.

use std::time::Duration;

use madang_store::rusqlite::{Connection, Error, OptionalExtension, Result, Row, named_params, types::Type};
use madang_wire::{
    SpanId, TraceId,
    trace::{SpanView, TraceSummary, TraceView},
};
use serde::de::DeserializeOwned;

/// How many spans of one trace are shown.
const SPANS: usize = 2000;

/// Which traces to list; the default lists the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceFilter {
    /// Only those in which something failed.
    pub error: bool,
    /// Only those that took at least so long.
    pub slow: Option<Duration>,
    /// Only those in which this service called or was called.
    pub service: Option<String>,
    /// How many.
    pub limit: u32,
}

impl Default for TraceFilter {
    fn default() -> Self {
        Self { error: false, slow: None, service: None, limit: 50 }
    }
}

pub(super) fn list(conn: &Connection, filter: &TraceFilter) -> Result<Vec<TraceSummary>> {
    // The condition on errors is text, so that the index that has only those is used.
    let errors = if filter.error { "errors > 0" } else { "TRUE" };
    // The first span: without a parent if there is such a one.
    let first = "FROM spans WHERE spans.trace = traces.trace ORDER BY parent IS NOT NULL, start, row LIMIT 1";
    let sql = format!(
        "SELECT trace, start, finish - start, spans, errors, (SELECT name {first}), (SELECT service {first})
         FROM traces
         WHERE {errors} AND finish - start >= :slow AND (:service IS NULL OR EXISTS
             (SELECT 1 FROM spans WHERE spans.trace = traces.trace AND :service IN (service, peer)))
         ORDER BY start DESC LIMIT :limit"
    );
    let slow = filter.slow.map_or(0, |slow| i64::try_from(slow.as_micros()).unwrap_or(i64::MAX));
    let mut found = conn.prepare_cached(&sql)?;
    let given = named_params! { ":slow": slow, ":service": filter.service, ":limit": filter.limit };
    let rows = found.query_map(given, |row| {
        Ok(TraceSummary {
            trace_id: TraceId(u128::from_be_bytes(row.get(0)?)),
            start_us: number(row, 1)?,
            duration_us: number(row, 2)?,
            spans: number(row, 3)?,
            errors: number(row, 4)?,
            name: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
            service: row.get::<_, Option<String>>(6)?.unwrap_or_default(),
        })
    })?;
    rows.collect()
}

pub(super) fn get(conn: &Connection, trace_id: TraceId) -> Result<Option<TraceView>> {
    let mut found = conn.prepare_cached(
        "SELECT span, parent, service, peer, name, kind, start, duration, error, spans.attributes,
             instance, release, details, span_resources.attributes
         FROM spans LEFT JOIN span_resources ON span_resources.id = spans.resource
         WHERE trace = ?1 ORDER BY start, row LIMIT ?2",
    )?;
    let limit = i64::try_from(SPANS + 1).unwrap_or(i64::MAX);
    let rows = found.query_map((trace_id.0.to_be_bytes(), limit), span)?;
    let mut spans: Vec<SpanView> = rows.collect::<Result<_>>()?;
    let cut = spans.len() > SPANS;
    spans.truncate(SPANS);
    Ok((!spans.is_empty()).then_some(TraceView { trace_id, spans, cut }))
}

/// The trace of the latest request with this id: clients may choose ids, and more than once the same.
pub(super) fn of_request(conn: &Connection, request: &str) -> Result<Option<TraceId>> {
    conn.prepare_cached("SELECT trace FROM spans WHERE request = ?1 ORDER BY start DESC LIMIT 1")?
        .query_one([request], |row| Ok(TraceId(u128::from_be_bytes(row.get(0)?))))
        .optional()
}

fn span(row: &Row<'_>) -> Result<SpanView> {
    Ok(SpanView {
        span_id: SpanId(u64::from_be_bytes(row.get(0)?)),
        parent_span_id: row.get::<_, Option<[u8; 8]>>(1)?.map(|id| SpanId(u64::from_be_bytes(id))),
        service: row.get(2)?,
        peer: row.get(3)?,
        name: row.get(4)?,
        kind: row.get(5)?,
        start_us: number(row, 6)?,
        duration_us: number(row, 7)?,
        error: row.get(8)?,
        attributes: document(row, 9)?.unwrap_or_default(),
        instance: row.get(10)?,
        release: row.get(11)?,
        details: document(row, 12)?,
        resource: document(row, 13)?.unwrap_or_default(),
    })
}

fn document<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    let read = text.map(|text| serde_json::from_str(&text)).transpose();
    read.map_err(|error| Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// What is never negative in the tables.
fn number(row: &Row<'_>, column: usize) -> Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

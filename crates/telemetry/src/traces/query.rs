//! What may be asked of one trace, and of what happened beside it.

use madang_store::rusqlite::{Connection, Error, OptionalExtension, Result, Row, types::Type};
use madang_wire::{
    SpanId, TraceId,
    trace::{SpanView, TraceView},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{ids, seen::Seen};

/// How many spans of one trace are shown.
const SPANS: usize = 2000;

pub(super) fn get(conn: &Connection, trace_id: TraceId) -> Result<Option<TraceView>> {
    let mut found = conn.prepare_cached(
        "SELECT span, parent, service, peer, name, kind, start, duration, error, spans.attributes,
             instance, release, details, span_resources.attributes
         FROM spans LEFT JOIN span_resources ON span_resources.id = spans.resource
         WHERE trace = ?1 ORDER BY start, row LIMIT ?2",
    )?;
    let limit = i64::try_from(SPANS + 1).unwrap_or(i64::MAX);
    let mut spans: Vec<SpanView> = Vec::new();
    for key in keys(conn, trace_id)? {
        for row in found.query_map((key, limit), span)? {
            spans.push(row?);
        }
    }
    spans.sort_by_key(|span| span.start_us);
    let cut = spans.len() > SPANS;
    spans.truncate(SPANS);
    Ok((!spans.is_empty()).then_some(TraceView { trace_id, spans, cut }))
}

/// By what the spans of a trace name it: more than one if some came much later than others, the earliest first.
fn keys(conn: &Connection, trace: TraceId) -> Result<Vec<Vec<u8>>> {
    let id = trace.0.to_be_bytes();
    let mut keys = vec![id.to_vec()];
    let mut key = conn.prepare_cached("SELECT key FROM traces WHERE number = ?1 AND id = ?2")?;
    for number in ids::find(conn, &id)?.into_iter().rev() {
        keys.extend(key.query_one((number, id), |row| row.get::<_, Vec<u8>>(0)).optional()?);
    }
    Ok(keys)
}

/// Whom a service called in vain between two moments, in traces other than this one.
pub(super) fn failed_calls(
    conn: &Connection,
    service: &str,
    (from_us, until_us): (i64, i64),
    but: TraceId,
) -> Result<Vec<String>> {
    let mut found = conn.prepare_cached(
        "SELECT DISTINCT peer FROM traces JOIN spans ON spans.trace = traces.key
         WHERE errors > 0 AND traces.start BETWEEN ?2 AND ?3 AND traces.id != ?4
             AND service = ?1 AND error AND peer IS NOT NULL
         ORDER BY peer",
    )?;
    found.query_map((service, from_us, until_us, but.0.to_be_bytes()), |row| row.get(0))?.collect()
}

/// The trace of the latest request with this id: clients may choose ids, and more than once the same.
pub(super) fn of_request(conn: &Connection, request: &str) -> Result<Option<TraceId>> {
    let mut trace = conn.prepare_cached("SELECT id, key FROM traces WHERE number = ?1")?;
    let mut seen =
        conn.prepare_cached("SELECT attributes FROM spans WHERE trace = ?1 AND resource IS NULL")?;
    for number in ids::find(conn, request.as_bytes())? {
        let found =
            trace.query_one([number], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?))).optional()?;
        let Some((id, key)) = found else { continue };
        let mut rows = seen.query([key])?;
        while let Some(row) = rows.next()? {
            let seen = Seen::read(row.get_ref(0)?.as_str()?).and_then(serde_json::Result::ok);
            if seen.is_some_and(|seen| seen.request_id.as_deref() == Some(request)) {
                return Ok(Some(TraceId(u128::from_be_bytes(id))));
            }
        }
    }
    // What was kept before version 6.
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
        attributes: attributes(row, 9)?,
        instance: row.get(10)?,
        release: row.get(11)?,
        details: document(row, 12)?,
        resource: document(row, 13)?.unwrap_or_default(),
    })
}

fn attributes(row: &Row<'_>, column: usize) -> Result<Map<String, Value>> {
    match Seen::read(row.get_ref(column)?.as_str()?) {
        Some(seen) => seen.map(Seen::attributes).map_err(|error| unread(column, error)),
        None => Ok(document(row, column)?.unwrap_or_default()),
    }
}

fn document<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    let read = text.map(|text| serde_json::from_str(&text)).transpose();
    read.map_err(|error| unread(column, error))
}

fn unread(column: usize, error: serde_json::Error) -> Error {
    Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

/// What is never negative in the tables.
fn number(row: &Row<'_>, column: usize) -> Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

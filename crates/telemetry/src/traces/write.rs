//! From the queue into the tables.

use madang_store::rusqlite::{Connection, Result, params};
use madang_wire::RequestRecord;

use super::span::Span;

/// How many spans are written at once, each of which changes a page or two: the write-ahead log has its bound.
pub(super) const MOST: usize = 500;

/// The longest text of a span's attributes that is kept, in bytes.
const ATTRIBUTES: usize = 16 * 1024;

/// Writes what the hops knew; a span that is there already stays as it is.
pub(super) fn insert(tx: &Connection, records: Vec<RequestRecord>) -> Result<()> {
    let mut span = tx.prepare_cached(
        "INSERT OR IGNORE INTO spans
             (trace, span, parent, service, peer, request, name, kind, start, duration, error, attributes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    let mut trace = tx.prepare_cached(
        "INSERT INTO traces (trace, start, finish, spans, errors) VALUES (?1, ?2, ?3, 1, ?4)
         ON CONFLICT (trace) DO UPDATE SET
             start = min(start, excluded.start), finish = max(finish, excluded.finish),
             spans = spans + 1, errors = errors + excluded.errors",
    )?;
    for found in records.into_iter().map(Span::from) {
        let id = found.trace.0.to_be_bytes();
        let (start, duration) = (integer(found.start), integer(found.duration));
        let written = span.execute(params![
            id,
            found.id.0.to_be_bytes(),
            found.parent.map(|parent| parent.0.to_be_bytes()),
            &*found.service,
            found.peer.as_deref(),
            found.request,
            found.name,
            found.kind,
            start,
            duration,
            found.error,
            attributes(&found),
        ])?;
        if written > 0 {
            trace.execute(params![id, start, start.saturating_add(duration), found.error])?;
        }
    }
    Ok(())
}

/// None are kept of a span whose attributes are too long together, since half of a document is none.
fn attributes(span: &Span) -> String {
    let text = serde_json::to_string(&span.attributes).unwrap_or_default();
    if text.len() <= ATTRIBUTES { text } else { format!(r#"{{"madang.cut":{}}}"#, text.len()) }
}

/// The integers of the tables are signed.
fn integer(value: u64) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

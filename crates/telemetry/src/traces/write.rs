//! From the queue into the tables.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use madang_store::rusqlite::{Connection, Result, params};
use madang_wire::trace::SpanDetails;

use super::{
    list::{FAILED, MARKED, SLOW},
    span::{Span, Waiting},
};

/// How many spans are written at once, each of which changes a page or two: the write-ahead log has its bound.
pub(super) const MOST: usize = 500;

/// What is written at once ends with the span with which it has so many units; see [`super::queue`].
pub(super) const UNITS: usize = 1024;

/// By how much later than its first span of a write the attributes of an instance count as used, in microseconds.
const SLACK: i64 = 60_000_000;

/// The longest text of what a span has in events and links that is kept, in bytes.
const DETAILS: usize = 64 * 1024;

/// The longest text of a span's attributes that is kept, in bytes.
const ATTRIBUTES: usize = 16 * 1024;

/// What is written at once, of what waits.
pub(super) fn batch(waiting: &mut impl Iterator<Item = Waiting>) -> Vec<Waiting> {
    let (mut batch, mut units) = (Vec::new(), 0);
    while batch.len() < MOST && units < UNITS {
        let Some(next) = waiting.next() else { break };
        units += next.units();
        batch.push(next);
    }
    batch
}

/// Writes what waited; a span that is there already stays as it is.
pub(super) fn insert(tx: &Connection, waited: Vec<Waiting>) -> Result<()> {
    let mut span = tx.prepare_cached(
        "INSERT OR IGNORE INTO spans
             (trace, span, parent, service, peer, request, name, kind, start, duration, error, attributes,
              instance, release, details, resource)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )?;
    let mut trace = tx.prepare_cached(
        "INSERT INTO traces (trace, start, finish, spans, errors) VALUES (?1, ?2, ?3, 1, ?4)
         ON CONFLICT (trace) DO UPDATE SET
             start = min(start, excluded.start), finish = max(finish, excluded.finish),
             spans = spans + 1, errors = errors + excluded.errors
         RETURNING start, errors > 0, finish - start",
    )?;
    let mut resources = Resources::default();
    let mut parts: BTreeMap<([u8; 16], Arc<str>), i64> = BTreeMap::new();
    let mut marked: BTreeMap<([u8; 16], i64), i64> = BTreeMap::new();
    for found in waited.into_iter().map(Span::from) {
        let told = found.told.as_deref();
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
            told.and_then(|told| told.instance.as_deref()),
            told.and_then(|told| told.release.as_deref()),
            told.and_then(|told| details(&told.details)),
            told.map(|told| resources.row(tx, &told.resource, start)).transpose()?,
        ])?;
        if written > 0 {
            let begun = params![id, start, start.saturating_add(duration), found.error];
            let (begin, failed, took): (i64, bool, i64) =
                trace.query_one(begun, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            for (mark, _) in [(FAILED, failed), (SLOW, took >= MARKED)].into_iter().filter(|(_, is)| *is) {
                marked.insert((id, mark), begin);
            }
            for service in [Some(found.service), found.peer].into_iter().flatten() {
                let first = parts.entry((id, service)).or_insert(start);
                *first = start.min(*first);
            }
        }
    }
    let mut part = tx
        .prepare_cached("INSERT OR IGNORE INTO trace_services (service, start, trace) VALUES (?1, ?2, ?3)")?;
    for ((trace, service), start) in parts {
        part.execute(params![&*service, start, trace])?;
    }
    // All services of the trace, also those that came before it was known.
    let mut mark = tx.prepare_cached(
        "INSERT OR IGNORE INTO trace_marks (service, mark, start, trace)
         SELECT service, ?2, ?3, ?1 FROM spans WHERE trace = ?1
         UNION SELECT peer, ?2, ?3, ?1 FROM spans WHERE trace = ?1 AND peer IS NOT NULL",
    )?;
    for ((trace, number), start) in marked {
        mark.execute(params![trace, number, start])?;
    }
    Ok(())
}

/// None are kept of a span whose attributes are too long together, since half of a document is none.
fn attributes(span: &Span) -> String {
    let text = serde_json::to_string(&span.attributes).unwrap_or_default();
    if text.len() <= ATTRIBUTES { text } else { format!(r#"{{"madang.cut":{}}}"#, text.len()) }
}

/// Those that were named in one write, so that what many spans share is looked for once.
#[derive(Default)]
struct Resources(HashMap<Arc<str>, i64>);

impl Resources {
    /// The row of these attributes, which are in use at this time.
    fn row(&mut self, tx: &Connection, attributes: &Arc<str>, used: i64) -> Result<i64> {
        if let Some(row) = self.0.get(attributes) {
            return Ok(*row);
        }
        // A little later than it is, for what follows in the same write.
        let used = used.saturating_add(SLACK);
        let row = tx
            .prepare_cached(
                "INSERT INTO span_resources (attributes, used) VALUES (?1, ?2)
                 ON CONFLICT (attributes) DO UPDATE SET used = max(used, excluded.used) RETURNING id",
            )?
            .query_one(params![&**attributes, used], |row| row.get(0))?;
        self.0.insert(attributes.clone(), row);
        Ok(row)
    }
}

/// Without its links and events if they are too long together; none if there is nothing to tell.
fn details(details: &SpanDetails) -> Option<String> {
    if *details == SpanDetails::default() {
        return None;
    }
    let text = serde_json::to_string(details).unwrap_or_default();
    if text.len() <= DETAILS {
        return Some(text);
    }
    let dropped = details.dropped + (details.events.len() + details.links.len()) as u64;
    let short = SpanDetails { events: Vec::new(), links: Vec::new(), dropped, ..details.clone() };
    serde_json::to_string(&short).ok()
}

/// The integers of the tables are signed.
fn integer(value: u64) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

//! From the queue into the tables.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use madang_store::rusqlite::{CachedStatement, Connection, OptionalExtension, Result, params};
use madang_wire::{TraceId, trace::SpanDetails};

use super::{
    ids,
    places::{self, FAILED, Moves, Name, Names, Stand},
    recent::Recent,
    span::{Attributes, Span, Waiting},
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
pub(super) fn insert(tx: &Connection, waited: Vec<Waiting>, recent: &mut Recent) -> Result<()> {
    recent.settle(tx)?;
    let mut span = tx.prepare_cached(
        "INSERT OR IGNORE INTO spans
             (trace, span, parent, service, peer, name, kind, start, duration, error, attributes,
              instance, release, details, resource)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?;
    let mut resources = Resources::default();
    let mut sums: BTreeMap<i64, Sum> = BTreeMap::new();
    for found in waited.into_iter().map(Span::from) {
        let told = found.told.as_deref();
        let (number, known) = recent.number(found.trace);
        let start = integer(found.start);
        let written = span.execute(params![
            number.to_be_bytes(),
            found.id.0.to_be_bytes(),
            found.parent.map(|parent| parent.0.to_be_bytes()),
            &*found.service,
            found.peer.as_deref(),
            found.name,
            found.kind,
            start,
            integer(found.duration),
            found.error,
            attributes(found.attributes.text()),
            told.and_then(|told| told.instance.as_deref()),
            told.and_then(|told| told.release.as_deref()),
            told.and_then(|told| details(&told.details)),
            told.map(|told| resources.row(tx, &told.resource, start)).transpose()?,
        ])?;
        if written > 0 {
            sums.entry(number).or_insert_with(|| Sum::new(found.trace, known, start)).add(found);
        }
    }
    let mut rows = Rows::new(tx)?;
    let (mut names, mut moves, mut entries) = (Names::default(), Moves::default(), Vec::new());
    for (number, sum) in &sums {
        let begun = match sum.known {
            true => rows.found.query_one([number], Row::of).optional()?,
            false => None,
        };
        if begun.is_none() {
            entries.push(ids::entry(&sum.trace.0.to_be_bytes(), *number));
        }
        entries.extend(sum.requests.iter().map(|request| ids::entry(request.as_bytes(), *number)));
        sum.write(tx, *number, begun, &mut rows, &mut names, &mut moves)?;
    }
    moves.write(tx)?;
    ids::append(tx, entries, &mut recent.tail)
}

/// What the spans of a trace add up to that are written at once.
struct Sum {
    trace: TraceId,
    /// Whether something came of it before.
    known: bool,
    start: i64,
    finish: i64,
    spans: i64,
    errors: i64,
    names: Vec<Name>,
    /// With how long the longest took, and whether one failed.
    calls: Vec<(Name, i64, bool)>,
    requests: Vec<String>,
}

// === impl Sum ===

impl Sum {
    fn new(trace: TraceId, known: bool, start: i64) -> Self {
        let (names, calls, requests) = Default::default();
        Self { trace, known, start, finish: start, spans: 0, errors: 0, names, calls, requests }
    }

    fn add(&mut self, span: Span) {
        let (start, duration) = (integer(span.start), integer(span.duration));
        self.start = self.start.min(start);
        self.finish = self.finish.max(start.saturating_add(duration));
        self.spans += 1;
        self.errors += i64::from(span.error);
        let (route, request) = match span.attributes {
            Attributes::Seen(seen) => (seen.route, seen.request_id),
            Attributes::Told(_) => (None, None),
        };
        let services = [Some(&span.service), span.peer.as_ref()].into_iter().flatten().cloned();
        for name in services.map(Name::Service).chain(route.map(Name::Route)) {
            if !self.names.contains(&name) {
                self.names.push(name);
            }
        }
        if let Some(peer) = span.peer {
            let call = Name::Call(span.service, peer);
            match self.calls.iter_mut().find(|(name, ..)| *name == call) {
                Some((_, longest, failed)) => {
                    *longest = duration.max(*longest);
                    *failed |= span.error;
                }
                None => self.calls.push((call, duration, span.error)),
            }
        }
        if let Some(request) = request.filter(|request| !self.requests.contains(request)) {
            self.requests.push(request);
        }
    }

    /// Adds it to what is written of the trace, if anything is.
    fn write(
        &self,
        tx: &Connection,
        number: i64,
        begun: Option<Row>,
        rows: &mut Rows<'_>,
        names: &mut Names,
        moves: &mut Moves,
    ) -> Result<()> {
        let new = begun.is_none();
        let before = begun.unwrap_or(Row { start: self.start, finish: self.finish, ..Row::default() });
        let mut now = Row {
            start: before.start.min(self.start),
            finish: before.finish.max(self.finish),
            spans: before.spans + self.spans,
            errors: before.errors + self.errors,
            names: before.names.clone(),
        };
        for name in &self.names {
            now.names.extend(names.number(tx, name)?.filter(|name| !before.names.contains(name)));
        }
        let listed = serde_json::to_string(&now.names).unwrap_or_default();
        let sums = params![number, now.start, now.finish, now.spans, now.errors, listed];
        if new {
            let (id, key) = (self.trace.0.to_be_bytes(), number.to_be_bytes());
            rows.add.execute([sums, params![id, key]].concat().as_slice())?;
        } else {
            rows.change.execute(sums)?;
        }
        for (call, longest, failed) in &self.calls {
            let Some(call) = names.number(tx, call)? else { continue };
            moves.stands(call, places::class(*longest), now.start, number);
            if *failed {
                moves.stands(call, FAILED, now.start, number);
            }
        }
        moves.trace(number, &before.stand(), &now.stand());
        Ok(())
    }
}

/// The statements for the rows of traces.
struct Rows<'conn> {
    found: CachedStatement<'conn>,
    add: CachedStatement<'conn>,
    change: CachedStatement<'conn>,
}

impl<'conn> Rows<'conn> {
    fn new(tx: &'conn Connection) -> Result<Self> {
        Ok(Self {
            found: tx
                .prepare_cached("SELECT start, finish, spans, errors, names FROM traces WHERE number = ?1")?,
            add: tx.prepare_cached(
                "INSERT INTO traces (number, start, finish, spans, errors, names, id, key)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?,
            change: tx.prepare_cached(
                "UPDATE traces SET start = ?2, finish = ?3, spans = ?4, errors = ?5, names = ?6
                 WHERE number = ?1",
            )?,
        })
    }
}

/// What is written of a trace.
#[derive(Default)]
struct Row {
    start: i64,
    finish: i64,
    spans: i64,
    errors: i64,
    names: Vec<i64>,
}

// === impl Row ===

impl Row {
    fn of(row: &madang_store::rusqlite::Row<'_>) -> Result<Self> {
        let names: String = row.get(4)?;
        let names = serde_json::from_str(&names).unwrap_or_default();
        Ok(Self { start: row.get(0)?, finish: row.get(1)?, spans: row.get(2)?, errors: row.get(3)?, names })
    }

    fn stand(&self) -> Stand<'_> {
        let (duration, failed) = (self.finish - self.start, self.errors > 0);
        Stand { start: self.start, duration, failed, names: &self.names }
    }
}

/// None are kept of a span whose attributes are too long together, since half of a document is none.
fn attributes(text: String) -> String {
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

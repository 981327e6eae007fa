//! What may be asked of the annotations.

use madang_store::rusqlite::{Connection, Result, named_params};
use madang_wire::admin::{Event, EventKind};

use super::schema::{micros, name};

/// Which events to list; the default lists the last hundred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFilter {
    /// Only those from then on: milliseconds since 1970.
    pub since: Option<u64>,
    /// Only those until then: milliseconds since 1970.
    pub until: Option<u64>,
    /// Only those of these units; of all if empty.
    pub units: Vec<String>,
    /// Only those of these kinds; of all if empty.
    pub kinds: Vec<EventKind>,
    /// Only those up to the one with this number.
    pub up_to: Option<i64>,
    /// How many, the last ones.
    pub last: usize,
}

impl Default for EventFilter {
    fn default() -> Self {
        Self { since: None, until: None, units: Vec::new(), kinds: Vec::new(), up_to: None, last: 100 }
    }
}

impl EventFilter {
    fn lets(&self, number: i64, event: &Event) -> bool {
        self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at <= until)
            && (self.units.is_empty() || self.units.contains(&event.unit))
            && (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && self.up_to.is_none_or(|last| number <= last)
    }
}

/// The last events of the file and of those that wait.
pub(super) fn list(
    conn: &Connection,
    filter: &EventFilter,
    waiting: Vec<(i64, Event)>,
) -> Result<Vec<Event>> {
    let kinds: Vec<String> = filter.kinds.iter().map(|kind| name(*kind)).collect();
    let (units, kinds) = (list_of(&filter.units), list_of(&kinds));
    // Numbers are in the order of time, or all but: the index has the range, and the rest is sorted.
    let mut found = conn.prepare_cached(
        "SELECT row, at / 1000, unit, instance, release, kind, message FROM annotations
         WHERE at >= :since AND at <= :until AND row <= :up_to
             AND (:units = '[]' OR unit IN (SELECT value FROM json_each(:units)))
             AND (:kinds = '[]' OR kind IN (SELECT value FROM json_each(:kinds)))
         ORDER BY at DESC, row DESC LIMIT :last",
    )?;
    let given = named_params! {
        ":since": filter.since.map_or(0, micros),
        ":until": filter.until.map_or(i64::MAX, micros),
        ":up_to": filter.up_to.unwrap_or(i64::MAX),
        ":units": units,
        ":kinds": kinds,
        ":last": i64::try_from(filter.last).unwrap_or(i64::MAX),
    };
    let mut rows = found.query(given)?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let kind: String = row.get(5)?;
        // A newer version may know more kinds.
        let Ok(kind) = serde_json::from_value(kind.into()) else { continue };
        let event = Event {
            at: row.get::<_, i64>(1)?.unsigned_abs(),
            unit: row.get(2)?,
            instance: row.get(3)?,
            release: row.get(4)?,
            kind,
            message: row.get(6)?,
        };
        events.push((row.get::<_, i64>(0)?, event));
    }
    events.reverse();
    let written = last(conn)?;
    let waiting =
        waiting.into_iter().filter(|(number, event)| *number > written && filter.lets(*number, event));
    events.extend(waiting);
    events.sort_by_key(|(number, event)| (event.at, *number));
    let skipped = events.len().saturating_sub(filter.last);
    Ok(events.into_iter().skip(skipped).map(|(_, event)| event).collect())
}

/// The number of the last event of the file.
pub(super) fn last(conn: &Connection) -> Result<i64> {
    conn.query_row("SELECT coalesce(max(row), 0) FROM annotations", [], |row| row.get(0))
}

fn list_of(texts: &[String]) -> String {
    serde_json::to_string(texts).unwrap_or_default()
}

//! Where a trace stands in the lists: by each service in it and each route that it came by, and by each call from one
//! service to another.
//!
//! A place has the class of how long the trace took, so that slow ones are found among millions of others, and there is
//! one more for what failed. The place of a call has the class of the call, and is one of what failed if the call did.

use std::{collections::HashMap, sync::Arc};

use madang_store::rusqlite::{Connection, OptionalExtension, Result, params};

/// From which durations on, in microseconds, a trace is in the next class: with schema version 6.
const CLASSES: [i64; 5] = [10_000, 50_000, 200_000, 1_000_000, 5_000_000];

/// The class of a trace, as [`class`] has it.
pub(super) const CLASS: &str = "CASE
    WHEN finish - traces.start < 10000 THEN 0 WHEN finish - traces.start < 50000 THEN 1
    WHEN finish - traces.start < 200000 THEN 2 WHEN finish - traces.start < 1000000 THEN 3
    WHEN finish - traces.start < 5000000 THEN 4 ELSE 5 END";

/// Where what failed stands once more.
pub(super) const FAILED: i64 = CLASSES.len() as i64 + 1;

/// How many names are known at most. Routes and services come from the manifest; by a name beyond that, which a service
/// made up, nothing is found.
const NAMES: i64 = 4096;

/// What traces are listed by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Name {
    Service(Arc<str>),
    Route(Arc<str>),
    /// From the first to the second.
    Call(Arc<str>, Arc<str>),
}

/// The class of what took so long, in microseconds.
pub(super) fn class(duration: i64) -> i64 {
    CLASSES.iter().take_while(|from| **from <= duration).count() as i64
}

/// The classes in which everything is that failed, if that is asked for, and took at least so long.
pub(super) fn classes(failed: bool, duration: i64) -> std::ops::RangeInclusive<i64> {
    if failed { FAILED..=FAILED } else { class(duration)..=class(i64::MAX) }
}

// === impl Name ===

impl Name {
    fn columns(&self) -> (i64, &str, &str) {
        match self {
            Self::Service(service) => (0, service, ""),
            Self::Route(route) => (1, route, ""),
            Self::Call(caller, callee) => (2, caller, callee),
        }
    }

    /// Its number; none if no trace that is kept has to do with it.
    pub(super) fn number(&self, conn: &Connection) -> Result<Option<i64>> {
        let found = "SELECT id FROM trace_names WHERE what = ?1 AND name = ?2 AND callee = ?3";
        conn.prepare_cached(found)?.query_one(self.columns(), |row| row.get(0)).optional()
    }

    fn add(&self, tx: &Connection) -> Result<Option<i64>> {
        let (what, name, callee) = self.columns();
        let sql = "INSERT INTO trace_names (what, name, callee) SELECT ?1, ?2, ?3
            WHERE (SELECT count(*) FROM trace_names) < ?4 RETURNING id";
        tx.prepare_cached(sql)?.query_one(params![what, name, callee, NAMES], |row| row.get(0)).optional()
    }
}

/// The numbers of names that were asked for in one write.
#[derive(Default)]
pub(super) struct Names(HashMap<Name, Option<i64>>);

impl Names {
    /// The number of a name, which may be new; none if there are too many.
    pub(super) fn number(&mut self, tx: &Connection, name: &Name) -> Result<Option<i64>> {
        if let Some(number) = self.0.get(name) {
            return Ok(*number);
        }
        let number = match name.number(tx)? {
            Some(number) => Some(number),
            None => name.add(tx)?,
        };
        self.0.insert(name.clone(), number);
        Ok(number)
    }
}

/// What the places of a trace by its services and routes follow from.
pub(super) struct Stand<'a> {
    pub(super) start: i64,
    pub(super) duration: i64,
    pub(super) failed: bool,
    pub(super) names: &'a [i64],
}

impl Stand<'_> {
    fn places(&self, trace: i64) -> impl Iterator<Item = [i64; 4]> {
        let classes = [Some(class(self.duration)), self.failed.then_some(FAILED)];
        let of = move |name: &i64| classes.map(|class| class.map(|class| [*name, class, self.start, trace]));
        self.names.iter().flat_map(of).flatten()
    }
}

/// What one write changes in the places of traces: gathered, and written in their order, so that neighbours in the table
/// follow each other.
#[derive(Default)]
pub(super) struct Moves {
    /// Name, class, start and trace.
    gone: Vec<[i64; 4]>,
    come: Vec<[i64; 4]>,
}

impl Moves {
    /// Moves a trace from where it stood to where it stands now.
    pub(super) fn trace(&mut self, trace: i64, before: &Stand, now: &Stand) {
        // Few, and most often none.
        let stood: Vec<[i64; 4]> = before.places(trace).collect();
        self.gone.extend(stood.iter().filter(|place| now.places(trace).all(|other| other != **place)));
        self.come.extend(now.places(trace).filter(|place| !stood.contains(place)));
    }

    /// Adds a place.
    pub(super) fn stands(&mut self, name: i64, class: i64, start: i64, trace: i64) {
        self.come.push([name, class, start, trace]);
    }

    /// Writes them.
    pub(super) fn write(mut self, tx: &Connection) -> Result<()> {
        let gone = "DELETE FROM trace_places WHERE name = ?1 AND class = ?2 AND start = ?3 AND trace = ?4";
        let come = "INSERT OR IGNORE INTO trace_places (name, class, start, trace) VALUES (?1, ?2, ?3, ?4)";
        for (places, sql) in [(&mut self.gone, gone), (&mut self.come, come)] {
            places.sort_unstable();
            let mut change = tx.prepare_cached(sql)?;
            places.iter().try_for_each(|place| change.execute(*place).map(drop))?;
        }
        Ok(())
    }
}

/// Deletes all places of traces that began before this, and the names that none is left of.
pub(super) fn forget(tx: &Connection, before: i64) -> Result<()> {
    let classes: Vec<String> = (0..=FAILED).map(|class| class.to_string()).collect();
    let places = format!(
        "DELETE FROM trace_places WHERE name IN (SELECT id FROM trace_names) AND class IN ({}) AND start < ?1",
        classes.join(", ")
    );
    tx.prepare_cached(&places)?.execute([before])?;
    let names = "DELETE FROM trace_names WHERE NOT EXISTS (SELECT 1 FROM trace_places WHERE name = id)";
    tx.prepare_cached(names)?.execute([]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_the_same_in_the_tables() {
        let conn = Connection::open_in_memory().unwrap();
        let sql = format!("SELECT {CLASS} FROM (SELECT 7 AS start, 7 + ?1 AS finish) AS traces");
        for duration in CLASSES.iter().flat_map(|from| [from - 1, *from]).chain([0, 1 << 50]) {
            let found: i64 = conn.query_one(&sql, [duration], |row| row.get(0)).unwrap();
            assert_eq!(found, class(duration), "{duration}");
        }
        assert!(classes(false, 200_000).eq(3..=5) && classes(true, 200_000).eq([FAILED]));
    }

    #[test]
    fn names_have_a_bound() {
        let conn = Connection::open_in_memory().unwrap();
        crate::traces::schema::MIGRATIONS.iter().for_each(|step| conn.execute_batch(step).unwrap());
        let mut names = Names::default();
        for n in 0..NAMES {
            let name = Name::Route(format!("/{n}").into());
            assert!(names.number(&conn, &name).unwrap().is_some());
        }
        let more = Name::Call("a".into(), "b".into());
        assert_eq!(names.number(&conn, &more).unwrap(), None);
        // That a name is there does not depend on who else asks.
        assert!(Names::default().number(&conn, &Name::Route("/0".into())).unwrap().is_some());
    }
}

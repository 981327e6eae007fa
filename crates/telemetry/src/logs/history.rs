//! The lines that are kept, asked for: first which they are, by their keys, then what they say, a few at a time.

use std::sync::Arc;

use madang_store::Error;
use madang_wire::log::LogLine;

use super::kept::{
    filter::Wanted,
    find::{self, FIRST, Found, Key, LAST},
    shelves::Shelf,
};
use crate::archive::Archive;

/// How many lines are read at once.
const PAGE: usize = 200;

/// The lines of an archive up to a row.
pub(super) struct History<'a> {
    pub(super) archive: &'a Archive,
    pub(super) wanted: Arc<Wanted>,
    pub(super) up_to: i64,
}

/// Where a reader of all lines is.
pub(super) enum Cursor {
    /// At a line.
    Rows(Key),
    /// At one of the keys of a shelf, before the shelves that are newer, the oldest of them last.
    Words { shelves: Vec<Shelf>, keys: std::vec::IntoIter<Key> },
}

// === impl History ===

impl History<'_> {
    /// The keys of the last lines that are wanted, in the order of time.
    pub(super) async fn last(&self, most: usize) -> Result<Vec<Key>, Error> {
        let mut keys = if self.indexed() {
            self.searched(most).await?
        } else if self.wanted.filter.units.is_empty() || self.wanted.filter.trace.is_some() {
            self.before(None, most).await?
        } else {
            let mut keys = Vec::new();
            for unit in &self.wanted.filter.units {
                keys.extend(self.before(Some(unit.to_string()), most).await?);
            }
            keys
        };
        keys.sort_unstable();
        keys.dedup();
        keys.drain(..keys.len().saturating_sub(most));
        Ok(keys)
    }

    /// What these lines say.
    pub(super) async fn lines(&self, keys: &[Key]) -> Result<Vec<LogLine>, Error> {
        let keys = keys.to_vec();
        self.archive.read(move |conn| find::lines(conn, &keys)).await
    }

    /// From where all lines that are wanted are read.
    pub(super) async fn begin(&self) -> Result<Cursor, Error> {
        match self.indexed() {
            true => Ok(Cursor::Words { shelves: self.shelves().await?, keys: Vec::new().into_iter() }),
            false => Ok(Cursor::Rows(FIRST)),
        }
    }

    /// The next of all lines that are wanted, in the order of time or, where the index of words leads to them, of their
    /// arrival; and from where to go on.
    pub(super) async fn next(&self, from: Cursor) -> Result<(Vec<LogLine>, Option<Cursor>), Error> {
        match from {
            Cursor::Rows(key) => {
                let found = self.some(None, key, false, PAGE).await?;
                Ok((self.lines(&found.keys).await?, found.next.map(Cursor::Rows)))
            }
            Cursor::Words { mut shelves, mut keys } => {
                let some: Vec<Key> = keys.by_ref().take(PAGE).collect();
                if some.is_empty() {
                    let Some(oldest) = shelves.pop() else { return Ok((Vec::new(), None)) };
                    keys = self.in_shelf(oldest, usize::MAX, false).await?.into_iter();
                }
                Ok((self.lines(&some).await?, Some(Cursor::Words { shelves, keys })))
            }
        }
    }

    /// Whether the index of words leads to the lines.
    fn indexed(&self) -> bool {
        self.wanted.filter.trace.is_none() && self.wanted.searches()
    }

    async fn before(&self, unit: Option<String>, most: usize) -> Result<Vec<Key>, Error> {
        let (mut keys, mut next) = (Vec::new(), Some(LAST));
        while let Some(from) = next
            && keys.len() < most
        {
            let found = self.some(unit.clone(), from, true, most - keys.len()).await?;
            keys.extend(found.keys);
            next = found.next;
        }
        Ok(keys)
    }

    /// Those whose words the index knows, and those of the trace that the text may name.
    async fn searched(&self, most: usize) -> Result<Vec<Key>, Error> {
        let mut keys = Vec::new();
        for shelf in self.shelves().await? {
            if keys.len() >= most {
                break;
            }
            keys.extend(self.in_shelf(shelf, most - keys.len(), true).await?);
        }
        if let Some(trace) = self.wanted.trace() {
            let mut filter = self.wanted.filter.clone();
            (filter.trace, filter.grep) = (Some(trace), None);
            let of_trace = History { wanted: Arc::new(Wanted::new(filter)), ..*self };
            keys.extend(of_trace.before(None, most).await?);
        }
        Ok(keys)
    }

    async fn shelves(&self) -> Result<Vec<Shelf>, Error> {
        let since = self.wanted.filter.since.unwrap_or(0).saturating_mul(1000);
        let until = self.wanted.filter.until.unwrap_or(u64::MAX).saturating_mul(1000).saturating_add(999);
        let mut all = self.archive.read(Shelf::all).await?;
        let time = |at: i64| u64::try_from(at).unwrap_or(0);
        all.retain(|shelf| {
            time(shelf.newest) >= since && time(shelf.oldest) <= until && shelf.first <= self.up_to
        });
        Ok(all)
    }

    async fn in_shelf(&self, shelf: Shelf, most: usize, newest_first: bool) -> Result<Vec<Key>, Error> {
        let (wanted, up_to) = (self.wanted.clone(), self.up_to);
        let how = (newest_first, up_to, most);
        self.archive.read(move |conn| find::in_shelf(conn, &wanted, shelf, how)).await
    }

    async fn some(
        &self,
        unit: Option<String>,
        from: Key,
        last_first: bool,
        most: usize,
    ) -> Result<Found, Error> {
        let (wanted, how) = (self.wanted.clone(), (last_first, self.up_to, most));
        self.archive.read(move |conn| find::some(conn, &wanted, unit.as_deref(), from, how)).await
    }
}

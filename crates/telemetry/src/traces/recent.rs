//! The numbers of the traces that came lately, so that what else comes of them is added to them.
//!
//! What comes later than that begins the trace anew, under another number: whoever asks for the trace gets both.

use std::collections::HashMap;

use madang_store::rusqlite::{Connection, Result};
use madang_wire::TraceId;

use super::ids;

/// How many traces are known at least, and half of how many at most.
pub(super) const GENERATION: usize = if cfg!(test) { 64 } else { 16 * 1024 };

/// What whoever writes knows of what is written.
#[derive(Default)]
pub(super) struct Recent {
    read: bool,
    next: i64,
    young: HashMap<TraceId, i64>,
    old: HashMap<TraceId, i64>,
    /// How many entries the [tail](ids) has.
    pub(super) tail: usize,
}

// === impl Recent ===

impl Recent {
    /// Looks at what is written: all of it at first, and then whether another one wrote too.
    pub(super) fn settle(&mut self, tx: &Connection) -> Result<()> {
        let last = "SELECT coalesce(max(number), 0) FROM traces";
        let last: i64 = tx.prepare_cached(last)?.query_one([], |row| row.get(0))?;
        self.next = self.next.max(last + 1);
        if !self.read {
            self.tail = ids::tail(tx)?;
            let some = "SELECT id, number FROM traces WHERE number > ?1 AND length(key) = 8";
            let mut some = tx.prepare(some)?;
            let mut rows = some.query([last - GENERATION as i64])?;
            while let Some(row) = rows.next()? {
                self.young.insert(TraceId(u128::from_be_bytes(row.get(0)?)), row.get(1)?);
            }
            self.read = true;
        }
        Ok(())
    }

    /// The number of a trace, and whether something came of it before.
    pub(super) fn number(&mut self, trace: TraceId) -> (i64, bool) {
        if let Some(number) = self.young.get(&trace).or_else(|| self.old.get(&trace)) {
            return (*number, true);
        }
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(trace, self.next);
        self.next += 1;
        (self.next - 1, false)
    }
}

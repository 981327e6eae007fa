//! What changed in how the services answer that this process calls, until the node is told of it: its breakers and its
//! ejections are nobody else's.

use std::{
    collections::VecDeque,
    time::{SystemTime, UNIX_EPOCH},
};

use madang_calls::{Changes, Directory};
use madang_wire::admin::Event;

/// How many wait at most; the oldest make room.
const WAITING: usize = 256;

/// The changes of the services of a process.
pub(crate) struct Seen {
    directories: Vec<(Directory, Changes)>,
    waiting: VecDeque<Event>,
    dropped: u64,
}

// === impl Seen ===

impl Seen {
    pub(crate) fn of(directories: impl IntoIterator<Item = Directory>) -> Self {
        let directories = directories.into_iter().map(|directory| (directory, Changes::default()));
        Self { directories: directories.collect(), waiting: VecDeque::new(), dropped: 0 }
    }

    /// Sees what is another than at the last look.
    pub(crate) fn look(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let changed = self
            .directories
            .iter_mut()
            .flat_map(|(directory, changes)| changes.look(&directory.health(), now));
        self.waiting.extend(changed);
        while self.waiting.len() > WAITING {
            self.waiting.pop_front();
            self.dropped += 1;
        }
    }

    /// What is to be told, and how many more there were.
    pub(crate) fn waiting(&self) -> (Vec<Event>, u64) {
        (self.waiting.iter().cloned().collect(), self.dropped)
    }

    /// So many are told, with how many more there were.
    pub(crate) fn told(&mut self, events: usize, dropped: u64) {
        self.waiting.drain(..events);
        self.dropped -= dropped;
    }
}

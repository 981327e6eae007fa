//! The lines that instances send by OTLP, on their way into the archive and to whoever follows.

use std::collections::{HashMap, VecDeque};

use madang_wire::log::LogLine;
use tokio::sync::broadcast;

use super::{
    budget::Budget,
    collect::MOST,
    entry::{Entry, LogRecord, now},
};

/// How many wait to be written at most, and how many bytes they have together.
const WAITING: usize = 8192;
const HELD: usize = 16 << 20;

/// How many instances have a budget of their own; what is known of them is forgotten beyond.
const INSTANCES: usize = 1024;

/// How far whoever follows may fall behind.
const BEHIND: usize = 1024;

/// What was sent, numbered in the order in which it came.
pub(super) struct Pushed {
    per_second: u32,
    waiting: VecDeque<(u64, Entry)>,
    /// How many bytes wait.
    held: usize,
    last: u64,
    budgets: HashMap<(String, String), Budget>,
    /// There while somebody follows: it has room for all that one may fall behind.
    live: Option<broadcast::Sender<(u64, LogLine)>>,
}

// === impl Pushed ===

impl Pushed {
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second, waiting: VecDeque::new(), held: 0, last: 0, budgets: HashMap::new(), live: None }
    }

    /// Takes lines in; gives the units of those that were too many.
    pub(super) fn push(&mut self, records: Vec<LogRecord>) -> Vec<String> {
        let now = now();
        let mut too_many = Vec::new();
        for record in records {
            if self.budgets.len() > INSTANCES {
                self.budgets.clear();
            }
            let key = (record.unit.clone(), record.instance.clone());
            let none = || Budget::new(self.per_second, now, std::time::Duration::ZERO);
            let allowed = self.budgets.entry(key).or_insert_with(none).allows(record.level, now);
            let unit = record.unit.clone();
            let entry = Entry::from(record);
            let bytes = bytes(&entry);
            if !allowed || self.waiting.len() == WAITING || self.held + bytes > HELD {
                too_many.push(unit);
                continue;
            }
            self.last += 1;
            self.held += bytes;
            if self.live.as_ref().is_some_and(|live| live.send((self.last, entry.line.clone())).is_err()) {
                self.live = None;
            }
            self.waiting.push_back((self.last, entry));
        }
        too_many
    }

    /// What is to be written next, beside so many other lines, and the number of the last of it.
    pub(super) fn next(&self, others: usize) -> (u64, Vec<Entry>) {
        let some = self.waiting.iter().take(MOST.saturating_sub(others));
        let entries: Vec<Entry> = some.map(|(_, entry)| entry.clone()).collect();
        let last = entries.len().checked_sub(1).map_or(0, |last| self.waiting[last].0);
        (last, entries)
    }

    /// What was written waits no longer.
    pub(super) fn written(&mut self, last: u64) {
        while self.waiting.front().is_some_and(|(number, _)| *number <= last) {
            self.held -= self.waiting.pop_front().map_or(0, |(_, entry)| bytes(&entry));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What comes from now on, with its numbers.
    pub(super) fn follow(&mut self) -> broadcast::Receiver<(u64, LogLine)> {
        self.live.get_or_insert_with(|| broadcast::Sender::new(BEHIND)).subscribe()
    }

    /// The number of the last that came.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The number of the last that is written or does not wait.
    pub(super) fn settled(&self) -> u64 {
        self.waiting.front().map_or(self.last, |(number, _)| number - 1)
    }
}

/// About how much memory a line takes, in bytes.
fn bytes(Entry { line, .. }: &Entry) -> usize {
    let fields = serde_json::to_string(&line.fields).map_or(0, |text| text.len());
    line.line.len() + fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_to_fall_behind_is_kept_for_those_who_follow() {
        let line = |text: &str| LogRecord {
            at: 0,
            unit: "users".to_owned(),
            instance: "users-1".to_owned(),
            release: None,
            level: None,
            trace_id: None,
            span_id: None,
            body: text.to_owned(),
            fields: serde_json::Map::new(),
        };
        let mut pushed = Pushed::new(1000);
        pushed.push(vec![line("nobody follows")]);
        assert!(pushed.live.is_none());
        let (mut one, mut other) = (pushed.follow(), pushed.follow());
        pushed.push(vec![line("both follow")]);
        for following in [&mut one, &mut other] {
            let (number, line) = following.try_recv().unwrap();
            assert_eq!((number, line.line.as_str()), (2, "both follow"));
        }
        drop((one, other));
        pushed.push(vec![line("nobody follows any more")]);
        assert!(pushed.live.is_none());
        let mut again = pushed.follow();
        pushed.push(vec![line("one follows again")]);
        assert_eq!(again.try_recv().unwrap().0, 4);
    }
}

//! What waits to be written, within a bound, and the rule by which it is dropped.
//!
//! The bound is in units: a span has one for each KiB that it takes, and one at least.
//!
//! What failed or was slow is kept before all else: it takes the place of an ordinary span where there is no room, and
//! is itself dropped only if there is nothing but such. Of the ordinary spans those of a trace in which something failed
//! or was slow are written, if they wait at the same time, and of the rest as many whole traces as the budget allows.
//! Which these are depends on nothing but the trace's id, so that the spans of one trace are mostly kept together, also
//! over several commits.

use std::collections::{HashSet, VecDeque};

use madang_wire::{TraceId, trace::NotKept};

/// Items of traces, in the order in which they came.
pub(super) struct Queue<T> {
    most: usize,
    held: usize,
    urgent: VecDeque<(TraceId, T)>,
    ordinary: VecDeque<(TraceId, usize, T)>,
    pub(super) not_kept: NotKept,
}

// === impl Queue ===

impl<T> Queue<T> {
    pub(super) fn new(most: usize) -> Self {
        let (urgent, ordinary) = Default::default();
        Self { most, held: 0, urgent, ordinary, not_kept: NotKept::default() }
    }

    /// Adds an item of so many units, which is only made if there is room for it.
    pub(super) fn push(&mut self, trace: TraceId, urgent: bool, units: usize, item: impl FnOnce() -> T) {
        while urgent && self.held + units > self.most {
            let Some((_, freed, _)) = self.ordinary.pop_front() else { break };
            self.held -= freed;
            self.not_kept.sampled += 1;
        }
        match (urgent, self.held + units > self.most) {
            (true, true) => return self.not_kept.overflow += 1,
            (false, true) => return self.not_kept.sampled += 1,
            (true, false) => self.urgent.push_back((trace, item())),
            (false, false) => self.ordinary.push_back((trace, units, item())),
        }
        self.held += units;
    }

    /// The units of all that waits.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Takes all that is to be written, with so many ordinary items of ordinary traces at most; and
    /// says how many of these it took. Nothing waits then.
    pub(super) fn take(&mut self, budget: usize) -> (Vec<T>, usize) {
        self.held = 0;
        let urgent: HashSet<TraceId> = self.urgent.iter().map(|(trace, _)| *trace).collect();
        let mut taken: Vec<T> = self.urgent.drain(..).map(|(_, item)| item).collect();
        let others = self.ordinary.iter().filter(|(trace, ..)| !urgent.contains(trace));
        let mut lots: Vec<u64> = others.map(|(trace, ..)| trace.lot()).collect();
        // The first trace that does not fit, and with it all after it: a later one may be small enough, but would be
        // none the fairer for it.
        let beyond = (budget < lots.len()).then(|| *lots.select_nth_unstable(budget).1);
        let mut used = 0;
        for (trace, _, item) in self.ordinary.drain(..) {
            if urgent.contains(&trace) {
                taken.push(item);
            } else if beyond.is_none_or(|beyond| trace.lot() < beyond) {
                used += 1;
                taken.push(item);
            } else {
                self.not_kept.sampled += 1;
            }
        }
        (taken, used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(most: usize, items: impl IntoIterator<Item = (u128, bool)>) -> Queue<u128> {
        let mut queue = Queue::new(most);
        items.into_iter().for_each(|(trace, urgent)| queue.push(TraceId(trace), urgent, 1, || trace));
        queue
    }

    fn counts(queue: &Queue<u128>) -> (u64, u64) {
        (queue.not_kept.sampled, queue.not_kept.overflow)
    }

    #[test]
    fn what_failed_takes_the_place_of_what_did_not() {
        let mut full = queue(3, [(1, false), (2, false), (3, true), (4, true), (5, false)]);
        assert_eq!(counts(&full), (2, 0), "1 made room for 4, and 5 found none");
        assert_eq!(full.take(10), (vec![3, 4, 2], 1));

        let mut failures = queue(2, [(1, true), (2, true), (3, true), (4, false)]);
        assert_eq!(counts(&failures), (1, 1));
        assert_eq!(failures.take(10), (vec![1, 2], 0));
    }

    #[test]
    fn what_is_large_takes_as_much_room_as_it_needs() {
        let mut queue = Queue::new(10);
        for (trace, urgent, units) in
            [(1, false, 4), (2, false, 4), (3, false, 4), (4, true, 7), (5, true, 4)]
        {
            queue.push(TraceId(trace), urgent, units, || trace);
        }
        assert_eq!(
            counts(&queue),
            (3, 1),
            "3 found no room, 4 needed that of 1 and 2, and 5 had none to take"
        );
        assert_eq!(queue.take(10), (vec![4], 0));
        queue.push(TraceId(6), false, 10, || 6);
        assert_eq!(queue.take(10), (vec![6], 1), "what was taken leaves its room");
    }

    #[test]
    fn a_failed_trace_is_whole_and_costs_the_others_nothing() {
        let mut mixed = queue(100, [(7, false), (7, false), (7, true), (8, false)]);
        assert_eq!(mixed.take(1), (vec![7, 7, 7, 8], 1));
        assert_eq!(counts(&mixed), (0, 0));
    }

    #[test]
    fn of_the_rest_whole_traces_are_sampled_and_the_same_each_time() {
        let flood = || (0..1000).flat_map(|trace| [(trace, false), (trace, false)]);
        let mut first = queue(4000, flood());
        let (kept, used) = first.take(100);
        assert_eq!((kept.len(), used), (100, 100));
        assert!(kept.chunks(2).all(|pair| pair[0] == pair[1]), "both spans of each");
        assert_eq!(counts(&first), (1900, 0));
        let (fewer, used) = queue(4000, flood()).take(99);
        assert_eq!((fewer.len(), used), (98, 98), "none is kept in half");
        assert!(fewer.chunks(2).all(|pair| pair[0] == pair[1] && kept.contains(&pair[0])));
        assert_eq!(queue(4000, flood()).take(100).0, kept);
        // No part of the ids is preferred.
        let low = kept.iter().filter(|trace| **trace < 500).count();
        assert!((20..80).contains(&low), "{low} of 100");
    }
}

//! Spans that wait to be sent, within a bound, and the rule by which they are dropped.
//!
//! What failed or was slow comes before all else: it takes the place of ordinary spans where there is no room. Of the
//! rest those are kept whose traces come first in an order that hangs on their ids alone ([`TraceId::lot`]), so that
//! other processes, and the node, keep the same ones.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use madang_wire::TraceId;

use super::{source::Source, span::Span};

/// What one process did for one request, or some of it.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) source: Arc<Source>,
    pub(crate) trace_id: u128,
    pub(crate) flags: u8,
    pub(crate) spans: Vec<Span>,
}

/// Spans that wait to be sent.
#[derive(Debug)]
pub(crate) struct Queue {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    urgent: VecDeque<Group>,
    /// By the place of the trace among the others, and then in the order in which they came.
    ordinary: BTreeMap<(u64, u64), Group>,
    came: u64,
    spans: usize,
    dropped: u64,
}

// === impl Queue ===

impl Queue {
    /// A queue of so many spans at most.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, state: Mutex::default() }
    }

    /// Adds what was done for a request; by the rule something makes room where there is none.
    pub(crate) fn push(&self, group: Group) {
        let mut state = self.state();
        state.spans += group.spans.len();
        state.came += 1;
        if group.spans.iter().any(Span::is_urgent) {
            state.urgent.push_back(group);
        } else {
            let place = (TraceId(group.trace_id).lot(), state.came);
            state.ordinary.insert(place, group);
        }
        while state.spans > self.most {
            let last = state.ordinary.pop_last().map(|(_, group)| group);
            let Some(group) = last.or_else(|| state.urgent.pop_back()) else { return };
            state.spans -= group.spans.len();
            state.dropped += group.spans.len() as u64;
        }
    }

    /// Takes what was done for some requests: about so many spans, the urgent ones first.
    pub(crate) fn take(&self, spans: usize) -> Vec<Group> {
        let mut state = self.state();
        let (mut taken, mut count) = (Vec::new(), 0);
        while count < spans {
            let next = state.urgent.pop_front().or_else(|| Some(state.ordinary.pop_first()?.1));
            let Some(group) = next else { break };
            count += group.spans.len();
            taken.push(group);
        }
        state.spans -= count;
        taken
    }

    /// How many spans were dropped since the last time.
    pub(crate) fn dropped(&self) -> u64 {
        mem::take(&mut self.state().dropped)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::span::Kind;

    fn group(trace_id: u128, spans: usize, failed: bool) -> Group {
        let span = Span {
            id: 1,
            parent: None,
            name: "span".into(),
            kind: Kind::Server,
            start: 0,
            duration: Duration::ZERO,
            failed: failed.then_some("failed".into()),
            attributes: Vec::new(),
            exception: None,
        };
        Group { source: Source::new("users", None, None), trace_id, flags: 1, spans: vec![span; spans] }
    }

    fn traces(queue: &Queue) -> Vec<u128> {
        queue.take(usize::MAX).iter().map(|group| group.trace_id).collect()
    }

    #[test]
    fn what_failed_takes_the_place_of_what_did_not_and_is_sent_first() {
        let queue = Queue::new(100);
        queue.push(group(1, 40, false));
        queue.push(group(2, 40, true));
        queue.push(group(3, 40, true));
        assert_eq!(queue.dropped(), 40);
        queue.push(group(4, 21, true));
        assert_eq!((queue.dropped(), queue.dropped()), (21, 0), "there is nothing ordinary to make room");
        assert_eq!(traces(&queue), [2, 3]);
        assert_eq!(traces(&queue), [0; 0]);
    }

    #[test]
    fn a_flood_is_sampled_by_the_traces_and_bounded() {
        let flood = || {
            let queue = Queue::new(1000);
            (1..=10_000).for_each(|trace| queue.push(group(trace, 2, false)));
            queue
        };
        let (first, second) = (flood(), flood());
        let dropped = first.dropped();
        let kept = traces(&first);
        assert_eq!((kept.len(), dropped), (500, 19_000));
        assert_eq!(traces(&second), kept, "another process keeps the same");
        let early = kept.iter().filter(|trace| **trace <= 5000).count();
        assert!((200..300).contains(&early), "whenever they come: {early}");
    }
}

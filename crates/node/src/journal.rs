//! What happened lately and what happens: one stream for whoever looks on.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use madang_wire::admin::Event;
use tokio::sync::broadcast;

/// How many events are kept for readers who come later, and how far a slow reader may fall behind.
const KEPT: usize = 1024;

/// Events in order, the last of them kept.
pub(crate) struct Journal {
    recent: Mutex<VecDeque<Event>>,
    live: broadcast::Sender<Event>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self { recent: Mutex::default(), live: broadcast::Sender::new(KEPT) }
    }

    pub(crate) fn record(&self, event: Event) {
        let mut recent = self.recent();
        if recent.len() == KEPT {
            recent.pop_front();
        }
        recent.push_back(event.clone());
        // Sent under the lock, so that a reader who comes now sees it once: here or there.
        let _ = self.live.send(event);
    }

    /// What happened lately, and everything from then on.
    pub(crate) fn read(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let recent = self.recent();
        (recent.iter().cloned().collect(), self.live.subscribe())
    }

    fn recent(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use madang_wire::admin::EventKind;

    use super::*;

    fn event(at: u64) -> Event {
        Event { at, unit: "users".into(), instance: None, kind: EventKind::Ready, message: String::new() }
    }

    #[test]
    fn a_reader_sees_each_event_once_and_only_the_last_are_kept() {
        let journal = Journal::new();
        for at in 0..KEPT as u64 + 3 {
            journal.record(event(at));
        }
        let (recent, mut live) = journal.read();
        assert_eq!(recent.len(), KEPT);
        assert_eq!(recent[0].at, 3);
        journal.record(event(9_999));
        assert_eq!(live.try_recv().unwrap().at, 9_999);
        assert!(live.try_recv().is_err());
    }
}

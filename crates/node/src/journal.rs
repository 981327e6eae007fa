//! What happened lately and what happens: one stream for whoever looks on. All of it is kept over restarts.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use madang_telemetry::Annotations;
use madang_wire::admin::Event;
use tokio::sync::broadcast;

/// How many events are kept for readers who come later, and how far a slow reader may fall behind.
const KEPT: usize = 1024;

/// Events in order, the last of them kept.
pub(crate) struct Journal {
    annotations: Annotations,
    kept: Mutex<Kept>,
}

struct Kept {
    recent: VecDeque<Event>,
    /// Gone once the journal is closed.
    live: Option<broadcast::Sender<Event>>,
}

impl Journal {
    pub(crate) fn new(annotations: Annotations) -> Self {
        let kept = Kept { recent: VecDeque::new(), live: Some(broadcast::Sender::new(KEPT)) };
        Self { annotations, kept: Mutex::new(kept) }
    }

    /// One of its own in a folder.
    #[cfg(test)]
    pub(crate) async fn kept_in(folder: &std::path::Path) -> Self {
        let config = madang_telemetry::ArchiveConfig::default();
        let archive = madang_telemetry::Archive::open(&folder.join("telemetry.db"), config).await.unwrap();
        Self::new(Annotations::open(&archive).await.unwrap())
    }

    pub(crate) fn record(&self, event: Event) {
        let mut kept = self.kept();
        if kept.recent.len() == KEPT {
            kept.recent.pop_front();
        }
        kept.recent.push_back(event.clone());
        self.annotations.record(&event);
        // Sent under the lock, so that a reader who comes now sees it once: here or there.
        if let Some(live) = &kept.live {
            let _ = live.send(event);
        }
    }

    /// Counts events that never came here.
    pub(crate) fn missed(&self, events: u64) {
        self.annotations.missed(events);
    }

    /// How many events are not kept.
    #[cfg(test)]
    pub(crate) fn lost(&self) -> u64 {
        self.annotations.lost()
    }

    /// Nothing more will happen: readers end once they have read what is there.
    pub(crate) fn close(&self) {
        self.kept().live = None;
    }

    /// What happened lately, and everything from then on.
    pub(crate) fn read(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let kept = self.kept();
        (kept.recent.iter().cloned().collect(), kept.subscribe())
    }

    /// The number of the last event that is kept, and everything from then on.
    pub(crate) fn read_on(&self) -> (i64, broadcast::Receiver<Event>) {
        let kept = self.kept();
        (self.annotations.last(), kept.subscribe())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Kept ===

impl Kept {
    fn subscribe(&self) -> broadcast::Receiver<Event> {
        match &self.live {
            Some(live) => live.subscribe(),
            None => broadcast::Sender::new(1).subscribe(),
        }
    }
}

#[cfg(test)]
mod tests {
    use madang_wire::admin::EventKind;

    use super::*;

    fn event(at: u64) -> Event {
        Event {
            at,
            unit: "users".into(),
            instance: None,
            release: None,
            kind: EventKind::Ready,
            message: String::new(),
        }
    }

    #[tokio::test]
    async fn a_reader_sees_each_event_once_and_only_the_last_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::kept_in(folder.path()).await;
        for at in 0..KEPT as u64 + 3 {
            journal.record(event(at));
        }
        let (recent, mut live) = journal.read();
        assert_eq!(journal.read_on().0, KEPT as i64 + 3);
        assert_eq!(recent.len(), KEPT);
        assert_eq!(recent[0].at, 3);
        journal.record(event(9_999));
        assert_eq!(live.try_recv().unwrap().at, 9_999);
        assert!(live.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_reader_of_a_closed_journal_reads_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::kept_in(folder.path()).await;
        let (_, mut live) = journal.read();
        journal.record(event(1));
        journal.close();
        assert_eq!(live.recv().await.unwrap().at, 1);
        assert!(live.recv().await.is_err());
        let (recent, mut live) = journal.read();
        assert_eq!(recent.len(), 1);
        assert!(live.recv().await.is_err());
    }
}

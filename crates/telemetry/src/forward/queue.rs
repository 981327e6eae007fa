//! What waits to be forwarded, in the order in which it came. Where it is too much the oldest makes room.

use std::collections::VecDeque;

use super::Item;
use crate::otlp::Signal;

/// Items with the bytes that they take.
pub(super) struct Queue {
    most: usize,
    held: usize,
    items: VecDeque<(Item, usize)>,
}

// === impl Queue ===

impl Queue {
    pub(super) fn new(most: usize) -> Self {
        Self { most, held: 0, items: VecDeque::new() }
    }

    /// Adds an item, and says how many spans, records or data points were dropped for it.
    pub(super) fn push(&mut self, item: Item) -> u64 {
        let bytes = item.bytes();
        if bytes > self.most {
            return item.count();
        }
        let mut dropped = 0;
        while self.held + bytes > self.most {
            let Some((oldest, freed)) = self.items.pop_front() else { break };
            self.held -= freed;
            dropped += oldest.count();
        }
        self.held += bytes;
        self.items.push_back((item, bytes));
        dropped
    }

    /// Takes the oldest item and those of its signal that follow, up to about so many bytes; the others stay in their
    /// order.
    pub(super) fn take(&mut self, bytes: usize) -> Option<Vec<Item>> {
        let (first, size) = self.items.pop_front()?;
        let (signal, mut taken) = (first.signal(), size);
        let (mut items, mut others) = (vec![first], VecDeque::new());
        while taken < bytes
            && let Some((item, size)) = self.items.pop_front()
        {
            if item.signal() == signal {
                taken += size;
                items.push(item);
            } else {
                others.push_back((item, size));
            }
        }
        while let Some(other) = others.pop_back() {
            self.items.push_front(other);
        }
        self.held -= taken;
        Some(items)
    }

    /// How many spans, records and data points wait.
    pub(super) fn count(&self) -> u64 {
        self.items.iter().map(|(item, _)| item.count()).sum()
    }
}

// === impl Item ===

impl Item {
    pub(super) fn signal(&self) -> Signal {
        match self {
            Self::Spans(_) => Signal::Traces,
            Self::Logs(_) => Signal::Logs,
            Self::Metrics(_) => Signal::Metrics,
        }
    }
}

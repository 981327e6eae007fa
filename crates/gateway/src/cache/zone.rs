//! What is kept of one route to one service, counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use madang_wire::{CacheUse, cache::CachedRoute};

/// The answers over one route of one service. Two of them never share an answer.
#[derive(Debug, Default)]
pub(crate) struct Zone {
    /// What tells it from the others, also over a change of the manifest.
    pub(super) id: String,
    pub(super) route: String,
    pub(super) service: String,
    uses: [AtomicU64; 4],
    pub(super) entries: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) purged: AtomicU64,
    pub(super) left_out: AtomicU64,
}

// === impl Zone ===

impl Zone {
    pub(super) fn new(id: &str, route: &str, service: &str) -> Self {
        Self { id: id.to_owned(), route: route.to_owned(), service: service.to_owned(), ..Self::default() }
    }

    pub(super) fn count(&self, used: CacheUse) {
        self.uses[used as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn stats(&self) -> CachedRoute {
        let used = |used: CacheUse| self.uses[used as usize].load(Relaxed);
        CachedRoute {
            route: self.route.clone(),
            service: self.service.clone(),
            entries: self.entries.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            hits: used(CacheUse::Hit),
            stale: used(CacheUse::Stale),
            revalidated: used(CacheUse::Revalidated),
            misses: used(CacheUse::Miss),
            evicted: self.evicted.load(Relaxed),
            purged: self.purged.load(Relaxed),
            left_out: self.left_out.load(Relaxed),
        }
    }
}

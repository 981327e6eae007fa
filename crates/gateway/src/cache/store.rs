//! The answers that are kept, in as many bytes as there may be, and no more.
//!
//! A request that finds its answer takes a lock that readers share, for as long as it takes to find it. What makes room
//! goes by second chances (CLOCK; Corbató, 1968): an answer that was given since the hand last passed stays once more, so
//! that giving one writes nothing that others read. Bytes are reserved before they are kept, also those of bodies that are
//! still on their way: the sum never exceeds what was given.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use http::HeaderMap;
use madang_wire::cache::CacheView;

use super::{entry::Entry, flights::Flights, place::Place, zone::Zone};

/// Among how many locks the answers are divided.
const SHARDS: usize = 64;

/// How many answers to one address are kept at most, told apart by `Vary` or by their routes.
const VARIANTS: usize = 64;

/// How many changes of a shard are remembered. What was asked for before them is not kept, whatever it is.
const CHANGES: usize = 256;

/// All answers that a gateway keeps.
pub(crate) struct Store {
    pub(super) hasher: RandomState,
    shards: Box<[RwLock<Shard>]>,
    pub(super) flights: Flights,
    /// How many bytes there may be, and how many there are.
    capacity: AtomicUsize,
    used: AtomicUsize,
    /// The shard that makes room next.
    hand: AtomicUsize,
    zones: Mutex<BTreeMap<String, Arc<Zone>>>,
}

/// The answers to one place, each with its number, the latest last.
type Variants = Vec<(u64, Arc<Entry>)>;

#[derive(Default)]
struct Shard {
    /// By the hash of its place.
    kept: HashMap<u64, Variants, BuildHasherDefault<Hashed>>,
    /// Each answer by its hash and number, the next to be looked at for room first; also some that are gone.
    queue: VecDeque<(u64, u64)>,
    numbered: u64,
    count: usize,
    /// How often something here has become invalid.
    changes: u64,
    /// What it was the last times, the latest last: the hash of a place, or anything.
    changed: VecDeque<Option<u64>>,
}

/// Of what is a hash already.
#[derive(Default)]
struct Hashed(u64);

/// Bytes that are reserved; given back when it is dropped.
pub(super) struct Room {
    store: Arc<Store>,
    pub(super) bytes: usize,
}

/// What of the cache is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// All of it.
    All,
    /// What is below a path, if it ends in `/**`, or else at it with any query.
    Path(String),
    /// All that came over the routes with this template.
    Route(String),
    /// All that came from this service.
    Service(String),
    /// All that has this tag.
    Tag(String),
}

// === impl Store ===

impl Store {
    pub(crate) fn new(capacity: u64) -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            flights: Flights::default(),
            capacity: AtomicUsize::new(usize::try_from(capacity).unwrap_or(usize::MAX)),
            used: AtomicUsize::new(0),
            hand: AtomicUsize::new(0),
            zones: Mutex::default(),
        }
    }

    /// From now on there may be so many bytes.
    pub(crate) fn resize(&self, capacity: u64) {
        let capacity = usize::try_from(capacity).unwrap_or(usize::MAX);
        self.capacity.store(capacity, Relaxed);
        while self.used.load(Relaxed) > capacity && self.evict() {}
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity.load(Relaxed) as u64
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed) as u64
    }

    /// That of a route to a service, which goes on counting if there is one.
    pub(super) fn zone(&self, id: &str, route: &str, service: &str) -> Arc<Zone> {
        let mut zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        zones.entry(id.to_owned()).or_insert_with(|| Arc::new(Zone::new(id, route, service))).clone()
    }

    /// Forgets the answers of all zones but these, which no route leads to any more.
    pub(crate) fn keep_zones(&self, ids: &[&str]) {
        let mut gone = false;
        self.zones.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| {
            let stays = ids.contains(&&**id);
            gone |= !stays;
            stays
        });
        if gone {
            self.remove(|entry| !ids.contains(&&*entry.zone.id));
        }
    }

    pub(crate) fn view(&self) -> CacheView {
        let zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        let routes = zones.values().map(|zone| zone.stats()).collect();
        CacheView { used: self.used(), size: self.capacity(), routes }
    }

    /// The answer to a request; the one that came last if there are several.
    pub(super) fn get(
        &self,
        hash: u64,
        place: &Place<&str>,
        zone: &Arc<Zone>,
        fields: &HeaderMap,
    ) -> Option<Arc<Entry>> {
        let shard = self.read(hash);
        let variants = shard.kept.get(&hash)?;
        variants.iter().rev().find(|(_, it)| it.is_for(zone, place, fields)).map(|(_, it)| it.clone())
    }

    /// How often something near this has become invalid: by that [`Store::put`] knows what has since.
    pub(super) fn changes(&self, hash: u64) -> u64 {
        self.read(hash).changes
    }

    /// Keeps an answer in place of those to the same requests, unless it became invalid since it was asked for. Its room is
    /// part of what it takes.
    pub(super) fn put(self: &Arc<Self>, hash: u64, entry: Entry, room: Option<Room>, changes: u64) -> bool {
        let mut room = room.unwrap_or_else(|| Room::none(self.clone()));
        if !room.grow_to(entry.size) {
            entry.zone.left_out.fetch_add(1, Relaxed);
            return false;
        }
        let mut shard = self.write(hash);
        if shard.has_changed(hash, changes) {
            return false;
        }
        // From here on it is the entry's, until that is removed.
        room.bytes -= entry.size;
        let number = shard.numbered;
        shard.numbered += 1;
        let variants = shard.kept.entry(hash).or_default();
        let mut gone: Vec<_> = variants.extract_if(.., |(_, it)| entry.replaces(it)).collect();
        if variants.len() >= VARIANTS {
            gone.push(variants.remove(0));
        }
        entry.zone.entries.fetch_add(1, Relaxed);
        entry.zone.bytes.fetch_add(entry.size as u64, Relaxed);
        variants.push((number, Arc::new(entry)));
        shard.queue.push_back((hash, number));
        shard.count = shard.count + 1 - gone.len();
        gone.iter().for_each(|(_, it)| self.is_gone(it));
        shard.tidy();
        true
    }

    /// Removes one answer, if it is still there.
    pub(super) fn forget(&self, hash: u64, entry: &Arc<Entry>) {
        let mut shard = self.write(hash);
        let Some(variants) = shard.kept.get_mut(&hash) else { return };
        let before = variants.len();
        variants.retain(|(_, it)| !Arc::ptr_eq(it, entry));
        let gone = variants.len() < before;
        if variants.is_empty() {
            shard.kept.remove(&hash);
        }
        if gone {
            shard.count -= 1;
            self.is_gone(entry);
        }
        shard.tidy();
    }

    /// Whatever is there has become invalid.
    pub(super) fn invalidate(&self, place: &Place<&str>) {
        let hash = place.hash(&self.hasher);
        let mut shard = self.write(hash);
        shard.change(Some(hash));
        let Some(mut variants) = shard.kept.remove(&hash) else { return };
        let gone: Vec<_> = variants.extract_if(.., |(_, it)| it.place.is(place)).collect();
        if !variants.is_empty() {
            shard.kept.insert(hash, variants);
        }
        shard.count -= gone.len();
        for (_, entry) in &gone {
            entry.zone.purged.fetch_add(1, Relaxed);
            self.is_gone(entry);
        }
        shard.tidy();
    }

    /// Removes what is meant; says how many answers that were.
    pub(crate) fn purge(&self, purge: &Purge) -> u64 {
        self.remove(|entry| purge.means(entry))
    }

    /// All that has one of these tags and was asked for by this host (RFC 9875, section 3).
    pub(super) fn invalidate_groups(&self, host: &str, groups: &[Box<str>]) {
        self.remove(|entry| &*entry.place.host == host && entry.tags.iter().any(|tag| groups.contains(tag)));
    }

    fn remove(&self, is_meant: impl Fn(&Entry) -> bool) -> u64 {
        let mut count = 0;
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            // What is on its way may be meant too.
            shard.change(None);
            let before = count;
            shard.kept.retain(|_, variants| {
                variants.retain(|(_, entry)| {
                    let gone = is_meant(entry);
                    if gone {
                        count += 1;
                        entry.zone.purged.fetch_add(1, Relaxed);
                        self.is_gone(entry);
                    }
                    !gone
                });
                !variants.is_empty()
            });
            shard.count -= (count - before) as usize;
            shard.tidy();
        }
        count
    }

    /// Takes so many bytes, and makes room for them if there is none. Nothing if there cannot be.
    pub(super) fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let mut room = Room::none(self.clone());
        room.grow_to(bytes).then_some(room)
    }

    fn take(&self, bytes: usize) -> bool {
        loop {
            let used = self.used.load(Relaxed);
            let capacity = self.capacity.load(Relaxed);
            if bytes > capacity {
                return false;
            }
            if used + bytes > capacity {
                if !self.evict() {
                    return false;
                }
            } else if self.used.compare_exchange_weak(used, used + bytes, Relaxed, Relaxed).is_ok() {
                return true;
            }
        }
    }

    /// Removes the answer whose turn it is. Whether there was one.
    fn evict(&self) -> bool {
        for _ in 0..2 * SHARDS {
            let at = self.hand.fetch_add(1, Relaxed) % SHARDS;
            let evicted = self.shards[at].write().unwrap_or_else(PoisonError::into_inner).evict();
            if let Some(entry) = evicted {
                entry.zone.evicted.fetch_add(1, Relaxed);
                self.is_gone(&entry);
                return true;
            }
        }
        false
    }

    fn is_gone(&self, entry: &Entry) {
        self.used.fetch_sub(entry.size, Relaxed);
        entry.zone.entries.fetch_sub(1, Relaxed);
        entry.zone.bytes.fetch_sub(entry.size as u64, Relaxed);
    }

    fn read(&self, hash: u64) -> RwLockReadGuard<'_, Shard> {
        // Nothing under it panics half-way.
        self.shards[hash as usize % SHARDS].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, hash: u64) -> RwLockWriteGuard<'_, Shard> {
        self.shards[hash as usize % SHARDS].write().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Shard ===

impl Shard {
    fn change(&mut self, hash: Option<u64>) {
        self.changes += 1;
        if self.changed.len() == CHANGES {
            self.changed.pop_front();
        }
        self.changed.push_back(hash);
    }

    /// Whether what is there may have become invalid since there were so many changes.
    fn has_changed(&self, hash: u64, changes: u64) -> bool {
        let since = usize::try_from(self.changes - changes).unwrap_or(usize::MAX);
        let meant = |changed: &Option<u64>| changed.is_none_or(|it| it == hash);
        since > self.changed.len() || self.changed.iter().rev().take(since).any(meant)
    }

    fn evict(&mut self) -> Option<Arc<Entry>> {
        // Once round, and no more: whatever was given goes only if nothing else is left anywhere.
        for _ in 0..self.queue.len() {
            let (hash, number) = self.queue.pop_front()?;
            let Some(variants) = self.kept.get_mut(&hash) else { continue };
            let Some(at) = variants.iter().position(|(it, _)| *it == number) else { continue };
            if variants[at].1.given.swap(false, Relaxed) {
                self.queue.push_back((hash, number));
                continue;
            }
            let (_, entry) = variants.remove(at);
            self.count -= 1;
            if variants.is_empty() {
                self.kept.remove(&hash);
            }
            return Some(entry);
        }
        None
    }

    /// Takes those that are gone out of the queue once they are most of it.
    fn tidy(&mut self) {
        if self.queue.len() > 64 && self.queue.len() > 2 * self.count {
            let kept = &self.kept;
            let is_there = |hash: &u64, number: &u64| {
                kept.get(hash).is_some_and(|variants| variants.iter().any(|(it, _)| it == number))
            };
            self.queue.retain(|(hash, number)| is_there(hash, number));
        }
    }
}

// === impl Room ===

impl Room {
    fn none(store: Arc<Store>) -> Self {
        Self { store, bytes: 0 }
    }

    /// Whether there is room for so many in all.
    pub(super) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let taken = more == 0 || self.store.take(more);
        if taken {
            self.bytes += more;
        }
        taken
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.store.used.fetch_sub(self.bytes, Relaxed);
    }
}

// === impl Purge ===

impl Purge {
    fn means(&self, entry: &Entry) -> bool {
        let path = entry.place.path.split('?').next().unwrap_or_default();
        match self {
            Self::All => true,
            Self::Path(wanted) => match wanted.strip_suffix("/**") {
                Some(folder) => {
                    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                }
                None => path == wanted || *entry.place.path == **wanted,
            },
            Self::Route(route) => entry.zone.route == *route,
            Self::Service(service) => entry.zone.service == *service,
            Self::Tag(tag) => entry.tags.iter().any(|it| **it == **tag),
        }
    }
}

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests;

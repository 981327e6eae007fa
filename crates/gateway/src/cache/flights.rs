//! Who is asking for what: others that want the same wait for the answer, and do not ask too.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::store::Store;

/// How many wait for one answer at most; more go on by themselves.
const WAITING: usize = 1024;

/// How long nobody waits for answers that turned out not to be kept.
const NOT_KEPT: Duration = Duration::from_secs(5);

/// How many such addresses are remembered.
const REMEMBERED: usize = 4096;

/// What is asked for: the hash of a place, and where the zone of it lies.
type Key = (u64, usize);

/// The questions that are under way.
#[derive(Default)]
pub(super) struct Flights(Mutex<Known>);

#[derive(Default)]
struct Known {
    under_way: HashMap<Key, Arc<watch::Sender<()>>>,
    not_kept: HashMap<Key, Instant>,
}

/// What a request does that found nothing.
pub(super) enum Turn {
    /// It asks, and others wait.
    Leads(Lead),
    /// It waits until nobody sends any more.
    Waits(watch::Receiver<()>),
    Alone,
}

/// A question under way. Those who wait go on when it is dropped.
pub(super) struct Lead {
    key: Key,
    store: Arc<Store>,
    _waking: Arc<watch::Sender<()>>,
}

// === impl Flights ===

impl Flights {
    pub(super) fn turn(store: &Arc<Store>, key: Key, now: Instant) -> Turn {
        let mut known = store.flights.known();
        if known.not_kept.get(&key).is_some_and(|until| now < *until) {
            return Turn::Alone;
        }
        if let Some(waking) = known.under_way.get(&key) {
            return match waking.receiver_count() < WAITING {
                true => Turn::Waits(waking.subscribe()),
                false => Turn::Alone,
            };
        }
        let waking = Arc::new(watch::channel(()).0);
        known.under_way.insert(key, waking.clone());
        Turn::Leads(Lead { key, store: store.clone(), _waking: waking })
    }

    fn remember(&self, key: Key, now: Instant) {
        let mut known = self.known();
        if known.not_kept.len() >= REMEMBERED {
            known.not_kept.retain(|_, until| now < *until);
        }
        if known.not_kept.len() < REMEMBERED {
            known.not_kept.insert(key, now + NOT_KEPT);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing under it panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Lead ===

impl Lead {
    /// Nobody waits for the next answers.
    pub(super) fn brings_nothing(self, now: Instant) {
        self.store.flights.remember(self.key, now);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.store.flights.known().under_way.remove(&self.key);
    }
}

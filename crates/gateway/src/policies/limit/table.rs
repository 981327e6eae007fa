//! How much each of many owes: a table of fixed size that all workers share without a lock.
//!
//! Whoever owes anything keeps the place; who owes nothing any more is nobody, so that a place whose debt is paid is taken
//! by the next without losing a thing. Where all places of a set are taken, newcomers share one more: a flood of ever new
//! clients throws out nobody who owes, and gets by with what one client may.
//!
//! Source of the counting: the generic cell rate algorithm (ITU-T I.371, Annex A), with the theoretical arrival time in a
//! place.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

/// How many sets there are, and of how many places; each set fills two cache lines.
const SETS: usize = 8192;
const PLACES: usize = 7;

/// What all owe under one limit.
pub(crate) struct Table {
    began: Instant,
    hasher: RandomState,
    sets: Box<[Set]>,
    /// Requests that were refused.
    refused: AtomicU64,
    /// Requests that had to share a place.
    crowded: AtomicU64,
}

#[derive(Default)]
#[repr(align(128))]
struct Set {
    places: [Place; PLACES],
    /// What those owe together for whom there is no place.
    rest: AtomicU64,
}

#[derive(Default)]
struct Place {
    /// Whose it is, by a hash that nobody outside can compute; 0 at the beginning.
    whose: AtomicU64,
    /// The time at which all is paid, in nanoseconds since the table began.
    paid: AtomicU64,
}

/// How one limit counts, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// In how long one comes back.
    pub(crate) each: u64,
    /// How many may come at once.
    pub(crate) burst: u32,
}

/// What is left to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// How many more may come now.
    pub(crate) count: u32,
    /// In how long all of them may come again.
    pub(crate) whole_in: Duration,
}

/// Where what somebody owes is kept.
#[derive(Clone, Copy)]
pub(crate) struct Account<'a>(&'a AtomicU64);

/// What was counted since the table began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) refused: u64,
    pub(crate) crowded: u64,
}

// === impl Table ===

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            hasher: RandomState::new(),
            sets: (0..SETS).map(|_| Set::default()).collect(),
            refused: AtomicU64::new(0),
            crowded: AtomicU64::new(0),
        }
    }

    #[cfg(test)]
    fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    /// A time, in nanoseconds since it began.
    pub(crate) fn at(&self, time: Instant) -> u64 {
        let since = time.saturating_duration_since(self.began);
        since.as_secs().saturating_mul(1_000_000_000).saturating_add(since.subsec_nanos().into())
    }

    /// Where what this one owes is kept.
    pub(crate) fn account(&self, whose: impl Hash, now: u64) -> Account<'_> {
        let hash = self.hasher.hash_one(whose);
        let set = &self.sets[hash as usize % SETS];
        let whose = hash | 1;
        if let Some(place) = set.places.iter().find(|place| place.whose.load(Relaxed) == whose) {
            return Account(&place.paid);
        }
        for place in &set.places {
            let before = place.whose.load(Relaxed);
            // Two who come at once may both see it free: one gets it, the other looks on.
            if place.paid.load(Relaxed) <= now
                && place.whose.compare_exchange(before, whose, Relaxed, Relaxed).is_ok()
            {
                return Account(&place.paid);
            }
        }
        self.crowded.fetch_add(1, Relaxed);
        Account(&set.rest)
    }

    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn counted(&self) -> Counted {
        Counted { refused: self.refused.load(Relaxed), crowded: self.crowded.load(Relaxed) }
    }
}

// === impl Account ===

impl Account<'_> {
    /// Takes one; or says in how long there is one.
    pub(crate) fn take(self, now: u64, pace: Pace) -> Result<Left, Duration> {
        let most = pace.each.saturating_mul(u64::from(pace.burst));
        let mut paid = self.0.load(Relaxed);
        loop {
            let owed = paid.saturating_sub(now).saturating_add(pace.each);
            if owed > most {
                return Err(Duration::from_nanos(owed - most));
            }
            match self.0.compare_exchange_weak(paid, now + owed, Relaxed, Relaxed) {
                Ok(_) => {
                    // It fits: not more than `burst`.
                    let count = ((most - owed) / pace.each) as u32;
                    return Ok(Left { count, whole_in: Duration::from_nanos(owed) });
                }
                Err(other) => paid = other,
            }
        }
    }

    /// Gives one back that was taken for nothing.
    pub(crate) fn give_back(self, pace: Pace) {
        let _ = self.0.fetch_update(Relaxed, Relaxed, |paid| Some(paid.saturating_sub(pace.each)));
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use tokio::time::advance;

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const PACE: Pace = Pace { each: SECOND, burst: 3 };

    fn take(table: &Table, whose: &str) -> Result<Left, Duration> {
        let now = table.now();
        table.account(whose, now).take(now, PACE)
    }

    fn left(count: u32, seconds: u64) -> Result<Left, Duration> {
        Ok(Left { count, whole_in: Duration::from_secs(seconds) })
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_may_come_at_once_and_comes_back_one_by_one() {
        let table = Table::new();
        assert_eq!([(); 3].map(|()| take(&table, "a")), [left(2, 1), left(1, 2), left(0, 3)]);
        assert_eq!(take(&table, "a"), Err(Duration::from_secs(1)));
        assert_eq!(take(&table, "b"), left(2, 1), "somebody else");
        advance(Duration::from_millis(400)).await;
        assert_eq!(take(&table, "a"), Err(Duration::from_millis(600)), "a refusal costs nothing");
        advance(Duration::from_millis(600)).await;
        assert_eq!(take(&table, "a"), left(0, 3));
        advance(Duration::from_secs(100)).await;
        assert_eq!(take(&table, "a"), left(2, 1), "no more than the burst is saved up");
        let now = table.now();
        table.account("a", now).give_back(PACE);
        assert_eq!(take(&table, "a"), left(2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_throws_out_nobody_who_owes_and_gains_nothing() {
        let table = Table::new();
        for _ in 0..PACE.burst {
            take(&table, "good").unwrap();
        }
        let taken = (0..4 * SETS * PLACES).filter(|n| take(&table, &format!("flood-{n}")).is_ok()).count();
        assert_eq!(take(&table, "good"), Err(Duration::from_secs(1)), "what is owed is remembered");
        let most = SETS * (PLACES + PACE.burst as usize);
        assert!(taken <= most, "{taken} of the flood got through, of {most} that there is room for");
        assert!(table.counted().crowded as usize >= 4 * SETS * PLACES - most, "and that is counted");
        // All is paid after a while, and the places are there for others.
        advance(Duration::from_secs(3)).await;
        let before = table.counted().crowded;
        assert_eq!(take(&table, "late"), left(2, 1));
        assert_eq!(table.counted().crowded, before);
    }

    #[test]
    fn workers_together_take_no_more_than_there_is() {
        let table = Arc::new(Table::new());
        let pace = Pace { each: 3600 * SECOND, burst: 1000 };
        let workers = (0..4).map(|_| {
            let table = table.clone();
            thread::spawn(move || {
                (0..1000).filter(|_| table.account("a", table.now()).take(table.now(), pace).is_ok()).count()
            })
        });
        let taken: usize = workers.collect::<Vec<_>>().into_iter().map(|worker| worker.join().unwrap()).sum();
        // Both may make a place in the first moment, of which one is never found again.
        assert!((1000..=1004).contains(&taken), "{taken}");
    }
}

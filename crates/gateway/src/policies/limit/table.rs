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
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::Duration,
};

use tokio::time::Instant;

/// How many sets there are, and of how many places; each set fills two cache lines.
const SETS: usize = 8192;
const PLACES: usize = 7;

/// Whose a place is while it changes hands, which no hash is.
const NOBODY_YET: u64 = 2;

/// What all owe under one limit.
pub(crate) struct Table {
    began: Instant,
    hasher: RandomState,
    sets: Box<[Set]>,
    /// What others are told of, if the limit is shared.
    shares: Option<Shares>,
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

/// Beside each place, what other gateways are to hear of it.
struct Shares {
    beside: Box<[Share]>,
    /// Whether anything was spent since it was looked.
    spent: AtomicBool,
}

#[derive(Default)]
struct Share {
    /// By what all gateways know whose the place is.
    name: AtomicU64,
    /// Requests of which nobody has been told.
    untold: AtomicU64,
}

/// What was taken of somebody and is not told yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spent {
    place: usize,
    /// By what all gateways know who it is.
    pub(crate) name: u64,
    pub(crate) count: u64,
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
pub(crate) struct Account<'a> {
    paid: &'a AtomicU64,
    share: Option<(&'a Share, &'a AtomicBool)>,
}

/// What was counted since the table began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) refused: u64,
    pub(crate) crowded: u64,
}

// === impl Table ===

impl Table {
    /// Of one that is shared others can be told.
    pub(crate) fn new(shared: bool) -> Self {
        let beside = || (0..SETS * PLACES).map(|_| Share::default()).collect();
        Self {
            began: Instant::now(),
            hasher: RandomState::new(),
            sets: (0..SETS).map(|_| Set::default()).collect(),
            shares: shared.then(|| Shares { beside: beside(), spent: AtomicBool::new(false) }),
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

    /// Where what this one owes is kept. Others are told of it by `name`, which is asked for only where that is so.
    pub(crate) fn account(&self, whose: impl Hash, now: u64, name: impl FnOnce() -> u64) -> Account<'_> {
        let hash = self.hasher.hash_one(whose);
        let first = hash as usize % SETS;
        let set = &self.sets[first];
        let share = |at| self.shares.as_ref().map(|it| (&it.beside[first * PLACES + at], &it.spent));
        let whose = hash | 1;
        if let Some(at) = set.places.iter().position(|place| place.whose.load(Acquire) == whose) {
            return Account { paid: &set.places[at].paid, share: share(at) };
        }
        for (at, place) in set.places.iter().enumerate() {
            let (before, share) = (place.whose.load(Relaxed), share(at));
            let is_free = place.paid.load(Relaxed) <= now
                && before != NOBODY_YET
                && share.is_none_or(|(share, _)| share.untold.load(Relaxed) == 0);
            // Two who come at once may both see it free: one gets it, the other looks on.
            let taken_as = if share.is_some() { NOBODY_YET } else { whose };
            if is_free && place.whose.compare_exchange(before, taken_as, Relaxed, Relaxed).is_ok() {
                if let Some((share, _)) = share {
                    share.name.store(name(), Relaxed);
                    place.whose.store(whose, Release);
                }
                return Account { paid: &place.paid, share };
            }
        }
        self.crowded.fetch_add(1, Relaxed);
        Account { paid: &set.rest, share: None }
    }

    /// What was spent and is not told yet, of so many clients at most; the others are there the next time.
    pub(crate) fn spent(&self, most: usize) -> Vec<Spent> {
        let Some(shares) = self.shares.as_ref().filter(|it| it.spent.swap(false, Acquire)) else {
            return Vec::new();
        };
        let spent = shares.beside.iter().enumerate().filter_map(|(place, share)| {
            let count = share.untold.load(Acquire);
            (count > 0).then(|| Spent { place, name: share.name.load(Relaxed), count })
        });
        let spent: Vec<_> = spent.take(most).collect();
        if spent.len() == most {
            shares.spent.store(true, Release);
        }
        spent
    }

    /// What is owed altogether after something was told: at this time all is paid, but for what was taken since.
    pub(crate) fn settle(&self, told: &Spent, paid: u64, pace: Pace) {
        let Some(shares) = &self.shares else { return };
        let since = shares.beside[told.place].untold.load(Relaxed).saturating_sub(told.count);
        let place = &self.sets[told.place / PLACES].places[told.place % PLACES];
        place.paid.fetch_max(paid.saturating_add(since.saturating_mul(pace.each)), Relaxed);
    }

    /// Nobody is to be told of this any more. Only then may the place be another's.
    pub(crate) fn forget(&self, told: &Spent) {
        let Some(shares) = &self.shares else { return };
        let untold = &shares.beside[told.place].untold;
        let _ = untold.fetch_update(Release, Relaxed, |untold| Some(untold.saturating_sub(told.count)));
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
        let mut paid = self.paid.load(Relaxed);
        loop {
            let owed = paid.saturating_sub(now).saturating_add(pace.each);
            if owed > most {
                return Err(Duration::from_nanos(owed - most));
            }
            match self.paid.compare_exchange_weak(paid, now + owed, Relaxed, Relaxed) {
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
        let _ = self.paid.fetch_update(Relaxed, Relaxed, |paid| Some(paid.saturating_sub(pace.each)));
    }

    /// One that was taken is not given back any more: others are told of it.
    pub(crate) fn tell(self) {
        let Some((share, spent)) = self.share else { return };
        share.untold.fetch_add(1, Release);
        // Most often it is said already, and what is only read is not fought for.
        if !spent.load(Relaxed) {
            spent.store(true, Release);
        }
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
        table.account(whose, now, || 0).take(now, PACE)
    }

    fn left(count: u32, seconds: u64) -> Result<Left, Duration> {
        Ok(Left { count, whole_in: Duration::from_secs(seconds) })
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_may_come_at_once_and_comes_back_one_by_one() {
        let table = Table::new(false);
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
        table.account("a", now, || 0).give_back(PACE);
        assert_eq!(take(&table, "a"), left(2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_throws_out_nobody_who_owes_and_gains_nothing() {
        let table = Table::new(false);
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
        let table = Arc::new(Table::new(false));
        let pace = Pace { each: 3600 * SECOND, burst: 1000 };
        let workers = (0..4).map(|_| {
            let table = table.clone();
            thread::spawn(move || {
                (0..1000)
                    .filter(|_| table.account("a", table.now(), || 0).take(table.now(), pace).is_ok())
                    .count()
            })
        });
        let taken: usize = workers.collect::<Vec<_>>().into_iter().map(|worker| worker.join().unwrap()).sum();
        // Both may make a place in the first moment, of which one is never found again.
        assert!((1000..=1004).contains(&taken), "{taken}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_spent_is_told_once_and_what_others_spent_is_owed() {
        let table = Table::new(true);
        let spend = |whose: &str, name: u64| {
            let now = table.now();
            let account = table.account(whose, now, || name);
            account.take(now, PACE).inspect(|_| account.tell())
        };
        spend("a", 7).unwrap();
        spend("a", 7).unwrap();
        spend("b", 8).unwrap();
        let mut spent = table.spent(10);
        spent.sort_by_key(|it| it.name);
        let rows: Vec<_> = spent.iter().map(|it| (it.name, it.count)).collect();
        assert_eq!(rows, [(7, 2), (8, 1)]);
        assert_eq!(table.spent(10), [], "nothing new");
        // Others have had two of "b" besides; and one more is taken here before that is heard.
        spend("b", 8).unwrap();
        table.settle(&spent[1], table.now() + 3 * SECOND, PACE);
        table.forget(&spent[1]);
        assert_eq!(spend("b", 8), Err(Duration::from_secs(2)), "three, and the one that is not told yet");
        let mut again = table.spent(10);
        again.sort_by_key(|it| it.name);
        assert_eq!(again.iter().map(|it| (it.name, it.count)).collect::<Vec<_>>(), [(7, 2), (8, 1)]);
        // Nobody owes less for what another says.
        table.settle(&spent[0], table.now(), PACE);
        assert_eq!(spend("a", 7), left(0, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_nobody_elses_before_all_of_it_is_told() {
        let table = Table::new(true);
        let whole = |name: u64| {
            let now = table.now();
            let account = table.account(name, now, || name);
            if account.take(now, PACE).is_ok() {
                account.tell();
            }
        };
        (1..=8 * SETS as u64 * PLACES as u64).for_each(whole);
        // All have paid, and none is told: whoever comes shares what is left.
        advance(Duration::from_secs(100)).await;
        let before = table.counted().crowded;
        let late = |name: u64| {
            let _ = table.account(name, table.now(), || name).take(table.now(), PACE);
        };
        let newcomers = 10 * SETS as u64 * PLACES as u64..;
        newcomers.clone().take(100).for_each(late);
        assert_eq!(table.counted().crowded - before, 100);
        let spent = table.spent(usize::MAX);
        assert_eq!(spent.len(), SETS * PLACES);
        spent.iter().for_each(|it| table.forget(it));
        newcomers.take(100).for_each(late);
        assert_eq!(table.counted().crowded - before, 100, "and then the places are there");
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_crowd_some_are_told_of_now_and_the_others_next() {
        let table = Table::new(true);
        for name in 1..=10 {
            let account = table.account(name, table.now(), || name);
            account.take(table.now(), PACE).unwrap();
            account.tell();
        }
        let mut told = Vec::new();
        loop {
            let spent = table.spent(4);
            if spent.is_empty() {
                break;
            }
            assert!(spent.len() <= 4);
            spent.iter().for_each(|it| table.forget(it));
            told.extend(spent.iter().map(|it| it.name));
        }
        told.sort_unstable();
        assert_eq!(told, (1..=10).collect::<Vec<_>>());
    }
}

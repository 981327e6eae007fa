//! Permits for calls at once, a limit that may change at any time, and a bounded queue of those who wait.
//!
//! One for each service and one for each lane that a limit is given for. A free permit costs one atomic
//! exchange; the lock is taken only where somebody waits or must. What is given up goes to whoever has waited
//! longest among those that matter most.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use madang_model::policy::{Concurrency, Limit, Priority};
use madang_wire::admin::LimitView;
use tokio::{sync::oneshot, time::Instant};

use crate::{
    Origin,
    gradient::{Gradient, Took},
};

/// One call that waits, in the word that counts those that wait and those that have a permit.
const WAITS: u64 = 1 << 32;

/// Limits calls at once.
#[derive(Default)]
pub(crate) struct Limiter {
    /// Calls that wait in the upper half, permits in use in the lower. Those that wait change only under the
    /// lock of the queue; that both share a word is what keeps a permit from being given up unnoticed.
    counts: AtomicU64,
    /// What is in force; zero before the first call.
    limit: AtomicU32,
    queue: Mutex<Queue>,
    gradient: Mutex<Gradient>,
    shed: [AtomicU64; 3],
}

/// Those who wait, by the order in which they came.
#[derive(Default)]
struct Queue {
    next: u64,
    critical: BTreeMap<u64, oneshot::Sender<Permit>>,
    normal: BTreeMap<u64, oneshot::Sender<Permit>>,
}

/// Leave to make one call; given up when it is dropped.
pub(crate) struct Permit(Arc<Limiter>);

/// A place in the queue: completes with a permit, or with none if it had to give way to a call that matters
/// more. Dropped, it hands on a permit that it got and did not take.
pub(crate) struct Turn {
    limiter: Arc<Limiter>,
    number: u64,
    permit: oneshot::Receiver<Permit>,
}

/// What a call gets that asks for a permit.
pub(crate) enum Entry {
    /// A permit.
    Admitted(Permit),
    /// A place in the queue.
    Queued(Turn),
    /// Nothing: there is no room for it.
    Shed,
}

// === impl Limiter ===

impl Limiter {
    /// Asks for a permit under this limit, which is in force from now on.
    pub(crate) fn enter(self: &Arc<Self>, limits: &Concurrency, priority: Priority) -> Entry {
        self.configure(limits.limit);
        if let Some(permit) = self.take(priority, false) {
            return Entry::Admitted(permit);
        }
        let turn = match priority {
            Priority::BestEffort => None,
            _ => match self.line_up(limits, priority) {
                Ok(turn) => turn,
                Err(permit) => return Entry::Admitted(permit),
            },
        };
        if turn.is_none() {
            self.shed(priority);
        }
        turn.map_or(Entry::Shed, Entry::Queued)
    }

    /// Counts a call that was refused or gave up waiting.
    pub(crate) fn shed(&self, priority: Priority) {
        self.shed[priority as usize].fetch_add(1, Relaxed);
    }

    /// A place in the queue, if there is one; or a permit after all.
    fn line_up(self: &Arc<Self>, limits: &Concurrency, priority: Priority) -> Result<Option<Turn>, Permit> {
        let mut queue = self.queue();
        let room = match priority {
            Priority::Critical => queue.len() < limits.queue as usize || queue.give_way(self),
            _ => {
                queue.normal.len() < limits.queue.div_ceil(2) as usize && queue.len() < limits.queue as usize
            }
        };
        let counts = |counts: u64| {
            let free = waiting(counts) == 0 && in_use(counts) < self.limit.load(Relaxed);
            (!free && room).then_some(counts + WAITS)
        };
        loop {
            // Nobody can give up a permit between this and the place in the queue, and not see it.
            if self.counts.fetch_update(Relaxed, Relaxed, counts).is_ok() {
                break;
            }
            match self.take(priority, false) {
                Some(permit) => return Err(permit),
                None if !room => return Ok(None),
                None => {}
            }
        }
        let (sender, permit) = oneshot::channel();
        let number = queue.next;
        queue.next += 1;
        queue.of(priority).insert(number, sender);
        Ok(Some(Turn { limiter: self.clone(), number, permit }))
    }

    /// A permit, if one is free and nobody waits for it, or for whom it is handed on.
    fn take(self: &Arc<Self>, priority: Priority, handed_on: bool) -> Option<Permit> {
        let limit = self.limit.load(Relaxed);
        let most = match priority {
            Priority::BestEffort => limit - limit / 5,
            Priority::Normal | Priority::Critical => limit,
        };
        let counts = |counts: u64| {
            let free = in_use(counts) < most && (handed_on || waiting(counts) == 0);
            free.then_some(counts + 1)
        };
        self.counts.fetch_update(Relaxed, Relaxed, counts).is_ok().then(|| Permit(self.clone()))
    }

    /// Hands free permits to those who wait.
    fn hand_on(self: &Arc<Self>) {
        // Dropped after the lock. There are none, because whoever waits leaves the queue before it goes.
        let mut unclaimed = Vec::new();
        let mut queue = self.queue();
        while queue.len() > 0 {
            let Some(permit) = self.take(Priority::Critical, true) else { return };
            let next = queue.critical.pop_first().or_else(|| queue.normal.pop_first());
            self.counts.fetch_sub(WAITS, Relaxed);
            unclaimed.extend(next.and_then(|(_, waiter)| waiter.send(permit).err()));
        }
    }

    /// Puts a limit in force.
    fn configure(self: &Arc<Self>, limit: Limit) {
        let now = self.limit.load(Relaxed);
        let settled = match limit {
            Limit::Fixed(limit) => now == limit.max(1),
            Limit::Adaptive { least, most } => (least.max(1)..=most.max(least).max(1)).contains(&now),
        };
        if !settled {
            let limit = match limit {
                Limit::Fixed(limit) => limit.max(1),
                Limit::Adaptive { least, most } => {
                    self.gradient.lock().unwrap_or_else(PoisonError::into_inner).limit(least, most)
                }
            };
            self.set(limit);
        }
    }

    fn set(self: &Arc<Self>, limit: u32) {
        let before = {
            // Under the lock, so that nobody lines up for what the new limit leaves free.
            let _queue = self.queue();
            self.limit.swap(limit, Relaxed)
        };
        if limit > before {
            self.hand_on();
        }
    }

    /// Learns from how long a call took, if the limit is one that adapts.
    pub(crate) fn observe(self: &Arc<Self>, limit: Limit, took: Took, now: Instant) {
        let Limit::Adaptive { least, most } = limit else { return };
        // There are so many that one more or less does not matter, where waiting would.
        let Ok(mut gradient) = self.gradient.try_lock() else { return };
        if gradient.observe(took, self.in_use(), now) {
            let limit = gradient.limit(least, most);
            drop(gradient);
            self.set(limit);
        }
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit.load(Relaxed)
    }

    pub(crate) fn in_use(&self) -> u32 {
        in_use(self.counts.load(Relaxed))
    }

    pub(crate) fn waiting(&self) -> u32 {
        waiting(self.counts.load(Relaxed))
    }

    /// What it holds and what it refused; `None` if nobody ever asked it.
    pub(crate) fn view(&self, origin: Option<&Origin>) -> Option<LimitView> {
        let [shed_best_effort, shed_normal, shed_critical] =
            self.shed.each_ref().map(|shed| shed.load(Relaxed));
        (self.limit() > 0).then(|| LimitView {
            origin: origin.map(ToString::to_string),
            limit: self.limit(),
            in_use: self.in_use(),
            queued: self.waiting(),
            shed_best_effort,
            shed_normal,
            shed_critical,
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing under it panics half-way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn in_use(counts: u64) -> u32 {
    counts as u32
}

fn waiting(counts: u64) -> u32 {
    (counts >> 32) as u32
}

// === impl Queue ===

impl Queue {
    fn len(&self) -> usize {
        self.critical.len() + self.normal.len()
    }

    fn of(&mut self, priority: Priority) -> &mut BTreeMap<u64, oneshot::Sender<Permit>> {
        match priority {
            Priority::Critical => &mut self.critical,
            Priority::Normal | Priority::BestEffort => &mut self.normal,
        }
    }

    /// Lets the last of those that matter less go, for a critical call; whether there was one.
    fn give_way(&mut self, limiter: &Limiter) -> bool {
        let Some(_last) = self.normal.pop_last() else { return false };
        limiter.counts.fetch_sub(WAITS, Relaxed);
        limiter.shed(Priority::Normal);
        true
    }
}

// === impl Permit ===

impl Drop for Permit {
    fn drop(&mut self) {
        let before = self.0.counts.fetch_sub(1, Relaxed);
        if waiting(before) > 0 {
            self.0.hand_on();
        }
    }
}

// === impl Turn ===

impl Future for Turn {
    type Output = Option<Permit>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Permit>> {
        Pin::new(&mut self.permit).poll(cx).map(Result::ok)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queue = self.limiter.queue();
        let left = queue.critical.remove(&self.number).or_else(|| queue.normal.remove(&self.number));
        if left.is_some() {
            self.limiter.counts.fetch_sub(WAITS, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicU32, time::Duration};

    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    const PRIORITIES: [Priority; 3] = [Priority::BestEffort, Priority::Normal, Priority::Critical];

    fn fixed(limit: u32, queue: u32) -> Concurrency {
        Concurrency { limit: Limit::Fixed(limit), queue, wait: Duration::from_secs(1) }
    }

    fn admitted(entry: Entry) -> Permit {
        match entry {
            Entry::Admitted(permit) => permit,
            Entry::Queued(_) => panic!("it waits"),
            Entry::Shed => panic!("it is refused"),
        }
    }

    fn queued(entry: Entry) -> Turn {
        match entry {
            Entry::Queued(turn) => turn,
            Entry::Admitted(_) => panic!("it has a permit"),
            Entry::Shed => panic!("it is refused"),
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Enter(usize),
        /// One of the calls ends.
        End(prop::sample::Index),
        /// One of those that wait leaves.
        Leave(prop::sample::Index),
        Limit(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..3_usize).prop_map(Step::Enter),
            4 => any::<prop::sample::Index>().prop_map(Step::End),
            1 => any::<prop::sample::Index>().prop_map(Step::Leave),
            1 => (1..12_u32).prop_map(Step::Limit),
        ]
    }

    proptest! {
        /// Nobody gets a permit above the limit; a free one always reaches who waits, in the right order; and
        /// nothing critical is refused while anything less waits.
        #[test]
        fn permits_go_to_whom_they_should(
            queue in 0..8_u32,
            steps in prop::collection::vec(step(), 1..200),
        ) {
            let limiter = Arc::new(Limiter::default());
            let (mut limits, mut held) = (fixed(3, queue), Vec::new());
            let mut waiting: Vec<(Priority, Turn)> = Vec::new();
            for step in steps {
                let before = limiter.in_use();
                match step {
                    Step::Enter(priority) => {
                        let priority = PRIORITIES[priority];
                        match limiter.enter(&limits, priority) {
                            Entry::Admitted(permit) => {
                                held.push(permit);
                                prop_assert!(before < limits.limit_now(priority) && waiting.is_empty());
                            }
                            Entry::Queued(turn) => waiting.push((priority, turn)),
                            Entry::Shed if priority == Priority::Critical => {
                                prop_assert_eq!(waiting.len(), limits.queue as usize);
                                prop_assert!(waiting.iter().all(|(waits, _)| *waits == Priority::Critical));
                            }
                            Entry::Shed => {}
                        }
                    }
                    Step::End(which) if !held.is_empty() => drop(held.swap_remove(which.index(held.len()))),
                    Step::Leave(which) if !waiting.is_empty() => {
                        drop(waiting.remove(which.index(waiting.len())));
                    }
                    Step::Limit(limit) => {
                        limits = fixed(limit, queue);
                        limiter.configure(limits.limit);
                    }
                    Step::End(_) | Step::Leave(_) => {}
                }
                // Who got a permit came first among those that matter as much or more.
                let mut still: Vec<(Priority, Turn)> = Vec::new();
                for (priority, mut turn) in waiting {
                    match (&mut turn).now_or_never() {
                        Some(Some(permit)) => {
                            held.push(permit);
                            prop_assert!(still.iter().all(|(other, _)| *other < priority));
                        }
                        Some(None) => prop_assert_eq!(priority, Priority::Normal, "it gave way"),
                        None => still.push((priority, turn)),
                    }
                }
                waiting = still;
                prop_assert_eq!(limiter.in_use() as usize, held.len());
                prop_assert_eq!(limiter.waiting() as usize, waiting.len());
                prop_assert!(waiting.len() <= limits.queue as usize);
                let limit = limits.limit_now(Priority::Critical);
                prop_assert!(limiter.in_use() <= before.max(limit));
                prop_assert!(waiting.is_empty() || limiter.in_use() >= limit, "a permit is free");
            }
            drop((held, waiting));
            prop_assert_eq!(limiter.counts.load(Relaxed), 0);
        }
    }

    trait LimitNow {
        fn limit_now(&self, priority: Priority) -> u32;
    }

    impl LimitNow for Concurrency {
        fn limit_now(&self, priority: Priority) -> u32 {
            match (self.limit, priority) {
                (Limit::Fixed(limit), Priority::BestEffort) => (f64::from(limit) * 0.8).ceil() as u32,
                (Limit::Fixed(limit), _) => limit,
                (Limit::Adaptive { .. }, _) => unreachable!("these tests have fixed limits"),
            }
        }
    }

    #[test]
    fn what_matters_least_is_refused_first() {
        let limiter = Arc::new(Limiter::default());
        let limits = fixed(10, 4);
        let enter = |priority| limiter.enter(&limits, priority);
        let shed = |priority| matches!(enter(priority), Entry::Shed);
        let _most: Vec<_> = (0..8).map(|_| admitted(enter(Priority::BestEffort))).collect();
        assert!(shed(Priority::BestEffort), "four fifths are in use");
        let rest = [(); 2].map(|()| admitted(enter(Priority::Normal)));
        let mut normal = [(); 2].map(|()| queued(enter(Priority::Normal)));
        assert!(shed(Priority::Normal), "half of the queue is theirs");
        let mut critical = [(); 3].map(|()| queued(enter(Priority::Critical)));
        assert!((&mut normal[1]).now_or_never().unwrap().is_none(), "the last one gave way");
        assert!(shed(Priority::BestEffort), "others wait");
        drop(rest);
        let first = critical[..2].iter_mut().map(|turn| turn.now_or_never().flatten());
        let first: Vec<_> = first.map(Option::unwrap).collect();
        assert!((&mut critical[2]).now_or_never().is_none() && (&mut normal[0]).now_or_never().is_none());
        drop(critical);
        drop(first);
        assert!((&mut normal[0]).now_or_never().unwrap().is_some());
        assert_eq!(limiter.shed.each_ref().map(|shed| shed.load(Relaxed)), [2, 2, 0]);
    }

    #[test]
    fn a_permit_that_was_handed_on_and_not_taken_goes_to_the_next() {
        let limiter = Arc::new(Limiter::default());
        let enter = || limiter.enter(&fixed(1, 4), Priority::Normal);
        let held = admitted(enter());
        let [first, mut second] = [queued(enter()), queued(enter())];
        drop(held);
        drop(first);
        assert!((&mut second).now_or_never().unwrap().is_some());
    }

    /// As many threads as this, each with so many calls at a time, on few permits, some of which leave the queue.
    fn race(limit: u32, threads: u64, calls: usize, rounds: u32) {
        const LOST: Duration = Duration::from_secs(60);
        let limiter = Arc::new(Limiter::default());
        let under_way = AtomicU32::new(0);
        let served = AtomicU32::new(0);
        let run = &|seed: u64| {
            let random = crate::random::Random::seeded(seed);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let calls = (0..calls).map(|_| async {
                for _ in 0..rounds {
                    let priority = PRIORITIES[1 + random.below(2)];
                    let permit = match limiter.enter(&fixed(limit, 1000), priority) {
                        Entry::Admitted(permit) => Some(permit),
                        Entry::Queued(turn) if random.below(4) == 0 => {
                            tokio::select! {
                                permit = turn => permit,
                                () = tokio::task::yield_now() => None,
                            }
                        }
                        Entry::Queued(turn) => tokio::time::timeout(LOST, turn).await.expect("a permit"),
                        Entry::Shed => None,
                    };
                    if let Some(permit) = permit {
                        assert!(under_way.fetch_add(1, Relaxed) < limit, "seed {seed}");
                        if random.below(2) == 0 {
                            tokio::task::yield_now().await;
                        }
                        under_way.fetch_sub(1, Relaxed);
                        drop(permit);
                        served.fetch_add(1, Relaxed);
                    }
                }
            });
            runtime.block_on(futures_util::future::join_all(calls));
        };
        std::thread::scope(|scope| {
            let threads = (1..=threads).map(|seed| scope.spawn(move || run(seed))).collect::<Vec<_>>();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        assert_eq!(limiter.counts.load(Relaxed), 0);
        assert!(served.load(Relaxed) > rounds, "{served:?}");
    }

    #[test]
    fn no_permit_is_lost_between_threads() {
        race(3, 4, 8, 2_000);
        race(1, 2, 1, 20_000);
    }

    #[test]
    fn a_permit_given_up_just_before_somebody_lines_up_is_theirs() {
        let limiter = Arc::new(Limiter::default());
        let held = admitted(limiter.enter(&fixed(1, 4), Priority::Normal));
        std::thread::scope(|scope| {
            let queue = limiter.queue();
            let other =
                scope.spawn(|| matches!(limiter.enter(&fixed(1, 4), Priority::Normal), Entry::Admitted(_)));
            // Long enough for it to find no permit and to come to the queue; if not, it finds one at once.
            std::thread::sleep(Duration::from_millis(100));
            drop(held);
            drop(queue);
            assert!(other.join().unwrap());
        });
    }
}

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

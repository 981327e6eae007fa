//! How many retries a service can bear: a share of its recent requests, and a floor for quiet times.
//!
//! One per service and shared by all workers, because a service that fails under load is pushed over by
//! retries whoever sends them (Finagle's retry budget).

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use madang_model::policy::RetryBudget as Rule;
use tokio::time::Instant;

/// The time over which requests and retries are counted, in slots of a second.
const WINDOW: usize = 10;

/// What a service's retry budget counts. How much it allows is said by whoever asks, so that a rule may change
/// while the counts stay.
pub(crate) struct RetryBudget {
    start: Instant,
    slots: [Slot; WINDOW],
}

/// One second's requests and retries, each with the second that they are of in the upper 32 bits.
#[derive(Default)]
struct Slot {
    requests: AtomicU64,
    retries: AtomicU64,
}

impl RetryBudget {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), slots: Default::default() }
    }

    /// Counts a request.
    pub(crate) fn deposit(&self, now: Instant) {
        let second = self.second(now);
        add(&self.slots[second as usize % WINDOW].requests, second, 1);
    }

    /// Takes a retry, if this rule allows one more.
    pub(crate) fn withdraw(&self, now: Instant, rule: &Rule) -> bool {
        let second = self.second(now);
        let retries = &self.slots[second as usize % WINDOW].retries;
        // Counted before it is checked, so that workers that ask at once cannot overdraw together.
        add(retries, second, 1);
        let sum = |counted: fn(&Slot) -> &AtomicU64| -> u64 {
            self.slots.iter().map(|slot| recent(counted(slot), second)).sum()
        };
        let share = sum(|slot| &slot.requests).saturating_mul(rule.percent.into()) / 100;
        let allowed = share.saturating_add(u64::from(rule.floor) * WINDOW as u64);
        let within = sum(|slot| &slot.retries) <= allowed;
        if !within {
            add(retries, second, -1);
        }
        within
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).max(Duration::ZERO).as_secs()
    }
}

fn recent(slot: &AtomicU64, now: u64) -> u64 {
    let value = slot.load(Relaxed);
    let fresh = (value >> 32) + WINDOW as u64 > now;
    if fresh { value & u64::from(u32::MAX) } else { 0 }
}

fn add(slot: &AtomicU64, second: u64, change: i64) {
    let mut value = slot.load(Relaxed);
    loop {
        let count = if value >> 32 == second { value & u64::from(u32::MAX) } else { 0 };
        let count = count.saturating_add_signed(change).min(u32::MAX.into());
        match slot.compare_exchange_weak(value, (second << 32) | count, Relaxed, Relaxed) {
            Ok(_) => return,
            Err(now) => value = now,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn withdraw_all(budget: &RetryBudget, rule: &Rule) -> usize {
        (0..100_000).take_while(|_| budget.withdraw(Instant::now(), rule)).count()
    }

    #[tokio::test(start_paused = true)]
    async fn allows_the_floor_then_a_share_of_recent_requests() {
        let (budget, rule) = (RetryBudget::new(), Rule::default());
        assert_eq!(withdraw_all(&budget, &rule), 100);
        (0..1000).for_each(|_| budget.deposit(Instant::now()));
        assert_eq!(withdraw_all(&budget, &rule), 200);
        tokio::time::advance(Duration::from_secs(WINDOW as u64)).await;
        assert_eq!(withdraw_all(&budget, &rule), 100, "what is older than the window counts no more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rule_that_changes_finds_what_was_counted() {
        let budget = RetryBudget::new();
        (0..1000).for_each(|_| budget.deposit(Instant::now()));
        assert_eq!(withdraw_all(&budget, &Rule { percent: 10, floor: 0 }), 100);
        assert_eq!(withdraw_all(&budget, &Rule { percent: 5, floor: 0 }), 0, "more than it allows is gone");
        assert_eq!(withdraw_all(&budget, &Rule { percent: 30, floor: 2 }), 220);
        assert_eq!(withdraw_all(&budget, &Rule { percent: 0, floor: 0 }), 0);
    }

    proptest! {
        /// Whatever comes when: the retries of a window are never more than its requests and the floor allow.
        #[test]
        fn no_window_sees_more_retries_than_its_rule_allows(
            percent in 0_u32..200,
            floor in 0_u32..20,
            steps in prop::collection::vec((0_u64..400, 0_usize..8, 0_usize..8), 1..150),
        ) {
            let runtime =
                tokio::runtime::Builder::new_current_thread().start_paused(true).enable_time().build();
            runtime.unwrap().block_on(async {
                let (budget, rule) = (RetryBudget::new(), Rule { percent, floor });
                let begin = Instant::now();
                let (mut requests, mut retries) = (Vec::new(), Vec::new());
                for (millis, calls, tries) in steps {
                    tokio::time::advance(Duration::from_millis(millis)).await;
                    let second = begin.elapsed().as_secs();
                    requests.extend((0..calls).map(|_| second));
                    (0..calls).for_each(|_| budget.deposit(Instant::now()));
                    retries.extend((0..tries).filter(|_| budget.withdraw(Instant::now(), &rule)).map(|_| second));
                    let recent = |of: &[u64]| of.iter().filter(|at| **at + WINDOW as u64 > second).count() as u64;
                    // What was allowed once stays allowed although the requests that allowed it grow old.
                    let allowed = requests.iter().filter(|at| **at + 2 * WINDOW as u64 > second).count() as u64
                        * u64::from(percent) / 100 + u64::from(floor) * WINDOW as u64;
                    assert!(recent(&retries) <= allowed, "{} of {allowed} at {second} s", recent(&retries));
                }
            });
        }
    }

    #[test]
    fn a_refused_retry_is_not_counted() {
        let runtime = tokio::runtime::Builder::new_current_thread().start_paused(true).enable_time().build();
        runtime.unwrap().block_on(async {
            let (budget, rule) = (RetryBudget::new(), Rule::default());
            withdraw_all(&budget, &rule);
            (0..50).for_each(|_| assert!(!budget.withdraw(Instant::now(), &rule)));
            (0..50).for_each(|_| budget.deposit(Instant::now()));
            assert_eq!(withdraw_all(&budget, &rule), 10);
        });
    }
}

//! How many retries a service can bear: a share of its recent requests, and a floor for quiet times.
//!
//! One per service and shared by all workers, because a service that fails under load is pushed over by
//! retries whoever sends them (Finagle's retry budget).

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

/// The time over which requests and retries are counted, in slots of a second.
const WINDOW: usize = 10;
/// A retry for each so many requests.
const SHARE: u64 = 5;
/// Retries per second that are always allowed.
const FLOOR: u64 = 10;

/// The retry budget of a service.
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

    /// Takes a retry, if the budget allows one more.
    pub(crate) fn withdraw(&self, now: Instant) -> bool {
        let second = self.second(now);
        let retries = &self.slots[second as usize % WINDOW].retries;
        // Counted before it is checked, so that workers that ask at once cannot overdraw together.
        add(retries, second, 1);
        let sum = |counted: fn(&Slot) -> &AtomicU64| -> u64 {
            self.slots.iter().map(|slot| recent(counted(slot), second)).sum()
        };
        let allowed = sum(|slot| &slot.requests) / SHARE + FLOOR * WINDOW as u64;
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
    use super::*;

    fn withdraw_all(budget: &RetryBudget) -> usize {
        (0..100_000).take_while(|_| budget.withdraw(Instant::now())).count()
    }

    #[tokio::test(start_paused = true)]
    async fn allows_the_floor_then_a_fifth_of_recent_requests() {
        let budget = RetryBudget::new();
        assert_eq!(withdraw_all(&budget), 100);
        (0..1000).for_each(|_| budget.deposit(Instant::now()));
        assert_eq!(withdraw_all(&budget), 200);
        tokio::time::advance(Duration::from_secs(WINDOW as u64)).await;
        assert_eq!(withdraw_all(&budget), 100, "what is older than the window counts no more");
    }

    #[test]
    fn a_refused_retry_is_not_counted() {
        let runtime = tokio::runtime::Builder::new_current_thread().start_paused(true).enable_time().build();
        runtime.unwrap().block_on(async {
            let budget = RetryBudget::new();
            withdraw_all(&budget);
            (0..50).for_each(|_| assert!(!budget.withdraw(Instant::now())));
            (0..50).for_each(|_| budget.deposit(Instant::now()));
            assert_eq!(withdraw_all(&budget), 10);
        });
    }
}

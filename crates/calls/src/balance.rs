//! Which instance a call goes to: the cheaper of two chosen at random (Mitzenmacher 2001), where the cost is
//! the peak-sensitive moving average of its latency times what it has in flight (Finagle's `PeakEwma`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{endpoint::Endpoint, random::Random};

/// The time over which an old latency loses most of its weight, in milliseconds.
const DECAY: f32 = 10_000.0;

/// What a failure or a refusal counts as at most.
const PENALTY: Duration = Duration::from_secs(1);

/// A moving average that follows a slower answer at once and a faster one slowly. The average in
/// microseconds and the time of the last answer share one word, so that no lock is needed.
#[derive(Default)]
pub(crate) struct Latency(AtomicU64);

/// Chooses among a service's instances; `avoid` only if there is no other. `None` if none may be tried now.
pub(crate) fn pick(
    endpoints: &[Arc<Endpoint>],
    avoid: Option<u64>,
    random: &Random,
    now: Instant,
) -> Option<Arc<Endpoint>> {
    let count = endpoints.len();
    if count == 0 {
        return None;
    }
    let first = random.below(count);
    if count > 1 {
        let second = (first + 1 + random.below(count - 1)) % count;
        let wanted = |endpoint: &&Arc<Endpoint>| Some(endpoint.number) != avoid && endpoint.reachable(now);
        let cheaper = [&endpoints[first], &endpoints[second]]
            .into_iter()
            .filter(wanted)
            .min_by(|a, b| a.cost(now).total_cmp(&b.cost(now)));
        if let Some(endpoint) = cheaper.filter(|endpoint| endpoint.admit(now)) {
            return Some(endpoint.clone());
        }
    }
    let around = || endpoints[first..].iter().chain(&endpoints[..first]);
    let others = around().filter(|endpoint| Some(endpoint.number) != avoid);
    let last = around().filter(|endpoint| Some(endpoint.number) == avoid);
    others.chain(last).find(|endpoint| endpoint.admit(now)).cloned()
}

// === impl Latency ===

impl Latency {
    /// What one request more would cost, when this many are in flight, at this age in milliseconds, which
    /// may wrap around.
    pub(crate) fn cost(&self, age: u32, in_flight: u32) -> f32 {
        let (average, at) = unpack(self.0.load(Relaxed));
        let load = in_flight as f32;
        if average == 0.0 {
            // Nothing is known of it: one request finds out, more wait until it has.
            return load * PENALTY.as_micros() as f32;
        }
        average * weight(age, at) * (load + 1.0)
    }

    /// Takes one answer's time into the average.
    pub(crate) fn observe(&self, took: Duration, age: u32) {
        let took = (took.as_micros() as f32).max(1.0);
        self.update(
            age,
            |average, kept| {
                if took > average { took } else { average * kept + took * (1.0 - kept) }
            },
        );
    }

    /// Takes it in that an answer was none: each counts as slower than the last, so that an instance that fails
    /// fast attracts nothing, and one that failed once is soon forgiven.
    pub(crate) fn penalize(&self, took: Duration, age: u32) {
        let took = (took.as_micros() as f32).max(1.0);
        let most = PENALTY.as_micros() as f32;
        self.update(age, |average, kept| (took.max(average * kept) * 4.0).min(most).max(took));
    }

    /// Forgets what it was.
    pub(crate) fn forget(&self) {
        self.0.store(0, Relaxed);
    }

    /// Makes the average this of itself and of how much of it is left.
    fn update(&self, age: u32, next: impl Fn(f32, f32) -> f32) {
        let mut packed = self.0.load(Relaxed);
        loop {
            let (average, at) = unpack(packed);
            let next = next(average, weight(age, at));
            match self.0.compare_exchange_weak(packed, pack(next, age), Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => packed = now,
            }
        }
    }
}

/// What is left of a value after the time from `at` to `age`.
fn weight(age: u32, at: u32) -> f32 {
    // Workers read the clock at slightly different times, so that it may seem to go back.
    let passed = (age.wrapping_sub(at) as i32).max(0) as f32;
    (-passed / DECAY).exp()
}

fn pack(average: f32, at: u32) -> u64 {
    u64::from(average.to_bits()) << 32 | u64::from(at)
}

fn unpack(packed: u64) -> (f32, u32) {
    (f32::from_bits((packed >> 32) as u32), packed as u32)
}

#[cfg(test)]
mod tests {
    use madang_model::{InstanceId, Protocol};
    use madang_wire::service;

    use super::*;

    fn endpoints(count: u16) -> Vec<Arc<Endpoint>> {
        let endpoint = |n| {
            let instance = InstanceId(format!("a-{n}").into());
            let address = ([127, 0, 0, 1], n).into();
            Endpoint::new(
                service::Endpoint { instance, address, protocol: Protocol::Http, release: None },
                None,
            )
        };
        (1..=count).map(endpoint).collect()
    }

    fn share_of_first(endpoints: &[Arc<Endpoint>], draws: usize) -> usize {
        let random = Random::seeded(11);
        let now = Instant::now();
        let first = |_: &usize| pick(endpoints, None, &random, now).unwrap().number == endpoints[0].number;
        (0..draws).filter(first).count()
    }

    #[tokio::test(start_paused = true)]
    async fn prefers_the_faster_instance() {
        let endpoints = endpoints(2);
        endpoints[0].observe(Duration::from_millis(1), Instant::now());
        endpoints[1].observe(Duration::from_millis(50), Instant::now());
        assert_eq!(share_of_first(&endpoints, 1000), 1000);
        // Until it is so busy that the slower one is cheaper.
        let load: Vec<_> = (0..60).map(|_| endpoints[0].begin()).collect();
        assert_eq!(share_of_first(&endpoints, 1000), 0);
        drop(load);
        assert_eq!(share_of_first(&endpoints, 1000), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_equals_each_gets_its_share() {
        let endpoints = endpoints(4);
        let share = share_of_first(&endpoints, 4000);
        assert!((800..1200).contains(&share), "{share}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peak_counts_at_once_and_is_forgotten_slowly() {
        let latency = Latency::default();
        latency.observe(Duration::from_millis(1), 0);
        latency.observe(Duration::from_millis(100), 10);
        assert_eq!(latency.cost(10, 0), 100_000.0);
        latency.observe(Duration::from_millis(1), 20);
        assert!(latency.cost(20, 0) > 99_000.0);
        assert!(latency.cost(20_000, 0) < 15_000.0);
    }

    #[test]
    fn a_failure_is_forgiven_sooner_than_many() {
        let latency = Latency::default();
        latency.observe(Duration::from_millis(2), 0);
        latency.penalize(Duration::from_millis(1), 0);
        assert_eq!(latency.cost(0, 0), 8_000.0);
        assert!(latency.cost(15_000, 0) < 2_000.0);
        (0..10).for_each(|_| latency.penalize(Duration::from_millis(1), 0));
        assert_eq!(latency.cost(0, 0), PENALTY.as_micros() as f32);
        latency.penalize(PENALTY * 3, 0);
        assert_eq!(latency.cost(0, 0), 3.0 * PENALTY.as_micros() as f32);
    }

    #[test]
    fn an_age_that_wraps_around_still_decays() {
        let latency = Latency::default();
        latency.observe(Duration::from_millis(100), u32::MAX - 5_000);
        assert!(latency.cost(15_000, 0) < 15_000.0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_avoided_and_the_unreachable_are_last_resorts() {
        let endpoints = endpoints(3);
        let random = Random::seeded(5);
        let pick = |avoid| pick(&endpoints, avoid, &random, Instant::now()).map(|it| it.number);
        endpoints[1].refused(Instant::now());
        let avoided = Some(endpoints[0].number);
        assert!((0..100).all(|_| pick(avoided) == Some(endpoints[2].number)));
        endpoints[2].refused(Instant::now());
        assert_eq!(pick(avoided), avoided, "the avoided one is better than none");
        endpoints[0].refused(Instant::now());
        assert_eq!(pick(None), None);
    }
}

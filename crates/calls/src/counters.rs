//! How many calls, how many failed, how long they took.

use std::time::Duration;

/// What a client counted of its calls to one service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls that are over.
    pub requests: u64,
    /// Those that were answered with 5xx, by the service or here, or would have been but for a fallback.
    pub failures: u64,
    /// Those whose caller left before the answer.
    pub abandoned: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// The time to the head of the answer.
    pub latency: Histogram,
}

/// Buckets per doubling: a bucket is at most 19 % wide.
const PER_OCTAVE: f64 = 4.0;

/// The last bucket begins at 2^27 µs, more than two minutes.
const BUCKETS: usize = 108;

/// Times in buckets whose bounds grow by the fourth root of two, from a microsecond up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    buckets: Box<[u64; BUCKETS]>,
}

// === impl Counters ===

impl Counters {
    pub(crate) fn count(&mut self, status: u16, failed: bool, attempts: u32, duration_us: u64) {
        self.requests += 1;
        self.failures += u64::from(failed);
        self.abandoned += u64::from(status == 0);
        self.retries += u64::from(attempts.saturating_sub(1));
        self.latency.count(duration_us);
    }

    /// Adds what another client counted.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failures += other.failures;
        self.abandoned += other.abandoned;
        self.retries += other.retries;
        self.latency.add(&other.latency);
    }
}

// === impl Histogram ===

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: Box::new([0; BUCKETS]) }
    }
}

impl Histogram {
    fn count(&mut self, micros: u64) {
        let bucket = (micros.max(1) as f64).log2() * PER_OCTAVE;
        self.buckets[(bucket as usize).min(BUCKETS - 1)] += 1;
    }

    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(other.buckets.iter()).for_each(|(sum, more)| *sum += more);
    }

    /// Each bucket's upper bound and its count.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        self.buckets.iter().enumerate().map(|(bucket, count)| (upper(bucket), *count))
    }

    /// The upper bound of the bucket in which this share of all times ends, such as 0.99; `None` if there are
    /// no times.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let total: u64 = self.buckets.iter().sum();
        let wanted = ((total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let reached = |count: &u64| {
            seen += count;
            seen >= wanted
        };
        self.buckets.iter().position(reached).map(upper)
    }
}

fn upper(bucket: usize) -> Duration {
    Duration::from_micros(((bucket + 1) as f64 / PER_OCTAVE).exp2().ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_at_most_a_bucket_too_high() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        (1..=10_000).for_each(|micros| histogram.count(micros));
        for (share, exact) in [(0.01, 100.0), (0.5, 5_000.0), (0.99, 9_900.0), (1.0, 10_000.0)] {
            let found = histogram.quantile(share).unwrap().as_micros() as f64;
            assert!(found >= exact && found <= exact * 1.2, "{share}: {found}");
        }
        histogram.count(u64::MAX);
        assert!(histogram.quantile(1.0).unwrap() > Duration::from_secs(100));
    }

    #[test]
    fn what_workers_counted_adds_up() {
        let mut one = Counters::default();
        one.count(200, false, 1, 10);
        one.count(502, true, 3, 20);
        let mut two = Counters::default();
        two.count(0, false, 1, 30);
        one.add(&two);
        assert_eq!((one.requests, one.failures, one.abandoned, one.retries), (3, 1, 1, 2));
        assert_eq!(one.latency.buckets().map(|(_, count)| count).sum::<u64>(), 3);
    }
}

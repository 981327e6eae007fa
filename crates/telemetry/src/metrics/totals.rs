//! What the calls of each series add up to since the node started, in the buckets that Prometheus is told.

use madang_wire::RequestRecord;

use super::series::Key;
use crate::StatusClass;

/// The upper bounds of the buckets, in microseconds: fine where a local call is, and at the limits that people set.
pub const BOUNDS_US: [u64; 15] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000,
];

/// Durations in the buckets of [`BOUNDS_US`], and beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durations {
    /// How many are in each bucket, those of the smaller ones not included; the last is for what is in no other.
    pub buckets: [u64; BOUNDS_US.len() + 1],
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

/// What the calls of one series add up to since the node started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// By the first digit of the status, with 0 for those that were not answered; each apart by whether they failed.
    pub classes: [[u64; 2]; 6],
    /// Attempts beyond the first of each call.
    pub retries: u64,
    /// The whole time of each call.
    pub durations: Durations,
    /// The part that the service took.
    pub upstream: Durations,
    /// The part spent waiting, in microseconds.
    pub parked_us: u64,
    /// The last call in each bucket of `durations`, rather one that failed: its trace, how long it took and when it
    /// ended.
    pub examples: [Option<Example>; BOUNDS_US.len() + 1],
}

/// A call by its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Example {
    /// The trace.
    pub trace_id: madang_wire::TraceId,
    /// How long it took, in microseconds.
    pub value_us: u64,
    /// When it ended, in milliseconds since 1970.
    pub at: u64,
    /// Whether it failed.
    pub failed: bool,
}

/// The totals of one series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesTotals {
    /// The caller.
    pub caller: std::sync::Arc<str>,
    /// The service.
    pub service: Option<std::sync::Arc<str>>,
    /// Its release.
    pub release: Option<std::sync::Arc<str>>,
    /// The route.
    pub route: Option<std::sync::Arc<str>>,
    /// What its calls add up to.
    pub totals: Totals,
}

/// How long one call that failed stands for its bucket, in milliseconds.
const STANDS: u64 = 60_000;

// === impl Totals ===

impl Totals {
    /// Adds those of another series.
    pub(crate) fn add(&mut self, other: &Self) {
        for (sums, more) in self.classes.iter_mut().zip(&other.classes) {
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
        self.retries += other.retries;
        self.durations.add(&other.durations);
        self.upstream.add(&other.upstream);
        self.parked_us = self.parked_us.saturating_add(other.parked_us);
        for (kept, other) in self.examples.iter_mut().zip(other.examples) {
            let rank = |example: &Example| (example.failed, example.at);
            if other.is_some_and(|other| kept.is_none_or(|kept| rank(&kept) < rank(&other))) {
                *kept = other;
            }
        }
    }

    pub(super) fn count(&mut self, record: &RequestRecord, ended: u64) {
        let failed = record.failed();
        self.classes[usize::from(StatusClass::of(record.status).digit())][usize::from(failed)] += 1;
        self.retries += u64::from(record.attempts.saturating_sub(1));
        let bucket = self.durations.count(record.duration_us);
        self.upstream.count(record.upstream_us);
        self.parked_us = self.parked_us.saturating_add(record.parked_us);
        let example = &mut self.examples[bucket];
        if failed || example.is_none_or(|old| !old.failed || old.at + STANDS < ended) {
            let (trace_id, value_us) = (record.trace_id, record.duration_us);
            *example = Some(Example { trace_id, value_us, at: ended, failed });
        }
    }
}

// === impl Durations ===

impl Durations {
    fn add(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(sum, more)| *sum += more);
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    fn count(&mut self, micros: u64) -> usize {
        let bucket = BOUNDS_US.partition_point(|bound| *bound < micros);
        self.buckets[bucket] += 1;
        self.sum_us = self.sum_us.saturating_add(micros);
        bucket
    }
}

// === impl SeriesTotals ===

impl SeriesTotals {
    pub(super) fn new(key: &Key, totals: &Totals) -> Self {
        let Key { caller, service, release, route } = key.clone();
        Self { caller, service, release, route, totals: totals.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::record;

    #[test]
    fn a_bucket_includes_its_bound() {
        let mut totals = Totals::default();
        for (duration_us, status) in [(500, 200), (501, 503), (30_000_001, 0)] {
            totals.count(&RequestRecord { duration_us, status, ..record() }, 1);
        }
        let counts = &totals.durations.buckets;
        assert_eq!((counts[0], counts[1], counts[15]), (1, 1, 1));
        assert_eq!((totals.classes[2], totals.classes[5], totals.classes[0]), ([1, 0], [0, 1], [0, 1]));
    }

    #[test]
    fn a_call_that_failed_stands_for_its_bucket_for_a_minute() {
        let mut totals = Totals::default();
        let mut shown = |status, at| {
            totals.count(&RequestRecord { duration_us: 10, status, ..record() }, at);
            totals.examples[0].unwrap().at
        };
        assert_eq!((shown(200, 1), shown(200, 2), shown(500, 3)), (1, 2, 3));
        assert_eq!((shown(200, 4), shown(500, 5)), (3, 5));
        assert_eq!(shown(200, 6 + STANDS), 6 + STANDS);
    }
}

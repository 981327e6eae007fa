//! How many calls took how long: a log-linear histogram, as HdrHistogram's (G. Tene).
//!
//! Each power of two of microseconds has sixteen buckets of the same width, so that a bucket is at most 1/16 of its
//! values wide, and its middle at most 1/32, 3.2 %, away from any of them. Below 32 µs each has its own. All
//! histograms have the same buckets: adding two up loses nothing.

use super::codec::{Reader, put};

/// Buckets for each power of two, and their number as a power of two.
const BITS: u32 = 4;
const PER_OCTAVE: u64 = 1 << BITS;
/// Longer is counted as this: 2³⁶ µs, 19 hours.
const LONGEST: u64 = (1 << 36) - 1;

/// A histogram of durations in microseconds. Only buckets with something in them take room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Histogram(Vec<(u16, u32)>);

// === impl Histogram ===

impl Histogram {
    pub(crate) fn count(&mut self, micros: u64) {
        self.add_to(bucket(micros), 1);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|&(bucket, count)| self.add_to(bucket, count));
    }

    fn add_to(&mut self, bucket: u16, count: u32) {
        match self.0.binary_search_by_key(&bucket, |&(bucket, _)| bucket) {
            Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(count),
            Err(at) => self.0.insert(at, (bucket, count)),
        }
    }

    /// The duration that this share of all did not exceed, such as 0.99, to the middle of its bucket; `None` if there
    /// are none.
    pub(crate) fn quantile(&self, share: f64) -> Option<u64> {
        let total: u64 = self.0.iter().map(|&(_, count)| u64::from(count)).sum();
        let wanted = ((total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let reached = |&&(_, count): &&(u16, u32)| {
            seen += u64::from(count);
            seen >= wanted
        };
        let (bucket, _) = self.0.iter().find(reached)?;
        let lower = lower(*bucket);
        Some(lower + (self::lower(bucket + 1) - lower) / 2)
    }

    /// The buckets with something in them: what their values are below, and how many there are.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(|&(bucket, count)| (lower(bucket + 1), u64::from(count)))
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        put(bytes, self.0.len() as u64);
        let mut before = 0;
        for &(bucket, count) in &self.0 {
            put(bytes, u64::from(bucket - before));
            put(bytes, count.into());
            before = bucket;
        }
    }

    /// Becomes what is next in these bytes; `None` if that is no histogram.
    pub(super) fn read(&mut self, bytes: &mut Reader<'_>) -> Option<()> {
        let count = usize::try_from(bytes.number()?).ok().filter(|count| *count <= usize::from(u16::MAX))?;
        self.0.clear();
        self.0.reserve(count);
        let mut bucket: u16 = 0;
        for _ in 0..count {
            bucket = bucket.checked_add(bytes.number()?.try_into().ok()?)?;
            self.0.push((bucket, bytes.number()?.try_into().ok()?));
        }
        Some(())
    }
}

/// The bucket of a duration.
pub(super) fn bucket(micros: u64) -> u16 {
    let micros = micros.min(LONGEST);
    if micros < PER_OCTAVE {
        return micros as u16;
    }
    let octave = micros.ilog2() - BITS;
    (u64::from(octave) * PER_OCTAVE + (micros >> octave)) as u16
}

/// The smallest duration of a bucket.
fn lower(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    if bucket < 2 * PER_OCTAVE {
        return bucket;
    }
    let octave = bucket / PER_OCTAVE - 1;
    (bucket % PER_OCTAVE + PER_OCTAVE) << octave
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.count(*value));
        histogram
    }

    #[test]
    fn every_duration_is_in_the_bucket_whose_bounds_are_around_it() {
        let mut last = None;
        for micros in (0..4096).chain((13..36).flat_map(|power| [(1 << power) - 1, 1 << power, 3 << power])) {
            let micros = micros.min(LONGEST);
            let bucket = bucket(micros);
            let (low, high) = (lower(bucket), lower(bucket + 1));
            assert!(low <= micros && micros < high, "{micros}: {bucket} {low} {high}");
            assert!((high - low) * 16 <= low.max(16), "{micros}: {low} to {high}");
            if micros < 4096 {
                assert!(last.is_none_or(|last| bucket == last || bucket == last + 1), "{micros}");
                last = Some(bucket);
            }
        }
        assert_eq!(of(&[u64::MAX]).quantile(1.0).map(|found| found >> 30), Some(63));
        assert_eq!(of(&[]).quantile(0.5), None);
    }

    proptest! {
        #[test]
        fn a_quantile_is_at_most_a_thirtieth_away(
            mut values in prop::collection::vec(prop_oneof![0_u64..100, 0_u64..100_000, 0_u64..10_000_000_000], 1..300),
            share in 0.0..=1.0_f64,
        ) {
            let found = of(&values).quantile(share).unwrap();
            values.sort_unstable();
            let place = ((values.len() as f64 * share).ceil() as usize).max(1) - 1;
            let exact = values[place];
            prop_assert!(found.abs_diff(exact) * 30 <= exact, "{} for {}", found, exact);
        }

        #[test]
        fn what_is_added_up_is_what_would_have_been_counted_together(
            parts in prop::collection::vec(prop::collection::vec(0_u64..10_000_000, 0..50), 0..8),
        ) {
            let mut sum = Histogram::default();
            parts.iter().rev().for_each(|part| sum.add(&of(part)));
            prop_assert_eq!(&sum, &of(&parts.concat()));
            let mut bytes = Vec::new();
            sum.encode(&mut bytes);
            let mut read = of(&[7]);
            prop_assert_eq!(read.read(&mut Reader(&bytes)), Some(()));
            prop_assert_eq!(read, sum);
        }
    }
}

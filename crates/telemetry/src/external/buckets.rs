//! Exponential histograms, as OpenTelemetry's data model has them: bounds grow by 2^(2^-scale).

use madang_wire::metrics::ExternalBucket;
use serde::{Deserialize, Serialize};

/// How many buckets are kept at most: what spreads wider is kept with wider buckets.
const MOST: usize = 40;
/// How many may be sent at once.
const SENT: usize = 2000;

/// The buckets of an exponential histogram.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Exponential {
    /// By how little the bounds grow.
    pub scale: i32,
    /// How many values are zero or less; those below zero are not told apart.
    pub zero: u64,
    /// The number of the first bucket: `i` is for more than base^i up to base^(i+1).
    pub offset: i32,
    /// How many are in each bucket from there on.
    pub counts: Vec<u64>,
}

// === impl Exponential ===

impl Exponential {
    pub(super) fn fits(&self) -> bool {
        let last = i64::from(self.offset) + self.counts.len() as i64;
        self.counts.len() <= SENT && (-10..=20).contains(&self.scale) && last <= i64::from(i32::MAX)
    }

    /// Adds another one, at the scale of the wider buckets of both.
    pub(super) fn add(&mut self, other: &Self) {
        let scale = self.scale.min(other.scale);
        self.widen(scale);
        let mut other = other.clone();
        other.widen(scale);
        self.zero = self.zero.saturating_add(other.zero);
        if !other.counts.is_empty() {
            let start = if self.counts.is_empty() { other.offset } else { self.offset.min(other.offset) };
            let end = (self.end()).max(other.end());
            // Far apart, they would take much room before they are made wider.
            if end - i64::from(start) > SENT as i64 {
                let scale = self.scale - 1;
                self.widen(scale);
                other.zero = 0;
                return self.add(&other);
            }
            let mut sum = vec![0_u64; (end - i64::from(start)) as usize];
            for part in [&*self, &other] {
                let first = (i64::from(part.offset) - i64::from(start)) as usize;
                part.counts.iter().enumerate().for_each(|(at, count)| {
                    sum[first + at] = sum[first + at].saturating_add(*count);
                });
            }
            (self.offset, self.counts) = (start, sum);
        }
        self.narrow();
    }

    /// Leaves out empty ends, and makes the buckets wider until they are few enough.
    pub(super) fn narrow(&mut self) {
        let first = self.counts.iter().position(|count| *count > 0).unwrap_or(self.counts.len());
        self.counts.drain(..first);
        self.offset = self.offset.saturating_add(first as i32);
        let used = self.counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        self.counts.truncate(used);
        while self.counts.len() > MOST {
            self.widen(self.scale - 1);
        }
    }

    fn end(&self) -> i64 {
        if self.counts.is_empty() { i64::MIN } else { i64::from(self.offset) + self.counts.len() as i64 }
    }

    /// To a scale that is no larger: two buckets become one, again and again.
    fn widen(&mut self, scale: i32) {
        let shift = (self.scale - scale).clamp(0, 31) as u32;
        if shift == 0 {
            return;
        }
        let offset = self.offset >> shift;
        let last = (i64::from(self.offset) + self.counts.len().max(1) as i64 - 1) >> shift;
        let mut wide = vec![0_u64; (last - i64::from(offset) + 1) as usize];
        for (at, count) in self.counts.iter().enumerate() {
            let place = ((i64::from(self.offset) + at as i64) >> shift) - i64::from(offset);
            wide[place as usize] += count;
        }
        if self.counts.is_empty() {
            wide.clear();
        }
        (self.scale, self.offset, self.counts) = (self.scale - shift as i32, offset, wide);
    }

    /// With the bounds of each bucket; the last has none, and nothing in it.
    pub(super) fn told(&self) -> Vec<ExternalBucket> {
        let bound = |index: i64| (index as f64 * (-f64::from(self.scale)).exp2()).exp2();
        let zero = ExternalBucket {
            le: Some(if self.counts.is_empty() { 0.0 } else { bound(self.offset.into()) }),
            count: self.zero,
        };
        let buckets = self.counts.iter().enumerate().map(|(at, &count)| {
            let le = bound(i64::from(self.offset) + at as i64 + 1);
            ExternalBucket { le: Some(le).filter(|le| le.is_finite()), count }
        });
        let mut told: Vec<_> = [zero].into_iter().chain(buckets).collect();
        if told.last().is_some_and(|last| last.le.is_some()) {
            told.push(ExternalBucket { le: None, count: 0 });
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(scale: i32, offset: i32, counts: &[u64]) -> Exponential {
        Exponential { scale, zero: 0, offset, counts: counts.to_vec() }
    }

    #[test]
    fn those_of_different_scales_add_up_at_the_wider_one() {
        // Scale 0: 1–2, 2–4, 4–8; scale 1: 2–2.8, 2.8–4, 4–5.7.
        let mut sum = of(0, 0, &[1, 2, 3]);
        sum.add(&of(1, 2, &[10, 20, 40]));
        assert_eq!(sum, of(0, 0, &[1, 32, 43]));
        sum.add(&of(0, -2, &[7]));
        assert_eq!(sum, of(0, -2, &[7, 0, 1, 32, 43]));
    }

    #[test]
    fn what_spreads_wide_is_kept_with_wider_buckets_and_loses_no_count() {
        let mut sum = of(3, 0, &[1; 160]);
        sum.narrow();
        assert!(sum.counts.len() <= MOST && sum.scale < 3, "{sum:?}");
        sum.add(&of(20, 1_000_000_000, &[5]));
        sum.add(&of(20, -1_000_000_000, &[6]));
        assert!(sum.counts.len() <= MOST);
        assert_eq!(sum.counts.iter().sum::<u64>(), 171);
    }

    #[test]
    fn bounds_are_powers_of_the_base() {
        let told = of(1, 2, &[4, 0]).told();
        let told: Vec<_> =
            told.iter().map(|bucket| (bucket.le.map(|le| (le * 100.0).round()), bucket.count)).collect();
        assert_eq!(told, [(Some(200.0), 0), (Some(283.0), 4), (Some(400.0), 0), (None, 0)]);
    }
}

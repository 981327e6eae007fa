//! What the calls of one series add up to in one interval.

use madang_wire::{
    RequestRecord, TraceId,
    metrics::{Bucket, Exemplar, Flow},
};

use super::{
    codec::{Reader, put},
    histogram::{Histogram, bucket},
};
use crate::StatusClass;

/// Classes of status, and none.
const CLASSES: usize = 6;
/// How many buckets share an exemplar: two powers of two.
const RANGE: u16 = 32;

/// What the calls of one series add up to in one interval. Times are in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Point {
    /// By the first digit of the status; 0 for those that were not answered.
    pub(crate) classes: [u64; CLASSES],
    pub(crate) errors: u64,
    pub(crate) retries: u64,
    pub(crate) duration_us: u64,
    pub(crate) upstream_us: u64,
    pub(crate) parked_us: u64,
    pub(crate) histogram: Histogram,
    /// One for each range of buckets, in their order.
    exemplars: Vec<Exemplar>,
}

// === impl Point ===

impl Point {
    /// Counts a call that ended at this time, in milliseconds since 1970.
    pub(crate) fn count(&mut self, record: &RequestRecord, ended: u64) {
        let failed = record.failed();
        self.classes[usize::from(StatusClass::of(record.status).digit())] += 1;
        self.errors += u64::from(failed);
        self.retries += u64::from(record.attempts.saturating_sub(1));
        self.duration_us = self.duration_us.saturating_add(record.duration_us);
        self.upstream_us = self.upstream_us.saturating_add(record.upstream_us);
        self.parked_us = self.parked_us.saturating_add(record.parked_us);
        self.histogram.count(record.duration_us);
        let (trace_id, value_us) = (record.trace_id, record.duration_us);
        self.example(Exemplar { trace_id, at: ended, value_us, failed });
    }

    /// Adds what another interval, or another series, adds up to.
    pub(crate) fn add(&mut self, other: &Self) {
        self.classes.iter_mut().zip(other.classes).for_each(|(sum, more)| *sum += more);
        self.errors += other.errors;
        self.retries += other.retries;
        self.duration_us = self.duration_us.saturating_add(other.duration_us);
        self.upstream_us = self.upstream_us.saturating_add(other.upstream_us);
        self.parked_us = self.parked_us.saturating_add(other.parked_us);
        self.histogram.add(&other.histogram);
        other.exemplars.iter().for_each(|exemplar| self.example(*exemplar));
    }

    pub(crate) fn requests(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// Of each range one is kept: rather one that failed, then the one whose trace is most likely to be in the sample
    /// of those that are kept.
    fn example(&mut self, new: Exemplar) {
        let range = |exemplar: &Exemplar| bucket(exemplar.value_us) / RANGE;
        let rank = |exemplar: &Exemplar| (!exemplar.failed, exemplar.trace_id.lot());
        match self.exemplars.binary_search_by_key(&range(&new), range) {
            Ok(at) if rank(&new) < rank(&self.exemplars[at]) => self.exemplars[at] = new,
            Ok(_) => {}
            Err(at) => self.exemplars.insert(at, new),
        }
    }

    /// In the words of the admin API, for an interval of so many milliseconds.
    pub(crate) fn flow(&self, window_ms: u64) -> Flow {
        let requests = self.requests();
        let mean = |sum: u64| sum.checked_div(requests);
        let ratio = |part: u64, of: f64| if of > 0.0 { part as f64 / of } else { 0.0 };
        Flow {
            requests,
            errors: self.errors,
            abandoned: self.classes[0],
            rate: ratio(requests, window_ms as f64 / 1000.0),
            error_ratio: ratio(self.errors, requests as f64),
            p50_us: self.histogram.quantile(0.5),
            p95_us: self.histogram.quantile(0.95),
            p99_us: self.histogram.quantile(0.99),
            mean_us: mean(self.duration_us),
            upstream_us: mean(self.upstream_us),
            parked_us: mean(self.parked_us),
            retries: self.retries,
        }
    }

    pub(crate) fn buckets(&self) -> Vec<Bucket> {
        self.histogram.buckets().map(|(below_us, count)| Bucket { below_us, count }).collect()
    }

    pub(crate) fn exemplars(&self) -> &[Exemplar] {
        &self.exemplars
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        let numbers = [self.errors, self.retries, self.duration_us, self.upstream_us, self.parked_us];
        self.classes.iter().chain(&numbers).for_each(|number| put(bytes, *number));
        self.histogram.encode(bytes);
        put(bytes, self.exemplars.len() as u64);
        for Exemplar { trace_id, at, value_us, failed } in &self.exemplars {
            bytes.extend(trace_id.0.to_be_bytes());
            [*at, *value_us, u64::from(*failed)].iter().for_each(|number| put(bytes, *number));
        }
    }

    /// `None` if it is not one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut point = Self::default();
        point.read(bytes)?;
        Some(point)
    }

    /// Becomes what these bytes say, in the memory that it has; `None` if they are no point.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<()> {
        let mut bytes = Reader(bytes);
        for class in &mut self.classes {
            *class = bytes.number()?;
        }
        let Self { errors, retries, duration_us, upstream_us, parked_us, .. } = self;
        for number in [errors, retries, duration_us, upstream_us, parked_us] {
            *number = bytes.number()?;
        }
        self.histogram.read(&mut bytes)?;
        self.exemplars.clear();
        for _ in 0..bytes.number()? {
            let trace_id = TraceId(u128::from_be_bytes(bytes.array()?));
            let (at, value_us) = (bytes.number()?, bytes.number()?);
            self.exemplars.push(Exemplar { trace_id, at, value_us, failed: bytes.number()? == 1 });
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::record;

    fn point(calls: &[(u128, u64, u16)]) -> Point {
        let mut point = Point::default();
        for &(trace, duration_us, status) in calls {
            let call = RequestRecord { trace_id: TraceId(trace), duration_us, status, ..record() };
            point.count(&call, 7);
        }
        point
    }

    #[test]
    fn calls_add_up() {
        let mut sum = point(&[(1, 1000, 200), (2, 3000, 503)]);
        sum.add(&point(&[(3, 2000, 0), (4, 2000, 404)]));
        let flow = sum.flow(2000);
        assert_eq!((flow.requests, flow.errors, flow.abandoned), (4, 2, 1));
        assert_eq!((flow.rate, flow.error_ratio, flow.mean_us), (2.0, 0.5, Some(2000)));
        assert!(flow.p50_us.unwrap().abs_diff(2000) < 64, "{flow:?}");
        assert_eq!(Point::default().flow(0), Flow::default());
    }

    #[test]
    fn an_exemplar_of_each_range_is_kept_and_rather_one_that_failed() {
        let mut sum = point(&[(1, 1_000, 200), (2, 1_001, 500), (3, 1_002, 200), (4, 900_000, 200)]);
        let kept = |point: &Point| point.exemplars().iter().map(|one| one.trace_id.0).collect::<Vec<_>>();
        assert_eq!(kept(&sum), [2, 4]);
        sum.add(&point(&[(5, 5, 200), (6, 1_003, 200)]));
        assert_eq!(kept(&sum), [5, 2, 4]);
    }

    #[test]
    fn a_point_comes_back_from_its_bytes() {
        let whole = point(&[(u128::MAX, 1000, 200), (2, u64::MAX, 503)]);
        let mut bytes = Vec::new();
        whole.encode(&mut bytes);
        assert!(bytes.len() < 90, "{}", bytes.len());
        assert_eq!(Point::decode(&bytes), Some(whole));
        assert_eq!(Point::decode(&bytes[..bytes.len() - 1]), None);
    }
}

//! What is counted of requests: by each worker for itself, added up when it is read.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use http::StatusCode;

/// How many buckets a histogram has: the last holds whatever took half a minute or more.
const BUCKETS: usize = 26;

/// What a gateway did since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests answered, by this gateway or by a service.
    pub requests: u64,
    /// The same by class of status: `[0]` counts 1xx, `[4]` counts 5xx.
    pub by_class: [u64; 5],
    /// The same by the time from arrival to the head of the answer: bucket `i` counts those of less than
    /// 2^`i` microseconds that no bucket before counts; the last counts the rest.
    pub by_time: [u64; BUCKETS],
    /// Connections open now.
    pub connections: u64,
    /// Request records dropped because nobody took them in time.
    pub records_dropped: u64,
}

/// The counters of one worker.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    by_class: [AtomicU64; 5],
    by_time: [AtomicU64; BUCKETS],
}

impl Counters {
    /// Counts an answer. Only its own worker does, so that no other thread's write is lost.
    pub(crate) fn answered(&self, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        increment(&self.by_class[class]);
        increment(&self.by_time[bucket(took)]);
    }

    pub(crate) fn add_to(&self, stats: &mut Stats) {
        for (sum, count) in stats.by_class.iter_mut().zip(&self.by_class) {
            *sum += count.load(Relaxed);
        }
        for (sum, count) in stats.by_time.iter_mut().zip(&self.by_time) {
            *sum += count.load(Relaxed);
        }
        stats.requests = stats.by_class.iter().sum();
    }
}

/// One writer per counter: a load and a store cost less than a locked addition.
fn increment(counter: &AtomicU64) {
    counter.store(counter.load(Relaxed) + 1, Relaxed);
}

fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    ((u64::BITS - micros.leading_zeros()) as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_in_one_class_and_one_bucket() {
        let counters = [Counters::default(), Counters::default()];
        counters[0].answered(StatusCode::OK, Duration::from_micros(100));
        counters[1].answered(StatusCode::OK, Duration::from_micros(127));
        counters[1].answered(StatusCode::NOT_FOUND, Duration::from_micros(128));
        counters[1].answered(StatusCode::from_u16(999).unwrap(), Duration::MAX);
        let mut stats = Stats::default();
        counters.iter().for_each(|c| c.add_to(&mut stats));
        assert_eq!(stats.requests, 4);
        assert_eq!(stats.by_class, [0, 2, 0, 1, 1]);
        assert_eq!((stats.by_time[7], stats.by_time[8], stats.by_time[BUCKETS - 1]), (2, 1, 1));
    }
}

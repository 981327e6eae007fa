//! What came of the requests: latencies by kind, failures by class, and what customers were told of their orders.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hdrhistogram::Histogram;
use serde::Serialize;

/// How many classes of failure are told apart; whatever else comes is counted as one.
const CLASSES: usize = 40;
/// The longest latency that is told from a longer one, in microseconds.
const LONGEST: u64 = 120_000_000;

/// What came of the requests so far.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    kinds: BTreeMap<&'static str, Kind>,
    failures: BTreeMap<String, u64>,
    refused: u64,
    again: u64,
    under_way: u64,
    told: Vec<Told>,
    second: Second,
}

#[derive(Debug)]
struct Kind {
    latency: Histogram<u64>,
    failed: u64,
    /// Answers that are as they should be without being what was wanted, such as that it is sold out.
    others: BTreeMap<&'static str, u64>,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As was wanted.
    Good,
    /// As it should be, though not as was wanted.
    Other(&'static str),
    /// Badly, with the class of failure.
    Failed(String),
}

/// An order that a customer was told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The key under which it was placed.
    pub key: String,
    /// Its id.
    pub order: i64,
}

/// What came of the requests of the last second.
#[derive(Debug)]
pub struct Second {
    /// How many were sent.
    pub sent: u64,
    /// How many were answered, well or not.
    pub answered: u64,
    /// How many of those failed.
    pub failed: u64,
    /// How many were sent away.
    pub refused: u64,
    /// The latencies, in microseconds.
    pub latency: Histogram<u64>,
}

/// The latencies of a kind of request, in microseconds, and how many there were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Latencies {
    /// Requests that were answered, well or not.
    pub answered: u64,
    /// Those that failed.
    pub failed: u64,
    /// Half of all answers came within this.
    pub p50_us: u64,
    /// Nine of ten.
    pub p90_us: u64,
    /// 99 of 100.
    pub p99_us: u64,
    /// 999 of 1000.
    pub p999_us: u64,
    /// All.
    pub max_us: u64,
    /// Answers that are as they should be without being what was wanted, how many of each.
    pub others: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// A request is on its way.
    pub fn sent(&self) {
        self.with(|counts| {
            counts.under_way += 1;
            counts.second.sent += 1;
        });
    }

    /// A request ended, so long after it was due.
    pub fn ended(&self, kind: &'static str, outcome: Outcome, latency: Duration) {
        self.with(|counts| {
            let micros = u64::try_from(latency.as_micros()).unwrap_or(LONGEST);
            counts.under_way -= 1;
            counts.second.answered += 1;
            counts.second.latency.saturating_record(micros);
            let measured = counts.kinds.entry(kind).or_default();
            measured.latency.saturating_record(micros);
            match outcome {
                Outcome::Good => {}
                Outcome::Other(what) => *measured.others.entry(what).or_default() += 1,
                Outcome::Failed(class) => {
                    measured.failed += 1;
                    counts.second.failed += 1;
                    let known = counts.failures.len() < CLASSES || counts.failures.contains_key(&class);
                    *counts.failures.entry(if known { class } else { "others".to_owned() }).or_default() += 1;
                }
            }
        });
    }

    /// Somebody came when too many were under way, and was sent away.
    pub fn refused(&self) {
        self.with(|counts| {
            counts.refused += 1;
            counts.second.refused += 1;
        });
    }

    /// Somebody got no good answer and asks again.
    pub fn again(&self) {
        self.with(|counts| counts.again += 1);
    }

    /// A customer was told of an order.
    pub fn tell(&self, key: &str, order: i64) {
        self.with(|counts| counts.told.push(Told { key: key.to_owned(), order }));
    }

    /// Every order that a customer was told of.
    pub fn told(&self) -> Vec<Told> {
        self.with(|counts| counts.told.clone())
    }

    /// How many requests have no answer yet.
    pub fn under_way(&self) -> u64 {
        self.with(|counts| counts.under_way)
    }

    /// How many were sent away, and how often somebody asked again.
    pub fn refusals(&self) -> (u64, u64) {
        self.with(|counts| (counts.refused, counts.again))
    }

    /// What failed, by class.
    pub fn failures(&self) -> BTreeMap<String, u64> {
        self.with(|counts| counts.failures.clone())
    }

    /// What came since this was asked last.
    pub fn second(&self) -> Second {
        self.with(|counts| std::mem::take(&mut counts.second))
    }

    /// The latencies of each kind of request.
    pub fn latencies(&self) -> BTreeMap<&'static str, Latencies> {
        self.with(|counts| {
            counts.kinds.iter().map(|(kind, measured)| (*kind, measured.latencies())).collect()
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Counts) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Kind {
    fn latencies(&self) -> Latencies {
        let within = |quantile| self.latency.value_at_quantile(quantile);
        Latencies {
            answered: self.latency.len(),
            failed: self.failed,
            p50_us: within(0.5),
            p90_us: within(0.9),
            p99_us: within(0.99),
            p999_us: within(0.999),
            max_us: self.latency.max(),
            others: self.others.clone(),
        }
    }
}

impl Default for Kind {
    fn default() -> Self {
        Self { latency: histogram(), failed: 0, others: BTreeMap::new() }
    }
}

impl Default for Second {
    fn default() -> Self {
        Self { sent: 0, answered: 0, failed: 0, refused: 0, latency: histogram() }
    }
}

/// To three digits, from a microsecond on.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are in order")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_kept_by_kind_and_failures_by_class() {
        let tally = Tally::default();
        for millis in 1..=1_000 {
            tally.sent();
            let outcome = if millis % 100 == 0 { Outcome::Failed("503".to_owned()) } else { Outcome::Good };
            tally.ended("order", outcome, Duration::from_millis(millis));
        }
        tally.sent();
        tally.ended("page", Outcome::Other("sold out"), Duration::from_secs(500));
        let (all, second) = (tally.latencies(), tally.second());
        let order = &all["order"];
        assert_eq!((order.answered, order.failed), (1_000, 10));
        let near = |value: u64, millis: u64| value.abs_diff(millis * 1_000) <= millis;
        assert!(near(order.p50_us, 500) && near(order.p90_us, 900) && near(order.p999_us, 999), "{order:?}");
        assert_eq!((all["page"].others["sold out"], all["page"].failed), (1, 0));
        assert_eq!((second.sent, second.answered, second.failed), (1_001, 1_001, 10));
        assert_eq!((tally.second().sent, tally.under_way()), (0, 0));
    }

    #[test]
    fn no_flood_of_different_failures_grows_without_a_bound() {
        let tally = Tally::default();
        for n in 0..1_000 {
            tally.sent();
            tally.ended("page", Outcome::Failed(format!("class {n}")), Duration::ZERO);
        }
        let failures = tally.failures();
        assert_eq!((failures.len(), failures["others"]), (CLASSES + 1, 1_000 - CLASSES as u64));
    }
}

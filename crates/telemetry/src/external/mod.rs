//! What services measure themselves and send, as OpenTelemetry's metrics: the latest value of each series, and its
//! values of the last hour. In memory: whoever wants more of it has Prometheus read it, or has it forwarded.
//!
//! - [`value`]: values as they are sent and as they add up, whatever their temporality;
//! - [`buckets`]: exponential histograms.

mod buckets;
mod value;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use madang_wire::metrics::{ExternalKind, ExternalMetric, ExternalPoint, ExternalSeries};

use value::Kept;

pub use buckets::Exponential;
pub use value::{PushedMetric, PushedValue};

/// How many series of one service are kept, over all its instances.
const SERIES: usize = 500;
/// How many services.
const SERVICES: usize = 200;
/// How long a name, a unit or an attribute may be, in bytes; and how many attributes there may be.
const TEXT: usize = 256;
const ATTRIBUTES: usize = 32;
/// The time between the points that are kept, in milliseconds, and how many there are.
const STEP: u64 = 10_000;
const POINTS: usize = 360;
/// How long a series is known after it was last sent, in milliseconds.
const GONE: u64 = 10 * 60 * 1000;

/// What services measure themselves. Clones share it.
#[derive(Clone, Default)]
pub struct External(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    services: BTreeMap<String, HashMap<Id, Series>>,
    refused_series: u64,
    refused_points: u64,
}

/// What sets a series apart, within its service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Id {
    name: String,
    attributes: BTreeMap<String, String>,
}

struct Series {
    kind: ExternalKind,
    unit: String,
    description: String,
    /// When it was sent last.
    at: u64,
    kept: Kept,
    /// The count and the sum of a histogram now, and before the latest point.
    latest: (u64, f64),
    before: (u64, f64),
    points: VecDeque<ExternalPoint>,
}

// === impl External ===

impl External {
    /// Takes what a service sent, at this time in milliseconds since 1970. What is of too many series, or of no use, is
    /// refused and counted; says how much of it was.
    pub fn push(&self, service: &str, metrics: Vec<PushedMetric>, now: u64) -> usize {
        let mut state = self.state();
        state.expire(now);
        if !state.services.contains_key(service) && state.services.len() >= SERVICES {
            state.refused_points += metrics.len() as u64;
            return metrics.len();
        }
        let (mut refused_series, mut refused) = (0, 0);
        let all = state.services.entry(service.to_owned()).or_default();
        for metric in metrics {
            if !metric.fits() {
                refused += 1;
                continue;
            }
            let PushedMetric { name, description, unit, attributes, value, .. } = metric;
            let id = Id { name, attributes };
            let full = all.len() >= SERIES;
            match all.get_mut(&id) {
                Some(series) if series.kind == value.kind() => series.take(value, now),
                // It became something else: whoever sends it knows better.
                Some(series) => *series = Series::new(unit, description, value, now),
                None if full => {
                    refused += 1;
                    refused_series += 1;
                }
                None => drop(all.insert(id, Series::new(unit, description, value, now))),
            }
        }
        state.refused_series += refused_series;
        state.refused_points += refused as u64;
        refused
    }

    /// What is known of the metrics of one service, or of all; of one name, or of all. Points on request.
    pub fn list(&self, service: Option<&str>, name: Option<&str>, points: bool) -> Vec<ExternalMetric> {
        let state = self.state();
        let mut found: BTreeMap<(&str, &str, u8), ExternalMetric> = BTreeMap::new();
        for (of, all) in state.services.iter().filter(|(of, _)| service.is_none_or(|wanted| wanted == *of)) {
            for (id, series) in all.iter().filter(|(id, _)| name.is_none_or(|wanted| wanted == id.name)) {
                let metric =
                    found.entry((of, &id.name, series.kind as u8)).or_insert_with(|| ExternalMetric {
                        service: of.clone(),
                        name: id.name.clone(),
                        description: series.description.clone(),
                        unit: series.unit.clone(),
                        kind: series.kind,
                        series: Vec::new(),
                    });
                metric.series.push(series.view(&id.attributes, points));
            }
        }
        let mut found: Vec<_> = found.into_values().collect();
        found.iter_mut().for_each(|metric| metric.series.sort_by(|a, b| a.attributes.cmp(&b.attributes)));
        found
    }

    /// How many series were refused, and how many points, since the node started.
    pub fn refused(&self) -> (u64, u64) {
        let state = self.state();
        (state.refused_series, state.refused_points)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn expire(&mut self, now: u64) {
        for all in self.services.values_mut() {
            all.retain(|_, series| series.at + GONE >= now);
        }
        self.services.retain(|_, all| !all.is_empty());
    }
}

// === impl Series ===

impl Series {
    fn new(unit: String, description: String, value: PushedValue, now: u64) -> Self {
        let kind = value.kind();
        let kept = Kept::from(value);
        let mut description = description;
        let end = description.floor_char_boundary(TEXT);
        description.truncate(end);
        // What came before the first point is not known to be of its time.
        let latest = kept.counted().unwrap_or_default();
        let points = VecDeque::new();
        let mut series = Self { kind, unit, description, at: now, latest, before: latest, kept, points };
        series.point(now);
        series
    }

    fn take(&mut self, value: PushedValue, now: u64) {
        self.kept.take(value);
        self.at = now;
        self.point(now);
    }

    /// Keeps a point for each [`STEP`]: the latest value that came in it.
    fn point(&mut self, now: u64) {
        let counted = self.kept.counted();
        if self.points.back().is_some_and(|last| last.at / STEP == now / STEP) {
            self.points.pop_back();
        } else {
            self.before = self.latest;
        }
        let (value, count) = match counted {
            None => (self.kept.value(), None),
            Some((count, sum)) => {
                // A program that started again counts anew.
                let (from_count, from_sum) = if count < self.before.0 { (0, 0.0) } else { self.before };
                let came = count - from_count;
                (if came > 0 { (sum - from_sum) / came as f64 } else { 0.0 }, Some(came))
            }
        };
        self.latest = counted.unwrap_or_default();
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        self.points.push_back(ExternalPoint { at: now, value, count });
    }

    fn view(&self, attributes: &BTreeMap<String, String>, points: bool) -> ExternalSeries {
        ExternalSeries {
            attributes: attributes.clone(),
            at: self.at,
            value: self.kept.value(),
            count: self.kept.counted().map(|(count, _)| count),
            buckets: self.kept.buckets(),
            points: if points { self.points.iter().copied().collect() } else { Vec::new() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(name: &str, attributes: &[(&str, &str)], value: PushedValue) -> PushedMetric {
        let attributes =
            attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let (description, unit) = ("what it is".into(), "s".into());
        PushedMetric { name: name.into(), description, unit, attributes, value }
    }

    fn sum(value: f64, delta: bool) -> PushedValue {
        PushedValue::Sum { value, monotonic: true, delta }
    }

    fn histogram(counts: &[u64], sum: f64, delta: bool) -> PushedValue {
        let count = counts.iter().sum();
        PushedValue::Histogram { bounds: vec![1.0, 5.0], counts: counts.to_vec(), count, sum, delta }
    }

    #[test]
    fn deltas_add_up_and_what_is_cumulative_replaces() {
        let external = External::default();
        let push = |value, now| external.push("orders", vec![pushed("jobs", &[], value)], now);
        push(sum(2.0, true), 0);
        push(sum(3.0, true), 11_000);
        assert_eq!(external.list(None, None, false)[0].series[0].value, 5.0);
        push(sum(7.0, false), 12_000);
        let [metric] = &external.list(Some("orders"), Some("jobs"), true)[..] else { panic!("one metric") };
        assert_eq!((metric.kind, &*metric.unit), (ExternalKind::Counter, "s"));
        let points: Vec<_> = metric.series[0].points.iter().map(|point| (point.at, point.value)).collect();
        assert_eq!(points, [(0, 2.0), (12_000, 7.0)]);
        assert_eq!(external.list(Some("users"), None, false), []);
    }

    #[test]
    fn a_histogram_is_told_as_buckets_and_over_time_as_means() {
        let external = External::default();
        let push = |value, now| external.push("orders", vec![pushed("wait", &[("queue", "a")], value)], now);
        push(histogram(&[1, 0, 0], 0.5, true), 0);
        push(histogram(&[0, 2, 0], 6.0, true), 20_000);
        push(histogram(&[0, 0, 1], 9.0, true), 25_000);
        let listed = external.list(None, None, true);
        let series = &listed[0].series[0];
        let buckets: Vec<_> = series.buckets.iter().map(|bucket| (bucket.le, bucket.count)).collect();
        assert_eq!(buckets, [(Some(1.0), 1), (Some(5.0), 2), (None, 1)]);
        assert_eq!((series.value, series.count), (15.5, Some(4)));
        let points: Vec<_> = series.points.iter().map(|point| (point.value, point.count)).collect();
        assert_eq!(points, [(0.0, Some(0)), (5.0, Some(3))]);
    }

    #[test]
    fn series_are_bounded_and_what_is_beyond_is_counted() {
        let external = External::default();
        let many = |from: usize, to: usize, now| {
            let metrics =
                (from..to).map(|n| pushed(&format!("m{n}"), &[], PushedValue::Gauge(1.0))).collect();
            external.push("orders", metrics, now)
        };
        assert_eq!(many(0, SERIES + 7, 0), 7);
        assert_eq!(external.refused(), (7, 7));
        assert_eq!(many(0, 5, 1), 0, "what is known goes on");
        let bad = pushed("not a number", &[], PushedValue::Gauge(f64::NAN));
        assert_eq!(external.push("orders", vec![bad], 2), 1);
        let long = pushed(&"x".repeat(TEXT + 1), &[], PushedValue::Gauge(1.0));
        assert_eq!(external.push("orders", vec![long], 2), 1);
        assert_eq!(many(SERIES, SERIES + 3, GONE + 2), 0, "those that are gone make room");
        assert_eq!(external.list(None, None, false).len(), 3);
    }
}

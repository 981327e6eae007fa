//! What services measure themselves and send, as OpenTelemetry's metrics: the latest value of each series, and its
//! values of the last hour, also after a restart. Whoever wants more of it has Prometheus read it, or has it forwarded.
//!
//! - [`stored`]: what is there after a restart;
//! - [`value`]: values as they are sent and as they add up, whatever their temporality;
//! - [`buckets`]: exponential histograms.

mod buckets;
mod stored;
mod value;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use madang_wire::metrics::{ExternalKind, ExternalMetric, ExternalPoint, ExternalSeries};

use crate::{
    archive::Archive,
    writing::{self, Said},
};
use stored::Row;
use value::Kept;

pub use buckets::Exponential;
pub use value::{PushedMetric, PushedValue};

/// How many series of one service are kept, over all its instances; and how many of all services.
const SERIES: usize = 500;
const ALL_SERIES: usize = 5000;
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
/// How often what changed is written: this much is lost if the node is killed.
const FLUSH: Duration = Duration::from_secs(1);
/// How many series are written at once.
const BATCH: usize = 250;
/// How many writes lie between two looks for what is too old.
const TRIM: u64 = 60;

/// What services measure themselves. Clones share it.
#[derive(Clone, Default)]
pub struct External {
    state: Arc<Mutex<State>>,
    /// Where it is there after a restart, if it is.
    archive: Option<Archive>,
    /// Held by whoever writes, so that all that came is written when another one's turn is over.
    flushing: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    services: BTreeMap<String, HashMap<Id, Series>>,
    /// The number of the last series that ever was.
    last: i64,
    /// How often it was written.
    written: u64,
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
    /// Its number in the archive.
    number: i64,
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
    /// Whether it is another than the archive has it.
    changed: bool,
}

// === impl External ===

impl External {
    /// With what is there of before, and kept in an archive.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn open(archive: &Archive) -> Result<Self, madang_store::Error> {
        Self::open_at(archive, writing::now()).await
    }

    async fn open_at(archive: &Archive, now: u64) -> Result<Self, madang_store::Error> {
        archive.migrate("external", stored::MIGRATIONS).await?;
        let (found, last) = archive.read(move |conn| stored::read(conn, now)).await?;
        let mut state = State { last, ..State::default() };
        for (service, id, series) in found {
            state.services.entry(service).or_default().insert(id, series);
        }
        Ok(Self {
            state: Arc::new(Mutex::new(state)),
            archive: Some(archive.clone()),
            flushing: Arc::default(),
        })
    }

    /// Writes what came, until `shutdown` ends; what came by then is written.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let said = Said {
            fails: "what services measure is not kept",
            recovers: "what services measure is kept again",
        };
        writing::until(shutdown, FLUSH, said, || self.flush()).await;
    }

    /// Writes what came; [`External::run`] does it every second.
    ///
    /// # Errors
    /// If the file cannot be written: it is written the next time.
    pub async fn flush(&self) -> Result<(), madang_store::Error> {
        self.flush_at(writing::now()).await
    }

    async fn flush_at(&self, now: u64) -> Result<(), madang_store::Error> {
        let Some(archive) = &self.archive else { return Ok(()) };
        let _one = self.flushing.lock().await;
        loop {
            let rows = self.state().changed(BATCH);
            let numbers: Vec<i64> = rows.iter().map(Row::number).collect();
            if rows.is_empty() {
                break;
            }
            if let Err(error) = archive.write(move |tx| stored::write(tx, &rows)).await {
                self.state().change_again(&numbers);
                return Err(error);
            }
        }
        let due = {
            let mut state = self.state();
            state.written += 1;
            state.written % TRIM == 1
        };
        let most = archive.largest() / 8;
        while due && archive.write(move |tx| stored::trim(tx, now, most)).await? {}
        Ok(())
    }

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
        let (mut known, mut last) = (state.services.values().map(HashMap::len).sum::<usize>(), state.last);
        let all = state.services.entry(service.to_owned()).or_default();
        for metric in metrics {
            if !metric.fits() {
                refused += 1;
                continue;
            }
            let PushedMetric { name, description, unit, attributes, value, .. } = metric;
            let id = Id { name, attributes };
            let full = all.len() >= SERIES || known >= ALL_SERIES;
            match all.get_mut(&id) {
                Some(series) if series.kind == value.kind() => series.take(value, now),
                // It became something else: whoever sends it knows better.
                Some(series) => {
                    last += 1;
                    *series = Series::new(last, unit, description, value, now);
                }
                None if full => {
                    refused += 1;
                    refused_series += 1;
                }
                None => {
                    (known, last) = (known + 1, last + 1);
                    all.insert(id, Series::new(last, unit, description, value, now));
                }
            }
        }
        state.last = last;
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Some of the series that are other than the archive has them, which it is about to have.
    fn changed(&mut self, most: usize) -> Vec<Row> {
        let all = self.services.iter_mut();
        let all =
            all.flat_map(|(service, all)| all.iter_mut().map(move |(id, series)| (service, id, series)));
        let changed = all.filter(|(.., series)| series.changed).take(most);
        changed
            .map(|(service, id, series)| {
                series.changed = false;
                Row::of(service, id, series)
            })
            .collect()
    }

    /// The archive does not have these after all.
    fn change_again(&mut self, numbers: &[i64]) {
        let all = self.services.values_mut().flat_map(HashMap::values_mut);
        all.filter(|series| numbers.contains(&series.number)).for_each(|series| series.changed = true);
    }
}

// === impl Series ===

impl Series {
    fn new(number: i64, unit: String, description: String, value: PushedValue, now: u64) -> Self {
        let kind = value.kind();
        let kept = Kept::from(value);
        let mut description = description;
        let end = description.floor_char_boundary(TEXT);
        description.truncate(end);
        // What came before the first point is not known to be of its time.
        let latest = kept.counted().unwrap_or_default();
        let points = VecDeque::new();
        let changed = true;
        let mut series =
            Self { number, kind, unit, description, at: now, latest, before: latest, kept, points, changed };
        series.point(now);
        series
    }

    fn take(&mut self, value: PushedValue, now: u64) {
        self.kept.take(value);
        (self.at, self.changed) = (now, true);
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

    #[test]
    fn all_services_together_are_bounded_too() {
        let external = External::default();
        let of = |service: usize| {
            let metrics =
                (0..SERIES).map(|n| pushed(&format!("m{n}"), &[], PushedValue::Gauge(1.0))).collect();
            external.push(&format!("s{service}"), metrics, 0)
        };
        let refused: usize = (0..ALL_SERIES / SERIES + 1).map(of).sum();
        assert_eq!(refused, SERIES, "those of the last");
    }

    async fn archive(folder: &tempfile::TempDir) -> Archive {
        Archive::open(&folder.path().join("telemetry.db"), crate::ArchiveConfig::default()).await.unwrap()
    }

    #[tokio::test]
    async fn a_restart_loses_nothing_that_was_written() {
        const NOW: u64 = 1_800_000_000_000;
        let folder = tempfile::tempdir().unwrap();
        let before = External::open_at(&archive(&folder).await, NOW).await.unwrap();
        let exponential = |counts: &[u64]| PushedValue::Exponential {
            buckets: Exponential { scale: 1, zero: 1, offset: -2, counts: counts.to_vec() },
            count: counts.iter().sum::<u64>() + 1,
            sum: 2.5,
            delta: true,
        };
        let push = |external: &External, now: u64| {
            let metrics = vec![
                pushed("jobs", &[("queue", "a")], sum(2.0, true)),
                pushed("level", &[], PushedValue::Gauge(now as f64 / 1e12)),
                pushed("wait", &[], histogram(&[1, 2, 0], 4.0, true)),
                pushed("wide", &[], exponential(&[1, 0, 2])),
            ];
            assert_eq!(external.push("orders", metrics, now), 0);
        };
        for now in [NOW, NOW + 1_000, NOW + 12_000] {
            push(&before, now);
            before.flush_at(now).await.unwrap();
        }
        let shown = before.list(None, None, true);
        assert_eq!(shown[0].series[0].points.len(), 2);
        drop(before);

        let after = External::open_at(&archive(&folder).await, NOW + 60_000).await.unwrap();
        assert_eq!(after.list(None, None, true), shown);
        push(&after, NOW + 60_000);
        let jobs = &after.list(None, Some("jobs"), true)[0];
        assert_eq!((jobs.series[0].value, jobs.series[0].points.len()), (8.0, 3), "deltas go on adding up");
        after.push("users", vec![pushed("new", &[], PushedValue::Gauge(1.0))], NOW + 60_000);
        after.flush_at(NOW + 60_000).await.unwrap();
        drop(after);
        let again = External::open_at(&archive(&folder).await, NOW + 61_000).await.unwrap();
        assert_eq!(again.list(None, None, false).len(), 5, "a new one has not taken the place of another");
        let late = External::open_at(&archive(&folder).await, NOW + 61_000 + GONE).await.unwrap();
        assert_eq!(late.list(None, None, false), [], "what was not sent for so long is gone");
    }

    #[tokio::test]
    async fn the_tables_are_bounded_by_age_and_by_size() {
        let folder = tempfile::tempdir().unwrap();
        let archive = archive(&folder).await;
        const NOW: u64 = 1_800_000_000_000;
        let external = External::open_at(&archive, NOW).await.unwrap();
        let metrics = || (0..100).map(|n| pushed(&format!("m{n}"), &[], PushedValue::Gauge(1.0))).collect();
        for step in 0..20 {
            external.push("orders", metrics(), NOW + step * STEP);
            external.flush_at(NOW + step * STEP).await.unwrap();
        }
        let count = async |table: &'static str| {
            let sql = format!("SELECT count(*) FROM {table}");
            archive.read(move |conn| conn.query_row(&sql, [], |row| row.get::<_, i64>(0))).await.unwrap()
        };
        let trim = async |now: u64, most: u64| {
            while archive.write(move |tx| stored::trim(tx, now, most)).await.unwrap() {}
        };
        assert_eq!((count("external_points").await, count("external_series").await), (2000, 100));
        trim(NOW + 20 * STEP, 64 * 500).await;
        assert_eq!(count("external_points").await, 500, "the newest");
        trim(NOW + 20 * STEP + STEP * POINTS as u64, u64::MAX).await;
        assert_eq!((count("external_points").await, count("external_series").await), (0, 0));
    }
}

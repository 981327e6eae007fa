//! What a service counts of its work: how long requests take by route, how long one waits for its database, and what
//! its author counts. All of it adds up from the start of the process.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::Method;

use crate::database::Pool;

/// The upper bounds of the buckets, in seconds: those of OpenTelemetry's conventions, and two below them, since many
/// calls between services take less than their first.
pub(super) const BOUNDS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// How many combinations of route, method and status are kept apart. Routes come from the program, so that hardly any
/// has so many; what comes after is added up together.
const SERIES: usize = 512;

/// How many counters an author may have.
const COUNTERS: usize = 64;

/// How the durations of something are distributed.
#[derive(Debug, Clone, Default)]
pub(super) struct Histogram {
    pub(super) counts: [u64; BOUNDS.len() + 1],
    pub(super) sum: f64,
}

/// Requests of one kind.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) method: &'static str,
    /// None if the answer never came.
    pub(super) status: Option<u16>,
    pub(super) durations: Histogram,
}

/// What is counted of one service.
#[derive(Default)]
pub(crate) struct Measured {
    requests: Mutex<Requests>,
    waits: Mutex<Histogram>,
    counters: Mutex<BTreeMap<&'static str, Counter>>,
    pool: OnceLock<Pool>,
}

#[derive(Default)]
struct Requests {
    /// By the template of the route; those that took none have an empty one.
    routes: HashMap<String, Vec<Series>>,
    count: usize,
    /// Those beyond the bound.
    others: Histogram,
}

/// A number of a service's own that only grows: [`Resources::counter`](crate::Resources::counter). Clones count
/// together.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

// === impl Histogram ===

impl Histogram {
    fn add(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        self.counts[BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
        self.sum += seconds;
    }
}

// === impl Measured ===

impl Measured {
    /// Adds a request that is over.
    pub(super) fn request(&self, method: &Method, route: &str, status: Option<u16>, duration: Duration) {
        let method = known(method);
        let mut requests = lock(&self.requests);
        let Requests { routes, count, others } = &mut *requests;
        let same = |series: &&mut Series| (series.method, series.status) == (method, status);
        let found = match routes.get_mut(route).and_then(|series| series.iter_mut().find(same)) {
            Some(series) => &mut series.durations,
            None if *count < SERIES => {
                *count += 1;
                let series = routes.entry(route.to_owned()).or_default();
                &mut series.push_mut(Series { method, status, durations: Histogram::default() }).durations
            }
            None => others,
        };
        found.add(duration);
    }

    /// Adds a wait for a connection to the database.
    pub(super) fn wait(&self, duration: Duration) {
        lock(&self.waits).add(duration);
    }

    /// Looks at the connections of this pool from now on.
    pub(super) fn watch(&self, pool: Pool) {
        let _ = self.pool.set(pool);
    }

    /// The counter of this name; beyond the bound one that nobody is told of.
    pub(super) fn counter(&self, name: &'static str) -> Counter {
        let mut counters = lock(&self.counters);
        if counters.len() >= COUNTERS && !counters.contains_key(name) {
            tracing::warn!(name, most = COUNTERS, "a service has too many counters; this one is not told");
            return Counter::default();
        }
        counters.entry(name).or_default().clone()
    }

    /// The requests by route, and those beyond the bound.
    pub(super) fn requests(&self) -> (Vec<(String, Series)>, Histogram) {
        let requests = lock(&self.requests);
        let of_route = |(route, series): (&String, &Vec<Series>)| {
            series.iter().map(|series| (route.clone(), series.clone())).collect::<Vec<_>>()
        };
        (requests.routes.iter().flat_map(of_route).collect(), requests.others.clone())
    }

    /// The database's connections: in use, idle, the most, and the waits for them.
    pub(super) fn connections(&self) -> Option<([u32; 3], Histogram)> {
        let counts = self.pool.get()?.connections();
        Some((counts, lock(&self.waits).clone()))
    }

    /// The author's counters.
    pub(super) fn counters(&self) -> Vec<(&'static str, u64)> {
        lock(&self.counters).iter().map(|(name, counter)| (*name, counter.0.load(Relaxed))).collect()
    }
}

/// The method, if it is one of the standard's: clients may make others up.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Counter ===

impl Counter {
    /// Adds so many.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_bucket_that_ends_with_them() {
        let mut histogram = Histogram::default();
        for millis in [0, 1, 2, 10_000, 10_001] {
            histogram.add(Duration::from_millis(millis));
        }
        assert_eq!((histogram.counts[0], histogram.counts[1]), (2, 1));
        assert_eq!((histogram.counts[15], histogram.counts[16]), (1, 1));
        assert!((histogram.sum - 20.004).abs() < 1e-9);
    }

    #[test]
    fn series_and_counters_are_bounded() {
        let measured = Measured::default();
        let took = Duration::from_millis(1);
        for number in 0..SERIES + 10 {
            measured.request(&Method::GET, &format!("/{number}"), Some(200), took);
        }
        measured.request(&Method::GET, "/0", Some(200), took);
        measured.request(&"MADEUP".parse().unwrap(), "/0", None, took);
        let (series, others) = measured.requests();
        assert_eq!((series.len(), others.counts[0]), (SERIES, 11));
        let (_, first) = series.iter().find(|(route, _)| route == "/0").unwrap();
        assert_eq!((first.method, first.durations.counts[0]), ("GET", 2));

        let names: Vec<&'static str> = (0..COUNTERS + 1).map(|n| &*format!("c{n}").leak()).collect();
        names.iter().for_each(|name| measured.counter(name).add(1));
        measured.counter("c0").add(2);
        assert_eq!(measured.counters().len(), COUNTERS);
        assert_eq!(measured.counters()[0], ("c0", 3));
    }
}

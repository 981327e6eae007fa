//! What is asked, from where it is finest: seconds in memory, or longer intervals in the tables.

use std::{collections::BTreeMap, time::Duration};

use madang_store::Error;
use madang_wire::metrics::{EdgeFlow, Flow, GATEWAY, MetricPoint, MetricsSeries, ReleaseFlow, RouteFlow};

use super::{
    MetricFilter, Metrics, ReleaseSpan,
    fine::SECONDS,
    point::Point,
    query,
    schema::{FIVE_MINUTES, TEN},
    series::Key,
};

/// How long a summary is that is of single seconds, at most, and from which length on five minutes are short enough; in
/// milliseconds.
const FINE: u64 = SECONDS * 1000;
const LONG: u64 = 3 * 60 * 60 * 1000;

/// How calls added up over time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeriesQuery {
    /// Which calls.
    pub filter: MetricFilter,
    /// From when on, in milliseconds since 1970.
    pub from: u64,
    /// Until when.
    pub until: u64,
    /// The length of each point in seconds; it becomes longer where shorter ones are not kept.
    pub step: u64,
    /// Whether to tell how many calls took how long.
    pub buckets: bool,
}

/// What the calls of the last seconds add up to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// The length of the window in milliseconds.
    pub window_ms: u64,
    /// What came from outside through the gateway.
    pub total: Flow,
    /// Each service with calls.
    pub services: BTreeMap<String, Flow>,
    /// Each route with calls.
    pub routes: Vec<RouteFlow>,
    /// Each pair of caller and callee with calls.
    pub edges: Vec<EdgeFlow>,
    /// Each release with calls.
    pub releases: Vec<ReleaseFlow>,
}

/// From where something is read: by the length of its intervals in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Fine,
    Ten,
    FiveMinutes,
}

// === impl Metrics ===

impl Metrics {
    /// What the calls of the last `window` add up to.
    ///
    /// # Errors
    /// If it is longer than ten minutes and the file cannot be read.
    pub async fn summary(&self, window: Duration) -> Result<Summary, Error> {
        self.summary_at(window, crate::writing::now()).await
    }

    pub(super) async fn summary_at(&self, window: Duration, now: u64) -> Result<Summary, Error> {
        let asked = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let start = now.saturating_sub(asked).div_ceil(1000);
        // After a restart the last minutes are those since then: what is older is not known by the second.
        let source = match asked {
            ..=FINE => Source::Fine,
            _ => self.source(start, if asked < LONG { 1 } else { FIVE_MINUTES }).max(Source::Ten),
        };
        let start = start / source.step() * source.step();
        let all = MetricFilter::default();
        let (sums, since) = self.sums(source, &all, start, now / 1000 + 1, |_, key| key.clone()).await?;
        let window_ms = now.saturating_sub(start.max(since) * 1000).max(1);
        Ok(summarize(&sums, window_ms))
    }

    /// How calls added up over time.
    ///
    /// # Errors
    /// If it is longer ago than ten minutes and the file cannot be read.
    pub async fn series(&self, asked: SeriesQuery) -> Result<MetricsSeries, Error> {
        let source = self.source(asked.from / 1000, asked.step);
        let step = asked.step.max(1).next_multiple_of(source.step());
        let (from, until) =
            (asked.from / 1000 / step * step, asked.until.div_ceil(1000).next_multiple_of(step));
        let (sums, _) = self.sums(source, &asked.filter, from, until, move |at, _| at / step * step).await?;
        let point = |(at, point): (u64, Point)| MetricPoint {
            at: at * 1000,
            flow: point.flow(step * 1000),
            buckets: if asked.buckets { point.buckets() } else { Vec::new() },
            exemplars: point.exemplars().to_vec(),
        };
        Ok(MetricsSeries {
            from: from * 1000,
            until: until * 1000,
            step_ms: step * 1000,
            points: sums.into_iter().map(point).collect(),
            dropped: self.dropped(),
        })
    }

    /// What some calls added up to between two moments, in milliseconds since 1970.
    ///
    /// # Errors
    /// If that is longer than ten minutes ago and the file cannot be read.
    pub async fn flow(&self, filter: &MetricFilter, from: u64, until: u64) -> Result<Flow, Error> {
        let (from_second, until_second) = (from / 1000, until.div_ceil(1000));
        let source = self.source(from_second, 1);
        let (sums, _) = self.sums(source, filter, from_second, until_second, |_, _| ()).await?;
        Ok(sums.get(&()).cloned().unwrap_or_default().flow(until.saturating_sub(from)))
    }

    /// The releases of a service that were called in the last month, the one that was called first first.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn releases(&self, service: &str) -> Result<Vec<ReleaseSpan>, Error> {
        self.flush().await?;
        let service = service.to_owned();
        self.archive.read(move |conn| query::releases(conn, &service)).await
    }

    /// Adds up the series in the intervals from the second `from` on and before `until`, in groups; and says from which
    /// second on calls are known.
    async fn sums<G: Ord + Send + 'static>(
        &self,
        source: Source,
        filter: &MetricFilter,
        from: u64,
        until: u64,
        group: impl Fn(u64, &Key) -> G + Send + 'static,
    ) -> Result<(BTreeMap<G, Point>, u64), Error> {
        let mut sums: BTreeMap<G, Point> = BTreeMap::new();
        let add = move |sums: &mut BTreeMap<G, Point>, at: u64, key: &Key, point: &Point| {
            sums.entry(group(at, key)).or_default().add(point);
        };
        if source == Source::Fine {
            let state = self.state();
            state.fine.each(from, until, |second, key, point| {
                if filter.lets(key) {
                    add(&mut sums, second, key, point);
                }
            });
            return Ok((sums, state.fine.since));
        }
        // What is kept of longer intervals is complete up to now; a failure to write is told by the task that does.
        let _ = self.flush().await;
        let rolled = self.state().rolled.unwrap_or(0);
        let filter = filter.clone();
        let read = self.archive.read(move |conn| {
            let mut see = |at: u64, key: &Key, point: &Point| add(&mut sums, at, key, point);
            let ten = from / TEN * TEN;
            match source {
                Source::FiveMinutes => {
                    let start = from / FIVE_MINUTES * FIVE_MINUTES;
                    query::each(conn, &filter, FIVE_MINUTES, start, until.min(rolled), &mut see)?;
                    query::each(conn, &filter, TEN, ten.max(rolled), until, &mut see)?;
                }
                _ => query::each(conn, &filter, TEN, ten, until, &mut see)?,
            }
            let oldest = [query::oldest(conn, TEN)?, query::oldest(conn, FIVE_MINUTES)?];
            Ok((sums, oldest.into_iter().flatten().min().unwrap_or(until)))
        });
        read.await
    }

    /// Where everything from this second on is known in the shortest intervals. For points of hours a day of ten
    /// seconds is not read.
    fn source(&self, from: u64, step: u64) -> Source {
        let state = self.state();
        let day = state.now.saturating_sub(self.config.ten_seconds.as_secs());
        if from >= state.fine.since {
            Source::Fine
        } else if from >= day && !step.is_multiple_of(FIVE_MINUTES) {
            Source::Ten
        } else {
            Source::FiveMinutes
        }
    }
}

// === impl Source ===

impl Source {
    fn step(self) -> u64 {
        match self {
            Self::Fine => 1,
            Self::Ten => TEN,
            Self::FiveMinutes => FIVE_MINUTES,
        }
    }
}

fn summarize(sums: &BTreeMap<Key, Point>, window_ms: u64) -> Summary {
    let mut total = Point::default();
    let mut services = BTreeMap::<_, Point>::new();
    let mut routes = BTreeMap::<_, Point>::new();
    let mut edges = BTreeMap::<_, Point>::new();
    let mut releases = BTreeMap::<_, Point>::new();
    for (key, point) in sums {
        let Key { caller, service, release, route } = key;
        if **caller == *GATEWAY {
            total.add(point);
            routes.entry((service, route)).or_default().add(point);
        }
        let Some(service) = service else { continue };
        services.entry(service).or_default().add(point);
        edges.entry((caller, service)).or_default().add(point);
        releases.entry((service, release)).or_default().add(point);
    }
    let flow = |point: &Point| point.flow(window_ms);
    let text = |part: &Option<std::sync::Arc<str>>| part.as_deref().map(str::to_owned);
    Summary {
        window_ms,
        total: flow(&total),
        services: services.iter().map(|(name, point)| (name.to_string(), flow(point))).collect(),
        routes: routes
            .iter()
            .map(|((service, route), point)| RouteFlow {
                service: text(service),
                route: text(route),
                flow: flow(point),
            })
            .collect(),
        edges: edges
            .iter()
            .map(|((caller, callee), point)| EdgeFlow {
                caller: caller.to_string(),
                callee: callee.to_string(),
                flow: flow(point),
            })
            .collect(),
        releases: releases
            .iter()
            .map(|((service, release), point)| ReleaseFlow {
                service: service.to_string(),
                release: text(release),
                flow: flow(point),
            })
            .collect(),
    }
}

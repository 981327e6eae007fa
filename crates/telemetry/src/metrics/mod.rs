//! What calls add up to: how many, how many of them failed and how long they took, for each caller, service, release
//! and route.
//!
//! - [`histogram`]: how many took how long, and [`codec`]: how that is kept;
//! - [`point`]: what the calls of one series add up to in one interval;
//! - [`series`]: which calls are counted apart, and how many series there may be;
//! - [`fine`]: each second of the last ten minutes, in memory;
//! - [`schema`], [`write`], [`query`]: each ten seconds of the last day and each five minutes of the last month, in the
//!   [`Archive`];
//! - [`totals`]: all since the node started, for Prometheus;
//! - [`read`]: what is asked, from where it is finest.

mod codec;
mod fine;
mod histogram;
mod point;
mod query;
mod read;
mod schema;
mod series;
#[cfg(test)]
mod tests;
mod totals;
mod write;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use madang_wire::{RequestRecord, metrics::MetricsDropped};

use crate::{
    Archive,
    writing::{self, Said},
};
use fine::{Fine, LATE};
use point::Point;
use schema::{FIVE_MINUTES, TEN};
use series::{Key, Registry};

pub use query::{MetricFilter, ReleaseSpan};
pub use read::{SeriesQuery, Summary};
pub use totals::{BOUNDS_US, Durations, Example, SeriesTotals, Totals};

/// How often what came is written: this much is lost if the node is killed.
const FLUSH: Duration = Duration::from_secs(1);
/// How long five minutes wait after their end for calls that come late, in seconds.
const SETTLED: u64 = 10;

/// What is kept, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricConfig {
    /// How many series are counted apart; those beyond are counted under `other`.
    pub series: usize,
    /// How many bytes the last ten minutes take at most; the latest seconds, which are not packed yet, come on top.
    pub fine_bytes: usize,
    /// How long points of ten seconds are kept.
    pub ten_seconds: Duration,
    /// How long points of five minutes are kept.
    pub five_minutes: Duration,
}

impl Default for MetricConfig {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        Self { series: 2000, fine_bytes: 24 << 20, ten_seconds: day, five_minutes: 31 * day }
    }
}

/// The metrics of a system's calls. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    archive: Archive,
    config: Arc<MetricConfig>,
    state: Arc<Mutex<State>>,
    /// Held by whoever writes, so that who comes after sees it written.
    flushing: Arc<tokio::sync::Mutex<()>>,
}

struct State {
    registry: Registry,
    /// By the numbers of the registry.
    totals: Vec<Totals>,
    fine: Fine,
    /// What is not written yet: by the starts of ten seconds.
    pending: BTreeMap<u64, HashMap<Key, Point>>,
    /// The latest second.
    now: u64,
    /// Where intervals of five minutes are not added up yet; not known before the tables were asked.
    rolled: Option<u64>,
    other: u64,
    unwritten: u64,
}

// === impl Metrics ===

impl Metrics {
    /// Those of an archive.
    ///
    /// # Errors
    /// If its tables cannot be made, or a newer version of the program made them.
    pub async fn open(archive: &Archive, config: MetricConfig) -> Result<Self, madang_store::Error> {
        Self::open_at(archive, config, writing::now()).await
    }

    async fn open_at(archive: &Archive, config: MetricConfig, now: u64) -> Result<Self, madang_store::Error> {
        archive.migrate("metrics", schema::MIGRATIONS).await?;
        let second = now / 1000;
        let state = State {
            registry: Registry::new(config.series),
            totals: Vec::new(),
            fine: Fine::new(config.fine_bytes, second),
            pending: BTreeMap::new(),
            now: second,
            rolled: None,
            other: 0,
            unwritten: 0,
        };
        Ok(Self {
            archive: archive.clone(),
            config: Arc::new(config),
            state: Arc::new(Mutex::new(state)),
            flushing: Arc::default(),
        })
    }

    /// Takes what the hops knew of requests. Never waits.
    pub fn record(&self, records: &[RequestRecord]) {
        self.record_at(records, writing::now());
    }

    fn record_at(&self, records: &[RequestRecord], now: u64) {
        self.state().record(records, now);
    }

    /// Writes what came, and keeps what there is within its bounds, until `shutdown` ends; what came by then is written.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let said = Said { fails: "metrics are not kept", recovers: "metrics are kept again" };
        writing::until(shutdown, FLUSH, said, || self.tick(writing::now())).await;
    }

    async fn tick(&self, now: u64) -> Result<(), madang_store::Error> {
        self.state().record(&[], now);
        self.flush().await?;
        self.roll(now / 1000).await
    }

    /// Writes what came; [`Metrics::run`] does it every second.
    ///
    /// # Errors
    /// If the file cannot be written: what could not be is lost, and counted.
    pub async fn flush(&self) -> Result<(), madang_store::Error> {
        let _one = self.flushing.lock().await;
        let pending = std::mem::take(&mut self.state().pending);
        let of = |(at, points): (u64, HashMap<Key, Point>)| {
            points.into_iter().map(move |(key, point)| (at, key, point))
        };
        let mut points = pending.into_iter().flat_map(of);
        loop {
            let some: Vec<_> = points.by_ref().take(write::MOST).collect();
            if some.is_empty() {
                return Ok(());
            }
            let count = some.len() as u64;
            if let Err(error) = self.archive.write(move |tx| write::add(tx, some)).await {
                self.state().unwritten += count + points.count() as u64;
                return Err(error);
            }
        }
    }

    /// Adds up the five minutes that are over and deletes what is too old or too much.
    async fn roll(&self, now: u64) -> Result<(), madang_store::Error> {
        let rolled = self.state().rolled;
        let mut from = match rolled {
            Some(from) => from,
            None => self.archive.read(write::rolled).await?,
        };
        let until = now.saturating_sub(SETTLED) / FIVE_MINUTES * FIVE_MINUTES;
        if rolled.is_some() && from >= until {
            return Ok(());
        }
        while let Some(next) = self.archive.write(move |tx| write::roll(tx, from, until)).await? {
            from = next;
            self.state().rolled = Some(from);
        }
        self.state().rolled = Some(from.max(until));
        // An eighth of the file each, so that most of it is for what tells more.
        let most = self.archive.largest() / 8;
        for (step, kept) in [(TEN, self.config.ten_seconds), (FIVE_MINUTES, self.config.five_minutes)] {
            let oldest = now.saturating_sub(kept.as_secs());
            while self.archive.write(move |tx| write::trim(tx, step, oldest, most)).await? {}
        }
        self.archive.write(|tx| write::tidy(tx)).await
    }

    /// What calls add up to since the node started, for each series that had some lately.
    pub fn totals(&self) -> Vec<SeriesTotals> {
        let state = self.state();
        let totals = |(number, key): (u32, &Key)| SeriesTotals::new(key, &state.totals[number as usize]);
        let mut all: Vec<_> = state.registry.all().map(totals).collect();
        let key = |one: &SeriesTotals| {
            (one.service.clone(), one.caller.clone(), one.route.clone(), one.release.clone())
        };
        all.sort_by_cached_key(key);
        all
    }

    /// Whether calls of a service, or to it, are known since the node started.
    pub fn knows(&self, service: &str) -> bool {
        let state = self.state();
        state
            .registry
            .all()
            .any(|(_, key)| [Some(&*key.caller), key.service.as_deref()].contains(&Some(service)))
    }

    /// What is missing here; requests without records are not known here.
    pub fn dropped(&self) -> MetricsDropped {
        let state = self.state();
        MetricsDropped {
            other: state.other,
            unwritten: state.unwritten,
            seconds: state.fine.forgotten,
            ..MetricsDropped::default()
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn record(&mut self, records: &[RequestRecord], now_ms: u64) {
        let now = now_ms / 1000;
        if now + 60 < self.now {
            // The clock was put back: what is known by its seconds would stand in the way until they come again.
            self.fine.clear(now);
            self.now = now;
        }
        let passed = now / TEN > self.now / TEN;
        self.now = self.now.max(now);
        if passed {
            for number in self.registry.expire(self.now) {
                self.totals[number as usize] = Totals::default();
            }
        }
        // Most of what comes together is of a few series: it is added up before it is added to what there is.
        let mut sums: HashMap<(u64, u32), Point> = HashMap::new();
        for record in records {
            let ended = record.at.saturating_add(record.duration_us / 1000).min(now_ms);
            let second = (ended / 1000).clamp(self.now.saturating_sub(LATE), self.now);
            let (number, own) = self.registry.number(record, self.now);
            self.other += u64::from(!own);
            let place = number as usize;
            if place >= self.totals.len() {
                self.totals.resize_with(place + 1, Totals::default);
            }
            self.totals[place].count(record, ended);
            sums.entry((second, number)).or_default().count(record, ended);
        }
        for ((second, number), point) in sums {
            let key = self.registry.key_of(number);
            self.fine.add(second, key, &point);
            let pending = self.pending.entry(second / TEN * TEN).or_default();
            match pending.get_mut(key) {
                Some(sum) => sum.add(&point),
                None => drop(pending.insert(key.clone(), point)),
            }
        }
        self.fine.pass(self.now);
    }
}

//! The latest request records, and what all of them add up to.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use madang_wire::{RequestRecord, TraceId};

/// How many records are kept.
const KEPT: usize = 4096;

/// How many totals are kept apart. Routes and services come from the manifest, so that only a long life of
/// edits gets here; what comes after is added up under neither route nor service.
const TOTALS: usize = 4096;

/// The latest request records, and totals over all that ever came. Clones share them.
#[derive(Clone, Default)]
pub struct Records(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    recent: VecDeque<RequestRecord>,
    totals: BTreeMap<Key, Sums>,
}

type Key = (Option<Arc<str>>, Option<Arc<str>>, StatusClass);

#[derive(Default)]
struct Sums {
    requests: u64,
    duration_us: u64,
}

/// The first digit of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatusClass {
    /// 1xx.
    Informational,
    /// 2xx.
    Success,
    /// 3xx.
    Redirection,
    /// 4xx.
    ClientError,
    /// 5xx.
    ServerError,
    /// None: the client left before the answer.
    Aborted,
}

/// What the requests of one route to one service, answered with one class of status, add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// The route's template.
    pub route: Option<Arc<str>>,
    /// The service.
    pub service: Option<Arc<str>>,
    /// The class of status.
    pub class: StatusClass,
    /// How many requests.
    pub requests: u64,
    /// The time they took together, in microseconds.
    pub duration_us: u64,
}

/// Which records to show; the default shows all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordFilter {
    /// Only requests over this route's template.
    pub route: Option<String>,
    /// Only requests to this service.
    pub service: Option<String>,
    /// Only requests of this trace.
    pub trace_id: Option<TraceId>,
    /// Only requests that were answered 5xx or not at all.
    pub failed: bool,
}

// === impl Records ===

impl Records {
    /// Adds records; the oldest make room.
    pub fn push_many(&self, records: &[RequestRecord]) {
        let mut state = self.state();
        records.iter().for_each(|record| state.add_up(record));
        let latest = &records[records.len().saturating_sub(KEPT)..];
        let gone = (state.recent.len() + latest.len()).saturating_sub(KEPT);
        state.recent.drain(..gone);
        state.recent.extend(latest.iter().cloned());
    }

    /// The last `n` records that the filter lets through, newest first.
    pub fn recent(&self, n: usize, filter: &RecordFilter) -> Vec<RequestRecord> {
        self.state().recent.iter().rev().filter(|record| filter.lets(record)).take(n).cloned().collect()
    }

    /// The totals since the node started, sorted by route, service and class.
    pub fn totals(&self) -> Vec<Total> {
        let total = |((route, service, class), sums): (&Key, &Sums)| Total {
            route: route.clone(),
            service: service.clone(),
            class: *class,
            requests: sums.requests,
            duration_us: sums.duration_us,
        };
        self.state().totals.iter().map(total).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn add_up(&mut self, record: &RequestRecord) {
        let class = StatusClass::of(record.status);
        let mut key = (record.route.clone(), record.service.clone(), class);
        if self.totals.len() >= TOTALS && !self.totals.contains_key(&key) {
            key = (None, None, class);
        }
        let sums = self.totals.entry(key).or_default();
        sums.requests += 1;
        sums.duration_us = sums.duration_us.saturating_add(record.duration_us);
    }
}

// === impl StatusClass ===

impl StatusClass {
    /// The class of a status; 0 stands for no answer.
    pub fn of(status: u16) -> Self {
        match status {
            100..200 => Self::Informational,
            200..300 => Self::Success,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            500.. => Self::ServerError,
            0..100 => Self::Aborted,
        }
    }

    /// The first digit of the statuses of this class; 0 for no answer.
    pub fn digit(self) -> u8 {
        match self {
            Self::Aborted => 0,
            Self::Informational => 1,
            Self::Success => 2,
            Self::Redirection => 3,
            Self::ClientError => 4,
            Self::ServerError => 5,
        }
    }
}

// === impl RecordFilter ===

impl RecordFilter {
    fn lets(&self, record: &RequestRecord) -> bool {
        let same = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        same(&self.route, record.route.as_deref())
            && same(&self.service, record.service.as_deref())
            && self.trace_id.is_none_or(|wanted| wanted == record.trace_id)
            && (record.failed() || !self.failed)
    }
}

#[cfg(test)]
mod tests {
    use madang_wire::{Hop, SpanId};

    use super::*;

    fn record(at: u64, service: &str, status: u16) -> RequestRecord {
        RequestRecord {
            at,
            at_us: 0,
            hop: Hop::Gateway,
            request_id: at.into(),
            trace_id: TraceId(at.into()),
            span_id: SpanId(at),
            parent_span_id: None,
            route: Some(format!("/{service}/**").into()),
            caller: None,
            service: Some(service.into()),
            instance: None,
            release: None,
            method: "GET".into(),
            status,
            grpc_status: None,
            code: None,
            attempts: 1,
            fault: None,
            duration_us: 10,
            upstream_us: 8,
            fallback: None,
            cache: None,
            parked_us: 0,
        }
    }

    fn times(records: &[RequestRecord]) -> Vec<u64> {
        records.iter().map(|record| record.at).collect()
    }

    #[test]
    fn keeps_the_last_and_counts_them_all() {
        let records = Records::default();
        let came = KEPT as u64 + 10;
        records.push_many(&(0..came).map(|at| record(at, "users", 200)).collect::<Vec<_>>());

        let all = records.recent(usize::MAX, &RecordFilter::default());
        assert_eq!(all.len(), KEPT);
        assert_eq!(times(&all[..2]), [came - 1, came - 2]);
        let [total] = &records.totals()[..] else { panic!("one total") };
        assert_eq!((total.requests, total.duration_us), (came, came * 10));
    }

    #[test]
    fn filters_by_what_is_known_of_a_request() {
        let records = Records::default();
        records.push_many(&[
            record(1, "users", 200),
            record(2, "orders", 503),
            record(3, "users", 0),
            record(4, "users", 404),
        ]);
        let shown = |filter: RecordFilter| times(&records.recent(10, &filter));
        assert_eq!(shown(RecordFilter { failed: true, ..Default::default() }), [3, 2]);
        assert_eq!(shown(RecordFilter { service: Some("orders".into()), ..Default::default() }), [2]);
        assert_eq!(shown(RecordFilter { route: Some("/users/**".into()), ..Default::default() }), [4, 3, 1]);
        assert_eq!(shown(RecordFilter { trace_id: Some(TraceId(4)), ..Default::default() }), [4]);
        assert_eq!(times(&records.recent(1, &RecordFilter::default())), [4]);
    }

    #[test]
    fn totals_are_apart_by_class_and_their_number_is_bounded() {
        let records = Records::default();
        records.push_many(&[record(1, "users", 200), record(2, "users", 500), record(3, "users", 204)]);
        let counted: Vec<_> = records.totals().iter().map(|total| (total.class, total.requests)).collect();
        assert_eq!(counted, [(StatusClass::Success, 2), (StatusClass::ServerError, 1)]);

        let many: Vec<_> = (0..TOTALS as u64 * 2).map(|at| record(at, &format!("s{at}"), 200)).collect();
        records.push_many(&many);
        let totals = records.totals();
        assert!(totals.len() <= TOTALS + 6);
        assert_eq!(totals.iter().map(|total| total.requests).sum::<u64>(), 3 + TOTALS as u64 * 2);
    }
}

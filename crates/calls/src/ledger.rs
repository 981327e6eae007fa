//! What a client knows of its calls until somebody reads it: a bounded ring of records, and counters.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderValue, Method, StatusCode};
use madang_model::ServiceName;
use madang_wire::{CacheUse, Code, Fallback, Hop, RequestRecord, SpanId, TraceId, grpc_failed, is_cut};
use tokio::time::Instant;

use crate::{Context, Counters, Lane, Upstream, endpoint::Endpoint, exchange::Exchange};

/// Records and counters of one client.
pub(crate) struct Ledger {
    hop: Hop,
    capacity: usize,
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    records: Vec<Entry>,
    dropped: u64,
    /// By the address of the upstream, which the entry keeps from being used again.
    counters: BTreeMap<usize, (Arc<Upstream>, Counters)>,
}

/// A record as it is kept: nothing is formatted before it is read.
struct Entry {
    at: Instant,
    request_id: HeaderValue,
    trace_id: u128,
    span_id: u64,
    parent_id: Option<u64>,
    route: Option<Arc<str>>,
    caller: Option<ServiceName>,
    service: Option<ServiceName>,
    answering: Option<Arc<Endpoint>>,
    method: Method,
    status: u16,
    grpc_status: Option<u16>,
    code: Option<&'static str>,
    fault: Option<Arc<str>>,
    fallback: Option<Fallback>,
    cache: Option<CacheUse>,
    attempts: u32,
    duration_us: u64,
    upstream_us: u64,
    parked_us: u64,
}

// === impl Ledger ===

impl Ledger {
    /// A ledger that keeps so many records at most.
    pub(crate) fn new(hop: Hop, capacity: usize) -> Self {
        Self { hop, capacity, pages: Mutex::default() }
    }

    /// Enters a call that is over.
    pub(crate) fn enter(
        &self,
        exchange: &Exchange,
        status: u16,
        grpc: Option<u16>,
        code: Option<&'static str>,
    ) {
        let trail = &exchange.trail;
        let fallen = trail.fallen();
        let code = fallen.map_or(code, |fallen| fallen.code);
        // An answer came when the last attempt ended: the clock need not be read again.
        let answered = status != 0 && code.is_none();
        let elapsed = || exchange.started.elapsed().as_micros() as u64;
        let duration_us = if answered { trail.answered_us() } else { elapsed() };
        let renewal = exchange.renewal.get();
        let cache = renewal.map(|renewal| renewal.used(status));
        let stale = cache == Some(CacheUse::Stale);
        // What the client gets, in place of what the service said to the cache.
        let given = match (renewal, cache) {
            (Some(renewal), Some(CacheUse::Stale | CacheUse::Revalidated)) => renewal.status,
            _ => status,
        };
        let asked = || trail.answering().cloned().or_else(|| exchange.upstream().numbered(trail.endpoint()?));
        let entry = Entry {
            service: Some(exchange.upstream().name().clone()),
            // A call that nobody answered is of the instance that was tried last, if that is still there; what a fault
            // answered is no instance's.
            answering: if code == Some(Code::FAULT.id) { None } else { asked() },
            grpc_status: grpc,
            code,
            fault: trail.fault(),
            fallback: fallen.map(|fallen| fallen.to).or(stale.then_some(Fallback::Stale)),
            cache,
            attempts: trail.attempts(),
            duration_us,
            upstream_us: trail.upstream_us(),
            parked_us: trail.parked_us(),
            // The span that the service saw as its parent, if the call got that far.
            span_id: Some(trail.span()).filter(|span| *span != 0).unwrap_or(exchange.context.trace.span_id),
            ..Entry::new(&exchange.context, &exchange.method, given, exchange.started)
        };
        let mut pages = self.pages();
        let key = Arc::as_ptr(exchange.upstream()) as usize;
        let counted = pages.counters.entry(key);
        let (_, counters) = counted.or_insert_with(|| (exchange.upstream().clone(), Counters::default()));
        // What stands in for a failure is none the less one.
        let failed =
            status >= 500 || fallen.is_some() || grpc.is_some_and(grpc_failed) || is_cut(status, code);
        counters.count(status, failed, trail.attempts(), duration_us);
        self.push(&mut pages, entry);
    }

    /// Enters a request that was answered here without a call.
    pub(crate) fn enter_answered(&self, context: &Context, method: &Method, code: Code, started: Instant) {
        let entry = Entry {
            code: Some(code.id),
            duration_us: started.elapsed().as_micros() as u64,
            ..Entry::new(context, method, code.status, started)
        };
        self.push(&mut self.pages(), entry);
    }

    /// Enters a request that was answered here without a call, as was meant.
    pub(crate) fn enter_served(&self, context: &Context, method: &Method, status: StatusCode, at: Instant) {
        let duration_us = at.elapsed().as_micros() as u64;
        let entry = Entry { duration_us, ..Entry::new(context, method, status.as_u16(), at) };
        self.push(&mut self.pages(), entry);
    }

    /// Enters a request that a cache answered.
    pub(crate) fn enter_cached(
        &self,
        context: &Context,
        lane: &Lane,
        (method, status): (&Method, u16),
        cache: CacheUse,
        started: Instant,
    ) {
        let entry = Entry {
            service: Some(lane.upstream.name().clone()),
            cache: Some(cache),
            duration_us: started.elapsed().as_micros() as u64,
            ..Entry::new(context, method, status, started)
        };
        self.push(&mut self.pages(), entry);
    }

    fn push(&self, pages: &mut Pages, entry: Entry) {
        if pages.records.len() < self.capacity {
            pages.records.push(entry);
        } else {
            pages.dropped += 1;
        }
    }

    /// Takes the records so far, and how many were dropped since the last time.
    pub(crate) fn drain(&self) -> (Vec<RequestRecord>, u64) {
        let (records, dropped) = {
            let mut pages = self.pages();
            // Room for as many again, so that the path of requests need not make it.
            let room = Vec::with_capacity(pages.records.len());
            (std::mem::replace(&mut pages.records, room), std::mem::take(&mut pages.dropped))
        };
        // Formatted outside the lock, which the path of requests needs.
        let mut names = Names(Vec::new());
        let clocks = Clocks::now();
        (records.into_iter().map(|entry| self.record(entry, &clocks, &mut names)).collect(), dropped)
    }

    /// The counters so far.
    pub(crate) fn counters(&self) -> BTreeMap<ServiceName, Counters> {
        let pages = self.pages();
        pages
            .counters
            .values()
            .map(|(upstream, counters)| (upstream.name().clone(), counters.clone()))
            .collect()
    }

    fn record(&self, entry: Entry, clocks: &Clocks, names: &mut Names) -> RequestRecord {
        let at = clocks.micros(entry.at);
        RequestRecord {
            at: at / 1000,
            at_us: (at % 1000) as u16,
            hop: self.hop,
            request_id: entry.request_id,
            trace_id: TraceId(entry.trace_id),
            span_id: SpanId(entry.span_id),
            parent_span_id: entry.parent_id.map(SpanId),
            route: entry.route,
            caller: entry.caller.map(|name| names.share(name.as_str())),
            service: entry.service.map(|name| names.share(name.as_str())),
            instance: entry.answering.as_ref().map(|endpoint| endpoint.instance.0.clone()),
            release: entry.answering.and_then(|endpoint| Some(endpoint.release.as_ref()?.0.clone())),
            method: names.share(entry.method.as_str()),
            status: entry.status,
            grpc_status: entry.grpc_status,
            code: entry.code.map(|code| names.share(code)),
            fault: entry.fault,
            fallback: entry.fallback,
            cache: entry.cache,
            attempts: entry.attempts,
            duration_us: entry.duration_us,
            upstream_us: entry.upstream_us,
            parked_us: entry.parked_us,
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // Nothing under it panics half-way.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both clocks at one moment. They are compared each time, since the wall clock may have been set.
struct Clocks {
    wall: Duration,
    monotonic: Instant,
}

impl Clocks {
    fn now() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall, monotonic: Instant::now() }
    }

    /// A moment in microseconds since 1970.
    fn micros(&self, at: Instant) -> u64 {
        let ago = self.monotonic.saturating_duration_since(at);
        self.wall.saturating_sub(ago).as_micros() as u64
    }
}

/// Texts that many records have in common.
struct Names(Vec<Arc<str>>);

impl Names {
    /// Methods and names are few, but a client may make methods up.
    const MOST: usize = 64;

    fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.iter().find(|known| ***known == *text) {
            return known.clone();
        }
        let text: Arc<str> = text.into();
        if self.0.len() < Self::MOST {
            self.0.push(text.clone());
        }
        text
    }
}

impl Entry {
    fn new(context: &Context, method: &Method, status: u16, at: Instant) -> Self {
        Self {
            at,
            request_id: context.request_id.0.clone(),
            trace_id: context.trace.trace_id,
            span_id: context.trace.span_id,
            parent_id: context.trace.parent_id,
            route: context.route.clone(),
            caller: context.caller.clone(),
            service: None,
            answering: None,
            method: method.clone(),
            status,
            grpc_status: None,
            code: None,
            fault: None,
            fallback: None,
            cache: None,
            attempts: 0,
            duration_us: 0,
            upstream_us: 0,
            parked_us: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_ring_drops_and_counts() {
        let ledger = Ledger::new(Hop::Gateway, 3);
        let context = Context::root();
        for _ in 0..5 {
            ledger.enter_answered(&context, &Method::GET, Code::NO_ROUTE, Instant::now());
        }
        let (records, dropped) = ledger.drain();
        assert_eq!((records.len(), dropped), (3, 2));
        assert_eq!(records[0].request_id, context.request_id.0);
        assert_eq!(records[0].trace_id.0, context.trace.trace_id);
        assert_eq!(records[0].span_id.0, context.trace.span_id);
        assert_eq!((records[0].status, records[0].code.as_deref()), (404, Some("MDG-GW-001")));
        assert_eq!(ledger.drain(), (vec![], 0));
    }
}

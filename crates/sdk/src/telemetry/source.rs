//! One service of this process, as that which telemetry is of.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use madang_calls::TraceContext;

use super::{
    measure::{Counter, Measured},
    part::Part,
    queue::Queue,
    sampler::Sampler,
};
use crate::database::Pool;

/// One service of this process.
pub(crate) struct Source {
    name: Arc<str>,
    /// What its database is, by the names of OpenTelemetry's conventions.
    database: OnceLock<&'static str>,
    spans: Option<Spans>,
    measured: Option<Measured>,
}

/// Where its spans go, and which.
pub(crate) struct Spans {
    pub(crate) queue: Arc<Queue>,
    pub(crate) sampler: Sampler,
}

// === impl Source ===

impl Source {
    pub(crate) fn new(name: &str, spans: Option<Spans>, measured: Option<Measured>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), database: OnceLock::new(), spans, measured })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Says what its database is.
    pub(crate) fn has_database(&self, pool: &Pool) {
        let _ = self.database.set(pool.system());
        if let Some(measured) = &self.measured {
            measured.watch(pool.clone());
        }
    }

    /// What is counted of it, if anybody is told.
    pub(super) fn measured(&self) -> Option<&Measured> {
        self.measured.as_ref()
    }

    /// The counter of this name.
    pub(crate) fn counter(&self, name: &'static str) -> Counter {
        self.measured.as_ref().map(|measured| measured.counter(name)).unwrap_or_default()
    }

    pub(crate) fn database(&self) -> Option<&'static str> {
        self.database.get().copied()
    }

    /// Whether this trace has spans of this service.
    pub(crate) fn keeps(&self, trace: &TraceContext) -> bool {
        self.spans.as_ref().is_some_and(|spans| spans.sampler.keeps(trace))
    }

    /// The part of a trace that begins here; none if it has no spans of this service.
    pub(crate) fn part(self: &Arc<Self>, trace: &TraceContext) -> Option<Arc<Part>> {
        let spans = self.spans.as_ref().filter(|_| self.keeps(trace))?;
        Some(Part::new(self.clone(), spans.queue.clone(), trace))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.name).finish()
    }
}

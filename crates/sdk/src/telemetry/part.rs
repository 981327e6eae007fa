//! The part of a trace that one request, or one piece of work in the background, has in this process.
//!
//! Its spans are collected until it is over and wait to be sent together, so that what failed brings all that led to it.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use madang_calls::TraceContext;

use super::{
    queue::{Group, Queue},
    source::Source,
    span::Span,
};

/// How many spans of one part are kept.
const MOST: usize = 256;

/// The part of a trace that one request has in this process.
pub(crate) struct Part {
    source: Arc<Source>,
    queue: Arc<Queue>,
    pub(crate) trace_id: u128,
    pub(crate) flags: u8,
    collected: Mutex<Collected>,
}

#[derive(Default)]
struct Collected {
    spans: Vec<Span>,
    skipped: i64,
    over: bool,
}

// === impl Part ===

impl Part {
    pub(super) fn new(source: Arc<Source>, queue: Arc<Queue>, trace: &TraceContext) -> Arc<Self> {
        let (trace_id, flags) = (trace.trace_id, trace.flags);
        Arc::new(Self { source, queue, trace_id, flags, collected: Mutex::default() })
    }

    /// The service that it is of.
    pub(crate) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Adds a span; one that ends after the part itself goes its own way.
    pub(crate) fn add(&self, span: Span) {
        let mut collected = self.collected();
        if collected.over {
            drop(collected);
            self.send(vec![span]);
        } else if collected.spans.len() < MOST {
            collected.spans.push(span);
        } else {
            collected.skipped += 1;
        }
    }

    /// Adds the span that all others are below, and has them sent.
    pub(crate) fn close(&self, mut span: Span) {
        let mut spans = {
            let mut collected = self.collected();
            collected.over = true;
            if collected.skipped > 0 {
                span.with("madang.spans_not_kept", collected.skipped);
            }
            mem::take(&mut collected.spans)
        };
        spans.push(span);
        self.send(spans);
    }

    fn send(&self, spans: Vec<Span>) {
        self.queue.push(Group {
            source: self.source.clone(),
            trace_id: self.trace_id,
            flags: self.flags,
            spans,
        });
    }

    fn collected(&self) -> MutexGuard<'_, Collected> {
        self.collected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

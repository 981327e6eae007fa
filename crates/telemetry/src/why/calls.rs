//! The calls of a trace: what its spans say of who called whom, and what became of it.

use std::collections::HashMap;

use madang_wire::{
    SpanId,
    trace::{SpanView, TraceView},
    why::Step,
};

/// The name of who asks from outside.
pub(super) const GATEWAY: &str = "gateway";

/// Two clocks of one machine, read one after the other, in microseconds.
const JITTER: u64 = 2_000;

/// The calls of one trace.
pub(super) struct Calls<'a> {
    pub(super) all: Vec<Call<'a>>,
    /// The request from outside, or what comes closest to it.
    pub(super) entry: Option<usize>,
    /// Calls whose cause is not in the trace.
    pub(super) orphans: usize,
}

/// One call, as whoever made it saw it.
pub(super) struct Call<'a> {
    pub(super) span: &'a SpanView,
    pub(super) callee: Option<&'a str>,
    /// What the callee says of it itself, if it says anything.
    pub(super) handler: Option<&'a SpanView>,
    /// The calls that the callee made for it, in the order in which they began.
    pub(super) children: Vec<usize>,
}

// === impl Calls ===

impl<'a> Calls<'a> {
    pub(super) fn of(trace: &'a TraceView) -> Self {
        let by_id: HashMap<SpanId, &SpanView> = trace.spans.iter().map(|span| (span.span_id, span)).collect();
        let mut all: Vec<Call<'a>> = trace.spans.iter().filter(|span| is_hop(span)).map(Call::new).collect();
        all.sort_by_key(|call| call.span.start_us);
        let places: HashMap<SpanId, usize> =
            all.iter().enumerate().map(|(place, call)| (call.span.span_id, place)).collect();
        for span in trace.spans.iter().filter(|span| !is_hop(span) && span.kind == "server") {
            let cause = span.parent_span_id.and_then(|parent| places.get(&parent));
            if let Some(&place) = cause {
                // Of several attempts the last one was answered.
                all[place].handler = Some(span);
            }
        }
        let entry = (0..all.len())
            .find(|&place| all[place].caller() == GATEWAY)
            .or_else(|| (0..all.len()).find(|&place| cause(all[place].span, &by_id, &places).is_none()));
        let mut orphans = 0;
        for place in (0..all.len()).filter(|&place| Some(place) != entry) {
            match cause(all[place].span, &by_id, &places).or_else(|| enclosing(&all, place)) {
                Some(parent) if parent != place => all[parent].children.push(place),
                _ => orphans += 1,
            }
        }
        Self { all, entry, orphans }
    }

    pub(super) fn children(&self, place: usize) -> impl Iterator<Item = usize> + '_ {
        self.all[place].children.iter().copied()
    }

    /// The part of a call in which the callee waited for nobody that it called, in microseconds.
    pub(super) fn alone_us(&self, place: usize) -> u64 {
        let call = &self.all[place];
        let (start, end) = (call.span.start_us + call.parked_us(), call.end_us());
        let mut covered = 0;
        let mut until = start;
        for child in self.children(place) {
            let (from, to) = self.overlap(place, child);
            covered += to.saturating_sub(from.max(until));
            until = until.max(to);
        }
        end.saturating_sub(start).saturating_sub(covered)
    }

    /// The part of a call that lies within another, as its ends.
    pub(super) fn overlap(&self, outer: usize, inner: usize) -> (u64, u64) {
        let (outer, inner) = (&self.all[outer], &self.all[inner]);
        let from = inner.span.start_us.max(outer.span.start_us);
        (from, inner.end_us().min(outer.end_us()).max(from))
    }
}

/// The call that a span happened for: the nearest one above it.
fn cause(
    span: &SpanView,
    by_id: &HashMap<SpanId, &SpanView>,
    places: &HashMap<SpanId, usize>,
) -> Option<usize> {
    let mut parent = span.parent_span_id?;
    // A trace of strangers may go in circles.
    for _ in 0..by_id.len() {
        if let Some(place) = places.get(&parent) {
            return Some(*place);
        }
        parent = by_id.get(&parent)?.parent_span_id?;
    }
    None
}

/// The call that another was most likely made for, where the spans between them are missing: the only one to its caller
/// that was under way all the time.
fn enclosing(all: &[Call<'_>], place: usize) -> Option<usize> {
    let inner = &all[place];
    let mut around = (0..all.len()).filter(|&outer| {
        let outer = &all[outer];
        outer.callee == Some(inner.caller())
            && outer.span.start_us <= inner.span.start_us + JITTER
            && outer.end_us() + JITTER >= inner.span.start_us
    });
    around.next().filter(|_| around.next().is_none())
}

/// Whether Madang saw it as a call: at the gateway, at a door or in the SDK.
pub(super) fn is_hop(span: &SpanView) -> bool {
    // What a service tells of itself has its instance or its resource, whatever attributes it gives its spans.
    span.attributes.contains_key("madang.hop") && span.instance.is_none() && span.resource.is_empty()
}

// === impl Call ===

impl<'a> Call<'a> {
    fn new(span: &'a SpanView) -> Self {
        Self { span, callee: span.peer.as_deref(), handler: None, children: Vec::new() }
    }

    pub(super) fn caller(&self) -> &'a str {
        &self.span.service
    }

    pub(super) fn end_us(&self) -> u64 {
        self.span.start_us.saturating_add(self.span.duration_us)
    }

    pub(super) fn failed(&self) -> bool {
        self.span.error
    }

    /// Whether its answer began well and did not come to its end.
    pub(super) fn is_cut(&self) -> bool {
        madang_wire::is_cut(self.status(), self.code())
    }

    /// The status; 0 if the caller left before it came.
    pub(super) fn status(&self) -> u16 {
        self.number("http.response.status_code").and_then(|status| status.try_into().ok()).unwrap_or(0)
    }

    /// The code of the problem that Madang answered in the callee's place.
    pub(super) fn code(&self) -> Option<&'a str> {
        self.text("madang.code")
    }

    /// What was answered in place of the callee's failure, if anything was.
    pub(super) fn fallback(&self) -> Option<&'a str> {
        self.text("madang.fallback")
    }

    pub(super) fn attempts(&self) -> u64 {
        self.number("madang.attempts").unwrap_or(0)
    }

    pub(super) fn parked_us(&self) -> u64 {
        self.number("madang.parked_us").unwrap_or(0).min(self.span.duration_us)
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.span.attributes.get(name)?.as_str()
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.span.attributes.get(name)?.as_u64()
    }

    pub(super) fn step(&self) -> Step {
        Step {
            span_id: self.span.span_id,
            caller: self.caller().to_owned(),
            callee: self.callee.map(str::to_owned),
            name: self.span.name.clone(),
            status: self.status(),
            code: self.code().map(str::to_owned),
            attempts: self.attempts(),
            duration_us: self.span.duration_us,
        }
    }

    /// What became of it, in words: what the callee answered, not what was in its place.
    pub(super) fn answer(&self) -> String {
        if self.fallback().is_some() {
            return self.code().unwrap_or("with a failure").to_owned();
        }
        match (self.code(), self.number("rpc.grpc.status_code"), self.status()) {
            (Some(code), _, status) => format!("{code} ({status})"),
            (None, Some(grpc), _) if grpc > 0 => format!("grpc-status {grpc}"),
            (None, _, 0) => "no answer: the caller left".to_owned(),
            (None, _, status) => status.to_string(),
        }
    }
}

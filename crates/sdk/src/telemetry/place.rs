//! Where in a trace the running code is: what a span, a query or a call that begins now has above it.
//!
//! It is kept with the spans of `tracing`, which know in which task they are.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::{Subscriber, dispatcher};
use tracing_subscriber::{
    Registry,
    registry::{LookupSpan, SpanRef},
};

use super::{
    part::Part,
    source::Source,
    span::{Kind, Span, now},
};

/// A place in a trace.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) part: Arc<Part>,
    /// The innermost span.
    pub(crate) span: u64,
}

/// In whose name new traces begin.
#[derive(Clone)]
struct Beginning(Arc<Source>);

/// What is above a new span.
pub(super) enum Above {
    /// It is within a trace.
    Place(Place),
    /// It begins one in the name of this service.
    Nothing(Arc<Source>),
}

/// Waiting for less is not told.
const SHORT: Duration = Duration::from_millis(1);

/// Where the running code is in a trace, if it is in one.
pub(crate) fn here() -> Option<Place> {
    dispatcher::get_default(|dispatch| {
        let registry = dispatch.downcast_ref::<Registry>()?;
        let current = registry.span(registry.current_span().id()?)?;
        current.scope().find_map(|span| span.extensions().get::<Place>().cloned())
    })
}

/// The running code has waited for this since then, which is a span if it took long.
pub(crate) fn waited(what: &'static str, since: Instant) {
    let duration = since.elapsed();
    if duration >= SHORT
        && let Some(place) = here()
    {
        place.waited(what, duration);
    }
}

/// What happens within this span of `tracing` is at this place.
pub(crate) fn put(span: &tracing::Span, place: Place) {
    attach(span, place);
}

/// What happens within this span of `tracing` is in no trace, and begins new ones in the name of this service.
pub(crate) fn begin(span: &tracing::Span, source: Arc<Source>) {
    attach(span, Beginning(source));
}

fn attach(span: &tracing::Span, what: impl Send + Sync + 'static) {
    span.with_subscriber(|(id, dispatch)| {
        if let Some(span) = dispatch.downcast_ref::<Registry>().and_then(|registry| registry.span(id)) {
            span.extensions_mut().replace(what);
        }
    });
}

/// What is above this span of `tracing`.
pub(super) fn above<S>(span: &SpanRef<'_, S>) -> Option<Above>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    span.scope().skip(1).find_map(|span| {
        let extensions = span.extensions();
        let place = extensions.get::<Place>().cloned().map(Above::Place);
        place
            .or_else(|| extensions.get::<Beginning>().map(|Beginning(source)| Above::Nothing(source.clone())))
    })
}

// === impl Place ===

impl Place {
    /// Adds a span of waiting that ends now.
    pub(super) fn waited(&self, what: &'static str, duration: Duration) {
        if duration >= SHORT {
            self.part.add(self.ended(what.into(), Kind::Internal, duration));
        }
    }

    /// A span at this place that ends now.
    pub(super) fn ended(&self, name: std::borrow::Cow<'static, str>, kind: Kind, duration: Duration) -> Span {
        Span {
            id: madang_calls::new_span_id(),
            parent: Some(self.span),
            name,
            kind,
            start: now().saturating_sub(duration.as_nanos() as u64),
            duration,
            failed: None,
            attributes: Vec::new(),
            exception: None,
        }
    }
}

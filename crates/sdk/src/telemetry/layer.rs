//! What `tracing` is told, as spans: those that the author of a service makes, and the queries of sqlx.
//!
//! sqlx tells of each statement when it is over, with the time it took, within the span in which it was made.

use std::time::Duration;

use madang_calls::{TraceContext, new_span_id};
use tokio::time::Instant;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{
    Layer,
    filter::{FilterFn, LevelFilter, filter_fn},
    layer::Context,
    registry::LookupSpan,
};

use super::{
    place::{Above, Place, above},
    span::{ATTRIBUTES, Kind, Span, Value, cut, now},
    statement::{Statement, Statements},
};

/// What sqlx tells of statements.
const QUERY: &str = "sqlx::query";
/// What sqlx tells of connections of a pool.
const ACQUIRE: &str = "sqlx::pool::acquire";

/// Spans of the author's and of queries.
#[derive(Default)]
pub(crate) struct Spans {
    statements: Statements,
}

/// A span of the author's that is not over.
struct Open {
    span: Span,
    started: Instant,
    /// Whether a trace begins with it.
    begins: bool,
}

/// The layer, which sees spans that matter by default, failures, and what sqlx tells.
pub(crate) fn layer<S>() -> impl Layer<S> + Send + Sync + 'static
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let filter: FilterFn<fn(&Metadata<'_>) -> bool> = filter_fn(sees);
    Spans::default().with_filter(filter.with_max_level_hint(LevelFilter::DEBUG))
}

fn sees(metadata: &Metadata<'_>) -> bool {
    let level = *metadata.level();
    match metadata.is_span() {
        true => level <= Level::INFO,
        false => {
            level == Level::ERROR || (level <= Level::DEBUG && matches!(metadata.target(), QUERY | ACQUIRE))
        }
    }
}

/// Whether a span is this crate's own, which tells of it in another way.
fn is_own(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("madang::")
}

// === impl Spans ===

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let (metadata, Some(span)) = (attributes.metadata(), context.span(id)) else { return };
        if is_own(metadata) {
            return;
        }
        let Some(above) = above(&span) else { return };
        let (part, parent) = match above {
            Above::Place(Place { part, span }) => (part, Some(span)),
            Above::Nothing(source) => match source.part(&TraceContext::root()) {
                Some(part) => (part, None),
                None => return,
            },
        };
        let mut fields = Fields(Vec::new());
        attributes.record(&mut fields);
        let place = Place { part, span: new_span_id() };
        let open = Open {
            started: Instant::now(),
            begins: parent.is_none(),
            span: Span {
                id: place.span,
                parent,
                name: metadata.name().into(),
                kind: Kind::Internal,
                start: now(),
                duration: Duration::ZERO,
                failed: None,
                attributes: fields.0,
                exception: None,
            },
        };
        let mut extensions = span.extensions_mut();
        extensions.insert(place);
        extensions.insert(open);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            let mut fields = Fields(std::mem::take(&mut open.span.attributes));
            values.record(&mut fields);
            open.span.attributes = fields.0;
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let found = context.event_scope(event).into_iter().flatten();
        let Some((span, place)) = found.into_iter().find_map(|span| {
            let place = span.extensions().get::<Place>().cloned();
            Some((span, place?))
        }) else {
            return;
        };
        match event.metadata().target() {
            QUERY => query(event, &place, &self.statements),
            ACQUIRE => {
                let mut told = Told::default();
                event.record(&mut told);
                if let Some(measured) = place.part.source().measured() {
                    measured.wait(told.time);
                }
                place.waited("wait for a connection to the database", told.time);
            }
            // It fails the author's span that it is in; a request fails by its answer.
            _ => {
                if let Some(open) = span.extensions_mut().get_mut::<Open>() {
                    let mut told = Told::default();
                    event.record(&mut told);
                    open.span.failed = Some(cut(told.error).into());
                }
            }
        }
    }

    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let mut extensions = span.extensions_mut();
        let (Some(mut open), Some(place)) = (extensions.remove::<Open>(), extensions.get_mut::<Place>())
        else {
            return;
        };
        open.span.duration = open.started.elapsed();
        let part = place.part.clone();
        drop(extensions);
        if open.begins { part.close(open.span) } else { part.add(open.span) }
    }
}

/// The span of a statement that is over.
fn query(event: &Event<'_>, place: &Place, statements: &Statements) {
    let mut told = Told::default();
    event.record(&mut told);
    // A short statement is told whole in the summary.
    let sql = if told.statement.is_empty() { told.summary } else { told.statement };
    let Statement { text, name } = statements.of(&sql);
    // A connection that the pool opens is set up with these in whichever request needed one.
    if text.starts_with("PRAGMA") {
        return;
    }
    let mut span = place.ended(name.to_string().into(), Kind::Client, told.time);
    span.attributes.reserve(4);
    if let Some(system) = place.part.source().database() {
        span.with("db.system.name", system);
    }
    span.with("db.query.text", text);
    span.with("db.response.returned_rows", told.returned);
    span.with("madang.db.affected_rows", told.affected);
    place.part.add(span);
}

/// The fields of a span, as attributes.
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn set(&mut self, field: &Field, value: impl FnOnce() -> Value) {
        let known = self.0.iter().position(|(name, _)| *name == field.name());
        match known {
            Some(known) => self.0[known].1 = value(),
            None if self.0.len() < ATTRIBUTES => self.0.push((field.name(), value())),
            None => {}
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.set(field, || format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, || value.to_owned().into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, || value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, || i64::try_from(value).map_or_else(|_| value.to_string().into(), Value::from));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, || value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, || value.into());
    }
}

/// What an event tells that matters here.
#[derive(Default)]
struct Told {
    summary: String,
    statement: String,
    error: String,
    time: Duration,
    affected: i64,
    returned: i64,
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "error" => self.error = format!("{value:?}"),
            "message" if self.error.is_empty() => self.error = format!("{value:?}"),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.statement),
            "error" => value.clone_into(&mut self.error),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        match field.name() {
            "rows_affected" => self.affected = value,
            "rows_returned" => self.returned = value,
            _ => {}
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if matches!(field.name(), "elapsed_secs" | "acquired_after_secs") {
            self.time = Duration::try_from_secs_f64(value).unwrap_or_default();
        }
    }
}

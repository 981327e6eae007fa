//! Which lines are written: those that `RUST_LOG` lets through, with the fields of all spans that they are in.

use tracing::{Level, Metadata, span, subscriber::Interest};
use tracing_subscriber::{
    EnvFilter, Registry,
    filter::LevelFilter,
    layer::{Context, Filter},
    registry::LookupSpan,
};

/// The lines that a filter lets through. Spans that matter by default are there whatever it says, since the ids of a
/// request are in them.
pub(crate) struct Lines(pub(crate) EnvFilter);

fn always(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && *metadata.level() <= Level::INFO
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Filter<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        always(metadata) || Filter::enabled(&self.0, metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Asked in any case: it notes which spans its directives are about.
        let own = Filter::<Registry>::callsite_enabled(&self.0, metadata);
        if always(metadata) { Interest::always() } else { own }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<Registry>::max_level_hint(&self.0).map(|level| level.max(LevelFilter::INFO))
    }

    fn event_enabled(&self, event: &tracing::Event<'_>, context: &Context<'_, S>) -> bool {
        Filter::event_enabled(&self.0, event, context)
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        Filter::on_new_span(&self.0, attributes, id, context);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        Filter::on_record(&self.0, id, values, context);
    }

    fn on_enter(&self, id: &span::Id, context: Context<'_, S>) {
        Filter::on_enter(&self.0, id, context);
    }

    fn on_exit(&self, id: &span::Id, context: Context<'_, S>) {
        Filter::on_exit(&self.0, id, context);
    }

    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        Filter::on_close(&self.0, id, context);
    }
}

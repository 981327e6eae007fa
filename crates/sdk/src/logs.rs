//! What a service writes on its output: one JSON document a line, or text where a person reads it.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{
    Layer,
    fmt::{
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    layer::Context,
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::{Service, environment::Environment, lines::Lines, telemetry};

/// Begins to write the log on stdout. `RUST_LOG` says how much; `info` if it is absent.
pub(crate) fn start(environment: &Environment, services: &[Service]) {
    let (lines, unread) = Lines::of(&std::env::var("RUST_LOG").unwrap_or_default());
    let registry = tracing_subscriber::registry().with(telemetry::layer());
    // A subscriber that the program has set up itself stays.
    let _ = if std::io::stdout().is_terminal() {
        let text = tracing_subscriber::fmt::layer().log_internal_errors(false).with_target(false).compact();
        registry.with(text.with_filter(lines)).try_init()
    } else {
        let service = match services {
            [alone] => alone.name.clone(),
            several => environment.unit.clone().unwrap_or_else(|| {
                several.iter().map(|service| service.name.as_str()).collect::<Vec<_>>().join(",")
            }),
        };
        registry.with(JsonLines { service }.with_filter(lines)).try_init()
    };
    for part in unread {
        tracing::warn!(part, "RUST_LOG holds what is no level and no `target=level`: it is passed over");
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let panic = crate::stack::panic_message(panic.payload());
        tracing::error!(panic, place, "panicked");
    }));
}

/// Says in one line on stderr why the process ends.
pub(crate) fn fatal(message: &str, to_a_person: bool) {
    if to_a_person {
        let _ = writeln!(io::stderr(), "error: {message}");
        return;
    }
    // Where stderr cannot be written, as on a full disk, the exit code has to do: a panic would only hide it.
    let _ = writeln!(io::stderr(), "{}", line("ERROR", message.into(), "madang", Map::new()));
}

/// The time in UTC, as RFC 3339 has it.
fn now() -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// Writes each event as one line: time, level, message, target, then the fields of the spans around it, the
/// outermost first, and its own.
struct JsonLines {
    /// The service that a line is from if no span says so.
    service: String,
}

/// The fields of a span.
struct Fields(Map<String, Value>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JsonLines {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let mut fields = Fields(Map::new());
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Map::from_iter([("service".to_owned(), self.service.clone().into())]);
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(Fields(span)) = span.extensions().get() {
                fields.extend(span.clone());
            }
        }
        let mut own = Fields(fields);
        event.record(&mut own);
        let message = own.0.remove("message").unwrap_or_default();
        let metadata = event.metadata();
        let mut text = line(metadata.level().as_str(), message, metadata.target(), own.0);
        text.push('\n');
        // A log that cannot be written cannot be reported either.
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
    }
}

/// One line, with what every line has in front.
fn line(level: &str, message: Value, target: &str, mut fields: Map<String, Value>) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        timestamp: String,
        level: &'a str,
        message: Value,
        target: &'a str,
        #[serde(flatten)]
        fields: Map<String, Value>,
    }
    for taken in ["timestamp", "level", "target"] {
        if let Some(value) = fields.remove(taken) {
            fields.insert(format!("field.{taken}"), value);
        }
    }
    // A map with text for keys always is JSON.
    serde_json::to_string(&Line { timestamp: now(), level, message, target, fields }).unwrap_or_default()
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_with_what_every_line_has_and_loses_no_field() {
        let fields = serde_json::json!({ "level": 3, "service": "users", "order": "a \"b\"\n" });
        let Value::Object(fields) = fields else { unreachable!() };
        let line = line("INFO", "placed".into(), "shop", fields);
        let (start, rest) = line.split_once(",\"level\"").unwrap();
        assert!(start.starts_with("{\"timestamp\":\"20") && start.ends_with("Z\""), "{line}");
        assert_eq!(
            rest,
            r#":"INFO","message":"placed","target":"shop","field.level":3,"order":"a \"b\"\n","service":"users"}"#
        );
    }
}

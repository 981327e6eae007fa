//! A line of a structured logger.

use serde_json::{Map, Value};

use super::{Recognised, level, span_id, time, trace_id, traceparent};

/// Where loggers put the message, in the order in which they are believed.
const MESSAGE: [&str; 8] = ["message", "msg", "body", "@m", "@mt", "event", "short_message", "text"];

/// Where they put the time.
const TIME: [&str; 7] = ["timestamp", "time", "@timestamp", "ts", "@t", "datetime", "asctime"];

/// Where they put how bad it is, as a name or a number.
const LEVEL: [&str; 9] =
    ["level", "severity", "levelname", "lvl", "log.level", "@l", "severityText", "severity_text", "loglevel"];

/// Where they put the trace.
const TRACE: [&str; 7] = ["trace_id", "traceId", "traceid", "trace.id", "traceID", "otelTraceID", "trace"];

/// Where they put the span.
const SPAN: [&str; 6] = ["span_id", "spanId", "spanid", "span.id", "spanID", "otelSpanID"];

/// What they put around more fields: tracing, ECS, those who log a context.
const AROUND: [&str; 4] = ["fields", "log", "trace", "context"];

/// What a line says; none if it is no JSON document.
pub(super) fn of(line: &str) -> Option<Recognised> {
    let mut fields: Map<String, Value> = serde_json::from_str(line).ok()?;
    let mut found = Recognised::default();
    if let Some(Value::Object(inner)) = fields.remove("fields") {
        fields.extend(inner); // as tracing nests them
    }
    found.at = TIME.iter().find_map(|key| take(&mut fields, key, time::of));
    found.level = LEVEL
        .iter()
        .find_map(|key| take(&mut fields, key, level::of))
        .or_else(|| take(&mut fields, "levelno", level::of_python))
        .or_else(|| {
            ["severityNumber", "severity_number"]
                .iter()
                .find_map(|key| take(&mut fields, key, level::of_number))
        })
        .or_else(|| level::of(fields.get("log")?.get("level")?));
    ids(&mut fields, &mut found);
    found.message = MESSAGE.iter().find_map(|key| take(&mut fields, key, message));
    found.fields = fields;
    Some(found)
}

/// The ids: at the top, or in what is around them; of tracing's spans those of the innermost.
fn ids(fields: &mut Map<String, Value>, found: &mut Recognised) {
    let parent = |value: &Value| traceparent(value.as_str()?);
    if let Some((trace, span)) = take(fields, "traceparent", parent) {
        (found.trace_id, found.span_id) = (Some(trace), span);
        return;
    }
    let trace = |value: &Value| trace_id(value.as_str()?);
    let span = |value: &Value| span_id(value.as_str()?);
    found.trace_id = TRACE.iter().find_map(|key| take(fields, key, trace));
    found.span_id = SPAN.iter().find_map(|key| take(fields, key, span));
    let spans = fields.get("spans").and_then(Value::as_array).into_iter().flatten().rev();
    let around = fields.get("span").into_iter().chain(spans);
    let around = around.chain(AROUND.iter().filter_map(|key| fields.get(*key)));
    for inner in around.filter_map(Value::as_object) {
        let get = |keys: &[&str]| keys.iter().find_map(|key| inner.get(*key));
        let id = || if inner.contains_key("id") { inner.get("id") } else { None };
        found.trace_id = found.trace_id.or_else(|| get(&TRACE).or_else(id).and_then(trace));
        found.span_id = found.span_id.or_else(|| get(&SPAN).or_else(id).and_then(span));
    }
}

/// Takes a field out if its value is what it should be.
fn take<T>(fields: &mut Map<String, Value>, key: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
    let read = read(fields.get(key)?)?;
    fields.remove(key);
    Some(read)
}

fn message(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        // OTLP's own JSON, and those who write a number or a flag.
        Value::Object(inner) => inner.get("stringValue")?.as_str().map(str::to_owned),
        Value::Null | Value::Array(_) => None,
        other => Some(other.to_string()),
    }
}

//! A line of a service's log for people: structured ones are written out, plain ones stay as they are.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::style::{Paint, Style};

/// What a line of its own shows anyway, or what nobody reads.
const LEFT_OUT: [&str; 8] = ["timestamp", "time", "target", "service", "pid", "hostname", "v", "name"];

/// A JSON line with a message as `LEVEL message key=value …`; any other line as it was written.
pub fn readable(line: &str, style: Style) -> Cow<'_, str> {
    if !line.starts_with('{') {
        return line.into();
    }
    match serde_json::from_str::<Map<String, Value>>(line) {
        Ok(fields) => written_out(fields, style).map_or(line.into(), Cow::Owned),
        Err(_) => line.into(),
    }
}

fn written_out(mut fields: Map<String, Value>, style: Style) -> Option<String> {
    let level = fields.remove("level").map(level);
    if let Some(Value::Object(inner)) = fields.remove("fields") {
        fields.extend(inner); // as tracing's own JSON nests them
    }
    let message = fields.remove("message").or_else(|| fields.remove("msg"))?;
    let mut text = String::new();
    if let Some((level, paint)) = level {
        text.push_str(&style.paint(paint, &format!("{level:<5}")));
        text.push(' ');
    }
    text.push_str(&plain(&message));
    for (key, value) in fields.iter().filter(|(key, _)| !LEFT_OUT.contains(&key.as_str())) {
        let field = format!("{key}={}", plain(value));
        text.push(' ');
        text.push_str(&style.paint(Paint::Faint, &field));
    }
    Some(text)
}

/// A level by its name, or by its number as Node's loggers write it.
fn level(level: Value) -> (String, Paint) {
    let name = match &level {
        Value::Number(number) => match number.as_u64().unwrap_or_default() {
            0..20 => "TRACE",
            20..30 => "DEBUG",
            30..40 => "INFO",
            40..50 => "WARN",
            _ => "ERROR",
        }
        .to_owned(),
        other => plain(other).to_uppercase(),
    };
    let paint = match name.as_str() {
        "ERROR" | "FATAL" | "CRITICAL" => Paint::Bad,
        "WARN" | "WARNING" => Paint::Busy,
        "INFO" => Paint::Good,
        _ => Paint::Faint,
    };
    (name, paint)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structured_lines_are_written_out_and_others_stay() {
        for (line, shown) in [
            ("listening on 3001", "listening on 3001"),
            (
                r#"{"timestamp":"2026-01-01T00:00:00Z","level":"INFO","message":"주문","target":"a","order":7,"trace_id":"ab"}"#,
                "INFO  주문 order=7 trace_id=ab",
            ),
            (r#"{"level":"WARN","fields":{"message":"slow","ms":12},"target":"x"}"#, "WARN  slow ms=12"),
            (
                r#"{"level":50,"time":1,"pid":3,"hostname":"h","msg":"boom","err":{"a":1}}"#,
                r#"ERROR boom err={"a":1}"#,
            ),
            (r#"{"msg":"no level"}"#, "no level"),
            (r#"{"order":7}"#, r#"{"order":7}"#),
            (r#"{"msg":"cut … [3 bytes cut]"#, r#"{"msg":"cut … [3 bytes cut]"#),
        ] {
            assert_eq!(readable(line, Style::PLAIN), shown);
        }
    }
}

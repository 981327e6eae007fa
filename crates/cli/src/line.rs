//! A line of a service's log for people: structured ones are written out, plain ones stay as they are.

use std::borrow::Cow;

use madang_wire::log::{LogLevel, LogLine, LogSource};
use serde_json::Value;

use crate::style::{Paint, Style};

/// What a line of its own shows anyway, or what nobody reads.
const LEFT_OUT: [&str; 6] = ["target", "service", "pid", "hostname", "v", "name"];

/// A structured line as `LEVEL message key=value …`; any other line as it was written, in the colour of its level.
pub fn readable(line: &LogLine, style: Style) -> Cow<'_, str> {
    if line.message.is_none() && line.source == LogSource::Output {
        return match line.level {
            Some(level @ (LogLevel::Warn | LogLevel::Error | LogLevel::Fatal)) => {
                style.paint(paint(level), &line.line).into_owned().into()
            }
            _ => line.line.as_str().into(),
        };
    }
    let mut text = String::new();
    if let Some(level) = line.level {
        let name = level.name().to_uppercase();
        text.push_str(&style.paint(paint(level), &format!("{name:<5}")));
        text.push(' ');
    }
    text.push_str(line.text());
    let shown = line.fields.iter().filter(|(key, _)| !LEFT_OUT.contains(&key.as_str()));
    let fields = shown.map(|(key, value)| format!("{key}={}", plain(value)));
    for field in fields.chain(line.trace_id.map(|id| format!("trace_id={id}"))) {
        text.push(' ');
        text.push_str(&style.paint(Paint::Faint, &field));
    }
    text.into()
}

fn paint(level: LogLevel) -> Paint {
    match level {
        LogLevel::Error | LogLevel::Fatal => Paint::Bad,
        LogLevel::Warn => Paint::Busy,
        LogLevel::Info => Paint::Good,
        LogLevel::Debug | LogLevel::Trace => Paint::Faint,
    }
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

    fn line(json: &str) -> LogLine {
        let rest = r#""at":0,"unit":"a","instance":"a-1","line":"as it was""#;
        serde_json::from_str(&format!("{{{rest},{json}}}")).unwrap()
    }

    #[test]
    fn structured_lines_are_written_out_and_others_stay() {
        for (json, shown) in [
            (r#""source":"output""#, "as it was"),
            (r#""source":"output","level":"error""#, "as it was"),
            (
                r#""source":"output","level":"info","message":"주문","fields":{"target":"a","order":7,"err":{"a":1}},
                   "trace_id":"0af7651916cd43dd8448eb211c80319c""#,
                r#"INFO  주문 err={"a":1} order=7 trace_id=0af7651916cd43dd8448eb211c80319c"#,
            ),
            (r#""source":"output","message":"no level""#, "no level"),
            (r#""source":"otlp","level":"warn","fields":{"ms":12}"#, "WARN  as it was ms=12"),
        ] {
            assert_eq!(readable(&line(json), Style::PLAIN), shown);
        }
        let coloured = readable(&line(r#""source":"output","level":"error""#), Style::COLOUR).into_owned();
        assert_eq!(coloured, "\x1b[31mas it was\x1b[0m");
    }
}

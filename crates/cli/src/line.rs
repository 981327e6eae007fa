//! A line of a service's log for people: structured ones are written out, plain ones stay as they are.

use std::borrow::Cow;

use madang_wire::log::{LogLevel, LogLine, LogSource};
use serde_json::Value;

use crate::style::{Paint, Style};

/// What a line of its own shows anyway, or what nobody reads.
const LEFT_OUT: [&str; 6] = ["target", "service", "pid", "hostname", "v", "name"];

/// A structured line as `LEVEL message key=value …`; any other line as it was written, in the colour of its level. What
/// would do more to a terminal than colour text is shown and not done: parts of a line may be anybody's.
pub fn readable(line: &LogLine, style: Style) -> Cow<'_, str> {
    match words(line, style) {
        Cow::Borrowed(text) => tame(text),
        Cow::Owned(text) => tame(&text).into_owned().into(),
    }
}

fn words(line: &LogLine, style: Style) -> Cow<'_, str> {
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

/// The text with its control characters written out, but for line ends, tabs and sequences that only colour.
fn tame(text: &str) -> Cow<'_, str> {
    let harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    if text.chars().all(harmless) {
        return text.into();
    }
    let mut tamed = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find(|c| !harmless(c)) {
        tamed.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(length) = colours(rest) {
            tamed.push_str(&rest[..length]);
            rest = &rest[length..];
        } else {
            let mut characters = rest.chars();
            tamed.extend(characters.next().into_iter().flat_map(char::escape_default));
            rest = characters.as_str();
        }
    }
    (tamed + rest).into()
}

/// The length of the sequence at the beginning that sets colours and nothing else (ECMA-48, SGR).
fn colours(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("\x1b[")?;
    let end = inner.find(|c: char| !c.is_ascii_digit() && c != ';' && c != ':')?;
    inner[end..].starts_with('m').then_some("\x1b[".len() + end + 1)
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
        let (plain, title) = ("\x1b[1;31mred\x1b[0m\tnext\nline", "\x1b]0;x\x07\x1b[2J\r\u{9b}1A 한\x1b[3");
        assert_eq!(tame(plain), plain);
        assert_eq!(tame(title), "\\u{1b}]0;x\\u{7}\\u{1b}[2J\\r\\u{9b}1A 한\\u{1b}[3");
        let said =
            readable(&line(r#""source":"output","message":"a\u001b[2Jb","fields":{"k":"\r"}"#), Style::PLAIN)
                .into_owned();
        assert_eq!(said, r"a\u{1b}[2Jb k=\r");
        let coloured = readable(&line(r#""source":"output","level":"error""#), Style::COLOUR).into_owned();
        assert_eq!(coloured, "\x1b[31mas it was\x1b[0m");
    }
}

//! A line that is not structured: it stays whole, and what is plain from its words is taken.

use std::borrow::Cow;

use madang_wire::{SpanId, TraceId, log::LogLevel};

use super::{Recognised, level, span_id, time, trace_id, traceparent};

/// How much of a line is looked at for its level, in bytes: further on it is somebody else's word.
const HEAD: usize = 120;

/// What a line says.
pub(super) fn of(text: &str) -> Recognised {
    let first = uncoloured(text.lines().next().unwrap_or_default());
    let (trace_id, span_id) = ids(&first);
    Recognised {
        at: time::leading(&first),
        level: level_of(&first).or_else(|| failure(text).then_some(LogLevel::Error)),
        trace_id,
        span_id,
        ..Recognised::default()
    }
}

/// Whether a line is the first of a stack trace, or of what a program says as it dies.
pub(in super::super) fn begins_trace(line: &str) -> bool {
    line.starts_with("Traceback (most recent call last)")
        || line.starts_with("Exception in thread ")
        || line.starts_with("panic: ")
        || line.starts_with("fatal error: ")
        || line.starts_with("thread '") && line.contains("' panicked at")
        || line.starts_with("thread '") && line.contains(") panicked at")
        || names_failure(line)
}

fn failure(text: &str) -> bool {
    text.lines().next().is_some_and(begins_trace) || text.contains("\nTraceback (most recent call last)")
}

/// `java.io.IOException: refused`, `TypeError: x is not a function`, `Error: boom`.
fn names_failure(line: &str) -> bool {
    let name = line.strip_prefix("Uncaught ").unwrap_or(line);
    let name = name.split([':', ' ']).next().unwrap_or_default();
    let class = name.rsplit('.').next().unwrap_or_default();
    let named = class.ends_with("Error") || class.ends_with("Exception");
    named
        && class.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._$".contains(&byte))
}

/// The first word that is a level as loggers write it: in capitals, in brackets, or as `level=`.
fn level_of(line: &str) -> Option<LogLevel> {
    let head = &line[..line.floor_char_boundary(HEAD)];
    let word = |c: char| c.is_ascii_alphabetic();
    let mut rest = head;
    while let Some(start) = rest.find(word) {
        let begins = head.len() - rest.len() + start;
        let found = &rest[start..];
        let end = found.find(|c| !word(c)).unwrap_or(found.len());
        let (name, before, after) = (&found[..end], &head[..begins], &found[end..]);
        rest = after;
        let Some(level) = level::named(name) else { continue };
        let capitals = name.bytes().all(|byte| byte.is_ascii_uppercase());
        let alone = !before.ends_with(['-', '/', '.', '_']) && !after.starts_with(['-', '/', '.', '_', '=']);
        let in_brackets = before.ends_with(['[', '<', '(']) && after.starts_with([']', '>', ')', ' ', '\t']);
        let keyed = ["level=", "level=\"", "lvl=", "severity="].iter().any(|key| before.ends_with(key));
        let leads = before.is_empty() && after.starts_with(':');
        if (capitals && alone && name != "HTTP") || in_brackets || keyed || leads {
            return Some(level);
        }
    }
    None
}

/// The ids that a line names beyond doubt: `trace_id=` and 32 digits, `traceparent: 00-…`.
fn ids(line: &str) -> (Option<TraceId>, Option<SpanId>) {
    let parent = value(line, &["traceparent"]).and_then(|(text, _)| traceparent(text));
    if let Some((trace, span)) = parent {
        return (Some(trace), span);
    }
    let trace = value(line, &["trace_id", "traceid", "trace-id", "trace.id"]);
    let trace = trace.and_then(|(text, _)| trace_id(text));
    let span = value(line, &["span_id", "spanid", "span-id", "span.id"]);
    (trace, trace.and_then(|_| span_id(span?.0)))
}

/// The text after a key and `=` or `:`, up to what cannot be part of an id.
fn value<'a>(line: &'a str, keys: &[&str]) -> Option<(&'a str, usize)> {
    keys.iter().find_map(|key| {
        let at = find(line, key)?;
        let after = line[at + key.len()..].trim_start_matches(['"', '\'']);
        let after = after.strip_prefix(['=', ':'])?.trim_start_matches([' ', '"', '\'']);
        let end = after.find(|c: char| !c.is_ascii_hexdigit() && c != '-').unwrap_or(after.len());
        Some((&after[..end], at))
    })
}

/// Where a key begins that is no end of another, in whichever case; `dd.trace_id` is another's.
fn find(line: &str, key: &str) -> Option<usize> {
    let (line, key) = (line.as_bytes(), key.as_bytes());
    let first = [key[0], key[0].to_ascii_uppercase()];
    let mut from = 0;
    while let Some(found) = line[from..].iter().position(|byte| first.contains(byte)) {
        let at = from + found;
        let same = line.get(at..at + key.len()).is_some_and(|text| text.eq_ignore_ascii_case(key));
        let alone = at == 0 || !(line[at - 1].is_ascii_alphanumeric() || b"._-".contains(&line[at - 1]));
        if same && alone {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// Without the colours that a program writes although no terminal is there.
fn uncoloured(line: &str) -> Cow<'_, str> {
    if !line.contains('\x1b') {
        return line.into();
    }
    let mut plain = String::with_capacity(line.len());
    for (index, part) in line.split('\x1b').enumerate() {
        let escape = (index > 0).then(|| part.strip_prefix('[')).flatten();
        plain.push_str(
            match escape.and_then(|escape| escape.split_once(|c: char| c.is_ascii_alphabetic())) {
                Some((_, rest)) => rest,
                None => part,
            },
        );
    }
    plain.into()
}

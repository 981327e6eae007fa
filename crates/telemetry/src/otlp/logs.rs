//! What is kept of log records: a line of whoever sent it, beside those of its output.

use madang_wire::{
    log::LogLevel,
    otlp::{
        common::v1::AnyValue,
        logs::v1::{LogRecord as Given, ResourceLogs},
        to_json,
    },
};
use serde_json::{Map, Value};

use super::{Sender, sender::Origin, spans, value};
use crate::LogRecord;

/// The longest body, in bytes: as long as a line of a file may be.
const BODY: usize = 64 * 1024;

/// The longest text of all fields together, in bytes.
const FIELDS: usize = 64 * 1024;

/// The records of one resource as lines. `now` is in microseconds since 1970.
pub(super) fn read(sender: &Sender, origin: &Origin, given: ResourceLogs, now: u64) -> Vec<LogRecord> {
    let mut lines = Vec::new();
    for of_scope in given.scope_logs {
        let logger = of_scope.scope.map(|scope| scope.name).unwrap_or_default();
        lines.extend(of_scope.log_records.into_iter().map(|given| line(sender, origin, &logger, given, now)));
    }
    lines
}

fn line(sender: &Sender, origin: &Origin, logger: &str, given: Given, now: u64) -> LogRecord {
    // A source without a clock leaves its own time out; then the library's counts.
    let times = [given.time_unix_nano, given.observed_time_unix_nano];
    let at = times.into_iter().find(|time| *time > 0).map_or(now, |time| time / 1000);
    let level = level(given.severity_number, &given.severity_text);
    let (trace_id, span_id) =
        (spans::trace_id(&given.trace_id).ok(), spans::span_id("span id", &given.span_id).ok());
    let (attributes, dropped) = value::attributes(given.attributes);
    let mut fields = Map::new();
    let mut add = |key: &str, text: &str| {
        if !text.is_empty() {
            let mut text = text.to_owned();
            value::cut(&mut text, value::LONGEST);
            fields.insert(key.to_owned(), text.into());
        }
    };
    // Its unit is what a line is found by: of several services in one it says which.
    if sender.services.len() > 1 {
        add("service", &origin.service);
    }
    add("logger", logger);
    add("event", &given.event_name);
    fields.extend(attributes);
    match dropped + u64::from(given.dropped_attributes_count) {
        0 => {}
        dropped => drop(fields.insert("madang.dropped".to_owned(), dropped.into())),
    }
    LogRecord {
        at,
        unit: sender.unit.to_string(),
        instance: origin.instance.as_deref().unwrap_or(&sender.name).to_owned(),
        release: origin.release.as_deref().map(str::to_owned),
        level,
        trace_id,
        span_id,
        body: body(given.body, &given.event_name),
        fields: bounded(fields),
    }
}

/// By the number, of which each level has four; or else by the name that whoever logged gave it.
fn level(number: i32, name: &str) -> Option<LogLevel> {
    let of_number = || LogLevel::ALL.get(usize::try_from(number.checked_sub(1)?).ok()? / 4).copied();
    of_number().or_else(|| name.parse().ok())
}

/// A text as it is, anything else as JSON; of an event without a body its name.
fn body(given: Option<AnyValue>, event: &str) -> String {
    let mut text = match to_json(given) {
        Value::Null => event.to_owned(),
        Value::String(text) => text,
        other => other.to_string(),
    };
    value::cut(&mut text, BODY);
    text
}

/// The fields, or how long they are where that is too long.
fn bounded(fields: Map<String, Value>) -> Map<String, Value> {
    let length = serde_json::to_string(&fields).map_or(0, |text| text.len());
    if length <= FIELDS {
        return fields;
    }
    [("madang.cut".to_owned(), length.into())].into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_has_four_numbers_and_a_name_stands_in_for_none() {
        use LogLevel::{Debug, Error, Fatal, Info, Trace, Warn};
        let numbers = [(1, Trace), (4, Trace), (5, Debug), (9, Info), (12, Info), (13, Warn), (17, Error)];
        for (number, expected) in numbers.into_iter().chain([(21, Fatal), (24, Fatal)]) {
            assert_eq!(level(number, "info"), Some(expected), "{number}");
        }
        for number in [0, -1, 25, i32::MIN, i32::MAX] {
            assert_eq!(level(number, "WARNING"), Some(Warn), "{number}");
            assert_eq!(level(number, "loud"), None);
        }
    }
}

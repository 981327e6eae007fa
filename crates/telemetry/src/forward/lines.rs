//! Lines of log files, as log records of OTLP: a resource for each instance. What came by OTLP is forwarded as it came.

use std::{collections::BTreeMap, time::SystemTime};

use madang_wire::{
    log::{LogLevel, LogLine},
    otlp::{
        attribute,
        common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value},
        logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
        resource::v1::Resource,
    },
};
use serde_json::{Map, Value};

/// Lines with their times in microseconds since 1970.
pub(crate) fn records<'a>(lines: impl IntoIterator<Item = (u64, &'a LogLine)>) -> Vec<ResourceLogs> {
    let read_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let read_at = u64::try_from(read_at.as_nanos()).unwrap_or(u64::MAX);
    let mut instances: BTreeMap<(&str, &str), Vec<LogRecord>> = BTreeMap::new();
    for (micros, line) in lines {
        instances.entry((&line.unit, &line.instance)).or_default().push(record(micros, read_at, line));
    }
    let of_instance = |((unit, instance), log_records): ((&str, &str), Vec<LogRecord>)| ResourceLogs {
        resource: Some(Resource {
            attributes: vec![attribute("service.name", unit), attribute("service.instance.id", instance)],
            ..Default::default()
        }),
        scope_logs: vec![ScopeLogs {
            scope: Some(InstrumentationScope {
                name: super::records::SCOPE.to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..Default::default()
            }),
            log_records,
            ..Default::default()
        }],
        ..Default::default()
    };
    instances.into_iter().map(of_instance).collect()
}

fn record(micros: u64, read_at: u64, line: &LogLine) -> LogRecord {
    // The first of the four numbers that a level has.
    let number = |level| LogLevel::ALL.iter().position(|known| *known == level).unwrap_or(0) * 4 + 1;
    LogRecord {
        time_unix_nano: micros.saturating_mul(1000),
        observed_time_unix_nano: read_at,
        severity_number: line.level.map_or(0, |level| number(level) as i32),
        severity_text: line.level.map(|level| level.name().to_uppercase()).unwrap_or_default(),
        body: Some(value(Value::from(line.text()))),
        attributes: attributes(line.fields.clone()),
        trace_id: line.trace_id.map(|id| id.0.to_be_bytes().to_vec()).unwrap_or_default(),
        span_id: line.span_id.map(|id| id.0.to_be_bytes().to_vec()).unwrap_or_default(),
        ..Default::default()
    }
}

fn attributes(fields: Map<String, Value>) -> Vec<KeyValue> {
    fields.into_iter().map(|(key, field)| KeyValue { key, value: Some(value(field)) }).collect()
}

fn value(value: Value) -> AnyValue {
    let kind = match value {
        Value::Null => None,
        Value::Bool(is) => Some(any_value::Value::BoolValue(is)),
        Value::Number(number) => Some(match number.as_i64() {
            Some(whole) => any_value::Value::IntValue(whole),
            None => any_value::Value::DoubleValue(number.as_f64().unwrap_or_default()),
        }),
        Value::String(text) => Some(any_value::Value::StringValue(text)),
        Value::Array(values) => {
            let values = values.into_iter().map(self::value).collect();
            Some(any_value::Value::ArrayValue(ArrayValue { values }))
        }
        Value::Object(fields) => {
            Some(any_value::Value::KvlistValue(KeyValueList { values: attributes(fields) }))
        }
    };
    AnyValue { value: kind }
}

#[cfg(test)]
mod tests {
    use madang_wire::otlp::{text, to_json};

    use super::*;

    #[test]
    fn a_line_is_a_record_of_its_instance() {
        let line = |instance: &str| -> LogLine {
            serde_json::from_value(serde_json::json!({ "at": 7, "unit": "users", "instance": instance, "source": "output",
                "level": "error", "message": "refused", "line": "{…}", "fields": { "n": 7, "of": ["a", { "b": null }] },
                "trace_id": "0000000000000000000000000000000f", "span_id": "000000000000000e" }))
            .unwrap()
        };
        let (first, second) = (line("users-a"), line("users-b"));
        let found = records([(7_001, &first), (7_002, &second), (7_003, &first)]);
        let counts: Vec<_> = found.iter().map(|of| of.scope_logs[0].log_records.len()).collect();
        assert_eq!(counts, [2, 1]);
        let resource = &found[0].resource.as_ref().unwrap().attributes;
        assert_eq!(
            (text(resource, "service.name"), text(resource, "service.instance.id")),
            (Some("users"), Some("users-a"))
        );
        let record = found[0].scope_logs[0].log_records[1].clone();
        assert_eq!(
            (record.time_unix_nano, record.severity_number, &*record.severity_text),
            (7_003_000, 17, "ERROR")
        );
        assert_eq!(
            (to_json(record.body), record.trace_id[15], record.span_id[7]),
            ("refused".into(), 0xf, 0xe)
        );
        let attributes: Map<String, Value> =
            record.attributes.into_iter().map(|of| (of.key, to_json(of.value))).collect();
        assert_eq!(attributes, first.fields);
    }
}

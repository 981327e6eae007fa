//! A line on its way into the archive, and what it is made of.

use std::time::{SystemTime, UNIX_EPOCH};

use madang_wire::{
    SpanId, TraceId,
    log::{LogLevel, LogLine, LogSource},
};
use serde_json::{Map, Value};

use super::recognise::{self, Recognised};

/// A line that an instance sent by OTLP.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRecord {
    /// When it was written, in microseconds since 1970.
    pub at: u64,
    /// The unit of the instance.
    pub unit: String,
    /// The instance, or whoever sent it if it is none that Madang runs.
    pub instance: String,
    /// Its release.
    pub release: Option<String>,
    /// How bad it is.
    pub level: Option<LogLevel>,
    /// The trace that it belongs to.
    pub trace_id: Option<TraceId>,
    /// The span that it belongs to.
    pub span_id: Option<SpanId>,
    /// Its message.
    pub body: String,
    /// What else it says.
    pub fields: Map<String, Value>,
}

/// A line, with its time in microseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) micros: u64,
    pub(super) line: LogLine,
}

// === impl Entry ===

impl Entry {
    /// A line of a file. One without a time of its own was written at `otherwise`.
    pub(super) fn of_file(unit: &str, instance: &str, text: String, otherwise: u64) -> Self {
        let found = recognise::of(&text);
        let micros = found.at.unwrap_or(otherwise);
        Self { micros, line: line(unit, instance, text, found, micros) }
    }
}

impl From<LogRecord> for Entry {
    fn from(record: LogRecord) -> Self {
        let LogRecord { at, unit, instance, release, level, trace_id, span_id, body, fields } = record;
        let micros = at.min(now().saturating_add(AHEAD));
        let (source, message) = (LogSource::Otlp, None);
        let at = micros / 1000;
        let line = LogLine {
            at,
            unit,
            instance,
            release,
            source,
            level,
            trace_id,
            span_id,
            message,
            fields,
            line: body,
        };
        Self { micros, line }
    }
}

/// How far a clock may be ahead of this machine's, in microseconds.
const AHEAD: u64 = 60_000_000;

/// A line of a file, of which this is known.
pub(super) fn line(unit: &str, instance: &str, text: String, found: Recognised, micros: u64) -> LogLine {
    let Recognised { at: _, level, trace_id, span_id, message, fields } = found;
    LogLine {
        at: micros / 1000,
        unit: unit.to_owned(),
        instance: instance.to_owned(),
        release: None,
        source: LogSource::Output,
        level,
        trace_id,
        span_id,
        message,
        fields,
        line: text,
    }
}

/// The time that a line says, if it may be believed: nobody writes tomorrow's log.
pub(super) fn believed(at: u64) -> Option<u64> {
    (at <= now().saturating_add(AHEAD)).then_some(at)
}

/// Now, in microseconds since 1970.
pub(super) fn now() -> u64 {
    micros(SystemTime::now())
}

/// A time in microseconds since 1970.
pub(super) fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_micros().try_into().unwrap_or(u64::MAX)
}

//! What a line of a log says of itself: when, how bad, of which trace, and its message and fields if it is structured.
//!
//! - [`json`]: the lines of structured loggers: pino, bunyan, zap, slog, logrus, log4j and logback, Serilog, the JSON
//!   formatters of Python, tracing;
//! - [`plain`]: any other line, of which what is plain is taken and nothing is cut off;
//! - [`level`]: how bad, by the many names that there are;
//! - [`time`]: when, by the many forms that there are.

mod json;
mod level;
mod plain;
#[cfg(test)]
mod tests;
mod time;

use madang_wire::{SpanId, TraceId, log::LogLevel};
use serde_json::{Map, Value};

pub(super) use plain::begins_trace;

/// What is known of a line.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Recognised {
    /// In microseconds since 1970.
    pub(super) at: Option<u64>,
    pub(super) level: Option<LogLevel>,
    pub(super) trace_id: Option<TraceId>,
    pub(super) span_id: Option<SpanId>,
    /// Only of a structured line.
    pub(super) message: Option<String>,
    /// All else that a structured line says.
    pub(super) fields: Map<String, Value>,
}

/// Looks at a line, and at the lines that continue it.
pub(super) fn of(text: &str) -> Recognised {
    if text.starts_with('{') {
        let (first, rest) = text.split_once('\n').map_or((text, None), |(first, rest)| (first, Some(rest)));
        if let Some(mut found) = json::of(first) {
            if let (Some(rest), Some(message)) = (rest, &mut found.message) {
                message.push('\n');
                message.push_str(rest);
            }
            return found;
        }
    }
    plain::of(text)
}

/// 32 hexadecimal digits that are not all zero.
fn trace_id(text: &str) -> Option<TraceId> {
    let hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| text.parse().ok()).flatten().filter(|TraceId(id)| *id != 0)
}

/// 16 hexadecimal digits that are not all zero.
fn span_id(text: &str) -> Option<SpanId> {
    let hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| text.parse().ok()).flatten().filter(|SpanId(id)| *id != 0)
}

/// The ids in a `traceparent`: `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`.
fn traceparent(text: &str) -> Option<(TraceId, Option<SpanId>)> {
    let mut parts = text.split('-');
    let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    Some((trace_id(trace).filter(|_| version.len() == 2)?, span_id(span)))
}

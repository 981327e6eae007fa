//! Lines of logs as the admin API tells of them: `GET /v1/logs`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{SpanId, TraceId};

/// How bad it is what a line tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Each step.
    Trace,
    /// For whoever looks for a mistake.
    Debug,
    /// What happens.
    Info,
    /// What should not be so.
    Warn,
    /// What failed.
    Error,
    /// What ended the program.
    Fatal,
}

/// The way that a line came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogSource {
    /// The instance wrote it on its output.
    Output,
    /// The instance sent it by OTLP.
    Otlp,
}

/// One line of a log, with the lines that continue it, as those of a stack trace do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When it was written as far as known: its own time, or when it was read; milliseconds since 1970.
    pub at: u64,
    /// The unit.
    pub unit: String,
    /// The instance.
    pub instance: String,
    /// Its release, of a line that came by OTLP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The way that it came.
    pub source: LogSource,
    /// How bad it is, if it says so, or if it is plain from its words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<LogLevel>,
    /// The trace that it belongs to, if it says so: 32 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub trace_id: Option<TraceId>,
    /// The span that it belongs to, if it says so: 16 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub span_id: Option<SpanId>,
    /// Its message, if it is structured; what is not is all message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What else a structured line says, but for when, how bad and of which trace.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub fields: Map<String, Value>,
    /// The line as it was written, without its end; of one that came by OTLP its body.
    pub line: String,
}

// === impl LogLine ===

impl LogLine {
    /// The message of a structured line, and any other as it is.
    pub fn text(&self) -> &str {
        self.message.as_deref().unwrap_or(&self.line)
    }

    /// The text and the fields as a person reads them: `placed order=7`. This is what is searched.
    pub fn in_words(&self) -> String {
        let mut words = self.text().to_owned();
        for (key, value) in &self.fields {
            words.push(' ');
            words.push_str(key);
            words.push('=');
            match value {
                Value::String(text) => words.push_str(text),
                other => words.push_str(&other.to_string()),
            }
        }
        words
    }
}

// === impl LogLevel ===

impl LogLevel {
    /// All of them, the least bad first.
    pub const ALL: [Self; 6] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that is no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no level: expected trace, debug, info, warn, error or fatal")]
pub struct ParseLevelError(String);

impl FromStr for LogLevel {
    type Err = ParseLevelError;

    fn from_str(text: &str) -> Result<Self, ParseLevelError> {
        let same = |level: &Self| level.name().eq_ignore_ascii_case(text);
        let found = Self::ALL.into_iter().find(same);
        let found = found.or_else(|| text.eq_ignore_ascii_case("warning").then_some(Self::Warn));
        found.ok_or_else(|| ParseLevelError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_a_person_reads_it() {
        let line: LogLine = serde_json::from_str(
            r#"{"at":1,"unit":"orders","instance":"orders-a","source":"output","level":"info","message":"placed",
                "fields":{"by":"kim","order":7},"line":"{}"}"#,
        )
        .unwrap();
        assert_eq!(line.in_words(), "placed by=kim order=7");
        assert_eq!("ERROR".parse(), Ok(LogLevel::Error));
        assert_eq!("warning".parse(), Ok(LogLevel::Warn));
        assert!("loud".parse::<LogLevel>().is_err());
        assert!(LogLevel::Warn > LogLevel::Info);
    }
}

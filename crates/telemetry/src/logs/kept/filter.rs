//! Which lines are wanted.

use madang_model::UnitName;
use madang_wire::{
    TraceId,
    log::{LogLevel, LogLine},
};

/// Which lines are wanted; the default wants all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// Only those of the instances of these units; of all if empty.
    pub units: Vec<UnitName>,
    /// Only those of this level or a worse one.
    pub level: Option<LogLevel>,
    /// Only those of this trace.
    pub trace: Option<TraceId>,
    /// Only those whose message, or fields as `key=value`, contain this text, in upper or lower case. 32 hexadecimal
    /// digits also find the lines of the trace with this id.
    pub grep: Option<String>,
    /// Only those written since then: milliseconds since 1970.
    pub since: Option<u64>,
    /// Only those written until then: milliseconds since 1970.
    pub until: Option<u64>,
}

/// A filter, ready to look at many lines.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) filter: LogFilter,
    /// The text in lower case.
    needle: Option<String>,
    /// The trace that the text may name.
    named: Option<TraceId>,
}

// === impl Wanted ===

impl Wanted {
    pub(crate) fn new(filter: LogFilter) -> Self {
        let needle = filter.grep.as_ref().filter(|text| !text.is_empty()).map(|text| text.to_lowercase());
        let hex = |text: &&String| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let named = filter.grep.as_ref().filter(hex).and_then(|text| text.parse().ok());
        Self { filter, needle, named }
    }

    /// Whether a line is wanted.
    pub(crate) fn lets(&self, line: &LogLine) -> bool {
        let LogFilter { units, level, trace, grep: _, since, until } = &self.filter;
        (units.is_empty() || units.iter().any(|unit| unit.as_str() == line.unit))
            && level.is_none_or(|level| line.level >= Some(level))
            && trace.is_none_or(|trace| line.trace_id == Some(trace))
            && since.is_none_or(|since| line.at >= since)
            && until.is_none_or(|until| line.at <= until)
            && self.says(line)
    }

    /// Whether it has to be looked at for its words.
    pub(crate) fn searches(&self) -> bool {
        self.needle.is_some()
    }

    /// The trace that is wanted, by the filter or because the text names it.
    pub(crate) fn trace(&self) -> Option<TraceId> {
        self.filter.trace.or(self.named)
    }

    fn says(&self, line: &LogLine) -> bool {
        let Some(needle) = &self.needle else { return true };
        (self.named.is_some() && line.trace_id == self.named)
            || line.in_words().to_lowercase().contains(needle)
    }
}

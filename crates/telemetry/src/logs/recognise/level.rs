//! How bad a line is, by the names and numbers of the loggers that there are.

use madang_wire::log::LogLevel;
use serde_json::Value;

/// By its name: `INFO`, `warning`, `SEVERE`.
pub(super) fn named(name: &str) -> Option<LogLevel> {
    let mut lower = [0; 13];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name.as_bytes());
    lower.make_ascii_lowercase();
    Some(match &*lower {
        b"trace" | b"verbose" | b"silly" | b"finest" | b"finer" => LogLevel::Trace,
        b"debug" | b"fine" => LogLevel::Debug,
        b"info" | b"information" | b"informational" | b"notice" | b"http" => LogLevel::Info,
        b"warn" | b"warning" => LogLevel::Warn,
        b"error" | b"err" | b"severe" => LogLevel::Error,
        b"fatal" | b"critical" | b"crit" | b"alert" | b"emerg" | b"emergency" | b"panic" | b"dpanic" => {
            LogLevel::Fatal
        }
        _ => return None,
    })
}

/// By the value of a field: a name, or a number as Node's and Python's loggers write it (10 to 60).
pub(super) fn of(value: &Value) -> Option<LogLevel> {
    match value {
        Value::String(name) => named(name.trim()).or_else(|| counted(name.trim().parse().ok()?)),
        Value::Number(number) => counted(number.as_u64()?),
        _ => None,
    }
}

fn counted(number: u64) -> Option<LogLevel> {
    Some(match number {
        10 => LogLevel::Trace,
        20 => LogLevel::Debug,
        30 => LogLevel::Info,
        40 => LogLevel::Warn,
        50 => LogLevel::Error,
        60 => LogLevel::Fatal,
        _ => return None,
    })
}

/// By the number of Python's `levelno`, where an error is 40.
pub(super) fn of_python(value: &Value) -> Option<LogLevel> {
    Some(match value.as_u64()? {
        1..10 => LogLevel::Trace,
        10..20 => LogLevel::Debug,
        20..30 => LogLevel::Info,
        30..40 => LogLevel::Warn,
        40..50 => LogLevel::Error,
        50..60 => LogLevel::Fatal,
        _ => return None,
    })
}

/// By OpenTelemetry's number: 1 to 24, four for each level.
pub(super) fn of_number(value: &Value) -> Option<LogLevel> {
    let number = value.as_u64().filter(|number| (1..=24).contains(number))?;
    LogLevel::ALL.get(usize::try_from((number - 1) / 4).ok()?).copied()
}

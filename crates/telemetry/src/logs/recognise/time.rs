//! When a line says that it was written, in microseconds since 1970.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::Value;

/// The year 2000: what is said to be older has no clock.
const CREDIBLE: u64 = 946_684_800_000_000;

/// From the value of a field: RFC 3339, or a number of seconds, milliseconds, microseconds or nanoseconds since 1970,
/// whichever gives a time of these days.
pub(super) fn of(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => of_text(text).or_else(|| number(text.parse().ok()?)),
        Value::Number(given) => number(given.as_f64()?),
        _ => None,
    }
}

fn number(given: f64) -> Option<u64> {
    let micros = match given {
        ..1e11 => given * 1e6,
        ..1e14 => given * 1e3,
        ..1e17 => given,
        _ => given / 1e3,
    };
    credible(micros as u64)
}

/// RFC 3339, also with a space or a comma as people write it; without an offset it is this machine's time.
pub(super) fn of_text(text: &str) -> Option<u64> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return credible(at.as_microsecond().try_into().ok()?);
    }
    let at: DateTime = text.replacen(',', ".", 1).replace('/', "-").parse().ok()?;
    let at = at.to_zoned(TimeZone::system()).ok()?.timestamp();
    credible(at.as_microsecond().try_into().ok()?)
}

/// At the beginning of a line: `2026-01-31T09:00:00Z`, `[2026-01-31 09:00:00,123]`.
pub(super) fn leading(line: &str) -> Option<u64> {
    let line = line.trim_start_matches('[');
    // A cheap look before a parse: most lines begin with another word.
    let digits = line.as_bytes();
    if digits.len() < 10 || !digits[..4].iter().all(u8::is_ascii_digit) || !matches!(digits[4], b'-' | b'/') {
        return None;
    }
    let end = |c: char| c == ' ' || c == ']' || c == '\t' || c == '|';
    let word = line.split(end).next()?;
    let plain = |word: &str| of_text(word.trim_end_matches([',', ':']));
    if word.contains('T') {
        return plain(word);
    }
    let time = line[word.len()..].strip_prefix(' ')?.split(end).next()?;
    plain(&line[..word.len() + 1 + time.len()])
}

fn credible(micros: u64) -> Option<u64> {
    (micros >= CREDIBLE).then_some(micros)
}

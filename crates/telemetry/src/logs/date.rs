//! When a line says that it was written.

use jiff::Timestamp;
use serde::Deserialize;

/// The time that a line carries, in milliseconds since 1970: a JSON line in `timestamp` or `time`, as RFC 3339 or
/// as such milliseconds; any other line in its first word, as RFC 3339.
pub(super) fn of(line: &str) -> Option<u64> {
    if line.starts_with('{') {
        let dated: Dated = serde_json::from_str(line).ok()?;
        return dated.timestamp.or(dated.time)?.millis();
    }
    let word = line.split_ascii_whitespace().next()?;
    let word = word.trim_start_matches('[').trim_end_matches(']');
    // A cheap look before a parse: most lines begin with another word.
    word.starts_with(|c: char| c.is_ascii_digit()).then(|| parse(word)).flatten()
}

#[derive(Deserialize)]
struct Dated {
    timestamp: Option<Time>,
    time: Option<Time>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Millis(f64),
    Text(String),
    Other(serde::de::IgnoredAny),
}

impl Time {
    fn millis(self) -> Option<u64> {
        match self {
            Self::Millis(millis) => (millis >= 0.0).then_some(millis as u64),
            Self::Text(text) => parse(&text),
            Self::Other(_) => None,
        }
    }
}

fn parse(text: &str) -> Option<u64> {
    u64::try_from(text.parse::<Timestamp>().ok()?.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_dated_by_what_it_carries() {
        for (line, at) in [
            (r#"{"timestamp":"1970-01-01T00:00:01.5Z","message":"a"}"#, Some(1_500)),
            (r#"{"level":30,"time":1500,"msg":"a"}"#, Some(1_500)),
            (r#"{"time":"1970-01-01T01:00:01+01:00","msg":"a"}"#, Some(1_000)),
            (r#"{"time":1500,"timestamp":"1970-01-01T00:00:02Z"}"#, Some(2_000)),
            (r#"{"timestamp":["a"]}"#, None),
            (r#"{"timestamp":-1}"#, None),
            (r#"{"timestamp":"yesterday"}"#, None),
            (r#"{"message":"a"}"#, None),
            (r#"{"timestamp":"1970-01-01T00:00:01Z""#, None),
            ("1970-01-01T00:00:01Z  INFO started", Some(1_000)),
            ("[1970-01-01T00:00:01Z] started", Some(1_000)),
            ("3 orders", None),
            ("", None),
        ] {
            assert_eq!(of(line), at, "{line}");
        }
    }
}

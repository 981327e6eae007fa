//! Durations as people write them: `250ms`, `3s`, `5m`, `1h`.

use std::time::Duration;

/// A text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a duration: write a whole number and a unit, such as \"250ms\", \"3s\", \"5m\" or \"1h\""
)]
pub struct ParseDurationError(String);

/// Reads a whole number followed by `ms`, `s`, `m`, `h` or `d`.
pub fn parse_duration(given: &str) -> Result<Duration, ParseDurationError> {
    let error = || ParseDurationError(given.to_owned());
    let digits = given.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
    let (number, unit) = given.split_at(digits);
    let number: u64 = number.parse().map_err(|_| error())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(error()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(error)
}

/// Writes a duration so that [`parse_duration`] reads it back, to the millisecond.
pub fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis >= length && millis.is_multiple_of(length) {
            return format!("{}{unit}", millis / length);
        }
    }
    format!("{millis}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in ["0ms", "250ms", "3s", "90s", "5m", "1h", "2d"] {
            let read = parse_duration(text).unwrap();
            assert_eq!(parse_duration(&format_duration(read)).unwrap(), read, "{text}");
        }
    }

    #[test]
    fn refuses_what_has_no_unit_or_no_number() {
        for bad in ["", "3", "s", "3 s", "1.5s", "-1s", "99999999999999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}

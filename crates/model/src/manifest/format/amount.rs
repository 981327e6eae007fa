//! The forms of times and sizes.

use std::{ops::RangeInclusive, time::Duration};

use crate::{
    Auth,
    manifest::{
        error::Code,
        format::{Unfit, unfit},
    },
    parse_duration, parse_size,
    policy::HedgeAfter,
};

/// The longest time a manifest can give: added to any clock, it stays in range.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

pub(super) fn duration(text: &str) -> Result<(), Unfit> {
    let help = "write a whole number and a unit, such as \"250ms\", \"3s\", \"5m\" or \"1h\"";
    match parse_duration(text) {
        Ok(time) if time.is_zero() => {
            unfit(Code::BAD_VALUE, "no time at all is no limit that can be met", help)
        }
        Ok(time) if time > LONGEST => unfit(Code::BAD_VALUE, "it is longer than 30 days", help),
        Ok(_) => Ok(()),
        Err(_) => unfit(Code::BAD_VALUE, "it is not a duration", help),
    }
}

pub(super) fn leeway(text: &str) -> Result<(), Unfit> {
    let help = "write at most \"60s\": clocks that differ by more are to be set right";
    match parse_duration(text) {
        Ok(time) if time > Auth::MOST_LEEWAY => unfit(Code::BAD_VALUE, "it is longer than a minute", help),
        Ok(_) => Ok(()),
        Err(_) => unfit(Code::BAD_VALUE, "it is not a duration", help),
    }
}

pub(super) fn hedge(text: &str) -> Result<(), Unfit> {
    match text.parse() {
        Ok(HedgeAfter::Percentile(_)) => Ok(()),
        Ok(HedgeAfter::Time(_)) => duration(text),
        Err(_) => unfit(
            Code::BAD_VALUE,
            "neither a duration nor a percentile",
            "write how long the first attempt is given, such as \"50ms\", or the share of recent calls that took less, from \"p50\" to \"p99\"",
        ),
    }
}

/// The least and the most that a file of telemetry may have.
const SIZES: RangeInclusive<u64> = 64 << 20..=16 << 40;

pub(super) fn size(text: &str) -> Result<(), Unfit> {
    let help = "write a whole number and a unit, such as \"512MiB\" or \"2GiB\"";
    match parse_size(text) {
        Ok(size) if size < *SIZES.start() => unfit(Code::BAD_VALUE, "it is less than 64MiB", help),
        Ok(size) if size > *SIZES.end() => unfit(Code::BAD_VALUE, "it is more than 16TiB", help),
        Ok(_) => Ok(()),
        Err(_) => unfit(Code::BAD_VALUE, "it is not a size", help),
    }
}

//! Numbers as people read them, and the wall clock as the admin API counts it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::{Timestamp, tz::TimeZone};

use crate::args::Since;

/// Now, in milliseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

/// How long something took: `0.4 s`, `12 s`, `3 min 5 s`.
pub fn elapsed(millis: u64) -> String {
    match millis {
        0..10_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        10_000..120_000 => format!("{} s", millis / 1000),
        _ => format!("{} min {} s", millis / 60_000, millis % 60_000 / 1000),
    }
}

/// How long something took, in microseconds: `0.84 ms`, `12.3 ms`, `840 ms`, `1.2 s`.
pub fn precise(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10),
        10_000..100_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        100_000..1_000_000 => format!("{} ms", micros / 1000),
        _ => elapsed(micros / 1000),
    }
}

/// How often something is done: `0.53/s`, `12.3/s`, `1234/s`.
pub fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate < 10.0 => format!("{rate:.2}/s"),
        rate if rate < 100.0 => format!("{rate:.1}/s"),
        rate => format!("{rate:.0}/s"),
    }
}

/// A share from 0 to 1: `0 %`, `0.3 %`, `12 %`. None that is more than nothing becomes nothing.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0 %".to_owned(),
        percent if percent < 0.1 => "<0.1 %".to_owned(),
        percent if percent < 10.0 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}

/// An amount of memory: `870 KiB`, `12.3 MiB`.
pub fn bytes(bytes: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    match bytes {
        0..MIB => format!("{} KiB", bytes / 1024),
        _ => format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB),
    }
}

/// The time of day of a moment where the user is, to the millisecond.
pub fn time_of_day(millis: u64, zone: &TimeZone) -> String {
    let moment = i64::try_from(millis).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
    moment.unwrap_or_default().to_zoned(zone.clone()).strftime("%H:%M:%S%.3f").to_string()
}

/// A moment where the user is, to the millisecond.
pub fn moment(millis: u64, zone: &TimeZone) -> String {
    let moment = i64::try_from(millis).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
    moment.unwrap_or_default().to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// The moment that is meant, in milliseconds since 1970.
pub fn beginning(since: Since, now: u64) -> u64 {
    match since {
        Since::Ago(ago) => before(now, ago),
        Since::At(moment) => moment,
    }
}

/// A moment that many milliseconds before another.
pub fn before(moment: u64, ago: Duration) -> u64 {
    moment.saturating_sub(ago.as_millis().try_into().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0, 1_234, 9_999, 61_000, 185_000].map(elapsed),
            ["0.0 s", "1.2 s", "9.9 s", "61 s", "3 min 5 s"]
        );
        assert_eq!(
            [0, 840, 12_345, 840_999, 1_234_567].map(precise),
            ["0.00 ms", "0.84 ms", "12.3 ms", "840 ms", "1.2 s"]
        );
        assert_eq!([0, 900 * 1024, 13_003_000].map(bytes), ["0 KiB", "900 KiB", "12.4 MiB"]);
        assert_eq!(time_of_day(1_767_225_603_004, &TimeZone::UTC), "00:00:03.004");
        let seoul = TimeZone::fixed(jiff::tz::offset(9));
        assert_eq!(time_of_day(1_767_225_603_004, &seoul), "09:00:03.004");
    }
}

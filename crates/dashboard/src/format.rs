//! Numbers and times as people read them, and the small marks that stand for states.

use jiff::{Timestamp, tz::TimeZone};
use madang_wire::admin::{BreakerState, State};
use maud::{Markup, html};

use crate::query::with;

/// How long something took, in microseconds: `42 µs`, `0.84 ms`, `12.3 ms`, `840 ms`, `1.2 s`.
pub(crate) fn took(micros: u64) -> String {
    match micros {
        0..100 => format!("{micros} µs"),
        100..10_000 => format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10),
        10_000..100_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        100_000..1_000_000 => format!("{} ms", micros / 1000),
        _ => span(micros / 1000),
    }
}

/// How long something lasts, in milliseconds: `4.2 s`, `48 s`, `12 min`, `3 h 5 min`, `2 d 4 h`.
pub(crate) fn span(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..10 => format!("{}.{} s", seconds, millis % 1000 / 100),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// An amount of memory: `870 KiB`, `12.3 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    match bytes {
        0..MIB => format!("{} KiB", bytes / 1024),
        _ => format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB),
    }
}

/// How many a second: `0/s`, `0.3/s`, `12/s`, `1.2k/s`.
pub(crate) fn rate(rate: f64) -> String {
    match rate {
        rate if rate <= 0.0 => "0/s".to_owned(),
        rate if rate < 0.1 => "< 0.1/s".to_owned(),
        rate if rate < 10.0 => format!("{rate:.1}/s"),
        rate if rate < 1000.0 => format!("{rate:.0}/s"),
        _ => format!("{:.1}k/s", rate / 1000.0),
    }
}

/// Processor time a second, in percent of a core: `0 %`, `3 %`, `140 %`.
pub(crate) fn cores(cores: f64) -> String {
    match cores * 100.0 {
        percent if percent > 0.0 && percent < 1.0 => "< 1 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}

/// A share of one, in percent: `0 %`, `0.02 %`, `3.1 %`, `47 %`.
pub(crate) fn share(share: f64) -> String {
    match share * 100.0 {
        percent if percent <= 0.0 => "0 %".to_owned(),
        percent if percent < 0.01 => "< 0.01 %".to_owned(),
        percent if percent < 1.0 => format!("{percent:.2} %"),
        percent if percent < 10.0 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}

/// A moment that a script shows as how long ago it was, with the moment itself for who points at it. Said as the
/// moment, so that the part of a page that it is in does not change as time goes by.
pub(crate) fn ago(millis: u64) -> Markup {
    let (machine, human) = both(millis);
    html! { time datetime=(machine) title=(human) data-ago { (human.get(..19).unwrap_or(&human)) } }
}

/// A moment as the time of day.
pub(crate) fn clock(millis: u64) -> Markup {
    let (machine, human) = both(millis);
    let time = human.split_once(' ').map_or(human.as_str(), |(_, time)| time);
    html! { time datetime=(machine) title=(human) { (time) } }
}

/// A moment as the day and the time of day.
pub(crate) fn moment(millis: u64) -> Markup {
    let (machine, human) = both(millis);
    html! { time datetime=(machine) { (human.get(..19).unwrap_or(&human)) } }
}

/// A moment for programs, to the millisecond: `2026-01-31T09:00:00.000Z`.
pub(crate) fn rfc3339(millis: u64) -> String {
    format!("{:.3}", timestamp(millis))
}

fn timestamp(millis: u64) -> Timestamp {
    let moment = i64::try_from(millis).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
    moment.unwrap_or_default()
}

/// A moment for programs and, where the node is, for people.
fn both(millis: u64) -> (String, String) {
    let moment = timestamp(millis);
    let human = moment.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string();
    (format!("{moment:.3}"), human)
}

/// The state of an instance.
pub(crate) fn state(state: State) -> Markup {
    let (word, class) = match state {
        State::Waiting => ("waiting", "busy"),
        State::Building => ("building", "busy"),
        State::Starting => ("starting", "busy"),
        State::Ready => ("ready", "good"),
        State::Backoff => ("backoff", "bad"),
        State::Stopping => ("stopping", "busy"),
        State::Failed => ("failed", "bad"),
        State::LeftOut => ("left out", "busy"),
        State::Stopped => ("stopped", "quiet"),
    };
    html! { span.badge.(class) { (word) } }
}

/// The state of a breaker.
pub(crate) fn breaker(state: BreakerState) -> Markup {
    let (word, class) = match state {
        BreakerState::Closed => ("closed", "good"),
        BreakerState::Open => ("open", "bad"),
        BreakerState::HalfOpen => ("half open", "busy"),
    };
    html! { span.badge.(class) { (word) } }
}

/// A trace, by the digits that tell it from others, as a link.
pub(crate) fn trace(id: &str) -> Markup {
    html! { a.mono href={ "/traces/" (id) } title=(id) { (id.get(..8).unwrap_or(id)) } }
}

/// The way to the traces of a route, given by its template.
pub(crate) fn traces(route: &str) -> Markup {
    html! { a href=(with("/traces", &[("route", Some(route))])) aria-label={ "Traces of " (route) } { "Traces" } }
}

/// A service as a link to its page.
pub(crate) fn service(name: &str) -> Markup {
    html! { a href={ "/services/" (crate::query::segment(name)) } { (name) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [42, 840, 12_345, 840_999, 1_234_567].map(took),
            ["42 µs", "0.84 ms", "12.3 ms", "840 ms", "1.2 s"]
        );
        assert_eq!(
            [1_234, 61_000, 185_000, 8_000_000, 190_000_000].map(span),
            ["1.2 s", "61 s", "3 min", "2 h 13 min", "2 d 4 h"]
        );
        assert_eq!([900 * 1024, 13_003_000].map(bytes), ["900 KiB", "12.4 MiB"]);
        assert_eq!(
            [0.0, 0.01, 3.12, 120.0, 1234.0].map(rate),
            ["0/s", "< 0.1/s", "3.1/s", "120/s", "1.2k/s"]
        );
        assert_eq!([0.0, 0.001, 0.03, 1.4].map(cores), ["0 %", "< 1 %", "3 %", "140 %"]);
        assert_eq!(
            [0.0, 0.00001, 0.002, 0.031, 0.47].map(share),
            ["0 %", "< 0.01 %", "0.20 %", "3.1 %", "47 %"]
        );
        assert!(ago(1_767_225_603_004).into_string().contains("datetime=\"2026-01-01T00:00:03.004Z\""));
        assert!(clock(1_767_225_603_004).into_string().contains("datetime=\"2026-01-01T00:00:03.004Z\""));
    }
}

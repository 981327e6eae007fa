//! The limits of a call: what a caller bears of a service, and what is done about its failures.
//!
//! A [`Policy`] is what holds for one caller's calls to one service, after the scopes default, service, route
//! and call have been laid over each other. Durations are texts such as `250ms` where it crosses a process.

mod fault;

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::fault::{Fault, FaultEffect, ParseFaultEffectError};
use crate::{format_duration, parse_duration};

/// The limits of one caller's calls to one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The total time, retries and parking included.
    #[serde(with = "text")]
    pub timeout: Duration,
    /// The time of one attempt.
    #[serde(with = "text")]
    pub attempt_timeout: Duration,
    /// The time to connect, over all attempts at it.
    #[serde(with = "text")]
    pub connect_timeout: Duration,
    /// The time without a byte after which a stream is given up.
    #[serde(with = "text")]
    pub idle_timeout: Duration,
    /// How many times a call is tried at most, the first included; at least 1.
    pub attempts: u32,
    /// The pauses between attempts.
    pub backoff: Backoff,
    /// How many retries the service can bear.
    pub retry_budget: RetryBudget,
    /// How many calls of a service may wait for an instance at once.
    pub parked: u32,
    /// A second attempt at a read that takes long.
    pub hedge: Option<Hedge>,
    /// When an instance is taken out of use because of its answers.
    pub ejection: Option<Ejection>,
    /// When the service as a whole is not called for a while.
    pub breaker: Option<Breaker>,
    /// How many calls the service gets at once, whoever makes them.
    pub concurrency: Option<Concurrency>,
    /// How many of them this caller may make.
    pub share: Option<Concurrency>,
    /// What is shed first under overload.
    pub priority: Priority,
    /// What is answered in place of a failure.
    pub fallback: Option<Fallback>,
    /// Failures made on purpose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// Exponential pauses with full jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// The longest first pause.
    #[serde(with = "text")]
    pub base: Duration,
    /// The longest pause.
    #[serde(with = "text")]
    pub cap: Duration,
}

/// How many retries a service can bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryBudget {
    /// Retries for each hundred requests of the last ten seconds.
    pub percent: u32,
    /// Retries per second that are always allowed.
    pub floor: u32,
}

/// A second attempt, at another instance, at a read that takes long; the first answer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hedge {
    /// How long the first attempt is given.
    pub after: HedgeAfter,
}

/// How long a first attempt is given before it is hedged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum HedgeAfter {
    /// So long.
    Time(Duration),
    /// As long as this share of recent calls took, in percent: `p95`.
    Percentile(u8),
}

/// When an instance is taken out of use because of its answers, and for how long. It comes back after a real
/// request to it went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ejection {
    /// Failures in a row.
    pub failures: u32,
    /// The least share of good answers within the window, in percent.
    pub success_rate: u8,
    /// The most slow answers within the window, in percent; 100 judges nobody by slowness.
    pub slow_rate: u8,
    /// What is slow.
    #[serde(with = "text")]
    pub slow: Duration,
    /// The time over which rates are counted.
    #[serde(with = "text")]
    pub window: Duration,
    /// Answers within the window below which rates say nothing.
    pub minimum: u32,
    /// The first time out of use; it doubles with each ejection in a row.
    #[serde(with = "text")]
    pub base: Duration,
    /// The longest time out of use.
    #[serde(with = "text")]
    pub cap: Duration,
    /// The most of the instances that are out of use at once, in percent; one always stays.
    pub at_most: u8,
    /// The share of usable instances below which all are used again, in percent (panic mode).
    pub panic: u8,
}

/// When a service is not called for a while, and how it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// Failures in a row.
    pub failures: u32,
    /// The most failed calls within the window, in percent.
    pub failure_rate: u8,
    /// The most slow calls within the window, in percent; 100 judges nobody by slowness.
    pub slow_rate: u8,
    /// What is slow.
    #[serde(with = "text")]
    pub slow: Duration,
    /// The time over which rates are counted.
    #[serde(with = "text")]
    pub window: Duration,
    /// Calls within the window below which rates say nothing.
    pub minimum: u32,
    /// How long it stays open at first; it doubles with each probe that fails.
    #[serde(with = "text")]
    pub open: Duration,
    /// The longest that it stays open.
    #[serde(with = "text")]
    pub cap: Duration,
    /// How many probes must go well, one after the other, before it closes.
    pub probes: u32,
    /// Whose state it is.
    pub holder: Holder,
}

/// Whose state a policy works with: it is where the policy was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holder {
    /// The service's: shared by all its callers in a process.
    Service,
    /// That of the one route or caller for which it was given.
    Caller,
}

/// How many calls are made at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concurrency {
    /// The limit.
    pub limit: Limit,
    /// How many more may wait for a place.
    pub queue: u32,
    /// How long one may wait for a place.
    #[serde(with = "text")]
    pub wait: Duration,
}

/// A limit of calls at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// So many.
    Fixed(u32),
    /// As many as the service's latency shows that it can bear, within bounds.
    Adaptive {
        /// The least.
        least: u32,
        /// The most.
        most: u32,
    },
}

/// How much a call matters: under overload the lowest is shed first. It travels with what is called on its
/// behalf.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// Shed first.
    BestEffort,
    /// Shed when there is no place.
    #[default]
    Normal,
    /// Shed last: all of the queue is its.
    Critical,
}

/// What is answered in place of a failure; the header `madang-fallback` says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// Always the same.
    Static {
        /// Its status.
        status: u16,
        /// Its media type.
        content_type: String,
        /// Its body.
        body: String,
    },
    /// The last good answer to the same `GET`, if it is not older than this.
    LastGood(#[serde(with = "text")] Duration),
}

/// A text that is neither a duration nor a percentile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is neither a duration such as \"50ms\" nor a percentile such as \"p95\"")]
pub struct ParseHedgeAfterError(String);

// === impl Policy ===

impl Default for Policy {
    /// What holds where the manifest says nothing: finite times, two retries of what may be retried, the
    /// ejection of instances that fail; nothing else.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(15),
            attempt_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(300),
            attempts: 3,
            backoff: Backoff::default(),
            retry_budget: RetryBudget::default(),
            parked: 1024,
            hedge: None,
            ejection: Some(Ejection::default()),
            breaker: None,
            concurrency: None,
            share: None,
            priority: Priority::Normal,
            fallback: None,
            faults: Vec::new(),
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_millis(25), cap: Duration::from_millis(250) }
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { percent: 20, floor: 10 }
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            failures: 5,
            success_rate: 80,
            slow_rate: 100,
            slow: Duration::from_secs(1),
            window: Duration::from_secs(10),
            minimum: 5,
            base: Duration::from_secs(1),
            cap: Duration::from_secs(60),
            at_most: 50,
            panic: 50,
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 5,
            failure_rate: 50,
            slow_rate: 100,
            slow: Duration::from_secs(1),
            window: Duration::from_secs(10),
            minimum: 10,
            open: Duration::from_secs(1),
            cap: Duration::from_secs(60),
            probes: 1,
            holder: Holder::Service,
        }
    }
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { limit: Limit::Adaptive { least: 4, most: 1024 }, queue: 64, wait: Duration::from_secs(1) }
    }
}

// === impl Priority ===

impl Priority {
    /// How it is written where it crosses a process; a normal one is not.
    pub fn label(self) -> Option<&'static str> {
        match self {
            Self::BestEffort => Some("best-effort"),
            Self::Normal => None,
            Self::Critical => Some("critical"),
        }
    }

    /// What is written so; anything else is normal.
    pub fn from_label(label: &str) -> Self {
        let written = |priority: &Self| priority.label() == Some(label);
        [Self::BestEffort, Self::Critical].into_iter().find(written).unwrap_or_default()
    }
}

// === impl HedgeAfter ===

impl fmt::Display for HedgeAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => f.write_str(&format_duration(*time)),
            Self::Percentile(percent) => write!(f, "p{percent}"),
        }
    }
}

impl FromStr for HedgeAfter {
    type Err = ParseHedgeAfterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let percent = text.strip_prefix('p').and_then(|percent| percent.parse().ok());
        match percent {
            Some(percent @ 50..=99) => Ok(Self::Percentile(percent)),
            _ => parse_duration(text).map(Self::Time).map_err(|_| ParseHedgeAfterError(text.to_owned())),
        }
    }
}

impl From<HedgeAfter> for String {
    fn from(after: HedgeAfter) -> Self {
        after.to_string()
    }
}

impl TryFrom<String> for HedgeAfter {
    type Error = ParseHedgeAfterError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Durations as texts.
mod text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&crate::format_duration(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        crate::parse_duration(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_hedge_waits_for_is_read_as_it_is_written() {
        for text in ["50ms", "1s", "p50", "p95", "p99"] {
            assert_eq!(text.parse::<HedgeAfter>().unwrap().to_string(), text);
        }
        for bad in ["p49", "p100", "p", "95", "p9.5", ""] {
            assert!(bad.parse::<HedgeAfter>().is_err(), "{bad}");
        }
    }
}

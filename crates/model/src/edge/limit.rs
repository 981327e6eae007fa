//! How many requests are taken of whom.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Serialize, Serializer};

use super::WhenDown;
use crate::{format_duration, parse_duration};

/// So many requests in so long, of each.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct RateLimit {
    /// What it is called in `RateLimit` and `RateLimit-Policy`; one of its kind in a list.
    pub name: String,
    /// How fast what was spent comes back.
    pub rate: Rate,
    /// How many may come at once.
    pub burst: u32,
    /// Of whom they are counted.
    pub per: Per,
    /// Whether all gateways that have it count together, and what holds while they cannot; each counts alone if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<WhenDown>,
}

/// So many in so long: `100/m`, `5/10s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many; at least 1.
    pub count: u32,
    /// In how long; at least a second, at most a day.
    pub period: Duration,
}

/// Of whom requests are counted. Of whom that is not known (a client without a principal, a request without the header)
/// by its address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Per {
    /// Each client's address; of IPv6 its /64.
    Address,
    /// Whoever the request is made for, as `[gateway.auth]` knows them.
    Principal,
    /// Each API key.
    Key,
    /// Each value of a header, whose name is in lower case. Whoever sends it chooses it.
    Header(String),
    /// All together.
    All,
}

/// A text that is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a rate: write how many in how long, such as \"100/m\", \"5/s\" or \"20/10s\"")]
pub struct ParseRateError(String);

// === impl Rate ===

impl Rate {
    /// How many there can be at most.
    pub const MOST: u32 = 1_000_000;
    /// The longest time.
    pub const LONGEST: Duration = Duration::from_secs(86_400);

    /// The time in which one comes back.
    pub fn each(self) -> Duration {
        self.period / self.count.max(1)
    }
}

impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseRateError(text.to_owned());
        let (count, period) = text.split_once('/').ok_or_else(error)?;
        let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
        let count =
            digits.then(|| count.parse().ok()).flatten().filter(|count| (1..=Self::MOST).contains(count));
        // The unit alone is one of it.
        let whole = if period.starts_with(|c: char| c.is_ascii_digit()) {
            period.into()
        } else {
            format!("1{period}")
        };
        let period = parse_duration(&whole).map_err(|_| error())?;
        let fits = period >= Duration::from_secs(1) && period <= Self::LONGEST;
        match count {
            Some(count) if fits => Ok(Self { count, period }),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = format_duration(self.period);
        let period = match period.strip_prefix('1') {
            Some(unit) if !unit.starts_with(|c: char| c.is_ascii_digit()) => unit,
            _ => &period,
        };
        write!(f, "{}/{period}", self.count)
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

// === impl Per ===

impl Per {
    /// Whether it means somebody who is known.
    pub fn is_known(&self) -> bool {
        matches!(self, Self::Principal | Self::Key)
    }
}

impl FromStr for Per {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "address" => Ok(Self::Address),
            "principal" => Ok(Self::Principal),
            "key" => Ok(Self::Key),
            "all" => Ok(Self::All),
            _ => {
                let name = text.strip_prefix("header:").ok_or(())?;
                let name = http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| ())?;
                Ok(Self::Header(name.as_str().to_owned()))
            }
        }
    }
}

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("address"),
            Self::Principal => f.write_str("principal"),
            Self::Key => f.write_str("key"),
            Self::All => f.write_str("all"),
            Self::Header(name) => write!(f, "header:{name}"),
        }
    }
}

impl Serialize for Per {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_how_many_in_how_long() {
        for (text, count, seconds, shown) in [
            ("5/s", 5, 1, "5/s"),
            ("100/m", 100, 60, "100/m"),
            ("1/h", 1, 3600, "1/h"),
            ("20/10s", 20, 10, "20/10s"),
            ("20/60s", 20, 60, "20/m"),
            ("3/1d", 3, 86_400, "3/d"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(
                (rate.count, rate.period, &*rate.to_string()),
                (count, Duration::from_secs(seconds), shown)
            );
            assert_eq!(shown.parse::<Rate>().unwrap(), rate);
        }
        for text in
            ["", "5", "5/", "/s", "0/s", "+5/s", "5/100ms", "5/2d", "5/x", "1000001/s", "5/s/s", "-1/s"]
        {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn of_whom_is_written_as_it_is_read() {
        for text in ["address", "principal", "key", "all", "header:x-tenant"] {
            assert_eq!(text.parse::<Per>().unwrap().to_string(), text);
        }
        assert_eq!("header:X-Tenant".parse(), Ok(Per::Header("x-tenant".into())));
        assert!("tenant".parse::<Per>().is_err() && "header:".parse::<Per>().is_err());
    }
}

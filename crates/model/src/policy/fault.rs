//! Failures made on purpose.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{format_duration, parse_duration, path_matches};

/// A failure made on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What it is known by; empty for one of the manifest's.
    #[serde(default)]
    pub id: String,
    /// The method that it is for; any if absent.
    pub method: Option<String>,
    /// The path that it is for, as a route's: `/charges/**`; any if absent.
    pub path: Option<String>,
    /// What happens.
    pub effect: FaultEffect,
    /// How many of the calls it happens to, in percent.
    pub percent: u8,
    /// When it ends by itself, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// What a fault does to a call; written `delay 2s`, `status 503`, `hang`, `lose-reply` or `kill`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum FaultEffect {
    /// The call reaches the instance so much later.
    Delay(Duration),
    /// This status is answered, and the instance hears nothing.
    Status(u16),
    /// Nothing is ever answered, and the instance hears nothing.
    Hang,
    /// The instance answers, and the connection breaks before the answer arrives.
    LoseReply,
    /// The instance is killed as soon as the request is on its way to it.
    Kill,
}

/// A text that is no effect of a fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no effect: write `delay 2s`, `status 503`, `hang`, `lose-reply` or `kill`")]
pub struct ParseFaultEffectError(String);

// === impl Fault ===

impl Fault {
    /// Whether it is meant for such a request at this time, given in milliseconds since 1970.
    pub fn is_for(&self, method: &str, path: &str, now: u64) -> bool {
        self.until.is_none_or(|until| now < until)
            && self.method.as_ref().is_none_or(|only| only == method)
            && self.path.as_ref().is_none_or(|pattern| path_matches(pattern, path))
    }

    /// What it is called where it is felt.
    pub fn name(&self) -> &str {
        if self.id.is_empty() { "manifest" } else { &self.id }
    }
}

// === impl FaultEffect ===

impl fmt::Display for FaultEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delay(time) => write!(f, "delay {}", format_duration(*time)),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Hang => f.write_str("hang"),
            Self::LoseReply => f.write_str("lose-reply"),
            Self::Kill => f.write_str("kill"),
        }
    }
}

impl FromStr for FaultEffect {
    type Err = ParseFaultEffectError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let of = |kind: &str| text.strip_prefix(kind)?.strip_prefix(' ');
        let effect = match text {
            "hang" => Some(Self::Hang),
            "lose-reply" => Some(Self::LoseReply),
            "kill" => Some(Self::Kill),
            _ => {
                let delay = of("delay").and_then(|time| parse_duration(time).ok());
                let status = of("status").and_then(|status| status.parse().ok());
                let status = status.filter(|status| (200..=599).contains(status));
                delay.map(Self::Delay).or(status.map(Self::Status))
            }
        };
        effect.ok_or_else(|| ParseFaultEffectError(text.to_owned()))
    }
}

impl From<FaultEffect> for String {
    fn from(effect: FaultEffect) -> Self {
        effect.to_string()
    }
}

impl TryFrom<String> for FaultEffect {
    type Error = ParseFaultEffectError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_is_read_as_it_is_written() {
        for text in ["delay 2s", "delay 50ms", "status 503", "status 200", "hang", "lose-reply", "kill"] {
            assert_eq!(text.parse::<FaultEffect>().unwrap().to_string(), text);
        }
        for bad in ["delay", "delay 2", "delay2s", "status", "status 99", "status 600", "Hang", "hang ", ""] {
            assert!(bad.parse::<FaultEffect>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fault_is_for_its_method_and_paths_until_it_ends() {
        let fault = Fault {
            id: String::new(),
            method: Some("POST".to_owned()),
            path: Some("/charges/**".to_owned()),
            effect: FaultEffect::Hang,
            percent: 100,
            until: Some(1000),
        };
        assert!(fault.is_for("POST", "/charges/1", 999));
        assert!(!fault.is_for("POST", "/charges/1", 1000));
        assert!(!fault.is_for("GET", "/charges/1", 0));
        assert!(!fault.is_for("POST", "/accounts", 0));
        let any = Fault { method: None, path: None, until: None, ..fault };
        assert!(any.is_for("GET", "/", u64::MAX));
    }
}

//! Where rate limits are shared by several gateways.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use crate::url::is_host;

/// The Redis that shared limits are counted at: `[gateway.limit_store]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitStore {
    /// Where it answers.
    pub url: RedisUrl,
    /// As whom the gateway logs in there; as the default user if absent.
    pub user: Option<String>,
    /// The secret that proves it, by its name.
    pub password: Option<String>,
}

/// What holds for requests under a shared limit while its store cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenDown {
    /// Each gateway counts for itself.
    Local,
    /// They are refused.
    Refuse,
}

/// `redis://host:6379/0`, or `rediss://` over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisUrl {
    tls: bool,
    host: String,
    port: u16,
    database: u16,
}

/// Why a text is not such a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseRedisUrlError {
    /// Neither `redis://` nor `rediss://`.
    #[error("it begins with neither redis:// nor rediss://")]
    Scheme,
    /// `user@` before the host.
    #[error("it holds a user or a password")]
    Credentials,
    /// No host, or something that is none.
    #[error("it names no host, or a port that is none")]
    Host,
    /// Something else than a number after the host.
    #[error("what follows the host is not the number of a database")]
    Database,
}

// === impl WhenDown ===

impl WhenDown {
    /// The words of a manifest.
    pub const ALL: [Self; 2] = [Self::Local, Self::Refuse];

    /// Its word in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Refuse => "refuse",
        }
    }
}

// === impl RedisUrl ===

impl RedisUrl {
    /// Where Redis listens unless it is told otherwise.
    const PORT: u16 = 6379;

    /// Whether it is spoken to over TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// A name in lower case, or an address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of the database.
    pub fn database(&self) -> u16 {
        self.database
    }
}

impl FromStr for RedisUrl {
    type Err = ParseRedisUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").ok_or(ParseRedisUrlError::Scheme)?;
        let tls = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => return Err(ParseRedisUrlError::Scheme),
        };
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(ParseRedisUrlError::Credentials);
        }
        let in_brackets = authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (host, port) = match in_brackets {
            Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => {
                (host, port.strip_prefix(':'))
            }
            Some(_) => return Err(ParseRedisUrlError::Host),
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let trailing = in_brackets.is_some_and(|(_, port)| !port.is_empty() && !port.starts_with(':'));
        let host = host.to_ascii_lowercase();
        if trailing || in_brackets.is_none() && !is_host(&host) {
            return Err(ParseRedisUrlError::Host);
        }
        let port = match port.map(str::parse) {
            None => Self::PORT,
            Some(Ok(port @ 1..)) => port,
            Some(_) => return Err(ParseRedisUrlError::Host),
        };
        let digits = database.bytes().all(|byte| byte.is_ascii_digit());
        let database = match database {
            "" => 0,
            _ if digits => database.parse().map_err(|_| ParseRedisUrlError::Database)?,
            _ => return Err(ParseRedisUrlError::Database),
        };
        Ok(Self { tls, host, port, database })
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}/{}", self.host, self.port, self.database),
            false => write!(f, "{scheme}://{}:{}/{}", self.host, self.port, self.database),
        }
    }
}

impl Serialize for RedisUrl {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_has_a_host_a_port_and_a_database() {
        for (text, shown) in [
            ("redis://limits", "redis://limits:6379/0"),
            ("rediss://Limits.internal:7000/3", "rediss://limits.internal:7000/3"),
            ("redis://10.0.0.5/", "redis://10.0.0.5:6379/0"),
            ("redis://[::1]:6380/1", "redis://[::1]:6380/1"),
        ] {
            assert_eq!(text.parse::<RedisUrl>().map(|url| url.to_string()), Ok(shown.to_owned()));
        }
        for (text, why) in [
            ("limits:6379", ParseRedisUrlError::Scheme),
            ("http://limits", ParseRedisUrlError::Scheme),
            ("redis://user:word@limits", ParseRedisUrlError::Credentials),
            ("redis://", ParseRedisUrlError::Host),
            ("redis://a b", ParseRedisUrlError::Host),
            ("redis://limits:0", ParseRedisUrlError::Host),
            ("redis://[limits]", ParseRedisUrlError::Host),
            ("redis://[::1]6379", ParseRedisUrlError::Host),
            ("redis://limits/shop", ParseRedisUrlError::Database),
            ("redis://limits/0?x=1", ParseRedisUrlError::Database),
            ("redis://limits/70000", ParseRedisUrlError::Database),
        ] {
            assert_eq!(text.parse::<RedisUrl>(), Err(why), "{text}");
        }
    }
}

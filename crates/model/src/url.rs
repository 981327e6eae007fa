//! Where a service that runs elsewhere answers.

use std::{fmt, net::IpAddr, str::FromStr};

use http::uri::PathAndQuery;
use serde::{Deserialize, Serialize};

/// The URL of a service that runs elsewhere, without a path: `https://mail.example`, `http://[::1]:8080`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Url {
    tls: bool,
    host: String,
    port: Option<u16>,
}

/// A URL under which others are, of a server that runs elsewhere: `https://telemetry.example/otlp`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct BaseUrl {
    /// The server.
    pub server: Url,
    /// What stands before each path, without a slash at its end; most often nothing.
    pub path: String,
}

/// Why a text is not such a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseUrlError {
    /// Neither `http://` nor `https://`.
    #[error("it begins with neither http:// nor https://")]
    Scheme,
    /// `user@` before the host.
    #[error("it holds a user or a password")]
    Credentials,
    /// A path, a query or a fragment.
    #[error("it goes on after the host")]
    Rest,
    /// No host, or something that is none.
    #[error("it names no host")]
    Host,
    /// A port that is none.
    #[error("its port is not a number from 1 to 65535")]
    Port,
}

// === impl Url ===

impl Url {
    /// Whether it is spoken to over TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// A name in lower case, or an address, without brackets if it is one of IPv6.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port: 80 or 443 unless it is given.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.tls { 443 } else { 80 })
    }

    /// The host and, if it is not the scheme's own, the port: what the header `host` says.
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

impl FromStr for Url {
    type Err = ParseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").ok_or(ParseUrlError::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(ParseUrlError::Scheme),
        };
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(ParseUrlError::Credentials);
        }
        if !matches!(rest, "" | "/") {
            return Err(ParseUrlError::Rest);
        }
        let (host, port) = split(authority).ok_or(ParseUrlError::Host)?;
        let port = match port.map(str::parse) {
            None => None,
            Some(Ok(port @ 1..)) => Some(port),
            Some(_) => return Err(ParseUrlError::Port),
        };
        let port = port.filter(|port| *port != if tls { 443 } else { 80 });
        Ok(Self { tls, host, port })
    }
}

// === impl BaseUrl ===

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.server, self.path)
    }
}

impl FromStr for BaseUrl {
    type Err = ParseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let after_scheme = text.find("://").ok_or(ParseUrlError::Scheme)? + 3;
        let path = text[after_scheme..].find('/').map_or(text.len(), |at| after_scheme + at);
        let (server, path) = text.split_at(path);
        let server = server.parse()?;
        let path = path.trim_end_matches('/');
        // What an HTTP request could not ask for is no path.
        let fit = path.is_empty() || path.parse::<PathAndQuery>().is_ok_and(|it| it.path() == path);
        if fit { Ok(Self { server, path: path.to_owned() }) } else { Err(ParseUrlError::Rest) }
    }
}

impl From<BaseUrl> for String {
    fn from(url: BaseUrl) -> Self {
        url.to_string()
    }
}

impl TryFrom<String> for BaseUrl {
    type Error = ParseUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The host, if it is one, and the text of the port.
fn split(authority: &str) -> Option<(String, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let address = address.parse::<IpAddr>().ok().filter(IpAddr::is_ipv6)?;
        let port = match port {
            "" => None,
            port => Some(port.strip_prefix(':')?),
        };
        return Some((address.to_string(), port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    is_host(host).then(|| (host.to_ascii_lowercase(), port))
}

/// Whether a text is a host name: labels of letters, digits and `-`, with dots between them.
pub(crate) fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

impl From<Url> for String {
    fn from(url: Url) -> Self {
        url.to_string()
    }
}

impl TryFrom<String> for Url {
    type Error = ParseUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_ports_and_schemes() {
        for (text, shown, host, port) in [
            ("https://mail.example", "https://mail.example", "mail.example", 443),
            ("HTTPS://Mail.Example:8443/", "https://mail.example:8443", "mail.example", 8443),
            ("http://127.0.0.1:80", "http://127.0.0.1", "127.0.0.1", 80),
            ("http://[::1]:8080", "http://[::1]:8080", "::1", 8080),
            ("https://[0:0::1]", "https://[::1]", "::1", 443),
        ] {
            let url: Url = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.host(), url.port()), (shown, host, port));
            assert_eq!(url.to_string().parse(), Ok(url), "{text}");
        }
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for (text, why) in [
            ("mail.example", ParseUrlError::Scheme),
            ("ftp://mail.example", ParseUrlError::Scheme),
            ("https://", ParseUrlError::Host),
            ("https://:443", ParseUrlError::Host),
            ("https://a..b", ParseUrlError::Host),
            ("https://[mail]", ParseUrlError::Host),
            ("https://[::1]8080", ParseUrlError::Host),
            ("https://::1", ParseUrlError::Host),
            ("https://me:secret@mail.example", ParseUrlError::Credentials),
            ("https://mail.example:0", ParseUrlError::Port),
            ("https://mail.example:", ParseUrlError::Port),
            ("https://mail.example/v1", ParseUrlError::Rest),
            ("https://mail.example?key=1", ParseUrlError::Rest),
        ] {
            assert_eq!(text.parse::<Url>(), Err(why), "{text}");
        }
    }
}

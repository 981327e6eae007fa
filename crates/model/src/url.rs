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

/// The URL of one document of a server that runs elsewhere: `https://id.example/realms/shop/keys?use=sig`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct WebUrl {
    /// The server.
    pub server: Url,
    /// The path, and the query if there is one: what a request asks the server for.
    pub target: String,
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

    /// Whether what is said to it and what it says cannot be read or changed on the way: over TLS, or on this machine.
    pub fn is_private(&self) -> bool {
        let loopback = |address: IpAddr| address.is_loopback();
        self.tls || self.host == "localhost" || self.host.parse().is_ok_and(loopback)
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

// === impl WebUrl ===

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.server, self.target)
    }
}

impl FromStr for WebUrl {
    type Err = ParseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let after_scheme = text.find("://").ok_or(ParseUrlError::Scheme)? + 3;
        let target = text[after_scheme..].find(['/', '?', '#']).map_or(text.len(), |at| after_scheme + at);
        let (server, target) = text.split_at(target);
        let server = server.parse()?;
        let target = if target.is_empty() { "/" } else { target };
        // What an HTTP request could not ask for is no document.
        let fit = target.starts_with('/') && target.parse::<PathAndQuery>().is_ok_and(|it| it == target);
        if fit { Ok(Self { server, target: target.to_owned() }) } else { Err(ParseUrlError::Rest) }
    }
}

impl From<WebUrl> for String {
    fn from(url: WebUrl) -> Self {
        url.to_string()
    }
}

impl TryFrom<String> for WebUrl {
    type Error = ParseUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
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
    fn a_document_has_a_server_and_what_it_is_asked_for() {
        for (text, server, target) in [
            ("https://id.example", "https://id.example", "/"),
            ("https://id.example/", "https://id.example", "/"),
            ("https://ID.example:443/a/b?c=d", "https://id.example", "/a/b?c=d"),
            ("http://[::1]:8080/keys", "http://[::1]:8080", "/keys"),
        ] {
            let url: WebUrl = text.parse().unwrap();
            assert_eq!((url.server.to_string().as_str(), url.target.as_str()), (server, target));
            assert_eq!(url.to_string().parse(), Ok(url), "{text}");
        }
        for (text, why) in [
            ("id.example/keys", ParseUrlError::Scheme),
            ("https://id.example?keys", ParseUrlError::Rest),
            ("https://id.example/a#b", ParseUrlError::Rest),
            ("https://id.example/a b", ParseUrlError::Rest),
            ("https://me:secret@id.example/keys", ParseUrlError::Credentials),
        ] {
            assert_eq!(text.parse::<WebUrl>(), Err(why), "{text}");
        }
    }

    #[test]
    fn nobody_listens_on_the_way_over_tls_or_on_this_machine() {
        for private in ["https://id.example", "http://127.9.9.9", "http://[::1]:1", "http://localhost:8080"] {
            assert!(private.parse::<Url>().unwrap().is_private(), "{private}");
        }
        for open in ["http://id.example", "http://10.0.0.7", "http://localhost.example", "http://[::2]"] {
            assert!(!open.parse::<Url>().unwrap().is_private(), "{open}");
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

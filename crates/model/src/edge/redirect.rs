//! A route that the gateway answers itself, with where to go instead.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::WebUrl;

/// Where a request is sent instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Redirect {
    /// 301, 302, 307 or 308.
    pub status: u16,
    /// Where to.
    pub to: RedirectTarget,
}

/// A URL of a host that the manifest names, or a path on the same one: whoever sends the request never chooses the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectTarget {
    /// The scheme and the host, `https://new.example`; the request's own if absent.
    pub base: Option<String>,
    /// What follows.
    pub parts: Vec<RedirectPart>,
}

/// A part of where to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectPart {
    /// This text.
    Text(String),
    /// `{path}`: the request's path.
    Path,
    /// `{rest}`: what of it the `**` of the route stands for, without a slash before it.
    Rest,
    /// `{query}`: the query with its question mark, or nothing.
    Query,
}

impl RedirectTarget {
    /// Reads one; says why it is none.
    ///
    /// # Errors
    /// If it is neither a path nor a URL, or could lead to a host that the manifest does not name.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (base, rest) = match text.split_once("://") {
            Some((scheme @ ("http" | "https"), after)) => {
                let end = after.find(['/', '{']).unwrap_or(after.len());
                let (host, rest) = after.split_at(end);
                let base = format!("{scheme}://{host}");
                if host.contains('@') || base.parse::<WebUrl>().is_err() {
                    return Err("it does not name a host");
                }
                // `https://new.example{path}` goes on with the slash that every path begins with.
                if !rest.is_empty() && !rest.starts_with('/') && !rest.starts_with("{path}") {
                    return Err("what follows the host would be part of it");
                }
                (Some(base), rest)
            }
            Some(_) => return Err("its scheme is neither http nor https"),
            None if text.starts_with('/') && !text.starts_with("//") => (None, text),
            None if text.starts_with("{path}") => (None, text),
            None => return Err("it is neither a path nor a URL"),
        };
        if rest.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'\\' | b'"' | b'<' | b'>')) {
            return Err("it has a character that no URL has");
        }
        Ok(Self { base, parts: parts(rest)? })
    }
}

fn parts(text: &str) -> Result<Vec<RedirectPart>, &'static str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, brace) = rest.split_at(at);
        if !before.is_empty() {
            parts.push(RedirectPart::Text(before.to_owned()));
        }
        let known = [RedirectPart::Path, RedirectPart::Rest, RedirectPart::Query];
        let part = known.into_iter().find(|part| brace.starts_with(&part.to_string()));
        let part = part.ok_or("a brace begins or ends none of {path}, {rest} and {query}")?;
        rest = &brace[part.to_string().len()..];
        parts.push(part);
    }
    if !rest.is_empty() {
        parts.push(RedirectPart::Text(rest.to_owned()));
    }
    Ok(parts)
}

impl fmt::Display for RedirectPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(text) => text,
            Self::Path => "{path}",
            Self::Rest => "{rest}",
            Self::Query => "{query}",
        })
    }
}

impl fmt::Display for RedirectTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base.as_deref().unwrap_or_default())?;
        self.parts.iter().try_for_each(|part| part.fmt(f))
    }
}

impl Serialize for RedirectTarget {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_names_its_host_or_has_the_same() {
        for text in [
            "/new",
            "{path}",
            "/v2/{rest}{query}",
            "https://new.example{path}{query}",
            "https://a.example:8443/x",
        ] {
            assert_eq!(RedirectTarget::parse(text).map(|it| it.to_string()), Ok(text.to_owned()));
        }
        for text in [
            "//evil.example",
            "new",
            "ftp://a.example",
            "https://",
            "https://{rest}",
            "https://a.example{rest}",
            "https://u@a.example/",
            "/a\\b",
            "/{host}",
            "/a b",
        ] {
            assert!(RedirectTarget::parse(text).is_err(), "{text}");
        }
    }
}

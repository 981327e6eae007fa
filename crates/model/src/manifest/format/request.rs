//! The forms that say which requests are meant, and what is asked and answered.

use http::{HeaderName, HeaderValue};

use crate::{
    manifest::{
        error::Code,
        format::{Unfit, unfit},
        pattern,
    },
    nearest,
    url::is_host,
};

/// The methods that a route can be for.
pub(in crate::manifest) const METHODS: [&str; 18] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "QUERY",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "REPORT",
    "SEARCH",
];

pub(super) fn method(text: &str) -> Result<(), Unfit> {
    if METHODS.contains(&text) {
        return Ok(());
    }
    let help = match nearest(text, METHODS) {
        Some(method) => format!("write \"{method}\""),
        None => format!("a route can be for {}", METHODS.join(", ")),
    };
    unfit(Code::BAD_MATCH, "it is not a method that a route can be for", help)
}

/// The method and the path in `POST /charges`, either of which may be missing.
pub(in crate::manifest) fn split_requests(text: &str) -> (Option<&str>, Option<&str>) {
    match text.split_once(' ') {
        Some((method, path)) => (Some(method), Some(path.trim_start())),
        None if text.contains('/') => (None, Some(text)),
        None => (Some(text), None),
    }
}

pub(super) fn requests(text: &str) -> Result<(), Unfit> {
    let (given, path) = split_requests(text);
    given.map_or(Ok(()), method)?;
    path.map_or(Ok(()), pattern::check)
}

pub(super) fn host(text: &str) -> Result<(), Unfit> {
    if is_host(text.strip_prefix("*.").unwrap_or(text)) {
        return Ok(());
    }
    unfit(
        Code::BAD_MATCH,
        "it is not a host name",
        "write a name without a scheme and without a port: \"shop.example\", or \"*.shop.example\" for every name below it",
    )
}

pub(super) fn header(text: &str) -> Result<(), Unfit> {
    match HeaderName::from_bytes(text.as_bytes()) {
        Ok(name) if name == http::header::HOST => unfit(
            Code::BAD_MATCH,
            "the host has a key of its own",
            "write host = \"shop.example\" in the route",
        ),
        Ok(_) => Ok(()),
        Err(_) => unfit(
            Code::BAD_MATCH,
            "it is not the name of a header",
            "write letters, digits and `-`, such as \"x-beta\"",
        ),
    }
}

pub(super) fn header_value(text: &str) -> Result<(), Unfit> {
    if HeaderValue::from_str(text).is_ok() && text.trim() == text {
        return Ok(());
    }
    unfit(
        Code::BAD_MATCH,
        "it is not a value that a header can have",
        "write visible characters without spaces around them: the value is compared as a whole",
    )
}

pub(super) fn health(text: &str) -> Result<(), Unfit> {
    let plain = |c: char| c.is_ascii_graphic() && c != '#';
    if text.starts_with('/') && text.chars().all(plain) {
        return Ok(());
    }
    unfit(
        Code::BAD_VALUE,
        "it is not a path of a URL",
        "write the path that answers 2xx when ready, such as \"/healthz\"",
    )
}

pub(super) fn media_type(text: &str) -> Result<(), Unfit> {
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let halves = essence.split_once('/').is_some_and(|(main, sub)| token(main) && token(sub));
    if halves && HeaderValue::from_str(text).is_ok() {
        return Ok(());
    }
    unfit(Code::BAD_VALUE, "it is not a media type", "write one such as \"text/html; charset=utf-8\"")
}

pub(super) fn json(text: &str) -> Result<(), Unfit> {
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => unfit(
            Code::BAD_VALUE,
            format!("it is not JSON: {error}"),
            "write a JSON document as a text, in single quotes: json = '{ \"items\": [] }'",
        ),
    }
}

/// The longest expression, in bytes: what a person can still read, and a parser can do in no time.
const LONGEST_EXPRESSION: usize = 8 * 1024;

pub(super) fn expression(text: &str) -> Result<(), Unfit> {
    let help = "write an expression in CEL, such as `{\"order\": order, \"customer\": user.name}`";
    match text.len() {
        _ if text.trim().is_empty() => unfit(Code::BAD_EXPRESSION, "it is empty", help),
        LONGEST_EXPRESSION.. => unfit(Code::BAD_EXPRESSION, "it is longer than 8 KiB", help),
        _ => Ok(()),
    }
}

pub(super) fn call_path(text: &str) -> Result<(), Unfit> {
    let help =
        "write a path with expressions in braces, as \"/users/{order.user}\"; parameters are in `query`";
    if !text.starts_with('/') {
        return unfit(Code::BAD_PATH, "a path starts with `/`", format!("write \"/{text}\""));
    }
    let mut outside = text.split('{').enumerate().map(|(at, part)| match at {
        0 => part,
        _ => part.split_once('}').map_or("", |(_, after)| after),
    });
    let unfit_there = |part: &str| {
        part.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '?' | '#' | '\\' | '}'))
    };
    if text.len() >= LONGEST_EXPRESSION || outside.any(unfit_there) {
        return unfit(
            Code::BAD_PATH,
            "it holds a space, `?`, `#`, a backslash or a brace that is not opened",
            help,
        );
    }
    if text.matches('{').count() != text.matches('}').count() {
        return unfit(Code::BAD_PATH, "a brace in it is not closed", help);
    }
    Ok(())
}

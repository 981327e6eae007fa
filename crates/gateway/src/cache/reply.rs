//! What a client gets of an answer that is kept: all of it, a part, or that it has it already.

use std::time::Duration;

use bytes::BytesMut;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{AGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE},
};
use madang_calls::Body;
use tokio::time::Instant;

use super::{directives::split, entry::Entry, wants::Wants};
use crate::written::{digits, field};

pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The part of a body that is wanted.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    All,
    /// From, and up to but not with.
    Some(usize, usize),
    /// It has none there.
    None,
}

/// What became of a request, as `Cache-Status` says it (RFC 9211).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Hit,
    /// Another request fetched it.
    Collapsed,
    /// It was given although it is not fresh; with the status of the failure that it stands in for.
    Stale(Option<u16>),
    /// The service said that it is still good.
    Revalidated(Why),
}

/// Why the service was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Nothing is kept.
    Missing,
    /// What is kept is not fresh.
    Stale,
    /// What is kept is fresh, and the client wants something newer.
    Asked,
}

/// The status that a client would get.
pub(super) fn status(entry: &Entry, wants: &Wants) -> u16 {
    let whole = entry.status == StatusCode::OK;
    match () {
        () if whole && has_it(entry, wants) => 304,
        () if whole => match part(entry, wants) {
            Part::All => 200,
            Part::Some(..) => 206,
            Part::None => 416,
        },
        () => entry.status.as_u16(),
    }
}

/// The answer to a request, at an age.
pub(super) fn reply(entry: &Entry, wants: &Wants, age: Duration, told: Told) -> Response<Body> {
    let mut fields = entry.fields.clone();
    fields.insert(AGE, number(age.as_secs()));
    fields.insert(CACHE_STATUS, told.field(entry, age));
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = StatusCode::from_u16(status(entry, wants)).unwrap_or(entry.status);
    match reply.status() {
        StatusCode::NOT_MODIFIED => {
            // A client keeps what it has of these (RFC 9110, section 15.4.5).
            fields.remove(CONTENT_LENGTH);
            fields.remove(CONTENT_TYPE);
        }
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            let length = entry.body.len();
            let (from, to) = match part(entry, wants) {
                Part::Some(from, to) => (from, to),
                Part::All | Part::None => (0, 0),
            };
            let range = match to {
                0 => format!("bytes */{length}"),
                to => format!("bytes {from}-{}/{length}", to - 1),
            };
            range
                .try_into()
                .into_iter()
                .for_each(|range: HeaderValue| drop(fields.insert(CONTENT_RANGE, range)));
            fields.insert(CONTENT_LENGTH, (to - from).into());
            *reply.body_mut() = Body::from(entry.body.slice(from..to));
        }
        _ if !wants.head => *reply.body_mut() = Body::from(entry.body.clone()),
        _ => {}
    }
    *reply.headers_mut() = fields;
    reply
}

/// Whether the client has it already (RFC 9110, section 13.2.2).
fn has_it(entry: &Entry, wants: &Wants) -> bool {
    if !wants.none_match.is_empty() {
        let has = |text: &str| {
            let etag = entry.etag().and_then(|etag| etag.to_str().ok()).map(opaque);
            split(text).any(|one| one == "*" || Some(opaque(one)) == etag)
        };
        return wants.none_match.iter().any(|field| {
            // Bytes that are no text are compared as they are.
            Some(field) == entry.etag() || field.to_str().is_ok_and(has)
        });
    }
    let Some(since) = wants.modified_since.as_ref().and_then(date) else { return false };
    // What does not say when it changed did not after it was made (RFC 9111, section 4.3.2).
    let changed = entry.modified().or_else(|| entry.fields.get(DATE)).and_then(date);
    changed.is_some_and(|changed| changed <= since)
}

/// Without what says that it is weak: whether bytes are the same is of no concern here.
fn opaque(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag)
}

fn date(field: &HeaderValue) -> Option<std::time::SystemTime> {
    httpdate::parse_http_date(field.to_str().ok()?).ok()
}

/// Of several parts all is given, which is allowed (RFC 9110, section 14.2).
fn part(entry: &Entry, wants: &Wants) -> Part {
    let Some(range) = wants.range.as_ref().filter(|_| !wants.head) else { return Part::All };
    let unchanged = wants.if_range.as_ref().is_none_or(|field| match field.as_bytes().first() {
        // Weak ones are never the same here (section 13.1.5).
        Some(b'"') => Some(field) == entry.etag(),
        _ => Some(field) == entry.modified(),
    });
    match range.to_str() {
        Ok(text) if unchanged => range_of(text, entry.body.len()),
        _ => Part::All,
    }
}

fn range_of(text: &str, length: usize) -> Part {
    let Some((from, to)) = text.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-')) else {
        return Part::All;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = |text: &str| text.parse().unwrap_or(usize::MAX);
    match (from, to) {
        ("", last) if digits(last) => match number(last).min(length) {
            0 => Part::None,
            last => Part::Some(length - last, length),
        },
        (from, "") if digits(from) => match number(from) {
            from if from < length => Part::Some(from, length),
            _ => Part::None,
        },
        (from, to) if digits(from) && digits(to) => match (number(from), number(to)) {
            (from, to) if from > to => Part::All,
            (from, to) if from < length => Part::Some(from, to.saturating_add(1).min(length)),
            _ => Part::None,
        },
        _ => Part::All,
    }
}

// === impl Told ===

impl Told {
    fn field(self, entry: &Entry, age: Duration) -> HeaderValue {
        let mut text = BytesMut::with_capacity(48);
        text.extend_from_slice(match self {
            Self::Hit => b"madang; hit",
            Self::Collapsed => b"madang; hit; detail=collapsed",
            Self::Stale(None) => b"madang; hit; detail=stale",
            Self::Stale(Some(_)) => b"madang; fwd=stale; detail=stale; fwd-status=",
            Self::Revalidated(Why::Asked) => b"madang; fwd=request; fwd-status=304",
            Self::Revalidated(_) => b"madang; fwd=stale; fwd-status=304",
        });
        if let Self::Stale(Some(status)) = self {
            digits(status.into(), &mut text);
        }
        text.extend_from_slice(b"; ttl=");
        let lifetime = entry.terms.lifetime;
        let ttl = match lifetime.checked_sub(age) {
            Some(left) => left,
            None => {
                text.extend_from_slice(b"-");
                age - lifetime
            }
        };
        digits(ttl.as_secs(), &mut text);
        field(text.freeze())
    }
}

// === impl Why ===

impl Why {
    /// Why what is kept was not the answer of a cache that wants something new.
    pub(super) fn of(kept: Option<&Entry>, now: Instant) -> Self {
        match kept {
            None => Self::Missing,
            Some(kept) if kept.age(now) < kept.terms.lifetime => Self::Asked,
            Some(_) => Self::Stale,
        }
    }

    /// What is told of it, and of whether the answer is kept.
    pub(super) fn told(self, stored: bool) -> &'static str {
        match (self, stored) {
            (Self::Missing, true) => "madang; fwd=uri-miss; stored",
            (Self::Missing, false) => "madang; fwd=uri-miss",
            (Self::Stale, true) => "madang; fwd=stale; stored",
            (Self::Stale, false) => "madang; fwd=stale",
            (Self::Asked, true) => "madang; fwd=request; stored",
            (Self::Asked, false) => "madang; fwd=request",
        }
    }
}

/// What is told of a request that the service answered. What another cache said before comes first.
pub(super) fn tell_forwarded(fields: &mut HeaderMap, why: &'static str) {
    fields.append(CACHE_STATUS, HeaderValue::from_static(why));
}

fn number(number: u64) -> HeaderValue {
    let mut text = BytesMut::with_capacity(12);
    digits(number, &mut text);
    field(text.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_one_that_there_is() {
        for (text, part) in [
            ("bytes=0-1", Part::Some(0, 2)),
            ("bytes=1-", Part::Some(1, 10)),
            ("bytes=-3", Part::Some(7, 10)),
            ("bytes=-30", Part::Some(0, 10)),
            ("bytes=5-500", Part::Some(5, 10)),
            ("bytes=9-9", Part::Some(9, 10)),
            ("bytes=10-", Part::None),
            ("bytes=10-12", Part::None),
            ("bytes=-0", Part::None),
            ("bytes=99999999999999999999999-", Part::None),
            ("bytes=5-4", Part::All),
            ("bytes=0-1,3-4", Part::All),
            ("bytes=a-b", Part::All),
            ("bytes=-", Part::All),
            ("lines=0-1", Part::All),
        ] {
            assert_eq!(range_of(text, 10), part, "{text}");
        }
        assert_eq!(range_of("bytes=0-", 0), Part::None);
    }
}

//! One answer as it is kept, ready to be given: nothing of it is read again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        AGE, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, LAST_MODIFIED,
        PROXY_AUTHENTICATE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY,
    },
};
use madang_model::edge::Cache as Rule;
use tokio::time::Instant;

use super::{
    directives::split,
    place::Place,
    reply::CACHE_STATUS,
    terms::{Asker, Terms},
    zone::Zone,
};

pub(super) const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("proxy-authentication-info");
const PROXY_AUTHORIZATION: HeaderName = HeaderName::from_static("proxy-authorization");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Fields of a connection, or of one answer, and not of what is kept (RFC 9111, section 3.1).
const NOT_KEPT: [HeaderName; 13] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHENTICATION_INFO,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    AGE,
    CACHE_STATUS,
    HeaderName::from_static(madang_wire::headers::REQUEST_ID),
];

/// What belongs to the bytes that are kept, whatever a 304 says of it (section 3.2).
const OF_THE_BODY: [HeaderName; 5] =
    [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderName::from_static("content-md5")];

/// Fields that answers get on their way out: their place is kept, so that no room must be made for them.
const PLACES: [HeaderName; 3] =
    [AGE, CACHE_STATUS, HeaderName::from_static(madang_wire::headers::REQUEST_ID)];

/// What an entry takes besides its texts, in bytes: what is allocated for it, rounded up.
const OVERHEAD: usize = 512;
/// What a field takes besides its texts, in bytes.
const PER_FIELD: usize = 128;

/// The fields by which requests are told apart, each with its value in the one that was answered.
pub(super) type Selected = Box<[(HeaderName, Option<Box<[u8]>>)]>;

/// An answer that is kept.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(super) zone: Arc<Zone>,
    pub(super) place: Place,
    selected: Selected,
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
    pub(super) body: Bytes,
    came: Instant,
    pub(super) terms: Terms,
    pub(super) tags: Box<[Box<str>]>,
    /// What it takes of the memory that the cache may have, in bytes.
    pub(super) size: usize,
    /// Whether it was given since the last time that room was looked for.
    pub(super) given: AtomicBool,
}

/// An answer whose body is not here yet.
pub(super) struct Draft {
    pub(super) zone: Arc<Zone>,
    pub(super) place: Place,
    pub(super) selected: Selected,
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
    pub(super) came: Instant,
    pub(super) terms: Terms,
    pub(super) tags: Box<[Box<str>]>,
}

// === impl Draft ===

impl Draft {
    /// The fields of an answer as they are kept.
    pub(super) fn fields(given: &HeaderMap, without: &[HeaderName]) -> HeaderMap {
        let mut names = nominated(given);
        names.extend(NOT_KEPT.into_iter().chain(without.iter().cloned()));
        let kept: Vec<_> = given.iter().filter(|(name, _)| !names.contains(name)).collect();
        owned(&kept)
    }

    /// With its body.
    pub(super) fn entry(self, body: Bytes) -> Entry {
        let Self { zone, place, selected, status, mut fields, came, terms, tags } = self;
        if !matches!(status, StatusCode::NO_CONTENT) {
            fields.insert(CONTENT_LENGTH, body.len().into());
        }
        if !fields.contains_key(DATE) {
            // What came without is of when it came (RFC 9110, section 6.6.1).
            let date = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()));
            date.into_iter().for_each(|date| drop(fields.insert(DATE, date)));
        }
        for name in PLACES {
            fields.insert(name, HeaderValue::from_static(""));
        }
        let texts: usize =
            fields.iter().map(|(name, value)| name.as_str().len() + value.len() + PER_FIELD).sum();
        let chosen: usize = selected
            .iter()
            .map(|(name, value)| {
                name.as_str().len() + value.as_ref().map_or(0, |value| value.len()) + PER_FIELD
            })
            .sum();
        let tagged: usize = tags.iter().map(|tag| tag.len() + size_of::<Box<str>>()).sum();
        let size = OVERHEAD + place.len() + texts + chosen + tagged + body.len();
        Entry {
            zone,
            place,
            selected,
            status,
            fields,
            body,
            came,
            terms,
            tags,
            size,
            given: AtomicBool::new(false),
        }
    }
}

// === impl Entry ===

impl Entry {
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.terms.age + now.saturating_duration_since(self.came)
    }

    pub(super) fn etag(&self) -> Option<&HeaderValue> {
        self.fields.get(ETAG)
    }

    pub(super) fn modified(&self) -> Option<&HeaderValue> {
        self.fields.get(LAST_MODIFIED)
    }

    /// Whether it can be asked if it is still good.
    pub(super) fn has_validator(&self) -> bool {
        self.etag().is_some() || self.modified().is_some()
    }

    /// Whether it answers a request with these fields (section 4.1).
    pub(super) fn is_for(&self, zone: &Arc<Zone>, place: &Place<&str>, fields: &HeaderMap) -> bool {
        let selects = |(name, value): &(HeaderName, Option<Box<[u8]>>)| same(fields, name, value.as_deref());
        Arc::ptr_eq(&self.zone, zone) && self.place.is(place) && self.selected.iter().all(selects)
    }

    /// Whether both would answer the same requests.
    pub(super) fn replaces(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.zone, &other.zone)
            && self.place.is(&other.place.borrowed())
            && self.selected == other.selected
    }

    pub(super) fn give(&self) {
        // Written only if it changes something: all workers read it.
        if !self.given.load(Relaxed) {
            self.given.store(true, Relaxed);
        }
    }

    /// The same after the service said that it is still good; nothing if it may not be kept any more (section 3.2).
    pub(super) fn freshened(
        &self,
        said: &HeaderMap,
        rule: &Rule,
        asker: Asker,
        (asked, came): (Instant, Instant),
    ) -> Option<Self> {
        let mut fields = self.fields.clone();
        for name in said.keys().filter(|name| !OF_THE_BODY.contains(name)) {
            fields.remove(name);
        }
        for (name, value) in said.iter().filter(|(name, _)| !OF_THE_BODY.contains(name)) {
            fields.append(name, value.clone());
        }
        // The age is that of the answer that was just given, not of the one that is kept.
        if !said.contains_key(AGE) {
            fields.remove(AGE);
        }
        if !said.contains_key(DATE) {
            fields.remove(DATE);
        }
        let terms = Terms::of(rule, asker, self.status, &fields, came - asked, SystemTime::now())?;
        let draft = Draft {
            zone: self.zone.clone(),
            place: self.place.clone(),
            selected: self.selected.clone(),
            status: self.status,
            fields: Draft::fields(&fields, &terms.without),
            came,
            terms,
            tags: self.tags.clone(),
        };
        Some(draft.entry(self.body.clone()))
    }
}

/// Copied into one piece, because values as they came keep the whole buffer that they were read into.
fn owned(fields: &[(&HeaderName, &HeaderValue)]) -> HeaderMap {
    let mut all = BytesMut::with_capacity(fields.iter().map(|(_, value)| value.len()).sum());
    let mut kept = HeaderMap::with_capacity(fields.len() + PLACES.len() + 2);
    for (name, value) in fields {
        all.extend_from_slice(value.as_bytes());
        let Ok(mut copy) = HeaderValue::from_maybe_shared(all.split().freeze()) else { continue };
        copy.set_sensitive(value.is_sensitive());
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).unwrap_or_else(|_| (*name).clone());
        kept.append(name, copy);
    }
    kept
}

/// The fields that are of the connection because it says so.
fn nominated(fields: &HeaderMap) -> Vec<HeaderName> {
    let text = fields.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    text.flat_map(|text| text.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

/// By what the requests are told apart that this answers, with the values of the one that it answered.
pub(super) fn selected(vary: &[HeaderName], answer: &HeaderMap, asked: &HeaderMap) -> Selected {
    let text = answer.get_all(VARY).iter().filter_map(|value| value.to_str().ok());
    let named = text.flat_map(|text| text.split(',')).filter_map(|name| name.trim().parse().ok());
    let mut names: Vec<HeaderName> = vary.iter().cloned().chain(named).collect();
    names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    names.into_iter().map(|name| (combined(asked, &name), name)).map(|(value, name)| (name, value)).collect()
}

/// What a request says in a field, in one form: the lines joined, and nothing around commas (section 4.1).
fn combined(fields: &HeaderMap, name: &HeaderName) -> Option<Box<[u8]>> {
    let mut lines = fields.get_all(name).iter().peekable();
    lines.peek()?;
    let mut all = Vec::new();
    for line in lines {
        for item in line.as_bytes().split(|byte| *byte == b',') {
            if !all.is_empty() {
                all.push(b',');
            }
            all.extend_from_slice(item.trim_ascii());
        }
    }
    Some(all.into())
}

fn same(fields: &HeaderMap, name: &HeaderName, value: Option<&[u8]>) -> bool {
    match (fields.get(name), value) {
        (None, None) => true,
        (Some(given), Some(value)) if given == value => fields.get_all(name).iter().nth(1).is_none(),
        (Some(_), Some(_)) => combined(fields, name).as_deref() == value,
        _ => false,
    }
}

/// What an answer is tagged with (RFC 9875, section 2), besides what the rule says.
pub(super) fn tags(rule: &Rule, answer: &HeaderMap) -> Box<[Box<str>]> {
    let own = rule.tags.iter().map(|tag| tag.as_str().into());
    own.chain(groups(answer, &CACHE_GROUPS)).collect()
}

/// The strings of a list (RFC 9651, section 3.1).
pub(super) fn groups(fields: &HeaderMap, name: &HeaderName) -> Vec<Box<str>> {
    let text = fields.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let string = |item: &str| {
        let end = item.strip_prefix('"')?.find('"')?;
        Some(item[1..=end].into())
    };
    // As many as that RFC asks for at least.
    text.flat_map(split).filter_map(string).take(32).collect()
}

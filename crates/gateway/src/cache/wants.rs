//! What a request wants of an answer: read in one look over its fields.

use http::{
    HeaderMap, HeaderValue, Method, Request,
    header::{
        AUTHORIZATION, CACHE_CONTROL, COOKIE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
        IF_UNMODIFIED_SINCE, PRAGMA, RANGE,
    },
};
use http_body::Body;

use super::{directives::OfRequest, terms::Asker};

/// What a request wants.
#[derive(Debug, Default)]
pub(super) struct Wants {
    pub(super) head: bool,
    pub(super) says: OfRequest,
    pub(super) asker: Asker,
    pub(super) none_match: Vec<HeaderValue>,
    pub(super) modified_since: Option<HeaderValue>,
    pub(super) range: Option<HeaderValue>,
    pub(super) if_range: Option<HeaderValue>,
}

/// What a request is to a cache.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once")]
pub(super) enum Kind {
    /// It may be answered from what is kept.
    Reads(Wants),
    /// It may change what there is.
    Changes,
    /// Neither: it passes.
    Other,
}

impl Kind {
    /// `known` is whether it is known who asks.
    pub(super) fn of<B: Body>(request: &Request<B>, known: bool) -> Self {
        match *request.method() {
            Method::GET | Method::HEAD if request.body().is_end_stream() => {}
            Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE => return Self::Other,
            _ => return Self::Changes,
        }
        let asker = Asker { known, cookie: false };
        let mut wants = Wants { head: request.method() == Method::HEAD, asker, ..Wants::default() };
        match wants.read(request.headers()) {
            true => Self::Reads(wants),
            false => Self::Other,
        }
    }
}

impl Wants {
    /// Whether a cache can tell the answer.
    fn read(&mut self, fields: &HeaderMap) -> bool {
        let mut pragma = false;
        for (name, value) in fields {
            match *name {
                CACHE_CONTROL => self.says.add(value),
                PRAGMA => pragma = true,
                AUTHORIZATION => self.asker.known = true,
                COOKIE => self.asker.cookie = true,
                IF_NONE_MATCH => self.none_match.push(value.clone()),
                IF_MODIFIED_SINCE => self.modified_since = Some(value.clone()),
                RANGE => self.range = Some(value.clone()),
                IF_RANGE => self.if_range = Some(value.clone()),
                // These are for whoever has the original (RFC 9110, section 13.1).
                IF_MATCH | IF_UNMODIFIED_SINCE => return false,
                _ => {}
            }
        }
        if pragma {
            self.says.add_pragma(fields);
        }
        !self.says.no_store
    }

    /// Whether its answer depends on what its client has already.
    pub(super) fn is_conditional(&self) -> bool {
        !self.none_match.is_empty() || self.modified_since.is_some() || self.range.is_some()
    }
}

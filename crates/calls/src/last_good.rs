//! The last good answers of one lane, for the time when there are no better ones.
//!
//! No cache (RFC 9111): an answer is only given in place of a failure (`stale-if-error`, RFC 5861). But as in a
//! shared cache nobody may get what was meant for somebody else. Hence two requests are the same only if all their
//! fields are but those that say nothing of the answer, and nothing is kept of requests with credentials, or that
//! the service does not want kept (`no-store`, `private`, `no-cache`, `Set-Cookie`, `Vary` by what is not compared).

use std::{
    collections::HashMap,
    io::Write,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{AGE, AUTHORIZATION, CACHE_CONTROL, COOKIE, RANGE, SET_COOKIE, VARY},
};
use http_body::{Body as _, Frame, SizeHint};
use madang_wire::headers;
use tokio::time::Instant;

use crate::{Body, BoxError, Lane, exchange::Exchange, names::FALLBACK};

/// The most answers that are kept, and the most bytes of them together.
const ENTRIES: usize = 64;
const BYTES: usize = 1024 * 1024;
/// The longest body that is kept.
const BODY: usize = 64 * 1024;

/// The last good answers of a lane.
#[derive(Default)]
pub(crate) struct LastGood(Mutex<Answers>);

#[derive(Default)]
struct Answers {
    kept: HashMap<Box<[u8]>, Kept>,
    bytes: usize,
}

/// A good answer.
struct Kept {
    at: Instant,
    /// How old it was when it came, in seconds.
    age: u64,
    /// Whether it may be given to anybody.
    public: bool,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    bytes: usize,
}

/// What makes two requests the same.
pub(crate) struct Key {
    text: Box<[u8]>,
    /// Whether it is made in somebody's name.
    personal: bool,
}

/// The body of an answer on its way to the caller, kept as it passes.
struct Keeping {
    body: Body,
    copy: Vec<u8>,
    draft: Option<Draft>,
}

struct Draft {
    lane: Arc<Lane>,
    key: Key,
    kept: Kept,
}

// === impl LastGood ===

impl LastGood {
    /// The last good answer to the same request, if it is no older than this.
    pub(crate) fn get(&self, key: &Key, oldest: Duration) -> Option<Response<Body>> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = answers.kept.get(&key.text)?;
        let since = kept.at.elapsed();
        if since > oldest || (key.personal && !kept.public) {
            return None;
        }
        let mut response = Response::new(kept.body.clone().into());
        *response.status_mut() = kept.status;
        *response.headers_mut() = kept.headers.clone();
        response.headers_mut().insert(AGE, HeaderValue::from(kept.age + since.as_secs()));
        Some(response)
    }

    #[cfg(test)]
    pub(crate) fn size(&self) -> (usize, usize) {
        let answers = self.0.lock().unwrap();
        (answers.kept.len(), answers.bytes)
    }

    fn put(&self, key: Key, mut kept: Kept) {
        let fields = kept.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64);
        kept.bytes = key.text.len() + kept.body.len() + fields.sum::<usize>();
        // Who meets another here leaves it: the answer that is kept already is hardly older.
        let Ok(mut answers) = self.0.try_lock() else { return };
        answers.remove(&key.text);
        while answers.kept.len() >= ENTRIES || answers.bytes + kept.bytes > BYTES {
            let oldest = answers.kept.iter().min_by_key(|(_, kept)| kept.at).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { return };
            answers.remove(&oldest);
        }
        answers.bytes += kept.bytes;
        answers.kept.insert(key.text, kept);
    }
}

impl Answers {
    fn remove(&mut self, key: &[u8]) {
        if let Some(kept) = self.kept.remove(key) {
            self.bytes -= kept.bytes;
        }
    }
}

// === impl Key ===

impl Key {
    /// That of a request whose answer may be kept: a `GET` of the whole.
    pub(crate) fn of(exchange: &Exchange) -> Option<Self> {
        exchange.with_fields(|given| Self::with(exchange, given))
    }

    fn with(exchange: &Exchange, given: &HeaderMap) -> Option<Self> {
        if exchange.method != Method::GET || !exchange.upload.is_empty() || given.contains_key(RANGE) {
            return None;
        }
        let mut fields: Vec<_> =
            given.iter().filter(|(name, _)| !says_nothing(name) && !is_credential(name)).collect();
        fields.sort_by_key(|(name, _)| name.as_str());
        let mut text = Vec::with_capacity(256);
        // Neither a URI nor a field has a line break.
        let _ = write!(text, "{}", exchange.uri);
        for (name, value) in fields {
            let _ = write!(text, "\n{name}:");
            text.extend_from_slice(value.as_bytes());
        }
        let personal = exchange.context.principal.is_some() || given.keys().any(is_credential);
        Some(Self { text: text.into(), personal })
    }
}

fn is_credential(name: &HeaderName) -> bool {
    *name == AUTHORIZATION || *name == COOKIE
}

/// Whether a field of a request says nothing of the answer that it wants, unless the answer's `Vary` says so.
fn says_nothing(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(
        name,
        headers::REQUEST_ID
            | headers::TRACEPARENT
            | headers::TRACESTATE
            | "baggage"
            | "cache-control"
            | "connection"
            | "dnt"
            | "forwarded"
            | "keep-alive"
            | "pragma"
            | "priority"
            | "referer"
            | "te"
            | "upgrade-insecure-requests"
            | "user-agent"
            | "via"
            | "x-forwarded-for"
            | "x-real-ip"
    ) || ["if-", "sec-", headers::PREFIX].iter().any(|prefix| name.starts_with(prefix))
}

// === impl Kept ===

impl Kept {
    /// The head of an answer that may be kept for this request.
    fn of(response: &Response<Body>, key: &Key) -> Option<Self> {
        let (status, given) = (response.status(), response.headers());
        let control = |wanted: &[&str]| {
            let values = given.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).any(|part| {
                let name = part.split('=').next().unwrap_or_default().trim();
                wanted.iter().any(|wanted| name.eq_ignore_ascii_case(wanted))
            })
        };
        let public = control(&["public"]);
        let whole = status.is_success() && status != StatusCode::PARTIAL_CONTENT;
        let unwanted = control(&["no-store", "private", "no-cache"])
            || given.contains_key(SET_COOKIE)
            || given.contains_key(FALLBACK)
            || given.get_all(VARY).iter().any(|vary| !is_compared(vary))
            || response.body().size_hint().lower() > BODY as u64;
        if !whole || unwanted || (key.personal && !public) {
            return None;
        }
        let age = given.get(AGE).and_then(|age| age.to_str().ok()?.parse().ok()).unwrap_or(0);
        // Copied, because values as received keep the buffer that they were read into.
        let copy = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((name.clone(), HeaderValue::from_bytes(value.as_bytes()).ok()?))
        };
        let mut headers = HeaderMap::with_capacity(given.len());
        for (name, value) in given.iter().filter_map(copy) {
            headers.append(name, value);
        }
        Some(Self { at: Instant::now(), age, public, status, headers, body: Bytes::new(), bytes: 0 })
    }
}

/// Whether all that an answer varies by is part of the key.
fn is_compared(vary: &HeaderValue) -> bool {
    let names = vary.to_str().unwrap_or("*").split(',').map(str::trim);
    names.filter(|name| !name.is_empty()).all(|name| {
        name.parse().is_ok_and(|name: HeaderName| {
            name.as_str() != "*" && !says_nothing(&name) && !is_credential(&name)
        })
    })
}

// === impl Keeping ===

/// The answer, which is kept when it has gone by whole, if it may be.
pub(crate) fn keep(exchange: &Exchange, key: Key, response: &mut Response<Body>) {
    let Some(kept) = Kept::of(response, &key) else { return };
    let draft = Draft { lane: exchange.lane.clone(), key, kept };
    let body = std::mem::take(response.body_mut());
    let copy = Vec::with_capacity(body.size_hint().exact().unwrap_or(0) as usize);
    let mut keeping = Keeping { body, copy, draft: Some(draft) };
    keeping.look_for_end();
    *response.body_mut() = if keeping.draft.is_some() { Body::new(keeping) } else { keeping.body };
}

impl Keeping {
    fn look_for_end(&mut self) {
        if self.body.is_end_stream() {
            self.ended();
        }
    }

    fn ended(&mut self) {
        if let Some(Draft { lane, key, mut kept }) = self.draft.take() {
            kept.body = std::mem::take(&mut self.copy).into();
            lane.last_good.put(key, kept);
        }
    }

    fn give_up(&mut self) {
        self.draft = None;
        self.copy = Vec::new();
    }
}

impl http_body::Body for Keeping {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            None => self.ended(),
            Some(Ok(frame)) => match frame.data_ref() {
                Some(part) if self.copy.len() + part.len() <= BODY => {
                    if self.draft.is_some() {
                        self.copy.extend_from_slice(part);
                    }
                    self.look_for_end();
                }
                // Too long, or trailers, which a part of an answer may be.
                Some(_) | None => self.give_up(),
            },
            Some(Err(_)) => self.give_up(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! The `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header-07) and the keys in flight.
//!
//! Knows nothing of what a key is for: the service keeps the answers, in the transaction of the effect.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use madang::{
    Code, Error, Problem, Result,
    axum::http::{HeaderMap, StatusCode},
};

/// The header's name.
pub const HEADER: &str = "Idempotency-Key";

/// A client's key for an effect that must happen once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(String);

/// The keys whose first request is still being answered by this process.
///
/// In memory on purpose: the effect and its answer commit together, so a key without an answer after a crash
/// had no effect and may be used again at once.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<Mutex<HashSet<Key>>>);

/// A key's place in [`InFlight`]; given back when dropped, however the request ends.
#[derive(Debug)]
pub struct Claim {
    keys: InFlight,
    key: Key,
}

// === impl Key ===

impl Key {
    /// The longest key, in characters.
    pub const MAX: usize = 255;

    /// Reads the header's value: a quoted string as the draft has it, or the same without quotes, as many
    /// clients send it. Both spellings are the same key.
    pub fn parse(value: &str) -> Result<Self, &'static str> {
        let value = value.trim();
        let key = match value.strip_prefix('"') {
            Some(rest) => unquote(rest).ok_or("must be a string in double quotes")?,
            None => value.to_owned(),
        };
        match key.len() {
            0 => Err("must not be empty"),
            length if length > Self::MAX => Err("must have at most 255 characters"),
            _ if !key.bytes().all(|byte| (b' '..=b'~').contains(&byte)) => Err("must be printable ASCII"),
            _ => Ok(Self(key)),
        }
    }

    /// The request's key, if it has one; 400 if that is malformed or given twice.
    pub fn optional(headers: &HeaderMap) -> Result<Option<Self>> {
        let mut values = headers.get_all(HEADER).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(bad_header("must be given once"));
        }
        let value = value.to_str().map_err(|_| bad_header("must be printable ASCII"))?;
        Self::parse(value).map(Some).map_err(bad_header)
    }

    /// The request's key; 400 if it has none.
    pub fn required(headers: &HeaderMap) -> Result<Self> {
        Self::optional(headers)?
            .ok_or_else(|| bad_header("is required: it names the effect that must happen once"))
    }

    /// The key itself, without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What stands before the closing quote (RFC 9651, section 4.2.5), if nothing comes after it.
fn unquote(rest: &str) -> Option<String> {
    let mut key = String::with_capacity(rest.len());
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return chars.as_str().is_empty().then_some(key),
            '\\' => key.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            c => key.push(c),
        }
    }
}

// === impl InFlight ===

impl InFlight {
    /// Claims a key; 409 if a request with it is being answered.
    pub fn claim(&self, key: &Key) -> Result<Claim> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.insert(key.clone()) {
            Ok(Claim { keys: self.clone(), key: key.clone() })
        } else {
            Err(in_flight())
        }
    }
}

/// 409: a request with this key is being answered.
pub fn in_flight() -> Error {
    let text = "a request with this Idempotency-Key is being answered: ask again for its answer";
    Error::conflict(text).retry_after(Duration::from_secs(1))
}

/// 422: the key was used for another request.
pub fn other_request() -> Error {
    Error::invalid(HEADER, "was used for another request")
}

fn bad_header(why: &str) -> Error {
    let problem = Problem::new(Code::INVALID).with_status(StatusCode::BAD_REQUEST);
    Error::problem(problem.detail(format!("{HEADER}: {why}")).field(HEADER, why))
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.keys.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_with_and_without_quotes() {
        let check = |value: &str, expected: Result<&str, &str>| {
            assert_eq!(Key::parse(value).as_ref().map(Key::as_str), expected.as_ref().copied(), "{value}");
        };
        check("abc-1", Ok("abc-1"));
        check(r#" "abc-1" "#, Ok("abc-1"));
        check(r#""a\"b\\c""#, Ok(r#"a"b\c"#));
        check(r#""abc"#, Err("must be a string in double quotes"));
        check(r#""abc";p=1"#, Err("must be a string in double quotes"));
        check(r#""a\n""#, Err("must be a string in double quotes"));
        check(r#""""#, Err("must not be empty"));
        check("", Err("must not be empty"));
        check("키", Err("must be printable ASCII"));
        check(&"k".repeat(256), Err("must have at most 255 characters"));
    }

    #[test]
    fn a_key_is_claimed_once_and_given_back() {
        let keys = InFlight::default();
        let key = Key::parse("k").unwrap();
        let claim = keys.claim(&key).unwrap();
        assert_eq!(keys.claim(&key).unwrap_err().status(), StatusCode::CONFLICT);
        drop(claim);
        assert!(keys.claim(&key).is_ok());
    }
}

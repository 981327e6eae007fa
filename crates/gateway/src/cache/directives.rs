//! `Cache-Control` (RFC 9111, section 5.2), read once: of a request when it comes, of an answer when it is kept.

use std::time::Duration;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, PRAGMA},
};

/// Longer than anything is kept, and short enough to be added up (section 1.2.2).
pub(super) const EVER: Duration = Duration::from_secs(1 << 31);

/// What an answer says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct OfAnswer {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) must_understand: bool,
    pub(super) s_maxage: Option<Duration>,
    pub(super) max_age: Option<Duration>,
    pub(super) stale_while_revalidate: Option<Duration>,
    pub(super) stale_if_error: Option<Duration>,
    /// The fields that `no-cache` and `private` are about, where they are not about all of it.
    pub(super) fields: Vec<HeaderName>,
}

/// What a request says.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct OfRequest {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) only_if_cached: bool,
    pub(super) max_age: Option<Duration>,
    pub(super) min_fresh: Option<Duration>,
    pub(super) max_stale: Option<Duration>,
}

// === impl OfAnswer ===

impl OfAnswer {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let mut says = Self::default();
        each(headers.get_all(CACHE_CONTROL), |name, value| says.take(name, value));
        says
    }

    /// The first of several counts (section 4.2.1).
    fn take(&mut self, name: &str, value: Option<&str>) {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.no_cache |= !self.qualified(value);
        } else if is("private") {
            self.private |= !self.qualified(value);
        } else if is("public") {
            self.public = true;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("s-maxage") {
            self.s_maxage.get_or_insert(lifetime(value));
        } else if is("max-age") {
            self.max_age.get_or_insert(lifetime(value));
        } else if is("stale-while-revalidate") {
            self.stale_while_revalidate.get_or_insert(lifetime(value));
        } else if is("stale-if-error") {
            self.stale_if_error.get_or_insert(lifetime(value));
        }
    }

    /// Whether it is about some fields alone; a list that cannot be read is about all.
    fn qualified(&mut self, value: Option<&str>) -> bool {
        let Some(value) = value else { return false };
        let names: Result<Vec<_>, _> =
            value.split(',').map(|name| HeaderName::from_bytes(name.trim().as_bytes())).collect();
        match names {
            Ok(names) => {
                self.fields.extend(names);
                true
            }
            Err(_) => false,
        }
    }
}

// === impl OfRequest ===

impl OfRequest {
    /// Of a field `Cache-Control`.
    pub(super) fn add(&mut self, field: &HeaderValue) {
        each([field], |name, value| {
            let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
            let time = || value.and_then(seconds);
            if is("no-store") {
                self.no_store = true;
            } else if is("no-cache") {
                self.no_cache = true;
            } else if is("only-if-cached") {
                self.only_if_cached = true;
            } else if is("max-age") {
                self.max_age = self.max_age.or_else(time);
            } else if is("min-fresh") {
                self.min_fresh = self.min_fresh.or_else(time);
            } else if is("max-stale") {
                // Without a time it is any.
                self.max_stale = self.max_stale.or_else(|| value.map_or(Some(EVER), seconds));
            }
        });
    }

    /// What `Pragma` says where nothing else does (section 5.4).
    pub(super) fn add_pragma(&mut self, headers: &HeaderMap) {
        if !headers.contains_key(CACHE_CONTROL)
            && headers.get_all(PRAGMA).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"no-cache"))
        {
            self.no_cache = true;
        }
    }
}

/// A lifetime that cannot be read is over (section 4.2.1).
fn lifetime(value: Option<&str>) -> Duration {
    value.and_then(seconds).unwrap_or_default()
}

/// Whole seconds (section 1.2.2); so many that they cannot be counted are [`EVER`].
pub(super) fn seconds(text: &str) -> Option<Duration> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().map_or(EVER, Duration::from_secs).min(EVER))
}

/// Every directive of a field, with its argument, out of its quotes if it has some.
fn each<'a>(fields: impl IntoIterator<Item = &'a HeaderValue>, mut found: impl FnMut(&str, Option<&str>)) {
    for field in fields {
        let text = String::from_utf8_lossy(field.as_bytes());
        for item in split(&text) {
            let (name, value) = match item.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (item, None),
            };
            let value = value.map(|value| match value.strip_prefix('"') {
                Some(quoted) => quoted.strip_suffix('"').unwrap_or(quoted),
                None => value,
            });
            found(name, value);
        }
    }
}

/// What commas outside of quotes divide.
pub(super) fn split(text: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let ends = move |c: char| {
        let ends = c == ',' && !quoted;
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        ends
    };
    text.split(ends).map(str::trim).filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(fields: &[&'static str]) -> OfAnswer {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(field));
        }
        OfAnswer::read(&headers)
    }

    #[test]
    fn of_several_ages_the_first_counts_and_a_bad_one_is_none() {
        for (fields, age) in [
            (&["max-age=60"][..], Some(60)),
            (&["Max-Age=60, max-age=10"], Some(60)),
            (&["max-age=10", "max-age=60"], Some(10)),
            (&["max-age=\"60\""], Some(60)),
            (&["max-age='60'"], Some(0)),
            (&["max-age=6a"], Some(0)),
            (&["max-age=-1"], Some(0)),
            (&["max-age = 60"], None),
            (&["max-age=60.5"], Some(0)),
            (&["max-age=99999999999999999999999"], Some(1 << 31)),
            (&["extension=\"max-age=60, max-age=70\", max-age=1"], Some(1)),
            (&["extension=\"a \\\", max-age=60\""], None),
            (&["s-maxage=5"], None),
        ] {
            assert_eq!(answer(fields).max_age, age.map(Duration::from_secs), "{fields:?}");
        }
    }

    #[test]
    fn what_is_about_some_fields_is_not_about_all() {
        let some = answer(&["no-cache=\"a, Set-Cookie\", private=x-b"]);
        assert_eq!((some.no_cache, some.private), (false, false));
        assert_eq!(some.fields, ["a", "set-cookie", "x-b"]);
        for all in
            ["no-cache, private", "no-cache=\"\", private=\"a b\"", "NO-CACHE=\"x\", no-cache, private"]
        {
            let says = answer(&[all]);
            assert!(says.no_cache && says.private, "{all}");
        }
    }

    #[test]
    fn a_request_says_what_it_takes() {
        let mut says = OfRequest::default();
        says.add(&HeaderValue::from_static("max-stale, min-fresh=5, max-age=7, only-if-cached, max-age=9"));
        assert_eq!((says.max_stale, says.min_fresh), (Some(EVER), Some(Duration::from_secs(5))));
        assert_eq!((says.max_age, says.only_if_cached), (Some(Duration::from_secs(7)), true));
        let mut pragma = HeaderMap::new();
        pragma.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        says.add_pragma(&pragma);
        assert!(says.no_cache);
        pragma.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=9"));
        let mut other = OfRequest::default();
        other.add_pragma(&pragma);
        assert!(!other.no_cache);
    }
}

//! Whether an answer may be kept, and on what terms (RFC 9111, sections 3 and 4.2).

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{AGE, CONTENT_TYPE, DATE, ETAG, EXPIRES, LAST_MODIFIED, SET_COOKIE, VARY},
};
use madang_model::edge::Cache as Rule;
use madang_wire::headers;

use super::directives::{OfAnswer, seconds};

/// A lifetime that is guessed is no longer than this (section 4.2.2 says "a day" is what most do).
const GUESSED: Duration = Duration::from_secs(86_400);

/// How an answer is kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Terms {
    /// How old it was when it came.
    pub(super) age: Duration,
    pub(super) lifetime: Duration,
    /// How long after that it is given while a new one is fetched.
    pub(super) while_revalidating: Duration,
    /// How long after that it is given in place of a failure.
    pub(super) if_error: Duration,
    /// Whether it is never given once it is not fresh (section 4.2.4).
    pub(super) strict: bool,
    /// Whether it is asked for each time if it is still good.
    pub(super) no_cache: bool,
    /// Whether it is for whoever is known, too (section 3.5).
    pub(super) shared: bool,
    /// The fields that are not kept.
    pub(super) without: Vec<HeaderName>,
}

/// What of a request decides whether its answer may be kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Asker {
    /// Whether it is known who asks, in whatever way.
    pub(super) known: bool,
    /// Whether a cookie came with it.
    pub(super) cookie: bool,
}

impl Terms {
    /// Nothing if the answer may not be kept. `delay` is how long it took to come.
    pub(super) fn of(
        rule: &Rule,
        asker: Asker,
        status: StatusCode,
        fields: &HeaderMap,
        delay: Duration,
        now: SystemTime,
    ) -> Option<Self> {
        let says = OfAnswer::read(fields);
        let understood = is_understood(status);
        let forbidden = if says.must_understand { !understood } else { says.no_store };
        // What says when it ends knows what it is; a guess would be one about somebody.
        let shared = says.public || says.s_maxage.is_some() || says.must_revalidate;
        if forbidden
            || says.private
            || asker.known && !shared
            || !may_ever(status, fields)
            || sets_cookies(fields, &says)
        {
            return None;
        }
        let date = date(fields, DATE).unwrap_or(now);
        let explicit = explicit(&says, fields, date);
        let guessed = match explicit {
            Some(_) => None,
            // A cookie may be all that tells one person's answer from another's.
            None if asker.cookie && !says.public => return None,
            None if is_guessable(status) || says.public => Some(guess(rule, fields, date)),
            None => return None,
        };
        let lifetime = explicit.or(guessed).unwrap_or_default().min(rule.max_ttl.unwrap_or(Duration::MAX));
        let validated = fields.contains_key(ETAG) || fields.contains_key(LAST_MODIFIED);
        let strict = says.must_revalidate || says.proxy_revalidate || says.s_maxage.is_some();
        let after = |said: Option<Duration>, usual: Option<Duration>| match strict || says.no_cache {
            true => Duration::ZERO,
            false => said.or(usual).unwrap_or_default(),
        };
        let terms = Self {
            age: apparent(fields, date, now, delay),
            lifetime,
            while_revalidating: after(says.stale_while_revalidate, rule.stale_while_revalidate),
            if_error: after(says.stale_if_error, rule.stale_if_error),
            strict,
            no_cache: says.no_cache,
            shared,
            without: says.fields,
        };
        // What is neither fresh nor can be asked about is of no use to anybody.
        (validated || terms.is_fresh() || !strict && terms.lifetime > Duration::ZERO).then_some(terms)
    }

    fn is_fresh(&self) -> bool {
        !self.no_cache && self.age < self.lifetime
    }
}

/// Whether such an answer may be kept whatever it says.
fn may_ever(status: StatusCode, fields: &HeaderMap) -> bool {
    let partial = status == StatusCode::PARTIAL_CONTENT;
    let streams = fields.get(CONTENT_TYPE).is_some_and(|media| {
        let media = media.as_bytes();
        let starts =
            |with: &[u8]| media.len() >= with.len() && media[..with.len()].eq_ignore_ascii_case(with);
        starts(b"text/event-stream") || starts(b"application/grpc")
    });
    let anything = fields.get_all(VARY).iter().any(|field| field.as_bytes().contains(&b'*'));
    // What stands in for a failure is not what the service answers.
    let stands_in = fields.contains_key(headers::FALLBACK) || fields.contains_key(headers::FAULT);
    status.as_u16() >= 200
        && status != StatusCode::NOT_MODIFIED
        && !(partial || streams || anything || stands_in)
}

/// Whoever gets a cookie is somebody; unless the answer says that all but the cookie is for everybody.
fn sets_cookies(fields: &HeaderMap, says: &OfAnswer) -> bool {
    fields.contains_key(SET_COOKIE) && !says.fields.contains(&SET_COOKIE)
}

/// What the answer itself says (section 4.2.1).
fn explicit(says: &OfAnswer, fields: &HeaderMap, date: SystemTime) -> Option<Duration> {
    says.s_maxage.or(says.max_age).or_else(|| {
        let expires = fields.get(EXPIRES)?;
        let expires = expires.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok());
        // A date that cannot be read is past (section 5.3).
        Some(expires.and_then(|expires| expires.duration_since(date).ok()).unwrap_or_default())
    })
}

/// What may be guessed (section 4.2.2).
fn guess(rule: &Rule, fields: &HeaderMap, date: SystemTime) -> Duration {
    rule.ttl.unwrap_or_else(|| {
        let since = self::date(fields, LAST_MODIFIED).and_then(|modified| date.duration_since(modified).ok());
        (since.unwrap_or_default() / 10).min(GUESSED)
    })
}

/// RFC 9111, section 4.2.3.
fn apparent(fields: &HeaderMap, date: SystemTime, now: SystemTime, delay: Duration) -> Duration {
    // The first member of what is sent as a list (section 5.1).
    let said = fields.get(AGE).and_then(|age| age.to_str().ok()?.split(',').next().and_then(seconds_of));
    let corrected = said.unwrap_or_default() + delay;
    now.duration_since(date).unwrap_or_default().max(corrected)
}

fn seconds_of(text: &str) -> Option<Duration> {
    seconds(text.trim())
}

fn date(fields: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(fields.get(name)?.to_str().ok()?).ok()
}

/// RFC 9110, section 15.1.
fn is_guessable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// The statuses of RFC 9110 whose meaning for caches is known here.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=204 | 300..=303 | 307 | 308 | 400..=410 | 413..=417 | 421 | 422 | 426 | 500..=505
    )
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::HeaderValue;

    use super::*;

    const DATE: &str = "date: Tue, 15 Nov 1994 08:12:31 GMT";

    fn now() -> SystemTime {
        httpdate::parse_http_date("Tue, 15 Nov 1994 08:12:31 GMT").unwrap()
    }

    fn fields(lines: &[&str]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            fields.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
        }
        fields
    }

    fn terms_by(rule: &Rule, asker: Asker, status: u16, lines: &[&str]) -> Option<Terms> {
        let status = StatusCode::from_u16(status).unwrap();
        Terms::of(rule, asker, status, &fields(lines), Duration::from_secs(1), now())
    }

    fn lifetime(status: u16, lines: &[&str]) -> Option<u64> {
        terms_by(&Rule::default(), Asker::default(), status, lines).map(|terms| terms.lifetime.as_secs())
    }

    #[test]
    fn an_answer_is_fresh_as_long_as_it_says() {
        const EXPIRES: &str = "expires: Tue, 15 Nov 1994 08:13:31 GMT";
        for (status, lines, seconds) in [
            (200, &["cache-control: max-age=60"][..], Some(60)),
            (200, &["cache-control: max-age=60, s-maxage=5"], Some(5)),
            (200, &["cache-control: max-age=7", EXPIRES], Some(7)),
            (200, &[DATE, EXPIRES], Some(60)),
            (200, &[EXPIRES], Some(60)),
            (200, &["expires: 0", "etag: \"1\""], Some(0)),
            (200, &["expires: 0"], None),
            (599, &["cache-control: max-age=60"], Some(60)),
            (200, &["cache-control: max-age=60, no-store"], None),
            (200, &["cache-control: max-age=60, private"], None),
            (200, &["cache-control: max-age=60, private=\"x-a\""], Some(60)),
            (206, &["cache-control: max-age=60"], None),
            (304, &["cache-control: max-age=60"], None),
            (200, &["cache-control: max-age=60", "vary: a, *"], None),
            (200, &["cache-control: max-age=60", "set-cookie: a=b"], None),
            (200, &["cache-control: max-age=60, no-cache=\"set-cookie\"", "set-cookie: a=b"], Some(60)),
            (200, &["cache-control: max-age=60", "content-type: Text/Event-Stream"], None),
            (200, &["cache-control: max-age=60", "content-type: application/grpc+proto"], None),
            (200, &["cache-control: max-age=60", "madang-fallback: static"], None),
            (200, &["cache-control: max-age=60, must-understand, no-store"], Some(60)),
            (599, &["cache-control: max-age=60, must-understand"], None),
            (200, &["cache-control: no-cache"], None),
            (200, &["cache-control: no-cache", "etag: \"1\""], Some(0)),
        ] {
            assert_eq!(lifetime(status, lines), seconds, "{status} {lines:?}");
        }
    }

    #[test]
    fn what_says_nothing_is_guessed_where_that_is_allowed() {
        const CHANGED: &str = "last-modified: Tue, 15 Nov 1994 08:11:31 GMT";
        const LONG_AGO: &str = "last-modified: Tue, 15 Nov 1983 08:11:31 GMT";
        for (status, lines, seconds) in [
            (200, &[DATE, CHANGED][..], Some(6)),
            (404, &[DATE, CHANGED], Some(6)),
            (200, &[DATE, LONG_AGO], Some(86_400)),
            (201, &[DATE, CHANGED], None),
            (503, &[DATE, CHANGED], None),
            (599, &[DATE, CHANGED, "cache-control: public"], Some(6)),
            (200, &[DATE], None),
        ] {
            assert_eq!(lifetime(status, lines), seconds, "{status} {lines:?}");
        }
        let rule = Rule {
            ttl: Some(Duration::from_secs(9)),
            max_ttl: Some(Duration::from_secs(50)),
            ..Rule::default()
        };
        let by =
            |asker, lines: &[&str]| terms_by(&rule, asker, 200, lines).map(|terms| terms.lifetime.as_secs());
        let (anybody, cookie) = (Asker::default(), Asker { cookie: true, known: false });
        assert_eq!(by(anybody, &[DATE]), Some(9));
        assert_eq!(by(anybody, &["cache-control: max-age=60"]), Some(50));
        assert_eq!(by(cookie, &[DATE]), None, "nobody guesses of what may be somebody's own");
        assert_eq!(by(cookie, &["cache-control: max-age=20"]), Some(20));
    }

    #[test]
    fn what_somebody_is_known_for_is_kept_only_with_permission() {
        let known = Asker { known: true, cookie: false };
        for (control, kept) in [
            ("max-age=60", false),
            ("max-age=60, public", true),
            ("s-maxage=60", true),
            ("max-age=60, must-revalidate", true),
            ("max-age=60, proxy-revalidate", false),
        ] {
            let line = format!("cache-control: {control}");
            let terms = terms_by(&Rule::default(), known, 200, &[&line]);
            assert_eq!(terms.is_some(), kept, "{control}");
            assert!(terms.is_none_or(|terms| terms.shared));
        }
    }

    #[test]
    fn an_answer_is_as_old_as_the_older_of_what_it_and_its_date_say() {
        for (lines, seconds) in [
            (&[DATE][..], 1),
            (&[DATE, "age: 10"], 11),
            (&[DATE, "age: 10, 90"], 11),
            (&[DATE, "age: x"], 1),
            (&["date: Tue, 15 Nov 1994 08:12:01 GMT", "age: 10"], 30),
            (&["date: Tue, 15 Nov 1994 09:12:01 GMT"], 1),
        ] {
            let lines: Vec<_> = lines.iter().copied().chain(["cache-control: max-age=99"]).collect();
            let terms = terms_by(&Rule::default(), Asker::default(), 200, &lines).unwrap();
            assert_eq!(terms.age, Duration::from_secs(seconds), "{lines:?}");
        }
        assert!(UNIX_EPOCH < now());
    }

    #[test]
    fn what_must_be_fresh_is_never_given_stale() {
        let rule = Rule {
            stale_while_revalidate: Some(Duration::from_secs(5)),
            stale_if_error: Some(Duration::from_secs(6)),
            ..Rule::default()
        };
        for (control, after) in [
            ("max-age=60", (5, 6)),
            ("max-age=60, stale-while-revalidate=1, stale-if-error=2", (1, 2)),
            ("max-age=60, must-revalidate, stale-if-error=2", (0, 0)),
            ("max-age=60, proxy-revalidate", (0, 0)),
            ("s-maxage=60", (0, 0)),
            ("max-age=60, no-cache", (0, 0)),
        ] {
            let line = format!("cache-control: {control}");
            let terms = terms_by(&rule, Asker::default(), 200, &[&line, "etag: \"1\""]).unwrap();
            let given = (terms.while_revalidating.as_secs(), terms.if_error.as_secs());
            assert_eq!(given, after, "{control}");
        }
    }
}

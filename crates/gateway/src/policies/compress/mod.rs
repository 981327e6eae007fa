//! Which answers are compressed, and how.
//!
//! Length tells what is compressed: where somebody chooses a part of an answer that holds a secret too, the secret can be
//! guessed (BREACH: Gluck, Harris and Prado, 2013). So what carries a cookie or a credential is left as it is, unless the
//! manifest says that nothing of the kind is there.

mod encoder;

use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{
        ACCEPT_ENCODING, ACCEPT_RANGES, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH,
        CONTENT_TYPE, COOKIE, ETAG, IF_NONE_MATCH, SET_COOKIE,
    },
};
use http_body::Body as _;
use madang_calls::Body;
use madang_model::edge::{Coding, Compress};

use self::encoder::Compressed;

/// What a client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Takes {
    /// The best that it takes, of what the rule offers.
    coding: Option<Coding>,
    /// Whether it shows a secret.
    secret: bool,
    /// Whether it has an answer of which the tag is a weak one, as those are that were compressed.
    has_weak: bool,
}

impl Takes {
    /// To be asked before what says who the client is has been taken out.
    pub(crate) fn of(rule: &Compress, fields: &HeaderMap) -> Self {
        Self {
            coding: accepted(rule, fields),
            secret: fields.contains_key(COOKIE) || fields.contains_key(AUTHORIZATION),
            has_weak: fields.get_all(IF_NONE_MATCH).iter().any(|tags| has(tags.as_bytes(), b"W/\"")),
        }
    }
}

/// Of what the rule offers the first that the client wants most (RFC 9110, section 12.5.3).
fn accepted(rule: &Compress, fields: &HeaderMap) -> Option<Coding> {
    let mut best: Option<(Coding, u16)> = None;
    for coding in &rule.with {
        let (mut weight, mut by_name) = (0, false);
        for (name, q) in
            fields.get_all(ACCEPT_ENCODING).iter().filter_map(|it| it.to_str().ok()).flat_map(items)
        {
            let named = name.eq_ignore_ascii_case(coding.as_str());
            if named || name == "*" && !by_name {
                (weight, by_name) = (q, named);
            }
        }
        if weight > 0 && best.is_none_or(|(_, most)| weight > most) {
            best = Some((*coding, weight));
        }
    }
    best.map(|(coding, _)| coding)
}

fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// What a field lists, each with its weight in thousandths.
fn items(field: &str) -> impl Iterator<Item = (&str, u16)> {
    field.split(',').map(|item| {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        let q = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("q="));
        let q = q.map_or(Some(1.0), |q| q.parse::<f32>().ok());
        (name.trim(), q.map_or(0, |q| (q.clamp(0.0, 1.0) * 1000.0) as u16))
    })
}

/// The answer as this client gets it.
pub(crate) fn compressed(rule: &Compress, takes: Takes, mut answer: Response<Body>) -> Response<Body> {
    if answer.status() == StatusCode::NOT_MODIFIED {
        confirm(takes, answer.headers_mut());
        return answer;
    }
    if !worth(rule, &answer)
        || !rule.beside_secrets && (takes.secret || answer.headers().contains_key(SET_COOKIE))
    {
        return answer;
    }
    super::vary(answer.headers_mut(), HeaderValue::from_static("Accept-Encoding"));
    let Some(coding) = takes.coding else { return answer };
    let fields = answer.headers_mut();
    fields.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    for name in [
        CONTENT_LENGTH,
        ACCEPT_RANGES,
        HeaderName::from_static("content-digest"),
        HeaderName::from_static("repr-digest"),
        HeaderName::from_static("digest"),
    ] {
        fields.remove(name);
    }
    weaken(fields);
    answer.map(|body| Body::new(Compressed::new(coding, body)))
}

/// What the client has is still good: said of what it has, as it was said when it got that. A cache that has an answer with
/// the weak tag may not take the strong one for it (RFC 9111, section 4.3.4), and would fetch it again for ever.
fn confirm(takes: Takes, fields: &mut HeaderMap) {
    if takes.has_weak {
        super::vary(fields, HeaderValue::from_static("Accept-Encoding"));
        weaken(fields);
    }
}

/// It is not what it was to the byte (RFC 9110, section 8.8.3).
fn weaken(fields: &mut HeaderMap) {
    let Some(tag) = fields.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\"")) else { return };
    if let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
        fields.insert(ETAG, weak);
    }
}

/// Whether an answer is of a kind, and long enough, to be worth it.
fn worth(rule: &Compress, answer: &Response<Body>) -> bool {
    let fields = answer.headers();
    let text =
        |name| fields.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let as_it_is = text(CACHE_CONTROL).split(',').any(|it| it.trim().eq_ignore_ascii_case("no-transform"));
    let partly = matches!(answer.status(), StatusCode::PARTIAL_CONTENT | StatusCode::NO_CONTENT);
    let size = answer.body().size_hint();
    !partly
        && !as_it_is
        && !fields.contains_key(CONTENT_ENCODING)
        && !answer.body().is_end_stream()
        && size.exact().is_none_or(|size| size >= rule.min)
        && is_of(rule, text(CONTENT_TYPE))
}

fn is_of(rule: &Compress, media: &str) -> bool {
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    // Events are to arrive one by one, and a stream of gRPC's has a compression of its own.
    if media == "text/event-stream" || media.starts_with("application/grpc") {
        return false;
    }
    rule.types.iter().any(|wanted| match wanted.strip_suffix('*') {
        Some(kind) => media.starts_with(kind),
        None => media == *wanted,
    })
}

#[cfg(test)]
mod tests {
    use http::header::VARY;
    use http_body_util::BodyExt;

    use super::*;

    fn takes(accept: &str, more: &[(HeaderName, &str)]) -> Takes {
        let mut fields = HeaderMap::new();
        fields.insert(ACCEPT_ENCODING, accept.parse().unwrap());
        more.iter().for_each(|(name, value)| drop(fields.insert(name, value.parse().unwrap())));
        Takes::of(&Compress::default(), &fields)
    }

    #[test]
    fn a_client_gets_what_it_wants_most() {
        for (accept, coding) in [
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("gzip, br", Some(Coding::Br)),
            ("GZIP", Some(Coding::Gzip)),
            ("gzip;q=0.5, br;q=0.1", Some(Coding::Gzip)),
            ("*", Some(Coding::Zstd)),
            ("*;q=0.5, zstd;q=0, br;q=0", Some(Coding::Gzip)),
            ("zstd;q=0", None),
            ("identity", None),
            ("", None),
            ("gzip;q=x", None),
        ] {
            assert_eq!(takes(accept, &[]).coding, coding, "{accept}");
        }
    }

    const TEXT: &str = "text/plain; charset=utf-8";

    fn answer(status: u16, media: &str, length: usize, more: &[(HeaderName, &str)]) -> Response<Body> {
        let mut answer = Response::new(Body::from("a".repeat(length)));
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        answer.headers_mut().insert(CONTENT_TYPE, media.parse().unwrap());
        answer.headers_mut().insert(CONTENT_LENGTH, length.into());
        more.iter().for_each(|(name, value)| drop(answer.headers_mut().insert(name, value.parse().unwrap())));
        answer
    }

    #[test]
    fn only_what_is_worth_it_and_holds_no_secret_is_compressed() {
        let coded = |takes, answer| {
            compressed(&Compress::default(), takes, answer).headers().contains_key(CONTENT_ENCODING)
        };
        let plain = takes("gzip", &[]);
        assert!(coded(plain, answer(200, TEXT, 1024, &[])));
        assert!(coded(plain, answer(404, "application/json", 2000, &[])));
        for (status, media, length, more) in [
            (200, TEXT, 1023, vec![]),
            (200, "image/png", 5000, vec![]),
            (200, "text/event-stream", 5000, vec![]),
            (206, TEXT, 5000, vec![]),
            (200, TEXT, 5000, vec![(CONTENT_ENCODING, "br")]),
            (200, TEXT, 5000, vec![(CACHE_CONTROL, "public, No-Transform")]),
            (200, TEXT, 5000, vec![(SET_COOKIE, "a=b")]),
        ] {
            let before = answer(status, media, length, &more);
            let had = before.headers().contains_key(CONTENT_ENCODING);
            assert_eq!(coded(plain, before), had, "{status} {media} {length} {more:?}");
        }
        for secret in [(COOKIE, "a=b"), (AUTHORIZATION, "Bearer x")] {
            let takes = takes("gzip", &[secret]);
            assert!(!coded(takes, answer(200, TEXT, 5000, &[])));
            let told = Compress { beside_secrets: true, ..Compress::default() };
            let answer = compressed(&told, takes, answer(200, TEXT, 5000, &[(SET_COOKIE, "a=b")]));
            assert_eq!(answer.headers()[CONTENT_ENCODING], "gzip");
        }
    }

    #[test]
    fn what_was_said_of_the_bytes_is_not_said_any_more() {
        let more = [(ETAG, "\"1\""), (ACCEPT_RANGES, "bytes"), (VARY, "Origin")];
        let coded = compressed(&Compress::default(), takes("br", &[]), answer(200, TEXT, 5000, &more));
        let fields = coded.headers();
        assert_eq!(
            (&fields[ETAG], &fields[CONTENT_ENCODING]),
            (&"W/\"1\"".parse().unwrap(), &"br".parse().unwrap())
        );
        assert!(fields.get_all(VARY).iter().eq(["Origin", "Accept-Encoding"]));
        assert!(!fields.contains_key(CONTENT_LENGTH) && !fields.contains_key(ACCEPT_RANGES));
        let plain = compressed(&Compress::default(), takes("", &[]), answer(200, TEXT, 5000, &more));
        assert_eq!(plain.headers()[ETAG], "\"1\"");
        assert!(
            plain.headers().get_all(VARY).iter().eq(["Origin", "Accept-Encoding"]),
            "another gets another"
        );
    }

    #[test]
    fn what_is_still_good_is_named_as_the_client_has_it() {
        let confirmed = |has: &str| {
            let more = [(ETAG, "\"1\""), (VARY, "Origin")];
            let mut answer = answer(304, TEXT, 0, &more);
            *answer.body_mut() = Body::from(String::new());
            let takes = takes("gzip", &[(IF_NONE_MATCH, has)]);
            compressed(&Compress::default(), takes, answer).into_parts().0.headers
        };
        for has in ["W/\"1\"", "\"0\", W/\"1\""] {
            let fields = confirmed(has);
            assert_eq!(fields[ETAG], "W/\"1\"", "{has}");
            assert!(fields.get_all(VARY).iter().eq(["Origin", "Accept-Encoding"]), "{has}");
            assert!(!fields.contains_key(CONTENT_ENCODING), "{has}");
        }
        let plain = confirmed("\"1\"");
        assert_eq!(plain[ETAG], "\"1\"");
        assert!(plain.get_all(VARY).iter().eq(["Origin"]), "it has what was not compressed");
    }

    #[tokio::test]
    async fn it_is_shorter() {
        for coding in ["gzip", "br", "zstd"] {
            let coded = compressed(&Compress::default(), takes(coding, &[]), answer(200, TEXT, 100_000, &[]));
            let bytes = coded.into_body().collect().await.unwrap().to_bytes();
            assert!((1..1000).contains(&bytes.len()), "{coding}: {}", bytes.len());
        }
    }
}

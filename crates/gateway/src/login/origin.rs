//! What a browser tells of where a request comes from and what it is for.

use http::{HeaderMap, Method, header};
use madang_model::Url;

/// Whether a page of this site made the request. Browsers say so themselves, and no page can say it for them: by
/// `sec-fetch-site`, or if they do not know it, by `origin`, which each of them sends with what changes something.
pub(crate) fn is_same(headers: &HeaderMap, url: &Url) -> bool {
    match headers.get("sec-fetch-site") {
        Some(site) => site == "same-origin",
        None => {
            headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes() == url.to_string().as_bytes())
        }
    }
}

/// Whether somebody opens a page, so that sending them elsewhere shows them something.
pub(crate) fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    let says = |name: &str, value: &str| headers.get(name).is_none_or(|said| said == value);
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    *method == Method::GET
        && accepts.is_some_and(|accepts| accepts.contains("text/html"))
        && says("sec-fetch-mode", "navigate")
        && says("sec-fetch-dest", "document")
}

/// A path of this site to which somebody is sent back; the first page, if it is none.
pub(crate) fn path(text: &str) -> &str {
    let elsewhere =
        text.starts_with("//") || text.contains('\\') || text.bytes().any(|b| b <= b' ' || b == 0x7f);
    if text.starts_with('/') && !elsewhere && text.len() <= LONGEST { text } else { "/" }
}

/// The longest path to which somebody is sent back, in bytes: it is in a cookie meanwhile.
const LONGEST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn only_pages_of_this_site_change_something() {
        let url: Url = "https://shop.example".parse().unwrap();
        for (pairs, expected) in [
            (&[("sec-fetch-site", "same-origin")][..], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://shop.example")], false),
            (&[("origin", "https://shop.example")], true),
            (&[("origin", "https://shop.example:444")], false),
            (&[("origin", "http://shop.example")], false),
            (&[("origin", "https://shop.example.evil.example")], false),
            (&[("origin", "null")], false),
            (&[("referer", "https://shop.example/")], false),
            (&[], false),
        ] {
            assert_eq!(is_same(&headers(pairs), &url), expected, "{pairs:?}");
        }
    }

    #[test]
    fn somebody_is_sent_back_to_this_site_only() {
        for good in ["/", "/shop/cart?a=b", "/a//b", "/%2F%2Fevil.example"] {
            assert_eq!(path(good), good);
        }
        let long = format!("/{}", "x".repeat(LONGEST));
        for bad in [
            "",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil",
            "https://evil.example",
            "evil",
            "/a b",
            "/a\r\nb",
            &long,
        ] {
            assert_eq!(path(bad), "/", "{bad}");
        }
    }

    #[test]
    fn only_who_opens_a_page_is_sent_elsewhere() {
        let of = |method, pairs: &[(&'static str, &str)]| is_navigation(&method, &headers(pairs));
        assert!(of(Method::GET, &[("accept", "text/html,*/*;q=0.8")]));
        assert!(of(
            Method::GET,
            &[("accept", "text/html"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]
        ));
        assert!(!of(Method::GET, &[("accept", "*/*")]));
        assert!(!of(Method::GET, &[]));
        assert!(!of(Method::POST, &[("accept", "text/html")]));
        assert!(!of(Method::GET, &[("accept", "text/html"), ("sec-fetch-mode", "cors")]));
        assert!(!of(Method::GET, &[("accept", "text/html"), ("sec-fetch-dest", "iframe")]));
    }
}

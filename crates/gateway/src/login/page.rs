//! What a person is shown who is refused while they log in: what a program reads would be the end of their way.

use http::{HeaderMap, HeaderValue, Response, header};
use madang_calls::Body;
use madang_model::Login as Declared;
use madang_wire::TraceId;

use crate::auth::denied::Denied;

/// Whether it is a page that the client wants to see.
pub(crate) fn wanted(headers: &HeaderMap) -> bool {
    let lists = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.contains("text/html"));
    headers.get_all(header::ACCEPT).iter().any(lists)
}

/// The refusal as a page, with the ways on.
pub(crate) fn of(denied: &Denied, trace: TraceId, mut refusal: Response<Body>) -> Response<Body> {
    let (code, login) = (denied.code(), format!("{}login", Declared::PATH));
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><h1>{title}</h1><p>{why}.</p>\
         <p><a href=\"{login}\">Log in</a> or <a href=\"/\">go to the front page</a></p>\
         <p><small>{id}, <code>madang why {trace}</code></small></p></html>",
        title = escaped(code.title),
        why = escaped(&capital(&denied.to_string())),
        id = code.id,
    );
    let headers = refusal.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    headers.insert(header::CONTENT_LENGTH, page.len().into());
    *refusal.body_mut() = Body::from(page);
    refusal
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::auth::denied::Reason;

    #[tokio::test]
    async fn a_person_is_shown_the_ways_on() {
        let denied = Denied { realm: "shop".into(), reason: Reason::LogIn("it took <too> long") };
        let refusal = Response::builder().status(400).header(header::CACHE_CONTROL, "no-store");
        let page = of(&denied, TraceId(7), refusal.body(Body::from("{}")).unwrap());
        assert_eq!(
            (page.status().as_u16(), &page.headers()[header::CACHE_CONTROL]),
            (400, &"no-store".parse().unwrap())
        );
        assert_eq!(page.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        let length = page.headers()[header::CONTENT_LENGTH].to_str().unwrap().to_owned();
        let text = page.into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&text).unwrap();
        assert_eq!(length, text.len().to_string());
        for part in [
            "It took &lt;too&gt; long.",
            "href=\"/.madang/login\"",
            "MDG-AUTH-007",
            "madang why 00000000000000000000000000000007",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_program_wants_no_page() {
        let asks = |accept: &str| {
            let fields = [(header::ACCEPT, HeaderValue::from_str(accept).unwrap())];
            wanted(&HeaderMap::from_iter(fields))
        };
        assert!(asks("text/html,application/xhtml+xml,*/*;q=0.8"));
        assert!(!asks("*/*") && !asks("application/json") && !wanted(&HeaderMap::new()));
    }
}

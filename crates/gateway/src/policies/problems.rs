//! Errors of services in the one form of errors (RFC 9457).

use http::{
    HeaderMap, HeaderName, Response,
    header::{
        ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
        CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED,
    },
};
use http_body::Body as _;
use madang_calls::{Body, Context, Form};
use madang_model::edge::Problems;
use madang_wire::{Code, PROBLEM_JSON, Problem};
use serde_json::Value;

use super::drain::{drain, whole};

/// The longest text of a service that is told, in bytes.
const LONGEST: usize = 1024;

/// What is about the body that goes.
const OF_BODY: [HeaderName; 10] = [
    ACCEPT_RANGES,
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_LOCATION,
    CONTENT_RANGE,
    CONTENT_TYPE,
    ETAG,
    LAST_MODIFIED,
];

/// Whether an answer is made into a problem: it is an error, and none already.
pub(crate) fn concerns(rule: &Problems, answer: &Response<Body>) -> bool {
    rule.is_for(answer.status().as_u16()) && !media(answer.headers()).eq_ignore_ascii_case(PROBLEM_JSON)
}

/// The same answer as a problem: its status and what it says beside its body stay.
pub(crate) async fn made(rule: &Problems, answer: Response<Body>, context: &Context) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    let detail = if rule.detail && body.size_hint().upper().is_some_and(|size| size <= LONGEST as u64) {
        let json = media(&head.headers).eq_ignore_ascii_case("application/json");
        let text = media(&head.headers).eq_ignore_ascii_case("text/plain");
        let plain = !head.headers.contains_key(CONTENT_ENCODING) && (json || text);
        let bytes = whole(body, LONGEST).await.filter(|_| plain);
        bytes.and_then(|bytes| if json { said(&bytes) } else { String::from_utf8(bytes).ok() })
    } else {
        // Its connection is of use to others.
        tokio::spawn(drain(body));
        None
    };
    let mut problem = Problem::new(Code::SERVICE_ERROR).with_status(head.status);
    problem.detail = detail.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    for name in OF_BODY {
        head.headers.remove(name);
    }
    let made = Form::Problem.answer(problem, context, None);
    for (name, value) in made.headers() {
        head.headers.insert(name, value.clone());
    }
    Response::from_parts(head, made.into_body())
}

/// What an error as JSON says, in the words that are usual.
fn said(bytes: &[u8]) -> Option<String> {
    let Value::Object(fields) = serde_json::from_slice(bytes).ok()? else { return None };
    ["detail", "message", "error_description", "error"].iter().find_map(|name| match fields.get(*name) {
        Some(Value::String(text)) => Some(text.clone()),
        _ => None,
    })
}

fn media(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn made_of(
        rule: &Problems,
        status: u16,
        media: &str,
        body: &'static str,
    ) -> Option<(HeaderMap, Problem)> {
        let answer = Response::builder().status(status).header("content-type", media).header("etag", "\"x\"");
        let answer = answer.header("allow", "GET").body(Body::from(body)).unwrap();
        if !concerns(rule, &answer) {
            return None;
        }
        let (head, body) = made(rule, answer, &Context::root()).await.into_parts();
        assert_eq!(head.status.as_u16(), status);
        let bytes = body.collect().await.unwrap().to_bytes();
        Some((head.headers, serde_json::from_slice(&bytes).unwrap()))
    }

    #[tokio::test]
    async fn an_error_becomes_a_problem_with_its_status() {
        let rule = Problems::default();
        let (headers, problem) = made_of(&rule, 405, "text/html", "<h1>no</h1>").await.unwrap();
        assert_eq!(
            (headers["content-type"].to_str().unwrap(), &headers["allow"]),
            (PROBLEM_JSON, &"GET".parse().unwrap())
        );
        assert!(!headers.contains_key("etag") && headers.contains_key("x-request-id"));
        assert_eq!(
            (problem.status, &*problem.code, problem.detail),
            (405, "MDG-GW-023", None),
            "no word of it is told"
        );
        assert!(made_of(&rule, 200, "text/html", "").await.is_none());
        assert!(made_of(&rule, 404, "application/problem+json; charset=utf-8", "{}").await.is_none());
        let only = Problems { statuses: [500].into(), detail: false };
        assert!(
            made_of(&only, 404, "text/plain", "").await.is_none()
                && made_of(&only, 500, "text/plain", "").await.is_some()
        );
    }

    #[tokio::test]
    async fn what_it_says_is_told_only_if_that_is_said() {
        let rule = Problems { statuses: [].into(), detail: true };
        for (media, body, detail) in [
            ("text/plain; charset=utf-8", " no such order\n", Some("no such order")),
            ("application/json", "{\"message\": \"no such order\"}", Some("no such order")),
            ("application/json", "{\"trace\": \"at line 1\"}", None),
            ("text/html", "<h1>no</h1>", None),
        ] {
            let (_, problem) = made_of(&rule, 404, media, body).await.unwrap();
            assert_eq!(problem.detail.as_deref(), detail, "{media} {body}");
        }
        let long: &'static str = Box::leak("x".repeat(LONGEST + 1).into_boxed_str());
        assert_eq!(made_of(&rule, 500, "text/plain", long).await.unwrap().1.detail, None);
    }
}

//! What stands before everything that is reached over TCP, where a browser brings along whatever page somebody has
//! open: who asks, from which page, and under which name of this machine.
//!
//! The API takes the token alone, which no page of somebody else knows. The dashboard takes a session; and to change
//! something, a page of its own that says the session's secret.

use std::sync::Arc;

use axum::{
    body::{Body, to_bytes},
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header, uri::Authority};
use madang_dashboard::Session;
use madang_wire::{Code, Problem};

use super::access::Access;
use crate::{http::Failure, peer::Peer};

/// The longest body of what a page sends, in bytes.
const LONGEST: usize = 1024 * 1024;

/// Lets pass who may, and says who it is.
pub(super) async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    match admit(&access, request).await {
        Ok(request) => next.run(request).await,
        Err(refused) => *refused,
    }
}

async fn admit(access: &Access, mut request: Request) -> Result<Request, Box<Response>> {
    own_page(&request).map_err(foreign)?;
    let path = request.uri().path();
    if madang_dashboard::is_open(path) {
        return Ok(request);
    }
    let from = request.extensions().get::<ConnectInfo<Peer>>().map_or("", |ConnectInfo(Peer(from))| from);
    if madang_dashboard::is_page(path) {
        let session = cookie(request.headers(), access.cookie()).and_then(|value| access.session(value));
        let Some(mut session) = session else {
            return Err(Box::new(madang_dashboard::log_in(StatusCode::UNAUTHORIZED, None)));
        };
        session.who = format!("{} from {from}", session.who);
        if !request.method().is_safe() {
            request = confirmed(request, &session).await?;
        }
        request.extensions_mut().insert(ConnectInfo(Peer(session.who.clone())));
        request.extensions_mut().insert(session);
        return Ok(request);
    }
    if !bearer(request.headers()).is_some_and(|token| access.is_token(token)) {
        let detail = format!(
            "send `authorization: Bearer` with the token in {}, or log in: `madang open` opens a browser",
            access.file().display()
        );
        return Err(refused(Problem::new(Code::ADMIN_TOKEN).detail(detail)));
    }
    let peer = Peer(format!("token from {from}"));
    request.extensions_mut().insert(ConnectInfo(peer));
    Ok(request)
}

/// Whether the request is for this machine by one of its own names, and comes from no page but one of this listener.
/// A name that somebody else made lead here (DNS rebinding) is refused like a page of somebody else.
fn own_page(request: &Request) -> Result<(), String> {
    let headers = request.headers();
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = request.uri().authority().map(Authority::as_str).or_else(|| text(header::HOST));
    let host = host.unwrap_or_default();
    if !is_loopback(host) {
        return Err(format!(
            "it is for \"{host}\": only localhost and addresses of loopback are this machine"
        ));
    }
    if let Some(origin) = text(header::ORIGIN)
        && origin.strip_prefix("http://") != Some(host)
    {
        return Err(format!("it comes from a page of {origin}"));
    }
    // Older browsers do not say it; a page of another port is of the same site and another origin.
    let site = headers.get("sec-fetch-site").map(|value| value.as_bytes());
    let link =
        headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate") && request.method().is_safe();
    if matches!(site, Some(b"cross-site" | b"same-site")) && !link {
        return Err("it comes from a page of another origin".to_owned());
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    !host.contains('@')
        && (name.eq_ignore_ascii_case("localhost")
            || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback()))
}

/// The same request, if it says the session's secret and which page it is of.
async fn confirmed(request: Request, session: &Session) -> Result<Request, Box<Response>> {
    if !request.headers().contains_key(header::ORIGIN) {
        return Err(foreign("it does not say which page it comes from".to_owned()));
    }
    let (head, body) = request.into_parts();
    let body = to_bytes(body, LONGEST).await.map_err(|_| {
        let detail = format!("a page sends at most {LONGEST} bytes");
        refused(Problem::new(Code::TOO_LARGE).detail(detail))
    })?;
    let said = form_urlencoded::parse(&body).find(|(key, _)| key == madang_dashboard::CSRF);
    if !said.is_some_and(|(_, value)| madang_dashboard::same(&value, &session.csrf)) {
        let why = "it does not have the secret of the session: open the page anew and try again";
        return Err(foreign(why.to_owned()));
    }
    Ok(Request::from_parts(head, Body::from(body)))
}

fn foreign(why: String) -> Box<Response> {
    refused(Problem::new(Code::FOREIGN_PAGE).detail(why))
}

fn refused(problem: Problem) -> Box<Response> {
    Box::new(Failure::from(problem).into_response())
}

/// The token of an `Authorization`; the scheme's case does not matter (RFC 9110, section 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// The value of a cookie.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs =
        cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn only_names_of_this_machine_and_its_own_pages_are_heard() {
        for host in ["127.0.0.1:3900", "localhost:3900", "[::1]:3900", "127.0.0.1", "LOCALHOST:1"] {
            assert_eq!(own_page(&request("GET", &[("host", host)])), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example:3900",
            "a@127.0.0.1",
            "10.0.0.1:3900",
            "",
            "localhost.evil",
        ] {
            assert!(own_page(&request("GET", &[("host", host)])).is_err(), "{host}");
        }
        let from = |method: &str, origin: &str, site: &str, mode: &str| {
            let said = [
                ("host", "127.0.0.1:3900"),
                ("origin", origin),
                ("sec-fetch-site", site),
                ("sec-fetch-mode", mode),
            ];
            own_page(&request(method, &said[..])).is_ok()
        };
        assert!(from("POST", "http://127.0.0.1:3900", "same-origin", "cors"));
        for origin in [
            "http://127.0.0.1:3000",
            "https://127.0.0.1:3900",
            "null",
            "http://evil.example",
            "http://localhost:3900",
        ] {
            assert!(!from("POST", origin, "same-origin", "cors"), "{origin}");
        }
        let without = |method: &str, site: &str, mode: &str| {
            let said = [("host", "127.0.0.1:3900"), ("sec-fetch-site", site), ("sec-fetch-mode", mode)];
            own_page(&request(method, &said)).is_ok()
        };
        assert!(without("GET", "same-site", "navigate"), "a link in a page of the gateway");
        assert!(without("GET", "none", "navigate"));
        assert!(!without("GET", "same-site", "no-cors"));
        assert!(!without("GET", "cross-site", "cors"));
        assert!(!without("POST", "same-site", "navigate"), "a form in somebody else's page");
    }

    #[test]
    fn cookies_and_tokens_are_found_where_they_stand() {
        let request = request("GET", &[("cookie", "a=1; madang-x=2.3; b"), ("authorization", "bearer  t")]);
        assert_eq!(cookie(request.headers(), "madang-x"), Some("2.3"));
        assert_eq!(cookie(request.headers(), "madang"), None);
        assert_eq!(bearer(request.headers()), Some(" t"));
    }
}

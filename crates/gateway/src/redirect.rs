//! Requests without TLS are sent on to where it is spoken.

use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{HOST, LOCATION},
};
use madang_calls::Body;

use crate::{answer::Refusal, inspect, tls::Tls};

/// The port of https unless a URL says otherwise.
const HTTPS: u16 = 443;

/// Where authorities ask for proof (RFC 8555, section 8.3).
const PROOFS: &str = "/.well-known/acme-challenge/**";

/// A listener that answers nothing itself, but to authorities that look whose a host is.
pub(crate) struct Redirect {
    /// Where https is spoken.
    pub(crate) port: u16,
    pub(crate) tls: Tls,
}

impl Redirect {
    /// What is answered in place of what was asked for, and the template of the route if it has one.
    pub(crate) fn instead<B>(&self, request: &Request<B>) -> (Refusal, Option<&'static str>) {
        match self.tls.proofs().answer(request.uri().path()) {
            Some(proof) => (Refusal::Proof(proof), Some(PROOFS)),
            None => (to_https(request, self.port), None),
        }
    }
}

/// Where an admitted request is answered: at the host that it names, at this port.
fn to_https<B>(request: &Request<B>, port: u16) -> Refusal {
    let host = inspect::host(request.headers());
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let location = match port {
        HTTPS => format!("https://{host}{path}"),
        port => format!("https://{host}:{port}{path}"),
    };
    // What an admitted request says of host and path can be in a header, or it would have come in none.
    match HeaderValue::try_from(location) {
        Ok(location) if request.headers().contains_key(HOST) => Refusal::Elsewhere(location),
        _ => Refusal::NoRoute,
    }
}

/// The method stays what it is (RFC 9110, section 15.4.9): a POST must not become a GET.
pub(crate) fn answer(location: &HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, location.clone());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_and_the_path_stay_and_the_port_is_that_of_tls() {
        for (host, path, port, expected) in [
            ("shop.example", "/a?b=c", 443, "https://shop.example/a?b=c"),
            ("shop.example:3080", "/", 3443, "https://shop.example:3443/"),
            ("[::1]:80", "/a//b", 443, "https://[::1]/a//b"),
        ] {
            let request = Request::get(path).header(HOST, host).body(()).unwrap();
            let Refusal::Elsewhere(location) = to_https(&request, port) else { panic!("{host}") };
            assert_eq!(location, expected);
        }
    }
}

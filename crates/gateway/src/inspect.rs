//! What a request from outside must be before anything looks at it: unambiguous, in one form, and without
//! fields that only Madang may set. Framing (lengths, chunks, line ends) is hyper's part.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE},
    uri::{Authority, PathAndQuery, Scheme},
};
use madang_wire::headers;

use crate::{
    path::{self, BadPath},
    tls::reach::Reach,
};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The target of a request that is about the server as a whole (RFC 9110, section 9.3.7).
pub(crate) const EVERYTHING: &str = "*";

/// Why a request is refused as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error(transparent)]
    Path(#[from] BadPath),
    #[error("the request does not name exactly one valid host")]
    Host,
    #[error("the host and the request's target differ")]
    TwoHosts,
    #[error("the request is for https but came over a connection without TLS")]
    Scheme,
    #[error("the request is for another scheme than https but came over TLS")]
    NotHttps,
    #[error("another certificate than the one of this connection is for the host")]
    Misdirected,
    #[error("the only transfer coding of a request is `chunked`, given once")]
    TransferCoding,
    #[error("tunnels (CONNECT) are not served, but for WebSocket over HTTP/2")]
    Tunnel,
    #[error("a request that asks for another protocol has no body")]
    UpgradeBody,
}

/// Whoever sent a request, as the service is told.
pub(crate) struct Sender<'a> {
    /// The client's address.
    pub(crate) address: &'a HeaderValue,
    /// The host of a request that may name none: where it came in.
    pub(crate) listener: &'a HeaderValue,
    /// Whether it came over TLS.
    pub(crate) secure: bool,
    /// Whether a proxy that is trusted brought it, which may name the scheme that its visitor asked for.
    pub(crate) proxied: bool,
    /// The host that the visitor asked such a proxy for.
    pub(crate) host: Option<&'a HeaderValue>,
    /// Which hosts it may be for; any if absent.
    pub(crate) reach: Option<&'a Reach>,
}

/// What one look over the fields of a request shows, so that each rule costs nothing where it does not apply.
#[derive(Default)]
struct Seen {
    hosts: usize,
    codings: bool,
    upgrade: bool,
    nominated: bool,
    foreign: bool,
}

/// Brings a request into its one form, or says why it has none. Afterwards the target is a normalised path
/// with the query as it was, there is one `Host`, and no field is left that a client may not set.
///
/// Returns the protocol that the connection is to speak from then on, if the request asks for one.
pub(crate) fn admit<B>(request: &mut Request<B>, sender: &Sender<'_>) -> Result<Option<HeaderValue>, Unfit> {
    let mut switch = None;
    if *request.method() == Method::CONNECT {
        switch = Some(websocket_over_http2(request)?);
    }
    let seen = Seen::of(request.headers());
    if request.version() < Version::HTTP_2 {
        if seen.codings {
            check_coding(request.headers())?;
        }
        if seen.upgrade {
            switch = upgrade(request.version(), request.headers())?;
        }
    }
    // What https asks for holds only over TLS (RFC 9110, section 4.2.2), and who asks for http does not mean this server.
    let scheme = if sender.secure { Scheme::HTTPS } else { Scheme::HTTP };
    let fits = |named: &Scheme| {
        *named == scheme || sender.proxied && (*named == Scheme::HTTP || *named == Scheme::HTTPS)
    };
    if !request.uri().scheme().is_none_or(fits) {
        return Err(if sender.secure { Unfit::NotHttps } else { Unfit::Scheme });
    }
    let method = request.method().clone();
    let authority = settle_target(&method, request.uri_mut())?;
    let mut host = settle_host(request, &seen, authority, sender)?;
    let headers = request.headers_mut();
    // By a proxy that is trusted come visitors of all hosts, whatever it has asked for itself.
    if !sender.proxied && sender.reach.is_some_and(|reach| !reach.covers(self::host(headers))) {
        return Err(Unfit::Misdirected);
    }
    if let Some(told) = sender.host {
        if !valid_host(told.as_bytes()) {
            return Err(Unfit::Host);
        }
        host = told.clone();
        headers.insert(HOST, host.clone());
    }
    if seen.nominated {
        drop_nominated(headers);
    }
    if seen.foreign {
        drop_foreign(headers);
    }
    headers.insert(FORWARDED_FOR, sender.address.clone());
    headers.insert(FORWARDED_HOST, host);
    let scheme = if sender.secure { "https" } else { "http" };
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    if seen.upgrade {
        headers.remove(UPGRADE);
    }
    Ok(switch)
}

impl Seen {
    fn of(headers: &HeaderMap) -> Self {
        let mut seen = Self::default();
        for (name, _) in headers {
            match *name {
                HOST => seen.hosts += 1,
                TRANSFER_ENCODING => seen.codings = true,
                UPGRADE => seen.upgrade = true,
                CONNECTION => seen.nominated = true,
                _ => seen.foreign |= is_foreign(name),
            }
        }
        seen
    }
}

/// The host that an admitted request is for, without a port.
pub(crate) fn host(headers: &HeaderMap) -> &str {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// Another coding would have to be undone before the body is passed on; nobody sends one.
fn check_coding(headers: &HeaderMap) -> Result<(), Unfit> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Unfit::TransferCoding),
    }
}

/// What the connection is to speak after this request (RFC 9110, section 7.8): nothing else if `Connection` does not say
/// so or the request is older than that. An offer of HTTP/2 may be ignored, and is.
fn upgrade(version: Version, headers: &HeaderMap) -> Result<Option<HeaderValue>, Unfit> {
    let says_so = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let says_so =
        says_so.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case("upgrade"));
    let offers: Vec<&[u8]> = headers.get_all(UPGRADE).iter().map(HeaderValue::as_bytes).collect();
    if !says_so || version < Version::HTTP_11 || offers.iter().all(|offer| offer.eq_ignore_ascii_case(b"h2c"))
    {
        return Ok(None);
    }
    // What follows the head is the new protocol's, once it is agreed on, and nothing before.
    let has_body = headers.contains_key(TRANSFER_ENCODING)
        || headers.get_all(CONTENT_LENGTH).iter().any(|length| length.as_bytes() != b"0");
    if has_body {
        return Err(Unfit::UpgradeBody);
    }
    Ok(HeaderValue::from_bytes(&offers.join(&b", "[..])).ok())
}

/// The only tunnel over a stream of HTTP/2 (RFC 8441), as the request that it is over HTTP/1.1.
fn websocket_over_http2<B>(request: &mut Request<B>) -> Result<HeaderValue, Unfit> {
    let protocol = request.extensions_mut().remove::<hyper::ext::Protocol>();
    if protocol.is_none_or(|protocol| protocol.as_str() != "websocket") {
        return Err(Unfit::Tunnel);
    }
    *request.method_mut() = Method::GET;
    Ok(HeaderValue::from_static("websocket"))
}

/// Leaves a normalised path and the query; returns the host that the target named.
fn settle_target(method: &Method, uri: &mut Uri) -> Result<Option<Authority>, Unfit> {
    if *method == Method::OPTIONS && uri.path() == EVERYTHING {
        return Ok(None);
    }
    let normal = path::normalise(uri.path())?;
    let target = if normal == uri.path() {
        if uri.authority().is_none() {
            return Ok(None);
        }
        uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
    } else {
        let text = match uri.query() {
            Some(query) => [&*normal, "?", query].concat(),
            None => normal.into_owned(),
        };
        // What normalisation writes is a path; only its growth by escapes can make it too long.
        PathAndQuery::try_from(text).map_err(|_| BadPath::TooLong)?
    };
    let authority = std::mem::replace(uri, Uri::from(target)).into_parts().authority;
    Ok(authority)
}

/// Leaves exactly one valid `Host` and returns it.
fn settle_host<B>(
    request: &mut Request<B>,
    seen: &Seen,
    authority: Option<Authority>,
    sender: &Sender<'_>,
) -> Result<HeaderValue, Unfit> {
    let version = request.version();
    let given = request.headers().get(HOST).cloned();
    if seen.hosts > 1 || given.as_ref().is_some_and(|host| !valid_host(host.as_bytes())) {
        return Err(Unfit::Host);
    }
    let host = match (authority, given) {
        (None, Some(host)) => return Ok(host),
        (Some(target), Some(host)) => {
            let same = host.as_bytes().eq_ignore_ascii_case(target.as_str().as_bytes());
            return if same { Ok(host) } else { Err(Unfit::TwoHosts) };
        }
        (None, None) if version == Version::HTTP_10 => sender.listener.clone(),
        // HTTP/1.1 asks for `Host` in every form of a request; HTTP/2 does not.
        (Some(target), None) if version > Version::HTTP_11 && valid_host(target.as_str().as_bytes()) => {
            HeaderValue::from_str(target.as_str()).map_err(|_| Unfit::Host)?
        }
        (_, None) => return Err(Unfit::Host),
    };
    request.headers_mut().insert(HOST, host.clone());
    Ok(host)
}

/// Names, IPv4 and bracketed IPv6 addresses, with or without a port; no user, no escapes.
fn valid_host(host: &[u8]) -> bool {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':' | b'[' | b']');
    !host.is_empty() && host.iter().all(allowed)
}

/// Drops the fields that `Connection` names, before others are added that it must not be able to remove.
fn drop_nominated(headers: &mut HeaderMap) {
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<HeaderName> =
        named.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect();
    // The host is not the connection's, and what is left of `TE` is decided by the hop.
    for name in named.iter().filter(|name| **name != HOST && **name != TE) {
        headers.remove(name);
    }
    headers.remove(CONNECTION);
}

fn drop_foreign(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| is_foreign(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// What only Madang may say, and names with `_`, which some servers take for `-`.
fn is_foreign(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with(headers::PREFIX)
        || name.starts_with("x-forwarded-")
        || matches!(name, "x-real-ip" | "forwarded")
        || name.as_bytes().contains(&b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Admits a request given as target and headers.
    fn admit_text(version: Version, target: &str, fields: &[(&str, &str)]) -> Result<Request<()>, Unfit> {
        admit_over(false, version, target, fields)
    }

    fn admit_over(
        secure: bool,
        version: Version,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Result<Request<()>, Unfit> {
        let mut request = Request::builder().version(version).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        let sender = Sender {
            address: &HeaderValue::from_static("192.0.2.7"),
            listener: &HeaderValue::from_static("127.0.0.1:3000"),
            secure,
            proxied: false,
            host: None,
            reach: None,
        };
        admit(&mut request, &sender).map(|_| request)
    }

    #[track_caller]
    fn refused(version: Version, target: &str, fields: &[(&str, &str)], expected: Unfit) {
        assert_eq!(admit_text(version, target, fields).err(), Some(expected), "{target} {fields:?}");
    }

    #[test]
    fn the_target_becomes_a_normal_path_with_its_query() {
        for (target, expected) in [
            ("/a/../b?q=%2f..", "/b?q=%2f.."),
            ("http://shop.example/%61?x", "/a?x"),
            ("http://shop.example", "/"),
            ("http://shop.example?x", "/?x"),
        ] {
            let request = admit_text(Version::HTTP_11, target, &[("host", "shop.example")]).unwrap();
            assert_eq!(request.uri().to_string(), expected);
        }
    }

    #[test]
    fn there_is_exactly_one_host() {
        use Version as V;
        refused(V::HTTP_11, "/", &[], Unfit::Host);
        refused(V::HTTP_11, "/", &[("host", "a"), ("host", "a")], Unfit::Host);
        refused(V::HTTP_11, "/", &[("host", "")], Unfit::Host);
        refused(V::HTTP_11, "/", &[("host", "user@a")], Unfit::Host);
        refused(V::HTTP_11, "/", &[("host", "a/b")], Unfit::Host);
        refused(V::HTTP_11, "http://a/", &[], Unfit::Host);
        refused(V::HTTP_11, "http://a/", &[("host", "b")], Unfit::TwoHosts);
        refused(V::HTTP_2, "http://a/", &[("host", "b")], Unfit::TwoHosts);
        refused(V::HTTP_2, "http://user@a/", &[], Unfit::Host);
        let request = admit_text(V::HTTP_2, "http://A.example:80/", &[]).unwrap();
        assert_eq!(request.headers()[HOST], "A.example:80");
        assert_eq!(host(request.headers()), "A.example");
        let request = admit_text(V::HTTP_10, "/", &[]).unwrap();
        assert_eq!(request.headers()[HOST], "127.0.0.1:3000");
        let request = admit_text(V::HTTP_11, "/", &[("host", "[::1]:80")]).unwrap();
        assert_eq!(host(request.headers()), "[::1]");
        let request = admit_text(V::HTTP_11, "/", &[("host", "[::1]")]).unwrap();
        assert_eq!(host(request.headers()), "[::1]");
        let request = admit_text(V::HTTP_11, "/", &[("host", "shop.example.")]).unwrap();
        assert_eq!(host(request.headers()), "shop.example");
    }

    #[test]
    fn tunnels_codings_and_foreign_schemes_are_refused() {
        let http11 = Version::HTTP_11;
        let host = ("host", "a");
        refused(http11, "https://a/", &[host], Unfit::Scheme);
        refused(http11, "/", &[host, ("transfer-encoding", "gzip, chunked")], Unfit::TransferCoding);
        let twice = [host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
        refused(http11, "/", &twice, Unfit::TransferCoding);
        assert!(admit_text(http11, "/", &[host, ("upgrade", "h2c")]).is_ok());
        assert!(admit_text(http11, "/", &[host, ("transfer-encoding", "Chunked")]).is_ok());
    }

    #[test]
    fn another_protocol_is_asked_for_by_two_fields_and_without_a_body() {
        let asked = |version, fields: &[(&str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            }
            upgrade(version, &headers).map(|found| found.map(|it| it.to_str().unwrap().to_owned()))
        };
        let (http11, websocket) = (Version::HTTP_11, ("upgrade", "websocket"));
        let found = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(asked(http11, &[websocket, ("connection", "Upgrade")]), found("websocket"));
        assert_eq!(asked(http11, &[websocket, ("connection", "keep-alive, upgrade")]), found("websocket"));
        let two = [websocket, ("upgrade", "echo/1"), ("connection", "upgrade")];
        assert_eq!(asked(http11, &two), found("websocket, echo/1"));
        assert_eq!(asked(http11, &[websocket]), Ok(None), "Connection does not say so");
        assert_eq!(asked(http11, &[websocket, ("connection", "close")]), Ok(None));
        assert_eq!(asked(Version::HTTP_10, &[websocket, ("connection", "upgrade")]), Ok(None));
        assert_eq!(asked(http11, &[("upgrade", "H2C"), ("connection", "upgrade")]), Ok(None));
        let both = |field| [websocket, ("connection", "upgrade"), field];
        assert_eq!(asked(http11, &both(("content-length", "0"))), found("websocket"));
        assert_eq!(asked(http11, &both(("content-length", "3"))), Err(Unfit::UpgradeBody));
        assert_eq!(asked(http11, &both(("transfer-encoding", "chunked"))), Err(Unfit::UpgradeBody));
    }

    #[test]
    fn the_scheme_is_that_of_the_connection() {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let admitted = |secure, target| {
                let request = admit_over(secure, version, target, &[("host", "a")])?;
                Ok(request.headers()[FORWARDED_PROTO].clone())
            };
            assert_eq!(admitted(false, "http://a/"), Ok("http".parse().unwrap()));
            assert_eq!(admitted(true, "https://a/"), Ok("https".parse().unwrap()));
            assert_eq!(admitted(true, "/"), Ok("https".parse().unwrap()));
            assert_eq!(admitted(false, "https://a/"), Err(Unfit::Scheme));
            assert_eq!(admitted(true, "http://a/"), Err(Unfit::NotHttps));
            assert_eq!(admitted(true, "ftp://a/"), Err(Unfit::NotHttps));
        }
    }

    #[test]
    fn a_trusted_proxy_names_the_host_and_the_scheme_of_its_visitor() {
        let admitted = |target: &str, told: &'static str| {
            let mut request = Request::builder().uri(target).header(HOST, "a").body(()).unwrap();
            let sender = Sender {
                address: &HeaderValue::from_static("192.0.2.7"),
                listener: &HeaderValue::from_static("127.0.0.1:3000"),
                secure: true,
                proxied: true,
                host: Some(&HeaderValue::from_static(told)),
                reach: None,
            };
            admit(&mut request, &sender).map(|_| {
                [HOST, FORWARDED_HOST, FORWARDED_PROTO, FORWARDED_FOR]
                    .map(|name| request.headers()[name].to_str().unwrap().to_owned())
            })
        };
        let expected = ["shop.example", "shop.example", "https", "192.0.2.7"].map(str::to_owned);
        for target in ["/", "http://a/", "https://a/"] {
            assert_eq!(admitted(target, "shop.example"), Ok(expected.clone()), "{target}");
        }
        assert_eq!(admitted("ftp://a/", "shop.example"), Err(Unfit::NotHttps));
        assert_eq!(admitted("/", "shop.example/x"), Err(Unfit::Host));
    }

    #[test]
    fn a_client_sets_no_field_of_ours() {
        let request = admit_text(
            Version::HTTP_11,
            "/",
            &[
                ("host", "a"),
                ("madang-caller", "orders"),
                ("x-forwarded-for", "10.0.0.1"),
                ("x-forwarded-port", "1"),
                ("forwarded", "for=10.0.0.1"),
                ("x-real-ip", "10.0.0.1"),
                ("x_forwarded_for", "10.0.0.1"),
                ("x-private", "1"),
                ("connection", "close, X-Private, x-forwarded-for, host"),
                ("accept", "*/*"),
            ],
        )
        .unwrap();
        let mut left: Vec<_> =
            request.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            [
                ("accept", "*/*"),
                ("host", "a"),
                ("x-forwarded-for", "192.0.2.7"),
                ("x-forwarded-host", "a"),
                ("x-forwarded-proto", "http"),
            ]
        );
    }
}

//! What one hop changes in a message: the fields that are for this connection only go, and those that tell
//! the other side about the call come.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE},
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::Body as _;
use madang_wire::headers;
use tower::{Layer, Service};

use crate::{
    Body, CallError, Elsewhere,
    exchange::{Call, Exchange, Target},
    grpc::GRPC_TIMEOUT,
    names::{ATTEMPT, CALLER, PRINCIPAL, PRIORITY, REQUEST_ID, SERVICE, TIMEOUT, TRACEPARENT, TRACESTATE},
    trace::{ascii, new_span_id, traceparent},
    transport::Outgoing,
    tunnel,
    upload::Upload,
};

/// Writes each attempt's request and cleans its answer.
pub(crate) fn layer() -> HopLayer {
    HopLayer
}

/// See [`layer`].
#[derive(Clone, Copy)]
pub(crate) struct HopLayer;

/// See [`layer`].
#[derive(Clone, Copy)]
pub(crate) struct Hop<S>(S);

pin_project_lite::pin_project! {
    /// The future of [`Hop`].
    pub(crate) struct Answer<F> {
        #[pin]
        inner: F,
        local: bool,
        elsewhere: bool,
    }
}

// === impl Hop ===

impl<S> Layer<S> for HopLayer {
    type Service = Hop<S>;

    fn layer(&self, inner: S) -> Hop<S> {
        Hop(inner)
    }
}

impl<S> Service<Call> for Hop<S>
where
    S: Service<Outgoing, Response = Response<Body>, Error = CallError>,
{
    type Response = Response<Body>;
    type Error = CallError;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let local = matches!(call.target, Some(Target::Local(_)));
        let elsewhere = elsewhere(&call).is_some();
        let request = outgoing(&call);
        Answer { inner: self.0.call(Outgoing { call, request }), local, elsewhere }
    }
}

impl<F> Future for Answer<F>
where
    F: Future<Output = Result<Response<Body>, CallError>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut polled = this.inner.poll(cx);
        if let Poll::Ready(Ok(response)) = &mut polled {
            if tunnel::switches(response) {
                tunnel::keep_protocol(response, strip);
            } else {
                strip(response.headers_mut());
            }
            if *this.elsewhere {
                nothing_of_ours(response.headers_mut());
            }
            if *this.local {
                // As the server of another process would have written it.
                state_length(&response.body().size_hint().exact(), response.headers_mut());
            }
        }
        polled
    }
}

/// The request of one attempt.
fn outgoing(call: &Call) -> Request<Body> {
    let exchange = &*call.exchange;
    let body = Upload::send(&call.exchange, call.attempt);
    let mut headers = exchange.take_fields();
    end_to_end(&mut headers);
    tell(call, &mut headers);
    let path = exchange.uri.path_and_query().cloned();
    let elsewhere = elsewhere(call);
    if let Some(elsewhere) = elsewhere {
        headers.insert(HOST, elsewhere.authority.clone());
    }
    let (uri, version) = match &call.target {
        Some(Target::Remote(endpoint)) if exchange.over_http2(endpoint) => {
            headers.remove(CONNECTION);
            let scheme = elsewhere.map_or(Scheme::HTTP, |elsewhere| elsewhere.scheme());
            (absolute(exchange, scheme, headers.remove(HOST), path), Version::HTTP_2)
        }
        target => {
            if !headers.contains_key(HOST) {
                headers.insert(HOST, host_of(exchange));
            }
            if let Some(protocol) = exchange.switch.get()
                && matches!(target, Some(Target::Remote(_)))
            {
                headers.remove(TE);
                headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(UPGRADE, protocol.clone());
            }
            if matches!(target, Some(Target::Local(_))) {
                headers.remove(CONNECTION);
                let length = body.size_hint().exact().filter(|length| *length > 0);
                state_length(&length, &mut headers);
            }
            (origin(path), Version::HTTP_11)
        }
    };
    let mut request = Request::new(body);
    *request.method_mut() = exchange.method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = version;
    *request.headers_mut() = headers;
    request
}

/// How the other side is spoken to if it runs elsewhere.
fn elsewhere(call: &Call) -> Option<&Elsewhere> {
    match &call.target {
        Some(Target::Remote(endpoint)) => endpoint.elsewhere.as_deref(),
        _ => None,
    }
}

/// Removes what only Madang may say, from an answer that comes from outside.
fn nothing_of_ours(headers: &mut HeaderMap) {
    let ours: Vec<_> =
        headers.keys().filter(|name| name.as_str().starts_with(headers::PREFIX)).cloned().collect();
    for name in ours {
        headers.remove(name);
    }
}

/// Leaves what is for the other end: not what is for one connection, and nothing that this hop writes itself.
fn end_to_end(headers: &mut HeaderMap) {
    // Most often there is nothing to take out.
    if !headers.keys().any(for_this_hop) {
        return;
    }
    let named = NamedByConnection::of(headers);
    let ends: Vec<_> =
        headers.keys().filter(|name| for_this_hop(name) || named.contains(name)).cloned().collect();
    let trailers = |value: &HeaderValue| tokens(value).any(|token| token.eq_ignore_ascii_case("trailers"));
    let takes_trailers = headers.get_all(TE).iter().any(trailers);
    for name in ends {
        headers.remove(name);
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        // RFC 9110, section 10.1.4: whoever sends TE names it as for this connection only.
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
}

/// Whether a request's field ends here (RFC 9110, section 7.6.1), or is written by this hop.
fn for_this_hop(name: &HeaderName) -> bool {
    let name = name.as_str();
    hop_by_hop(name)
        || matches!(
            name,
            // `expect` is answered by the server that took the request, once its body is read.
            "expect" | headers::REQUEST_ID | headers::TRACEPARENT | headers::TRACESTATE
        )
        // A copy stays one however far it goes.
        || (name.starts_with(headers::PREFIX) && name != headers::MIRROR)
}

/// Removes from the end of a request what its head may not say, or must say itself (RFC 9110, section 6.5.1): there are
/// servers that take both for one.
pub(crate) fn end_to_end_trailers(trailers: &mut HeaderMap) {
    let ends: Vec<_> =
        trailers.keys().filter(|name| for_this_hop(name) || for_the_head(name)).cloned().collect();
    for name in ends {
        trailers.remove(name);
    }
}

/// Whether a field decides where a request goes, how long it is, or who sent it.
fn for_the_head(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(name, "host" | "content-length" | "authorization" | "cookie" | "forwarded" | "x-real-ip")
        || name.starts_with("x-forwarded-")
        || name.starts_with(headers::PREFIX)
        || name.contains('_')
}

fn hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// The fields that `Connection` names. Almost always none, which costs one look-up.
struct NamedByConnection<'a>(Vec<&'a str>);

impl<'a> NamedByConnection<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let named = headers.get_all(CONNECTION).iter().flat_map(tokens);
        // Without these two a message has no meaning, whatever a sender says of them.
        Self(named.filter(|name| !name.eq_ignore_ascii_case("host") && !hop_by_hop(name)).collect())
    }

    fn contains(&self, name: &HeaderName) -> bool {
        self.0.iter().any(|named| named.eq_ignore_ascii_case(name.as_str()))
    }
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or_default().split(',').map(str::trim).filter(|token| !token.is_empty())
}

/// Tells the other side about the call.
fn tell(call: &Call, headers: &mut HeaderMap) {
    let exchange = &*call.exchange;
    let context = &exchange.context;
    // All attempts of a call are one span, so that whatever they cause is found below it.
    let span = Some(exchange.trail.span()).filter(|span| *span != 0).unwrap_or_else(new_span_id);
    if let Some(target) = &call.target {
        exchange.trail.begin(span, target);
    }
    headers.insert(REQUEST_ID, context.request_id.0.clone());
    headers.insert(TRACEPARENT, traceparent(context.trace.trace_id, span, context.trace.flags));
    if let Some(state) = &context.trace.state {
        headers.insert(TRACESTATE, state.clone());
    }
    if elsewhere(call).is_some() {
        return; // what follows is between Madang's own services
    }
    headers.insert(SERVICE, exchange.upstream().label.clone());
    if let Some(caller) = &context.caller {
        headers.insert(CALLER, ascii(caller.as_str().as_bytes()));
    }
    if let Some(principal) = &context.principal {
        headers.insert(PRINCIPAL, principal.signed().clone());
    }
    if let Some(left) = exchange.time_left(call.began) {
        let left = millis(left);
        // Only what the caller said of its own, since it ends streams too; the other header does not.
        if exchange.grpc_due.is_some() {
            let in_millis = [left.as_bytes(), b"m"].concat();
            headers.insert(GRPC_TIMEOUT, ascii(&in_millis));
        }
        headers.insert(TIMEOUT, left);
    }
    if let Some(priority) = exchange.priority().label() {
        headers.insert(PRIORITY, HeaderValue::from_static(priority));
    }
    if call.attempt > 1 {
        headers.insert(ATTEMPT, call.attempt.into());
    }
}

/// Whole milliseconds, rounded down so that the other side gives up no later than this one.
fn millis(time: Duration) -> HeaderValue {
    let mut left = time.as_secs().saturating_mul(1000).saturating_add(time.subsec_millis().into());
    let mut text = [0; 20];
    let mut first = text.len();
    while left > 0 || first == text.len() {
        first -= 1;
        text[first] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    ascii(&text[first..])
}

/// The host that the caller asked for, or else the service's name.
fn host_of(exchange: &Exchange) -> HeaderValue {
    match exchange.uri.authority() {
        Some(authority) => {
            let host = authority.as_str().rsplit('@').next().unwrap_or_default();
            HeaderValue::from_str(host).unwrap_or_else(|_| exchange.upstream().label.clone())
        }
        None => exchange.upstream().label.clone(),
    }
}

fn origin(path: Option<PathAndQuery>) -> Uri {
    Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
}

fn absolute(
    exchange: &Exchange,
    scheme: Scheme,
    host: Option<HeaderValue>,
    path: Option<PathAndQuery>,
) -> Uri {
    let host = host.unwrap_or_else(|| host_of(exchange));
    let authority = Authority::try_from(host.as_bytes())
        .or_else(|_| Authority::try_from(exchange.upstream().label.as_bytes()));
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = authority.ok();
    parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).unwrap_or_default()
}

/// Removes what is for one connection only.
fn strip(headers: &mut HeaderMap) {
    if !headers.keys().any(|name| hop_by_hop(name.as_str())) {
        return;
    }
    let named = NamedByConnection::of(headers);
    let remove: Vec<_> =
        headers.keys().filter(|name| hop_by_hop(name.as_str()) || named.contains(name)).cloned().collect();
    for name in remove {
        headers.remove(name);
    }
}

fn state_length(length: &Option<u64>, headers: &mut HeaderMap) {
    if let Some(length) = length
        && !headers.contains_key(CONTENT_LENGTH)
        && !headers.contains_key(TRANSFER_ENCODING)
    {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(*length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    fn check(given: &[(&str, &str)], expected: &[(&str, &str)]) {
        let mut headers = map(given);
        end_to_end(&mut headers);
        assert_eq!(headers, map(expected), "{given:?}");
    }

    #[test]
    fn a_request_loses_what_is_for_one_connection() {
        check(
            &[("accept", "*/*"), ("x-a", "1"), ("x-a", "2")],
            &[("accept", "*/*"), ("x-a", "1"), ("x-a", "2")],
        );
        check(&[("connection", "keep-alive"), ("keep-alive", "timeout=5")], &[]);
        check(
            &[("connection", "close, X-Secret"), ("connection", "x-b"), ("x-secret", "1"), ("x-b", "2")],
            &[],
        );
        check(&[("connection", "upgrade"), ("upgrade", "websocket"), ("http2-settings", "AA")], &[]);
        check(&[("transfer-encoding", "chunked"), ("proxy-connection", "keep-alive")], &[]);
        check(
            &[("proxy-authorization", "Basic x"), ("authorization", "Bearer y")],
            &[("authorization", "Bearer y")],
        );
        check(&[("te", "gzip")], &[]);
        check(
            &[("te", "gzip;q=0.5, trailers"), ("connection", "te")],
            &[("te", "trailers"), ("connection", "te")],
        );
        check(
            &[("trailer", "x-sum"), ("content-length", "3")],
            &[("trailer", "x-sum"), ("content-length", "3")],
        );
        check(&[("expect", "100-continue")], &[]);
    }

    #[test]
    fn time_is_written_in_whole_milliseconds() {
        for (time, text) in [(0, "0"), (999, "0"), (1_000, "1"), (15_000_999, "15000")] {
            assert_eq!(millis(Duration::from_micros(time)), text);
        }
        assert_eq!(millis(Duration::MAX), "18446744073709551615");
    }

    #[test]
    fn nobody_writes_madang_headers_but_the_hop() {
        check(
            &[
                ("madang-caller", "root"),
                ("madang-anything", "x"),
                ("x-request-id", "a"),
                ("traceparent", "b"),
            ],
            &[],
        );
    }

    #[test]
    fn an_answer_loses_what_is_for_one_connection() {
        let mut headers = map(&[
            ("connection", "keep-alive, x-hop"),
            ("keep-alive", "timeout=5"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
        ]);
        strip(&mut headers);
        assert_eq!(headers, map(&[("set-cookie", "a"), ("set-cookie", "b")]));
    }
}

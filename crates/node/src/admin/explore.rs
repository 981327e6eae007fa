//! What the API explorer needs: the document in which a service describes itself, and requests through the gateway.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use madang_calls::Context;
use madang_model::Protocol;
use madang_wire::{
    Code, Problem,
    admin::State as InstanceState,
    dashboard::{TryAnswer, TryRequest},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{Answer, Shared, unknown};
use crate::{http::Failure, views::client_authorities};

/// How long an instance may take to give its document.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest document, in bytes.
const LONGEST_DOCUMENT: usize = 2 * 1024 * 1024;

/// How much of an answer is shown, in bytes.
const SHOWN: usize = 256 * 1024;

/// How long a request through the gateway may take: more than the gateway itself allows it usually.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The OpenAPI document of a service, as one of its ready instances gives it at `/openapi.json`.
#[utoipa::path(get, path = "/v1/services/{name}/openapi", params(("name" = String, Path)),
    responses((status = 200, body = Object), (status = 404, body = Problem), (status = 502, body = Problem)))]
pub(super) async fn document(State(node): State<Arc<Shared>>, Path(name): Path<String>) -> Answer<Response> {
    let system = node.system.borrow().clone();
    let protocol = system.services.get(name.as_str()).ok_or_else(|| unknown(&node, &name))?.protocol;
    let none = |detail: String| Failure::from(Problem::new(Code::UNKNOWN_NAME).detail(detail));
    let address = node.instances().into_iter().find_map(|instance| {
        let serves = instance.state == InstanceState::Ready && instance.services.contains(&name);
        instance
            .url
            .filter(|_| serves)?
            .strip_prefix("http://")?
            .trim_end_matches('/')
            .parse::<SocketAddr>()
            .ok()
    });
    let address =
        address.ok_or_else(|| none(format!("{name} has no ready instance on this machine to ask")))?;
    let request = Request::builder().uri("/openapi.json").header("madang-service", &name);
    let request = request.header(header::ACCEPT, "application/json").body(Full::default());
    let request = request.map_err(|error| none(error.to_string()))?;
    let asked = async {
        let answer = send(connect(address).await?, address, protocol, request).await?;
        let status = answer.status();
        let (body, cut) = read(answer.into_body(), LONGEST_DOCUMENT).await?;
        Ok::<_, String>((status, body, cut))
    };
    let failed =
        |why: String| Failure::from(Problem::new(Code::BROKEN).detail(format!("{name} at {address}: {why}")));
    let (status, body, cut) =
        timeout(PATIENCE, asked).await.map_err(|_| failed("no answer in 5 s".into()))?.map_err(failed)?;
    if status != StatusCode::OK {
        return Err(none(format!(
            "{name} does not describe itself: it answers {status} to GET /openapi.json"
        )));
    }
    if cut || serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_err() {
        return Err(none(format!(
            "what {name} answers to GET /openapi.json is no JSON document of up to {LONGEST_DOCUMENT} bytes"
        )));
    }
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Sends a request through the gateway, as a client from outside would, and gives what is answered.
#[utoipa::path(post, path = "/v1/requests", request_body = TryRequest,
    responses((status = 200, body = TryAnswer), (status = 400, body = Problem), (status = 409, body = Problem),
        (status = 502, body = Problem)))]
pub(super) async fn request(
    State(node): State<Arc<Shared>>,
    Json(asked): Json<TryRequest>,
) -> Answer<Json<TryAnswer>> {
    let system = node.system.borrow().clone();
    let gateway = system.gateway.listen;
    // What listens everywhere is reached on this machine.
    let address = if gateway.ip().is_unspecified() {
        SocketAddr::from(([127, 0, 0, 1], gateway.port()))
    } else {
        gateway
    };
    let (request, trace_id) = request_of(asked, address)?;
    if let Some(authorities) = client_authorities(&system) {
        return Err(closed(address, authorities).into());
    }
    let began = Instant::now();
    let asked = async {
        let stream = connect(address).await?;
        let answer = match node.certificates.tls() {
            None => send(stream, address, Protocol::Http, request).await?,
            Some(tls) => {
                let agreed = tls.connect(stream).await.map_err(|error| format!("no TLS with it: {error}"))?;
                send(agreed, address, Protocol::Http, request).await?
            }
        };
        let (head, body) = answer.into_parts();
        let (body, cut) = read(body, SHOWN).await?;
        Ok::<_, String>((head, body, cut))
    };
    let failed = |why: String| {
        Failure::from(Problem::new(Code::BROKEN).detail(format!("the gateway at {address}: {why}")))
    };
    let (head, body, cut) = timeout(LONGEST_WAIT, asked)
        .await
        .map_err(|_| failed("no answer in a minute".into()))?
        .map_err(failed)?;
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Ok(Json(TryAnswer {
        status: head.status.as_u16(),
        headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
        cut,
        duration_us: began.elapsed().as_micros().try_into().unwrap_or(u64::MAX),
        trace_id,
    }))
}

/// The node has no certificate of a client. It signs itself none, and goes past no listener: what is seen here is what a
/// client sees.
fn closed(gateway: SocketAddr, authorities: &std::path::Path) -> Problem {
    Problem::new(Code::NO_CLIENT_CERTIFICATE).detail(format!(
        "the gateway at {gateway} lets nobody in without a certificate that the authorities in {} have signed, and the node has none: send the request with `curl --cert client.pem --key client.key`",
        authorities.display()
    ))
}

/// The request in its form on the wire, and the trace that it begins.
fn request_of(asked: TryRequest, gateway: SocketAddr) -> Answer<(Request<Full<Bytes>>, String)> {
    let TryRequest { method, path, headers, body } = asked;
    let method = method.unwrap_or_else(|| "GET".to_owned()).to_ascii_uppercase();
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| Failure::parameter("method", "expected a method such as POST"))?;
    let uri = path.parse::<Uri>().ok().filter(|uri| path.starts_with('/') && uri.authority().is_none());
    let uri = uri.ok_or_else(|| Failure::parameter("path", "expected a path such as /users/1?full=true"))?;
    let context = Context::from_headers(&http::HeaderMap::new(), false);
    let trace_id = format!("{:032x}", context.trace.trace_id);
    let parent = format!("00-{trace_id}-{:016x}-01", context.trace.span_id);
    let mut request = Request::builder().method(method).uri(uri).header(header::HOST, gateway.to_string());
    request = request.header("traceparent", parent);
    for (name, value) in headers {
        let bad = || Failure::parameter("headers", &format!("\"{name}\" is no header with such a value"));
        // The connection is the node's, and so is the trace.
        if ["host", "connection", "content-length", "transfer-encoding", "traceparent"]
            .contains(&&*name.to_ascii_lowercase())
        {
            return Err(bad());
        }
        let value = HeaderValue::from_str(&value).map_err(|_| bad())?;
        request = request.header(HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?, value);
    }
    let request = request.body(Full::new(Bytes::from(body)));
    Ok((request.map_err(|error| Failure::parameter("path", &error.to_string()))?, trace_id))
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(|error| format!("it cannot be reached: {error}"))
}

/// Sends one request over a connection of its own.
async fn send(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    address: SocketAddr,
    protocol: Protocol,
    request: Request<Full<Bytes>>,
) -> Result<http::Response<Incoming>, String> {
    let io = TokioIo::new(stream);
    let broken = |error: hyper::Error| format!("the connection broke: {error}");
    if protocol.is_http2() {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.map_err(broken)?;
        tokio::spawn(connection);
        let (mut head, body) = request.into_parts();
        head.uri =
            format!("http://{address}{}", head.uri).parse().map_err(|_| "its path is none".to_owned())?;
        return sender.send_request(Request::from_parts(head, body)).await.map_err(broken);
    }
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(broken)?;
    tokio::spawn(connection);
    let mut request = request;
    if !request.headers().contains_key(header::HOST) {
        let host = HeaderValue::try_from(address.to_string()).map_err(|error| error.to_string())?;
        request.headers_mut().insert(header::HOST, host);
    }
    sender.send_request(request).await.map_err(broken)
}

/// The beginning of a body, and whether there is more of it.
async fn read(mut body: Incoming, most: usize) -> Result<(Bytes, bool), String> {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("its answer broke off: {error}"))?;
        all.extend_from_slice(&frame.into_data().unwrap_or_default());
        if all.len() > most {
            all.truncate(most);
            return Ok((all.into(), true));
        }
    }
    Ok((all.into(), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(path: &str, header: (&str, &str)) -> Result<String, String> {
        let headers = [(header.0.to_owned(), header.1.to_owned())].into();
        let asked = TryRequest { method: Some("post".into()), path: path.into(), headers, body: "{}".into() };
        match request_of(asked, ([127, 0, 0, 1], 3000).into()) {
            Ok((request, _)) => Ok(format!("{} {}", request.method(), request.uri())),
            Err(Failure(problem)) => Err(problem.errors[0].field.clone()),
        }
    }

    #[test]
    fn a_request_is_for_the_gateway_and_nobody_else() {
        let json = ("content-type", "application/json");
        assert_eq!(made("/users?x=1", json), Ok("POST /users?x=1".to_owned()));
        for path in ["users", "http://10.0.0.1/", "", "/a b"] {
            assert_eq!(made(path, json), Err("path".to_owned()), "{path}");
        }
        for header in [("Host", "evil"), ("content-length", "7"), ("a b", "c"), ("a", "b\r\nc: d")] {
            assert_eq!(made("/", header), Err("headers".to_owned()), "{header:?}");
        }
    }
}

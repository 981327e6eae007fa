//! gRPC-Web for services that speak gRPC: what a browser can send and read becomes what they do, and back
//! (PROTOCOL-WEB.md of the gRPC project).
//!
//! The status, which a browser could not read where gRPC has it, is the last message of an answer. In the text form all
//! of it is base64, in pieces that end where the service's do, so that nothing waits for what comes next.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version,
    header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, TE, TRAILER},
};
use http_body::Frame;
use madang_calls::{Body, BoxError};

const GRPC: &[u8] = b"application/grpc";
const WEB: &[u8] = b"application/grpc-web";
const TEXT: &[u8] = b"application/grpc-web-text";

/// What a client says that it is gRPC-Web by, in a way that makes a browser ask first.
const X_GRPC_WEB: HeaderName = HeaderName::from_static("x-grpc-web");

/// The first byte of a message that has the status in it.
const STATUS: u8 = 0x80;

/// How a client speaks gRPC-Web.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Web {
    /// Whether it sends base64.
    sends_text: bool,
    /// Whether it reads base64.
    reads_text: bool,
}

/// Base64 of a request that is not whole.
#[derive(Debug, thiserror::Error)]
#[error("the request's body is no base64")]
struct NoText;

// === impl Web ===

impl Web {
    /// How the client speaks it, if it does; the head of the request is then that of a call of gRPC.
    pub(crate) fn of<B>(request: &mut Request<B>) -> Option<Self> {
        if *request.method() != Method::POST {
            return None;
        }
        let given = request.headers().get(CONTENT_TYPE)?.as_bytes();
        let (sends_text, message) = match (given.strip_prefix(TEXT), given.strip_prefix(WEB)) {
            (Some(message), _) => (true, message),
            (None, Some(message)) => (false, message),
            (None, None) => return None,
        };
        if !matches!(message.first(), None | Some(b'+' | b';')) {
            return None;
        }
        let content_type = HeaderValue::from_bytes(&[GRPC, message].concat()).ok()?;
        let accepts = request.headers().get(ACCEPT).map(HeaderValue::as_bytes).unwrap_or_default();
        let reads_text = if accepts.starts_with(WEB) { accepts.starts_with(TEXT) } else { sends_text };
        // What goes wrong in the middle of an answer can be said at its end, whatever the client's version of HTTP is.
        *request.version_mut() = Version::HTTP_2;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, content_type);
        headers.insert(TE, HeaderValue::from_static("trailers"));
        for name in [ACCEPT, X_GRPC_WEB] {
            headers.remove(name);
        }
        if sends_text {
            headers.remove(CONTENT_LENGTH);
        }
        Some(Self { sends_text, reads_text })
    }

    /// What the service is sent.
    pub(crate) fn request(self, body: Body) -> Body {
        if self.sends_text { Body::new(Decoded { body, left: BytesMut::new() }) } else { body }
    }

    /// What the client is answered. A status in place of an answer stays where it is: in the head, which it reads.
    pub(crate) fn answer(self, answer: Response<Body>) -> Response<Body> {
        let (mut head, body) = answer.into_parts();
        let given = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let Some(message) = given.strip_prefix(GRPC) else { return Response::from_parts(head, body) };
        let kind = if self.reads_text { TEXT } else { WEB };
        if let Ok(content_type) = HeaderValue::from_bytes(&[kind, message].concat()) {
            head.headers.insert(CONTENT_TYPE, content_type);
        }
        for name in [CONTENT_LENGTH, TRAILER] {
            head.headers.remove(name);
        }
        let body = match http_body::Body::is_end_stream(&body) {
            true => body,
            false => Body::new(Ended { body, text: self.reads_text }),
        };
        Response::from_parts(head, body)
    }
}

/// The status as a message.
fn status(trailers: &HeaderMap) -> Bytes {
    let mut text = BytesMut::new();
    for (name, value) in trailers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b":");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    let mut message = BytesMut::with_capacity(5 + text.len());
    message.put_u8(STATUS);
    message.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    message.extend_from_slice(&text);
    message.freeze()
}

/// The answer of a service, with its status as the last message.
struct Ended {
    body: Body,
    text: bool,
}

impl http_body::Body for Ended {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let text = self.text;
        let as_data = |frame: Frame<Bytes>| {
            let bytes = frame.into_data().or_else(|frame| frame.into_trailers().map(|it| status(&it)));
            let bytes = bytes.unwrap_or_default();
            Frame::data(if text { STANDARD.encode(&bytes).into() } else { bytes })
        };
        Pin::new(&mut self.body).poll_frame(cx).map_ok(as_data)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// A body that comes as base64.
struct Decoded {
    body: Body,
    /// The first characters of four.
    left: BytesMut,
}

impl http_body::Body for Decoded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            return Poll::Ready(match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(text) => match decode(&mut self.left, &text) {
                        Ok(bytes) if bytes.is_empty() => continue,
                        Ok(bytes) => Some(Ok(Frame::data(bytes))),
                        Err(error) => Some(Err(error.into())),
                    },
                    Err(other) => Some(Ok(other)),
                },
                None if !self.left.is_empty() => {
                    self.left.clear();
                    Some(Err(NoText.into()))
                }
                ended => ended,
            });
        }
    }
}

/// Decodes what is whole; pieces that were encoded one by one may follow each other.
fn decode(left: &mut BytesMut, text: &[u8]) -> Result<Bytes, NoText> {
    left.extend_from_slice(text);
    let whole = left.split_to(left.len() - left.len() % 4);
    let mut bytes = Vec::with_capacity(whole.len() / 4 * 3);
    let mut rest = &whole[..];
    while !rest.is_empty() {
        let padded = rest.iter().position(|c| *c == b'=').map(|at| at - at % 4 + 4);
        let (piece, after) = rest.split_at(padded.unwrap_or(rest.len()));
        STANDARD.decode_vec(piece, &mut bytes).map_err(|_| NoText)?;
        rest = after;
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn asked(fields: &[(&str, &str)]) -> (Option<Web>, Request<()>) {
        let mut request = Request::post("/x.Y/Z");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        (Web::of(&mut request), request)
    }

    #[test]
    fn the_forms_are_told_apart_and_their_head_is_that_of_grpc() {
        let web = |sends_text, reads_text| Some(Web { sends_text, reads_text });
        for (content_type, accept, expected, becomes) in [
            ("application/grpc-web", "*/*", web(false, false), "application/grpc"),
            ("application/grpc-web+proto", "", web(false, false), "application/grpc+proto"),
            ("application/grpc-web-text", "", web(true, true), "application/grpc"),
            (
                "application/grpc-web-text+proto",
                "application/grpc-web+proto",
                web(true, false),
                "application/grpc+proto",
            ),
            (
                "application/grpc-web;x=y",
                "application/grpc-web-text",
                web(false, true),
                "application/grpc;x=y",
            ),
            ("application/grpc", "", None, "application/grpc"),
            ("application/grpc-website", "", None, "application/grpc-website"),
        ] {
            let fields = [("content-type", content_type), ("accept", accept), ("x-grpc-web", "1")];
            let (web, request) = asked(&fields);
            assert_eq!((web, request.headers()["content-type"].to_str().unwrap()), (expected, becomes));
            assert_eq!(request.headers().contains_key("x-grpc-web"), web.is_none());
            assert_eq!(request.headers().get("te").is_some(), web.is_some());
        }
    }

    #[test]
    fn text_is_decoded_however_it_is_cut() {
        let pieces: [&[u8]; 4] = [b"\0\0\0\0\x03abc", b"d", b"", b"the rest of it"];
        let text: String = pieces.iter().map(|piece| STANDARD.encode(piece)).collect();
        for cut in 1..text.len() {
            let mut left = BytesMut::new();
            let parts = text.as_bytes().chunks(cut).map(|part| decode(&mut left, part).unwrap());
            assert_eq!(parts.collect::<Vec<_>>().concat(), pieces.concat(), "{cut}");
            assert!(left.is_empty());
        }
        for bad in ["AA=A", "A===", "A!AA", "====", "AAA=AAA\n"] {
            assert!(decode(&mut BytesMut::new(), bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn text_that_ends_within_four_is_an_error() {
        let web = Web { sends_text: true, reads_text: true };
        assert!(web.request(Body::from("AAAAA")).collect().await.is_err());
        assert_eq!(web.request(Body::from("AAAA")).collect().await.unwrap().to_bytes(), [0, 0, 0][..]);
    }

    #[test]
    fn a_status_is_a_message() {
        let trailers: HeaderMap = [("grpc-status", "0"), ("x-a", "b")]
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        assert_eq!(status(&trailers), b"\x80\0\0\0\x16grpc-status:0\r\nx-a:b\r\n"[..]);
    }
}

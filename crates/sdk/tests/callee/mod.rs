//! A service that does all that a call has to cope with.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Uri};
use http_body::Frame;
use http_body_util::StreamBody;
use madang::{
    Context, Json, Service,
    axum::{
        Router,
        body::Body,
        response::{IntoResponse, Response},
        routing::{get, post},
    },
};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// What happens in the callee, for the test to wait for or to cause.
#[derive(Clone, Default)]
pub struct Callee {
    /// A handler that hangs has begun.
    pub entered: Arc<Notify>,
    /// A handler that hangs, or a stream, was dropped before its end.
    pub dropped: Arc<Notify>,
    /// Lets the stream end.
    pub release: Arc<Notify>,
}

/// What the callee sees of a request.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    pub path: String,
    pub headers: BTreeMap<String, usize>,
    pub request_id: String,
    pub trace_id: String,
    pub span_is_new: bool,
    pub caller: Option<String>,
    pub idempotency_key: Option<String>,
    pub remaining_ms: Option<u64>,
}

/// Tells when it is dropped.
struct Dropped(Arc<Notify>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Callee {
    pub fn service(&self) -> Service {
        let (hanging, streaming) = (self.clone(), self.clone());
        let routes = Router::new()
            .route("/hang", get(move || hanging.clone().hang()))
            .route("/stream", get(move || streaming.clone().stream()))
            .route("/panic", get(panics))
            .route("/conflict", get(conflict))
            .route("/trailers", get(trailers))
            .route("/empty", get(|| async {}))
            .route("/seen", get(seen))
            .route("/echo", post(|body: Body| async { body }))
            .route("/json", post(|Json(value): Json<serde_json::Value>| async { Json(value) }));
        Service::new("callee").routes(routes)
    }

    async fn hang(self) {
        let _dropped = Dropped(self.dropped.clone());
        self.entered.notify_one();
        std::future::pending().await
    }

    async fn stream(self) -> Response {
        let first = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"first")))]);
        let dropped = Dropped(self.dropped.clone());
        let last = stream::once(async move {
            let _dropped = dropped;
            self.release.notified().await;
            Ok(Frame::data(Bytes::from_static(b"last")))
        });
        Response::new(Body::new(StreamBody::new(stream::StreamExt::chain(first, last))))
    }
}

async fn panics() {
    panic!("a secret of the service");
}

async fn conflict() -> madang::Error {
    madang::Error::conflict("the order is paid")
}

/// HTTP/1.1 carries trailers only after a body of unknown length, and only those announced in the head.
async fn trailers() -> Response {
    let trailers = HeaderMap::from_iter([("checksum".parse().unwrap(), HeaderValue::from_static("abc"))]);
    let frames = [Frame::data(Bytes::from_static(b"body")), Frame::trailers(trailers)];
    let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>)));
    ([("trailer", "checksum")], Body::new(body)).into_response()
}

async fn seen(context: Context, uri: Uri, headers: HeaderMap) -> Json<Seen> {
    Json(Seen {
        path: uri.to_string(),
        headers: headers
            .keys()
            .map(|name| (name.to_string(), headers.get_all(name).iter().count()))
            .collect(),
        request_id: context.request_id().to_owned(),
        trace_id: context.trace_id(),
        span_is_new: context.trace.parent_id.is_some_and(|parent| parent != context.trace.span_id),
        caller: context.caller().map(str::to_owned),
        idempotency_key: context.idempotency_key().map(str::to_owned),
        remaining_ms: context.remaining().map(|left| left.as_millis() as u64),
    })
}

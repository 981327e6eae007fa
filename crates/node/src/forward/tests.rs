//! Exports on their way to a back end that answers in every way that it may.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use ::http::{HeaderMap, HeaderName, HeaderValue};
use axum::{Router, body::Bytes, extract::Request, response::Response};
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use madang_model::{Forward, ForwardProtocol};
use madang_telemetry::{
    forward::{Carried, Carrier},
    otlp::Signal,
};
use madang_wire::otlp::{
    Message,
    collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse},
};
use tokio::net::TcpListener;

use super::BackEnd;

type Answers = Arc<Mutex<VecDeque<Response>>>;
/// What came: path, headers as text, body.
type Came = Arc<Mutex<Vec<(String, String, Bytes)>>>;

/// A back end with these answers, and its URL.
async fn back_end(protocol: ForwardProtocol, path: &str, answers: Vec<Response>) -> (BackEnd, Came) {
    let (answers, came): (Answers, Came) = (Arc::new(Mutex::new(answers.into())), Arc::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}{path}", listener.local_addr().unwrap());
    let router = Router::new().fallback({
        let came = came.clone();
        move |request: Request| {
            let (came, answers) = (came.clone(), answers.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let headers = format!("{:?}", head.headers);
                came.lock().unwrap().push((head.uri.path().to_owned(), headers, body));
                answers.lock().unwrap().pop_front().expect("another answer")
            }
        }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    let headers = [("authorization".to_owned(), "Bearer it".to_owned())].into();
    (BackEnd::new(Forward { url: url.parse().unwrap(), protocol, headers }).unwrap(), came)
}

fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    answer.body(body.to_vec().into()).unwrap()
}

fn partial() -> Vec<u8> {
    let partial = ExportTracePartialSuccess { rejected_spans: 2, error_message: "too old".to_owned() };
    ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
}

fn grpc(message: &[u8], status: &'static str) -> Response {
    let framed = [&[0], &(message.len() as u32).to_be_bytes()[..], message].concat();
    let status = (HeaderName::from_static("grpc-status"), HeaderValue::from_static(status));
    let trailers: HeaderMap = [status].into_iter().collect();
    let frames =
        [Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(framed))), Ok(Frame::trailers(trailers))];
    let answer = Response::builder().header("content-type", "application/grpc");
    answer.body(axum::body::Body::new(StreamBody::new(stream::iter(frames)))).unwrap()
}

fn taken(rejected: u64, why: &str) -> Carried {
    Carried::Taken { rejected, why: why.to_owned() }
}

fn later(why: &str, after: Option<u64>) -> Carried {
    Carried::Later { why: why.to_owned(), after: after.map(Duration::from_secs) }
}

fn refused(why: &str) -> Carried {
    Carried::Refused { why: why.to_owned() }
}

#[tokio::test]
async fn over_http_each_answer_is_told_from_the_others() {
    let cases = [
        (answer(200, &[], b""), taken(0, "")),
        (answer(202, &[], &partial()), taken(2, "too old")),
        (answer(429, &[("retry-after", "7")], b""), later("it answers 429 Too Many Requests", Some(7))),
        (
            answer(503, &[], b"{\"why\":\n\"full\"}"),
            later("it answers 503 Service Unavailable: {\"why\":\"full\"}", None),
        ),
        (answer(401, &[], b"who are you"), refused("it answers 401 Unauthorized: who are you")),
        (answer(404, &[], b""), refused("it answers 404 Not Found")),
    ];
    let (answers, expected): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    let (back_end, came) = back_end(ForwardProtocol::Http, "/otlp", answers).await;
    for expected in expected {
        assert_eq!(back_end.carry(Signal::Traces, b"packed".to_vec()).await, expected);
    }
    let (path, headers, body) = came.lock().unwrap()[0].clone();
    assert_eq!((path.as_str(), &*body), ("/otlp/v1/traces", &b"packed"[..]));
    for header in ["\"application/x-protobuf\"", "\"content-encoding\": \"gzip\"", "\"Bearer it\""] {
        assert!(headers.contains(header), "{headers}");
    }
}

#[tokio::test]
async fn over_grpc_each_answer_is_told_from_the_others() {
    let only_head = |headers: &[(&str, &str)]| answer(200, headers, b"");
    // google.rpc.RetryInfo of nine seconds.
    let wait = "CAgaMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIICQ";
    let exhausted = [("grpc-status", "8"), ("grpc-status-details-bin", wait)];
    let away = [("grpc-status", "14"), ("grpc-status-details-bin", wait)];
    let unclear = [("grpc-status", "8"), ("grpc-status-details-bin", "AA")];
    let cases = [
        (grpc(b"", "0"), taken(0, "")),
        (grpc(&partial(), "0"), taken(2, "too old")),
        (
            only_head(&[("grpc-status", "14"), ("grpc-message", "away")]),
            later("it answers grpc-status 14: away", None),
        ),
        (only_head(&exhausted), later("it answers grpc-status 8: ", Some(9))),
        (only_head(&away), later("it answers grpc-status 14: ", Some(9))),
        (only_head(&unclear), refused("it answers grpc-status 8: ")),
        (only_head(&exhausted[..1]), refused("it answers grpc-status 8: ")),
        (only_head(&[("grpc-status", "16")]), refused("it answers grpc-status 16: ")),
        (only_head(&[]), refused("it does not speak gRPC: its answer has no grpc-status")),
        (answer(503, &[], b""), later("it answers 503 Service Unavailable", None)),
    ];
    let (answers, expected): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    let (back_end, came) = back_end(ForwardProtocol::Grpc, "", answers).await;
    for expected in expected {
        assert_eq!(back_end.carry(Signal::Logs, b"packed".to_vec()).await, expected);
    }
    let (path, headers, body) = came.lock().unwrap()[0].clone();
    assert_eq!(path, "/opentelemetry.proto.collector.logs.v1.LogsService/Export");
    assert_eq!(&*body, b"\x01\0\0\0\x06packed");
    for header in
        ["\"application/grpc\"", "\"grpc-encoding\": \"gzip\"", "\"Bearer it\"", "\"te\": \"trailers\""]
    {
        assert!(headers.contains(header), "{headers}");
    }
}

#[tokio::test]
async fn a_back_end_that_is_not_there_is_tried_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let config = Forward { url, protocol: ForwardProtocol::Http, headers: Default::default() };
    let back_end = BackEnd::new(config).unwrap();
    let carried = back_end.carry(Signal::Metrics, Vec::new()).await;
    assert!(matches!(&carried, Carried::Later { after: None, .. }), "{carried:?}");
    let url = "http://no.such.host.invalid".parse().unwrap();
    let config = Forward { url, protocol: ForwardProtocol::Grpc, headers: Default::default() };
    let carried = BackEnd::new(config).unwrap().carry(Signal::Metrics, Vec::new()).await;
    let Carried::Later { why, .. } = carried else { panic!("{carried:?}") };
    assert!(why.starts_with("http://no.such.host.invalid is not found: "), "{why}");
}

//! Answers that come bit by bit: server-sent events, and gRPC as browsers speak it.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use madang_calls::{Body, BoxError};
use madang_model::Protocol;
use tokio::{sync::mpsc, time::timeout};

use crate::stage::{Stage, http2, serve_as};

/// What must happen does so within this time.
const PATIENCE: Duration = Duration::from_secs(10);

type Frames = mpsc::UnboundedSender<Frame<Bytes>>;

/// A body whose frames are sent one by one.
fn channel() -> (Frames, Body) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let frames = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    (sender, Body::new(StreamBody::new(frames.map(Ok::<_, BoxError>))))
}

/// Each event is with the client before the next one is sent, and comments that only keep the stream open are, too.
#[tokio::test]
async fn each_event_arrives_before_the_next_is_sent() {
    let (streams, mut opened) = mpsc::unbounded_channel::<Frames>();
    let service = serve_as(Protocol::Http, move |_| {
        let streams = streams.clone();
        async move {
            let (frames, body) = channel();
            streams.send(frames).unwrap();
            let response = Response::builder().header("content-type", "text/event-stream");
            response.header("cache-control", "no-cache").body(body).unwrap()
        }
    });
    let stage = Stage::new(&["- /** -> users"]).await.with("users", service.await);
    let (mut over_http2, mut over_http1) = (http2(stage.address()).await, stage.client().await);
    for is_http2 in [false, true] {
        let answer = match is_http2 {
            true => {
                let request = Request::get(format!("http://{}/events", stage.address()));
                over_http2.send_request(request.body(Full::default()).unwrap()).await.unwrap()
            }
            false => {
                let request =
                    Request::get("/events").header("host", "a").header("accept", "text/event-stream");
                over_http1.start(request.body(Body::empty()).unwrap()).await
            }
        };
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert!(!answer.headers().contains_key("content-encoding"));
        let (events, mut body) = (opened.recv().await.unwrap(), answer.into_body());
        for number in 0..20 {
            let event = match number % 3 {
                2 => ":\n\n".to_owned(),
                _ => format!("id: {number}\ndata: {}\n\n", "x".repeat(number * 100)),
            };
            events.send(Frame::data(event.clone().into())).unwrap();
            let mut came = BytesMut::new();
            while came.len() < event.len() {
                let frame = timeout(PATIENCE, body.frame()).await.expect("it comes without the next");
                came.extend_from_slice(&frame.unwrap().unwrap().into_data().unwrap());
            }
            assert_eq!(came, event.as_bytes());
        }
        drop(events);
        let end = timeout(PATIENCE, body.frame()).await.expect("it ends");
        // HTTP/2 ends a stream with a frame that may be empty.
        let rest = end.map(|frame| frame.unwrap().into_data().unwrap());
        assert!(rest.is_none_or(|rest| rest.is_empty()));
    }
    stage.stop().await;
}

fn message(text: &str) -> Bytes {
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(text.len() as u32);
    message.extend_from_slice(text.as_bytes());
    message.freeze()
}

fn status(code: &'static str) -> HeaderMap {
    [("grpc-status", code), ("grpc-message", "as%20said")]
        .into_iter()
        .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), HeaderValue::from_static(value)))
        .collect()
}

/// A service of gRPC: what it was asked, and the frames of its answers.
async fn grpc() -> (Stage, mpsc::UnboundedReceiver<(http::request::Parts, Bytes, Frames)>) {
    let (calls, asked) = mpsc::unbounded_channel();
    let service = serve_as(Protocol::Grpc, move |request: Request<Incoming>| {
        let calls = calls.clone();
        async move {
            let (head, body) = request.into_parts();
            let refuses = head.uri.path() == "/x.Y/Refuse";
            let Ok(body) = body.collect().await else { return Response::new(Body::empty()) };
            let (frames, answer) = channel();
            calls.send((head, body.to_bytes(), frames)).unwrap();
            let mut response = Response::new(if refuses { Body::empty() } else { answer });
            if refuses {
                *response.headers_mut() = status("9");
            }
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc+proto"));
            response
        }
    });
    let mut stage = Stage::new(&["- /** -> users"]).await;
    stage.system.services.values_mut().for_each(|service| service.protocol = Protocol::Grpc);
    stage.apply().await.unwrap();
    stage.add("users", service.await, Protocol::Grpc);
    (stage, asked)
}

async fn ask(stage: &Stage, path: &str, content_type: &str, body: impl Into<Bytes>) -> Response<Incoming> {
    let request = Request::post(path).header("host", "a").header("content-type", content_type);
    let request = request.header("x-grpc-web", "1").body(Body::from(body.into())).unwrap();
    stage.client().await.start(request).await
}

#[tokio::test]
async fn a_browser_calls_a_service_of_grpc() {
    let (stage, mut asked) = grpc().await;
    for text in [false, true] {
        let coded = |bytes: &[u8]| match text {
            true => STANDARD.encode(bytes).into_bytes(),
            false => bytes.to_vec(),
        };
        let kind = if text { "application/grpc-web-text+proto" } else { "application/grpc-web+proto" };
        let mut answer = ask(&stage, "/x.Y/Stream", kind, coded(&message("asked"))).await;
        let (head, body, frames) = asked.recv().await.unwrap();
        assert_eq!(
            (&head.headers["content-type"], &head.headers["te"]),
            (&"application/grpc+proto".parse().unwrap(), &"trailers".parse().unwrap())
        );
        assert!(!head.headers.contains_key("x-grpc-web"));
        assert_eq!(body, message("asked"));
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &kind.parse().unwrap())
        );
        // One by one: each is with the client before the next is sent.
        for said in ["one", "two and more"] {
            frames.send(Frame::data(message(said))).unwrap();
            let frame =
                timeout(PATIENCE, answer.body_mut().frame()).await.expect("in time").unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), coded(&message(said)));
        }
        frames.send(Frame::trailers(status("0"))).unwrap();
        let rest = timeout(PATIENCE, answer.into_body().collect()).await.expect("its end").unwrap();
        assert!(rest.trailers().is_none(), "a browser could not read them");
        let said = b"grpc-status:0\r\ngrpc-message:as%20said\r\n";
        let mut last = BytesMut::from(&[0x80, 0, 0, 0, said.len() as u8][..]);
        last.extend_from_slice(said);
        assert_eq!(rest.to_bytes(), coded(&last));
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_status_in_place_of_an_answer_is_in_the_head() {
    let (stage, mut asked) = grpc().await;
    let answer = ask(&stage, "/x.Y/Refuse", "application/grpc-web", message("a")).await;
    asked.recv().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/grpc-web+proto");
    assert_eq!(
        (&answer.headers()["grpc-status"], &answer.headers()["grpc-message"]),
        (&"9".parse().unwrap(), &"as%20said".parse().unwrap())
    );
    assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty());
    stage.stop().await;
}

/// What the gateway itself says, in a browser's terms: before there is an answer, and in the middle of one.
#[tokio::test]
async fn what_goes_wrong_at_the_gateway_is_a_status_too() {
    let (mut stage, mut asked) = grpc().await;
    let bad = ask(&stage, "/x.Y/Stream", "application/grpc-web-text", "no base64!").await;
    assert_eq!(
        (bad.status().as_u16(), &bad.headers()["content-type"]),
        (200, &"application/grpc-web-text".parse().unwrap())
    );
    assert!(bad.headers().contains_key("grpc-status"), "{:?}", bad.headers());
    let request =
        Request::post("/x.Y/Stream").header("host", "a").header("content-type", "application/grpc-web");
    let request = request.header("grpc-timeout", "500m").body(Body::from(message("a"))).unwrap();
    let late = stage.client().await.start(request).await;
    let (_, _, frames) = asked.recv().await.unwrap();
    frames.send(Frame::data(message("one"))).unwrap();
    let all = timeout(PATIENCE, late.into_body().collect()).await.expect("it ends").unwrap().to_bytes();
    let (one, rest) = all.split_at(8);
    assert_eq!((one, rest[0]), (&message("one")[..], 0x80));
    assert!(String::from_utf8_lossy(rest).contains("grpc-status:4\r\n"), "{rest:?}");
    let address = stage.instances["users"][0].address;
    stage.remove("users", address);
    stage.system.gateway.policy = crate::stage::timeout(Duration::from_millis(100));
    stage.apply().await.unwrap();
    let nobody = ask(&stage, "/x.Y/Stream", "application/grpc-web+proto", message("a")).await;
    assert_eq!((nobody.status().as_u16(), &nobody.headers()["grpc-status"]), (200, &"14".parse().unwrap()));
    assert_eq!(nobody.headers()["content-type"], "application/grpc-web");
    stage.stop().await;
}

/// Only services of gRPC are translated for.
#[tokio::test]
async fn other_services_get_what_was_sent() {
    let mut stage = Stage::new(&["- /** -> users"]).await;
    stage.add("users", crate::stage::mirror(Protocol::Http).await, Protocol::Http);
    let answer = ask(&stage, "/x.Y/Z", "application/grpc-web-text", "AAAA").await;
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let mirrored = String::from_utf8(body.to_vec()).unwrap();
    assert!(
        mirrored.contains("content-type: application/grpc-web-text\n") && mirrored.contains("x-grpc-web: 1"),
        "{mirrored}"
    );
    stage.stop().await;
}

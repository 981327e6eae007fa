//! Streams of gRPC through a route and through a door: both ways, to their status, their deadline or their end before
//! time.

use std::{convert::Infallible, net::SocketAddr, task::Poll, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    body::Incoming,
    client::conn::http2::{SendRequest, handshake},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use madang_calls::{Body, BoxError};
use madang_model::Protocol;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::stage::{ANY, Stage, serve_as};

/// What must happen does so within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Says that whoever holds it is gone.
struct Gone(mpsc::UnboundedSender<&'static str>, &'static str);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = self.0.send(self.1);
    }
}

/// A service that speaks gRPC, and what it says about calls that ended before it was done with them.
async fn service() -> (SocketAddr, mpsc::UnboundedReceiver<&'static str>) {
    let (gone, left) = mpsc::unbounded_channel();
    let address = serve_as(Protocol::Grpc, move |request: Request<Incoming>| {
        let gone = gone.clone();
        async move {
            let told = request.headers().get("grpc-timeout").cloned();
            let mut response = match request.uri().path() {
                // Each message back as it comes, and the status after the last.
                "/x.Y/Echo" => {
                    let frames = request.into_body().into_data_stream().map(|part| part.map(Frame::data));
                    let status = futures_util::stream::once(async { Ok(Frame::trailers(status("0"))) });
                    Response::new(Body::new(StreamBody::new(frames.chain(status))))
                }
                "/x.Y/Refuse" => {
                    let mut response = Response::new(Body::empty());
                    *response.headers_mut() = status("9");
                    response.headers_mut().insert("grpc-message", HeaderValue::from_static("not%20now"));
                    response.headers_mut().insert("x-details-bin", HeaderValue::from_static("AQI"));
                    response
                }
                // One message, and then nothing for as long as it is waited for.
                "/x.Y/Hang" => {
                    let asks = Gone(gone.clone(), "request");
                    tokio::spawn(async move {
                        let _asks = asks;
                        let mut body = request.into_body();
                        while let Some(Ok(_)) = body.frame().await {}
                    });
                    let first = futures_util::stream::iter([Ok::<_, BoxError>(message(b"one"))]);
                    let here = Gone(gone, "answer");
                    let nothing = futures_util::stream::poll_fn(move |_| {
                        let _here = &here;
                        Poll::Pending
                    });
                    Response::new(Body::new(StreamBody::new(first.chain(nothing))))
                }
                _ => {
                    let _here = Gone(gone, "answer");
                    std::future::pending().await
                }
            };
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
            if let Some(told) = told {
                response.headers_mut().insert("x-told", told);
            }
            response
        }
    });
    (address.await, left)
}

fn status(code: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static(code))])
}

fn message(bytes: &'static [u8]) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(bytes))
}

/// The two ways in: a route from outside, and a door.
async fn ways(stage: &mut Stage) -> [SocketAddr; 2] {
    [stage.address(), stage.open_door(&["orders"], "users").await]
}

async fn stage() -> (Stage, mpsc::UnboundedReceiver<&'static str>) {
    let (address, left) = service().await;
    let mut stage = Stage::new(&["- /** -> users", "- /orders -> orders"]).await;
    stage.add("users", address, Protocol::Grpc);
    (stage, left)
}

type Messages = mpsc::UnboundedSender<Frame<Bytes>>;

/// A call under way: its messages go out one by one.
struct Call {
    messages: Messages,
    answer: Response<Incoming>,
}

impl Call {
    async fn start(way: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let stream = TcpStream::connect(way).await.unwrap();
        let (mut client, connection): (SendRequest<Body>, _) =
            handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let (messages, mut sent) = mpsc::unbounded_channel();
        let frames =
            futures_util::stream::poll_fn(move |cx| sent.poll_recv(cx).map(|it| it.map(Ok::<_, BoxError>)));
        let mut request = Request::post(format!("http://{way}{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::new(StreamBody::new(frames))).unwrap();
        let answer = timeout(PATIENCE, client.send_request(request)).await.expect("a head").unwrap();
        Self { messages, answer }
    }

    async fn next(&mut self) -> Frame<Bytes> {
        let frame = timeout(PATIENCE, self.answer.body_mut().frame()).await.expect("in time");
        frame.expect("a frame").expect("no error")
    }
}

/// Waits until the service has heard that both directions of a call are over.
async fn both_left(left: &mut mpsc::UnboundedReceiver<&'static str>) {
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.push(timeout(PATIENCE, left.recv()).await.unwrap_or_else(|_| panic!("only {seen:?}")).unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, ["answer", "request"]);
}

#[tokio::test]
async fn messages_pass_both_ways_as_they_come_and_the_status_after_the_last() {
    let (mut stage, _left) = stage().await;
    for way in ways(&mut stage).await {
        let mut call = Call::start(way, "/x.Y/Echo", &[]).await;
        assert!(!call.answer.headers().contains_key("x-told"), "nobody said when it is due");
        for text in [b"one".as_slice(), b"two"] {
            call.messages.send(message(text)).unwrap();
            assert_eq!(call.next().await.into_data().unwrap(), text);
        }
        drop(call.messages);
        let trailers = call.answer.body_mut().frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_status_in_place_of_an_answer_passes_with_all_that_it_says() {
    let (mut stage, _left) = stage().await;
    for way in ways(&mut stage).await {
        let call = Call::start(way, "/x.Y/Refuse", &[]).await;
        let said = call.answer.headers();
        assert_eq!((call.answer.status().as_u16(), &said["grpc-status"]), (200, &"9".parse().unwrap()));
        assert_eq!(
            (&said["grpc-message"], &said["x-details-bin"]),
            (&"not%20now".parse().unwrap(), &"AQI".parse().unwrap())
        );
        assert!(http_body::Body::is_end_stream(call.answer.body()), "its head is its end");
    }
    stage.stop().await;
}

/// The deadline is one for the whole of a call: also a stream ends then, at both sides.
#[tokio::test]
async fn a_stream_ends_at_the_deadline_that_its_caller_states() {
    let (mut stage, mut left) = stage().await;
    for way in ways(&mut stage).await {
        let began = Instant::now();
        let mut call = Call::start(way, "/x.Y/Hang", &[("grpc-timeout", "300m")]).await;
        assert_eq!(call.next().await.into_data().unwrap(), "one");
        let trailers = call.next().await.into_trailers().expect("a status");
        assert_eq!(trailers["grpc-status"], "4", "{trailers:?}");
        assert!(
            trailers["grpc-message"].to_str().unwrap().starts_with("MDG-CALL-003: users"),
            "{trailers:?}"
        );
        assert!((300..3000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
        both_left(&mut left).await;
        drop(call); // until now the client would have gone on
    }
    stage.stop().await;
}

#[tokio::test]
async fn the_time_that_is_left_is_told_to_the_service() {
    let (mut stage, _left) = stage().await;
    for way in ways(&mut stage).await {
        let call = Call::start(way, "/x.Y/Echo", &[("grpc-timeout", "2S")]).await;
        let told = call.answer.headers()["x-told"].to_str().unwrap();
        let left: u64 = told.strip_suffix('m').expect("milliseconds").parse().unwrap();
        assert!((1..=2000).contains(&left), "{told}");
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_call_at_the_service() {
    let (mut stage, mut left) = stage().await;
    for way in ways(&mut stage).await {
        let mut call = Call::start(way, "/x.Y/Hang", &[]).await;
        call.messages.send(message(b"asked")).unwrap();
        assert_eq!(call.next().await.into_data().unwrap(), "one");
        drop(call);
        both_left(&mut left).await;
    }
    stage.stop().await;
}

/// No head has come; the client still sends.
#[tokio::test]
async fn a_call_without_an_answer_ends_at_the_deadline_with_a_status() {
    let (mut stage, mut left) = stage().await;
    for way in ways(&mut stage).await {
        let call = Call::start(way, "/x.Y/Never", &[("grpc-timeout", "200m")]).await;
        assert_eq!(call.answer.headers()["grpc-status"], "4");
        assert_eq!(timeout(PATIENCE, left.recv()).await.expect("it is cancelled"), Some("answer"));
    }
    stage.stop().await;
}

/// The instance dies in the middle of a stream, over a connection that nobody else has any more.
#[tokio::test]
async fn an_answer_that_breaks_off_ends_with_a_status() {
    let (mut stage, _left) = stage().await;
    for way in ways(&mut stage).await {
        let listener = TcpListener::bind(ANY).await.unwrap();
        let address = listener.local_addr().unwrap();
        let instance = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let answers = service_fn(|_: Request<Incoming>| async {
                let first = futures_util::stream::iter([Ok::<_, BoxError>(message(b"one"))]);
                let body = Body::new(StreamBody::new(first.chain(futures_util::stream::pending())));
                let response = Response::builder().header("content-type", "application/grpc");
                Ok::<_, Infallible>(response.body(body).unwrap())
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            server.serve_connection(TokioIo::new(stream), answers).await
        });
        for old in stage.instances["users"].clone() {
            stage.remove("users", old.address);
        }
        stage.add("users", address, Protocol::Grpc);
        let mut call = Call::start(way, "/x.Y/Watch", &[]).await;
        assert_eq!(call.next().await.into_data().unwrap(), "one");
        instance.abort();
        let trailers = call.next().await.into_trailers().expect("a status");
        assert_eq!(trailers["grpc-status"], "14", "{trailers:?}");
        assert!(trailers["grpc-message"].to_str().unwrap().starts_with("MDG-CALL-004"), "{trailers:?}");
    }
    stage.stop().await;
}

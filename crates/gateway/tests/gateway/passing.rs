//! Bodies, trailers and waiting: what passes through a gateway that holds nothing back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyStream, StreamBody};
use madang_calls::Body;
use madang_model::Protocol;
use tokio::sync::mpsc;

use crate::stage::{Answer, Client, Stage, config, http2, saying, serve, serve_as, system, timeout};

/// A body whose frames are sent one by one.
fn channel() -> (mpsc::UnboundedSender<Frame<Bytes>>, Body) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let frames = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    (sender, Body::new(StreamBody::new(frames.map(Ok::<_, std::convert::Infallible>))))
}

fn text(frame: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(frame.as_bytes()))
}

/// Echoes a body frame by frame, while it comes.
async fn echo(protocol: Protocol) -> std::net::SocketAddr {
    serve_as(protocol, |request| async { Response::new(Body::incoming(request.into_body())) }).await
}

#[tokio::test]
async fn bodies_stream_both_ways_before_they_end() {
    for protocol in [Protocol::Http, Protocol::H2c] {
        let mut stage = Stage::new(&["- /** -> echo"]).await;
        stage.add("echo", echo(protocol).await, protocol);
        let mut client = stage.client().await;
        let (frames, body) = channel();
        frames.send(text("one")).unwrap();
        let request = Request::post("/").header("host", "a").body(body).unwrap();
        let mut answer = BodyStream::new(client.start(request).await.into_body());
        let mut next = async || answer.next().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(next().await, "one");
        frames.send(text("two")).unwrap();
        assert_eq!(next().await, "two", "{protocol:?}");
        drop(frames);
        assert!(answer.next().await.is_none());
        stage.stop().await;
    }
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    for protocol in [Protocol::Http, Protocol::H2c] {
        let mut stage = Stage::new(&["- /** -> echo"]).await;
        stage.add("echo", echo_with_trailers(protocol).await, protocol);
        let mut client = stage.client().await;
        let (frames, body) = channel();
        frames.send(text("body")).unwrap();
        frames
            .send(Frame::trailers(HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())])))
            .unwrap();
        drop(frames);
        let request = Request::post("/")
            .header("host", "a")
            .header("te", "trailers")
            .header("trailer", "x-sum")
            .body(body)
            .unwrap();
        let answer = client.send(request).await.unwrap();
        assert_eq!(answer.text(), "body");
        assert_eq!(answer.trailers.expect("trailers")["x-sum"], "7", "{protocol:?}");
        stage.stop().await;
    }
}

async fn echo_with_trailers(protocol: Protocol) -> std::net::SocketAddr {
    serve_as(protocol, |request| async {
        let mut response = Response::new(Body::incoming(request.into_body()));
        response.headers_mut().insert("trailer", "x-sum".parse().unwrap());
        response
    })
    .await
}

#[tokio::test]
async fn large_bodies_keep_every_byte() {
    let stage = Stage::new(&["- /** -> echo"]).await.with("echo", echo(Protocol::Http).await);
    let sent: Bytes = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let mut client = stage.client().await;
    let request = Request::post("/").header("host", "a").body(Body::from(sent.clone())).unwrap();
    assert!(client.send(request).await.unwrap().body == sent, "over HTTP/1.1");
    let client = &mut http2(stage.address()).await;
    let request = Request::post("http://a/").body(http_body_util::Full::new(sent.clone())).unwrap();
    let answer = Answer::read(client.send_request(request).await.unwrap()).await.unwrap();
    assert!(answer.body == sent, "over HTTP/2");
    stage.stop().await;
}

#[tokio::test]
async fn a_service_that_breaks_off_breaks_off_the_answer() {
    let (breaks, when) = tokio::sync::watch::channel(false);
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let address = serve(move |_| {
        let mut when = when.clone();
        counted.fetch_add(1, Relaxed);
        async move {
            let half = futures_util::stream::once(async { Ok(text("half")) });
            let broken = futures_util::stream::once(async move {
                let _ = when.wait_for(|now| *now).await;
                Err(std::io::Error::other("broken"))
            });
            Response::new(Body::new(StreamBody::new(Box::pin(half.chain(broken)))))
        }
    })
    .await;
    let stage = Stage::new(&["- /** -> half"]).await.with("half", address);
    let mut client = stage.client().await;
    let request = Request::get("/").header("host", "a").body(Body::empty()).unwrap();
    let mut answer = BodyStream::new(client.start(request).await.into_body());
    assert_eq!(answer.next().await.unwrap().unwrap().into_data().unwrap(), "half");
    breaks.send(true).unwrap();
    assert!(answer.next().await.unwrap().is_err(), "an answer that is cut off must not look whole");
    assert_eq!(asked.load(Relaxed), 1, "nothing is tried again once the head has gone out");
    stage.stop().await;
}

#[tokio::test]
async fn the_client_is_told_to_continue_once() {
    let stage = Stage::new(&["- /** -> echo"]).await.with("echo", echo(Protocol::Http).await);
    let head = b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nhi";
    let answer = crate::stage::raw(stage.address(), head, |t| t.ends_with("hi")).await;
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{answer}");
    stage.stop().await;
}

#[tokio::test]
async fn a_request_waits_for_its_service_to_come() {
    let mut stage = Stage::new(&["- /** -> late"]).await;
    let mut client = stage.client().await;
    let asked = tokio::spawn(async move { client.get("/").await });
    let mut other = stage.client().await;
    // The other request shows that the first, sent before it, has been taken.
    let parked = tokio::spawn(async move { other.get("/").await });
    stage.add("late", saying("here").await, Protocol::Http);
    assert_eq!(asked.await.unwrap().text(), "here");
    assert_eq!(parked.await.unwrap().text(), "here");
    stage.stop().await;
}

#[tokio::test]
async fn nobody_waits_longer_than_the_time_limit() {
    let mut system = system(&["- /** -> never"]);
    system.gateway.policy = timeout(Duration::from_millis(80));
    let stage = Stage::start(config(), system, Vec::new()).await;
    let answer = Client::new(stage.address()).await.get("/").await;
    assert_eq!((answer.status.as_u16(), &*answer.problem().code), (503, "MDG-CALL-001"));
    assert!(answer.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    stage.stop().await;
}

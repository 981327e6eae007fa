//! Streams of gRPC between services with the SDK, in one process and in two: both ways, to their status, their
//! deadline or their end before time.

use std::{convert::Infallible, fmt::Debug, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use madang::{
    Service,
    axum::{Router, body::Body, routing::post},
    test::{Placement, TestApp},
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, timeout},
};
use tower::Service as _;

/// How late something may be before it counts as not happening.
const SOON: Duration = Duration::from_secs(5);

/// What the callee says of a call that ended before it was done with it.
#[derive(Clone, Default)]
struct Left {
    request: Arc<Notify>,
    answer: Arc<Notify>,
}

struct Gone(Arc<Notify>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

fn callee(left: &Left) -> Service {
    let left = left.clone();
    let routes = Router::new()
        .route("/x.Y/Echo", post(echo))
        .route("/x.Y/Refuse", post(|| async { grpc(Body::empty(), Some(status("9"))) }))
        .route("/x.Y/Hang", post(move |asked: Body| hang(left.clone(), asked)));
    Service::new("callee").routes(routes)
}

/// Each message back as it comes, and the status after the last.
async fn echo(asked: Body) -> Response<Body> {
    let messages = asked.into_data_stream().map(|part| part.map(Frame::data));
    let last = stream::once(async { Ok(Frame::trailers(status("0"))) });
    grpc(Body::new(StreamBody::new(messages.chain(last))), None)
}

/// One message, and then nothing for as long as it is waited for.
async fn hang(left: Left, asked: Body) -> Response<Body> {
    let reads = Gone(left.request);
    tokio::spawn(async move {
        let _reads = reads;
        let mut asked = asked.into_data_stream();
        while let Some(Ok(_)) = asked.next().await {}
    });
    let answers = Gone(left.answer);
    let nothing = stream::poll_fn(move |_| {
        let _answers = &answers;
        Poll::Pending
    });
    let first = stream::iter([Ok::<_, Infallible>(message(b"one"))]);
    grpc(Body::new(StreamBody::new(first.chain(nothing))), None)
}

fn grpc(body: Body, head: Option<HeaderMap>) -> Response<Body> {
    let mut response = Response::new(body);
    *response.headers_mut() = head.unwrap_or_default();
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn status(code: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static(code))])
}

fn message(bytes: &'static [u8]) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(bytes))
}

/// A call under way, as a client that `tonic` generates makes it: its messages go out one by one.
struct Call {
    messages: mpsc::UnboundedSender<Frame<Bytes>>,
    answer: Response<madang::Body>,
}

impl Call {
    async fn start(app: &TestApp, path: &str, due: Option<&str>) -> Self {
        let (messages, mut sent) = mpsc::unbounded_channel();
        let frames = stream::poll_fn(move |cx| sent.poll_recv(cx).map(|it| it.map(Ok::<_, Infallible>)));
        let request = Request::post(path).version(Version::HTTP_2);
        let request = request.header("content-type", "application/grpc").header("te", "trailers");
        let request = due.into_iter().fold(request, |request, due| request.header("grpc-timeout", due));
        let request = request.body(StreamBody::new(Box::pin(frames))).unwrap();
        let mut channel = app.calls("caller").to("callee").grpc();
        let Ok(answer) = timeout(SOON, channel.call(request)).await.expect("a head");
        Self { messages, answer }
    }

    async fn next(&mut self) -> Frame<Bytes> {
        let frame = timeout(SOON, self.answer.body_mut().frame()).await.expect("in time");
        frame.expect("a frame").expect("no error")
    }
}

/// Runs a case in both placements; its outcome, which is the same.
async fn same<T: PartialEq + Debug>(case: impl AsyncFn(&TestApp, Left) -> T) -> T {
    let mut outcomes = Vec::new();
    for placement in [Placement::Together, Placement::Apart] {
        let left = Left::default();
        let app = TestApp::placed(placement, [Service::new("caller"), callee(&left)]).await;
        outcomes.push(case(&app, left).await);
    }
    let [together, apart] = outcomes.try_into().unwrap_or_else(|_| unreachable!("two placements"));
    assert_eq!(together, apart, "the placements can be told apart");
    together
}

#[tokio::test]
async fn messages_pass_both_ways_as_they_come_and_the_status_after_the_last() {
    let (heard, status) = same(async |app, _| {
        let mut call = Call::start(app, "/x.Y/Echo", None).await;
        let mut heard = Vec::new();
        for text in [b"one", b"two"] {
            call.messages.send(message(text)).unwrap();
            heard.push(call.next().await.into_data().unwrap());
        }
        drop(call.messages);
        let last = call.answer.body_mut().frame().await.unwrap().unwrap();
        (heard, last.into_trailers().unwrap()["grpc-status"].clone())
    })
    .await;
    assert_eq!((heard, status.as_bytes()), (vec!["one".into(), "two".into()], &b"0"[..]));
}

#[tokio::test]
async fn a_status_in_place_of_an_answer_arrives() {
    let status = same(async |app, _| {
        let mut call = Call::start(app, "/x.Y/Refuse", None).await;
        assert!(call.answer.body_mut().frame().await.is_none(), "its head is its end");
        call.answer.headers()["grpc-status"].clone()
    })
    .await;
    assert_eq!(status, "9");
}

#[tokio::test]
async fn a_stream_ends_at_the_deadline_that_its_caller_states() {
    let status = same(async |app, left| {
        let began = Instant::now();
        let mut call = Call::start(app, "/x.Y/Hang", Some("300m")).await;
        assert_eq!(call.next().await.into_data().unwrap(), "one");
        let trailers = call.next().await.into_trailers().expect("a status");
        assert!((300..3000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
        timeout(SOON, left.answer.notified()).await.expect("the callee's answer is dropped");
        timeout(SOON, left.request.notified()).await.expect("the callee hears that no more comes");
        trailers["grpc-status"].clone()
    })
    .await;
    assert_eq!(status, "4");
}

/// Although it would still send: `call.messages` is open.
#[tokio::test]
async fn a_caller_that_drops_the_answer_cancels_the_call() {
    same(async |app, left| {
        let Call { messages, mut answer } = Call::start(app, "/x.Y/Hang", None).await;
        answer.body_mut().frame().await.unwrap().unwrap();
        drop(answer);
        timeout(SOON, left.answer.notified()).await.expect("the callee's answer is dropped");
        timeout(SOON, left.request.notified()).await.expect("the callee hears that no more comes");
        drop(messages);
    })
    .await;
}

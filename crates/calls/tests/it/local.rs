//! A service hosted in this process.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{Request, Response};
use http_body_util::BodyExt;
use madang_calls::{Body, CallError, LocalService};
use tokio::sync::oneshot;
use tower::service_fn;

use crate::support::*;

fn host<F, A>(caller: &Caller, handler: F)
where
    F: Fn(Request<Body>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    caller.directory.host("users".parse().unwrap(), LocalService::new(service));
}

#[tokio::test]
async fn it_sees_what_a_remote_one_would_see() {
    let caller = Caller::new();
    host(&caller, |request| async move {
        assert_eq!(request.headers()["madang-service"], "users");
        assert!(!request.headers().contains_key("madang-attempt"));
        assert_eq!(request.headers()["host"], "users");
        assert_eq!(request.headers()["content-length"], "2");
        assert_eq!(request.uri(), "/a?b");
        assert!(request.headers().contains_key("traceparent"));
        assert!(!request.headers().contains_key("keep-alive"));
        assert!(request.extensions().is_empty());
        let mut response = ok("fine");
        response.headers_mut().insert("connection", "close".parse().unwrap());
        response
    });
    let mut request = request("POST", "/a?b", "hi");
    request.headers_mut().insert("keep-alive", "timeout=5".parse().unwrap());
    request.extensions_mut().insert(7_u8);
    let response = caller.send(request).await.unwrap();
    assert_eq!(response.headers()["content-length"], "4");
    assert!(!response.headers().contains_key("connection"));
    assert_eq!(text(response).await, (200, "fine".to_owned()));
}

#[tokio::test]
async fn a_panic_is_an_error_of_the_call_only() {
    let caller = Caller::new();
    host(&caller, |request| async move {
        assert!(request.uri().path() != "/panic", "as told");
        ok("fine")
    });
    let error = caller.send(request("GET", "/panic", "")).await.unwrap_err();
    assert!(matches!(error, CallError::Panic { .. }), "{error:?}");
    assert_eq!(error.code().status, 500);
    assert_eq!(caller.get("/").await.1, "fine");
}

#[tokio::test]
async fn a_panic_in_a_stream_breaks_the_stream_only() {
    let caller = Caller::new();
    host(&caller, |_| async {
        let (feed, body) = fed();
        feed.send(data("first")).await.unwrap();
        drop(feed);
        ok(Body::new(body.map_frame(|frame| match frame.data_ref() {
            Some(bytes) if bytes == "first" => panic!("as told"),
            _ => frame,
        })))
    });
    let mut response = caller.send(request("GET", "/", "")).await.unwrap();
    let error = response.body_mut().frame().await.unwrap().unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
}

#[tokio::test]
async fn its_task_is_aborted_when_the_caller_leaves() {
    let caller = Caller::new();
    let (started, mut arrived) = tokio::sync::mpsc::channel(1);
    let (guard, dropped) = oneshot::channel::<()>();
    let guard = Arc::new(std::sync::Mutex::new(Some(guard)));
    host(&caller, move |_| {
        let (started, guard) = (started.clone(), guard.lock().unwrap().take());
        async move {
            let _guard = guard;
            started.send(()).await.unwrap();
            std::future::pending().await
        }
    });
    tokio::select! {
        _ = caller.get("/") => unreachable!("it never answers"),
        _ = arrived.recv() => {}
    }
    let aborted = tokio::time::timeout(Duration::from_secs(5), dropped).await.expect("it must end");
    assert!(aborted.is_err(), "dropped, not sent");
}

#[tokio::test(start_paused = true)]
async fn its_time_is_limited_too() {
    let caller = Caller::new();
    host(&caller, |_| std::future::pending());
    let begin = tokio::time::Instant::now();
    let error = caller.send(request("GET", "/", "")).await.unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
    let late = begin.elapsed() - Duration::from_secs(15);
    assert!(late <= Duration::from_millis(10), "{late:?} late");
}

/// What a request waits for and what the service takes for it are not one number.
#[tokio::test(start_paused = true)]
async fn waiting_and_being_answered_are_told_apart() {
    let caller = Caller::new();
    let starting = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        host(&caller, |_| async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            ok("late")
        });
    };
    let (answer, ()) = tokio::join!(caller.get("/"), starting);
    assert_eq!(answer, (200, "late".to_owned()));
    let (records, _) = caller.client.drain_records();
    let record = &records[0];
    assert_eq!((record.parked_us, record.upstream_us, record.duration_us), (300_000, 200_000, 500_000));
}

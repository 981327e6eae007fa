//! Bounds of what follows.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Json, Router, body::Body, routing::get};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use madang_wire::admin::{RouteView, TargetView};
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::*;

/// What the API answered so far, to tell by it how much was asked.
#[derive(Clone, Default)]
struct Asked(Arc<AtomicUsize>);

impl Asked {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Another route each time, so that the page is never what it was.
    fn route(&self) -> RouteView {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        RouteView {
            path: format!("/{number}"),
            host: None,
            methods: Vec::new(),
            headers: Vec::new(),
            to: Vec::<TargetView>::new(),
            redirect: None,
            edge: Vec::new(),
            require: None,
            place: String::new(),
        }
    }

    /// Lines without an end.
    fn lines(&self) -> Body {
        let count = self.0.clone();
        let lines = stream::repeat_with(move || {
            count.fetch_add(1, Ordering::Relaxed);
            let line = json!({"at": 1, "unit": "users", "instance": "users-a", "source": "output", "line": "x".repeat(100)});
            Ok::<_, Infallible>(format!("{line}\n"))
        });
        Body::from_stream(lines)
    }
}

/// The dashboard over an API that knows routes and logs.
fn dashboard(asked: &Asked) -> Router {
    let (routes, lines) = (asked.clone(), asked.clone());
    let api = Router::new()
        .route("/v1/routes", get(move || async move { Json(vec![routes.route()]) }))
        .route("/v1/logs", get(move || async move { lines.lines() }));
    crate::router(api, CancellationToken::new())
}

async fn open(dashboard: &Router, path: &str) -> Response {
    let session = Session { who: "tester".to_owned(), csrf: "secret".to_owned() };
    let request = Request::get(path).extension(session).body(Body::empty()).unwrap();
    dashboard.clone().oneshot(request).await.unwrap()
}

async fn fill(dashboard: &Router, path: &str) -> Vec<Response> {
    let mut open_ones = Vec::new();
    for _ in 0..MOST {
        let one = open(dashboard, path).await;
        assert_eq!(one.status(), StatusCode::OK);
        open_ones.push(one);
    }
    open_ones
}

#[tokio::test(start_paused = true)]
async fn who_comes_when_all_places_are_taken_is_told_so_and_gets_the_next_that_is_free() {
    let dashboard = dashboard(&Asked::default());
    let mut all = fill(&dashboard, "/live?of=/routes").await;
    for path in ["/live?of=/routes", "/live/logs"] {
        let refused = open(&dashboard, path).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
        assert_eq!(refused.headers()[header::RETRY_AFTER], "5");
        let body = refused.into_body().collect().await.unwrap().to_bytes();
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem.code, "MDG-ADM-007");
        assert!(problem.detail.unwrap().contains("32 pages follow already"));
    }
    // Its page is shown all the same.
    assert_eq!(open(&dashboard, "/routes").await.status(), StatusCode::OK);
    drop(all.pop());
    sleep(EACH * 2).await;
    assert_eq!(open(&dashboard, "/live?of=/routes").await.status(), StatusCode::OK);
}

/// What is left of a stream, of one without an end only its beginning.
async fn rest(one: Response) -> String {
    let frames = one.into_body().into_data_stream().take(8);
    let all: Vec<_> = frames.map(|frame| frame.unwrap().to_vec()).collect().await;
    String::from_utf8(all.concat()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_loses_its_place_and_holds_nothing() {
    let asked = Asked::default();
    let dashboard = dashboard(&asked);
    let mut all = fill(&dashboard, "/live?of=/routes").await;
    sleep(PATIENCE + EACH * 3).await;
    let after = asked.count();
    sleep(PATIENCE).await;
    assert_eq!(asked.count(), after, "nobody makes pages that nobody takes");
    let left = rest(all.pop().unwrap()).await;
    assert_eq!(left.matches("event: ").count(), 1, "what waited for the reader is all that there is");
    fill(&dashboard, "/live?of=/routes").await;
}

#[tokio::test(start_paused = true)]
async fn lines_are_not_read_for_a_reader_that_takes_none() {
    let asked = Asked::default();
    let dashboard = dashboard(&asked);
    let one = open(&dashboard, "/live/logs").await;
    sleep(PATIENCE * 3).await;
    let read = asked.count();
    assert!(read <= 3 * 4097, "{read} lines were read ahead");
    sleep(PATIENCE).await;
    assert_eq!(asked.count(), read);
    let text = rest(one).await;
    assert_eq!(text.matches("event: lines").count(), 1);
    assert!(text.contains("3896 lines came too quickly to be shown"), "{}", &text[..200]);
    assert_eq!(text.matches("users-a").count(), LINES);
}

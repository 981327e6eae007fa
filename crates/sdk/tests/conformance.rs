//! A call is a call: whether the service is in the same process or behind a port, nobody can tell.
//!
//! Each case runs in both placements and its outcome must be the same.

mod callee;

use std::{collections::BTreeSet, fmt::Debug, time::Duration};

use callee::{Callee, Seen};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use madang::{
    CallError, Calls, Code, Problem, Service, axum,
    axum::{Router, routing::get},
    test::{Placement, TestApp},
};
use serde_json::json;
use tokio::time::{Instant, timeout};

/// How late something may be before it counts as not happening.
const SOON: Duration = Duration::from_secs(5);

/// `caller` and `callee`, running in one placement.
struct Rig {
    app: TestApp,
    callee: Callee,
}

impl Rig {
    async fn start(placement: Placement) -> Self {
        let callee = Callee::default();
        let app = TestApp::placed(placement, [caller(), callee.service()]).await;
        Self { app, callee }
    }

    fn calls(&self) -> Calls {
        self.app.calls("caller")
    }
}

/// Calls the callee on behalf of whoever calls it.
fn caller() -> Service {
    async fn relay(
        calls: Calls,
        madang::Path(path): madang::Path<String>,
    ) -> madang::Result<axum::response::Response> {
        let reply = calls.to("callee").get(format!("/{path}")).send().await?;
        Ok(reply.into_response().map(axum::body::Body::new))
    }
    Service::new("caller").routes(Router::new().route("/relay/{path}", get(relay)))
}

/// Runs a case in both placements; its outcome, which is the same.
async fn same<T: PartialEq + Debug>(case: impl AsyncFn(&Rig) -> T) -> T {
    let together = case(&Rig::start(Placement::Together).await).await;
    let apart = case(&Rig::start(Placement::Apart).await).await;
    assert_eq!(together, apart, "the placements can be told apart");
    together
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_and_so_does_the_work() {
    let (error, unknown, in_time) = same(async |rig| {
        let started = Instant::now();
        let sent = rig.calls().to("callee").get("/hang").timeout(Duration::from_millis(300)).send().await;
        let took = started.elapsed();
        timeout(SOON, rig.callee.dropped.notified()).await.expect("the handler is dropped");
        let error = sent.err().expect("nothing answers");
        let in_time = (Duration::from_millis(300)..Duration::from_millis(1500)).contains(&took);
        (error.code(), error.outcome_unknown(), in_time)
    })
    .await;
    assert_eq!((error, unknown, in_time), (Code::TIMEOUT, true, true));
}

#[tokio::test]
async fn the_deadline_travels_through_the_caller() {
    let (status, code) = same(async |rig| {
        let headers = [("madang-timeout", "300")];
        let reply = rig.app.request("caller", Method::GET, "/relay/hang", &headers, None).await;
        timeout(SOON, rig.callee.dropped.notified()).await.expect("the handler is dropped");
        (reply.status, reply.json()["code"].clone())
    })
    .await;
    assert_eq!((status, code), (StatusCode::GATEWAY_TIMEOUT, json!("MDG-CALL-003")));
}

#[tokio::test]
async fn the_callee_sees_the_time_left() {
    let left = same(async |rig| {
        let call = rig.calls().to("callee").get("/seen").timeout(Duration::from_secs(9));
        let seen: Seen = call.send().await.unwrap().json().await.unwrap();
        seen.remaining_ms.map(|left| (8_000..=9_000).contains(&left))
    })
    .await;
    assert_eq!(left, Some(true));
}

#[tokio::test]
async fn a_caller_that_leaves_takes_the_work_with_it() {
    same(async |rig| {
        let call = rig.calls().to("callee").get("/hang").send();
        let leaving = tokio::spawn(call);
        timeout(SOON, rig.callee.entered.notified()).await.expect("the handler is entered");
        leaving.abort();
        timeout(SOON, rig.callee.dropped.notified()).await.expect("the handler is dropped");
    })
    .await;
}

#[tokio::test]
async fn a_panic_is_an_answer_that_says_nothing_of_it() {
    let (status, problem) = same(async |rig| {
        let reply = rig.calls().to("callee").get("/panic").send().await.unwrap();
        (reply.status(), without_ids(reply.problem().await))
    })
    .await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(problem, Problem::new(Code::INTERNAL));
}

#[tokio::test]
async fn the_first_part_of_a_stream_comes_before_the_last_is_made() {
    let parts = same(async |rig| {
        let reply = rig.calls().to("callee").get("/stream").send().await.unwrap();
        let mut body = reply.into_response().into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        rig.callee.release.notify_one();
        let rest = body.collect().await.unwrap().to_bytes();
        (first, rest)
    })
    .await;
    assert_eq!((&parts.0[..], &parts.1[..]), (&b"first"[..], &b"last"[..]));
}

#[tokio::test]
async fn a_stream_that_nobody_reads_on_is_dropped() {
    same(async |rig| {
        let reply = rig.calls().to("callee").get("/stream").send().await.unwrap();
        let mut body = reply.into_response().into_body();
        body.frame().await.unwrap().unwrap();
        drop(body);
        timeout(SOON, rig.callee.dropped.notified()).await.expect("the stream is dropped");
    })
    .await;
}

#[tokio::test]
async fn trailers_arrive() {
    let trailer = same(async |rig| {
        let call = rig.calls().to("callee").get("/trailers").header("te", "trailers");
        let body = call.send().await.unwrap().into_response().into_body().collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        trailers.get("checksum").map(|value| value.to_str().unwrap().to_owned())
    })
    .await;
    assert_eq!(trailer.as_deref(), Some("abc"));
}

#[tokio::test]
async fn a_problem_passes_through_with_its_ids() {
    let (problem, request_id) = same(async |rig| {
        let headers = [("x-request-id", "from-outside")];
        let reply = rig.app.request("caller", Method::GET, "/relay/conflict", &headers, None).await;
        let problem: Problem = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(reply.header("content-type"), "application/problem+json");
        let request_id = problem.request_id.clone();
        (without_ids(problem), request_id)
    })
    .await;
    assert_eq!(problem, Problem::new(Code::CONFLICT).detail("the order is paid"));
    assert_eq!(request_id.as_deref(), Some("from-outside"));
}

#[tokio::test]
async fn the_callee_sees_the_same_headers_and_context() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let seen = same(async |rig| {
        let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
        let headers = [("x-request-id", "r-1"), ("traceparent", &traceparent), ("idempotency-key", "k")];
        let reply = rig.app.request("caller", Method::GET, "/relay/seen", &headers, None).await;
        let mut seen: Seen = serde_json::from_value(reply.json()).unwrap();
        assert!(seen.span_is_new, "the callee has a span of its own below the caller's");
        // Where it was sent is the one thing that differs by placement.
        seen.headers.remove("host");
        assert!(seen.remaining_ms.take().is_some(), "every call has an end");
        seen
    })
    .await;
    assert_eq!(seen.caller.as_deref(), Some("caller"));
    assert_eq!((seen.request_id.as_str(), seen.trace_id.as_str()), ("r-1", TRACE));
    assert_eq!(seen.idempotency_key, None, "the key of a request is not that of the calls it leads to");
    assert_eq!(seen.path, "/seen");
}

#[tokio::test]
async fn the_caller_sees_the_same_head() {
    let heads = same(async |rig| {
        let mut heads = Vec::new();
        for path in ["/seen", "/conflict", "/panic", "/nowhere", "/trailers", "/empty"] {
            let reply = rig.calls().to("callee").get(path).send().await.unwrap();
            let mut names: BTreeSet<_> = reply.headers().keys().map(|name| name.to_string()).collect();
            // A server's clock says when it was sent; what is not sent has no such time.
            names.remove("date");
            heads.push((path, reply.status().as_u16(), names));
        }
        heads
    })
    .await;
    let statuses: Vec<_> = heads.iter().map(|(_, status, _)| *status).collect();
    assert_eq!(statuses, [200, 409, 500, 404, 200, 200]);
}

#[tokio::test]
async fn the_answer_to_a_head_has_no_body() {
    let answers = same(async |rig| {
        let mut answers = Vec::new();
        for path in ["/seen", "/conflict", "/nowhere"] {
            let call = rig.calls().to("callee").request(Method::HEAD, path);
            let reply = call.send().await.unwrap();
            let described = reply.headers().contains_key("content-length");
            answers.push((reply.status().as_u16(), described, reply.bytes().await.unwrap().len()));
        }
        answers
    })
    .await;
    assert_eq!(answers, [(200, true, 0), (409, true, 0), (404, true, 0)]);
}

#[tokio::test]
async fn a_service_that_is_not_declared_is_not_called() {
    let text = same(async |rig| {
        let error = rig.calls().to("payments").get("/").send().await.err().unwrap();
        assert!(matches!(error, CallError::Undeclared { .. }), "{error}");
        error.to_string()
    })
    .await;
    assert_eq!(
        text,
        "caller does not declare calls to payments: add payments to the `calls` of caller, \
         as in `calls = { payments = {} }`"
    );
}

#[tokio::test]
async fn big_bodies_pass_both_ways() {
    const SIZE: usize = 8 * 1024 * 1024;
    let same_bytes = same(async |rig| {
        let body: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
        let reply = rig.calls().to("callee").post("/echo").body(body.clone()).send().await.unwrap();
        (reply.status(), reply.bytes().await.unwrap() == body)
    })
    .await;
    assert_eq!(same_bytes, (StatusCode::OK, true));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_a_problem() {
    let refused = same(async |rig| {
        let body = json!({ "text": "x".repeat(3 * 1024 * 1024) });
        let reply = rig.calls().to("callee").post("/json").json(&body).send().await.unwrap();
        (reply.status(), reply.problem().await.code)
    })
    .await;
    assert_eq!(refused, (StatusCode::PAYLOAD_TOO_LARGE, "MDG-SVC-006".into()));
}

#[tokio::test]
async fn an_unknown_path_and_a_wrong_method_are_problems() {
    let answers = same(async |rig| {
        let unknown = rig.calls().to("callee").get("/nowhere").send().await.unwrap();
        let wrong = rig.calls().to("callee").delete("/seen").send().await.unwrap();
        let allow = wrong.headers().get("allow").cloned();
        (unknown.problem().await.code, wrong.problem().await.code, allow)
    })
    .await;
    assert_eq!(answers, ("MDG-SVC-002".into(), "MDG-GW-002".into(), Some("GET,HEAD".parse().unwrap())));
}

#[tokio::test]
async fn many_calls_at_once_each_get_their_own_answer() {
    let all = same(async |rig| {
        let calls = rig.calls();
        let one = |number: u32| {
            let call = calls.to("callee").post("/echo").body(number.to_string());
            async move { call.send().await.unwrap().text().await.unwrap() == number.to_string() }
        };
        futures_util::future::join_all((0..200).map(one)).await.into_iter().all(|right| right)
    })
    .await;
    assert!(all);
}

#[tokio::test]
async fn a_background_call_begins_a_trace_of_its_own() {
    let different = same(async |rig| {
        let ask = async || {
            let reply = rig.calls().to("callee").get("/seen").send().await.unwrap();
            reply.json::<Seen>().await.unwrap()
        };
        let (one, other) = (ask().await, ask().await);
        (one.trace_id != other.trace_id, one.request_id != other.request_id, one.caller)
    })
    .await;
    assert_eq!(different, (true, true, Some("caller".to_owned())));
}

/// The ids differ by nature.
fn without_ids(problem: Problem) -> Problem {
    assert!(problem.request_id.is_some() && problem.trace_id.is_some(), "{problem:?}");
    Problem { request_id: None, trace_id: None, ..problem }
}

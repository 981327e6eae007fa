use std::future::pending;

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::time::{advance, sleep};
use tower::service_fn;

use super::*;
use crate::{BoxError, Context as CallContext, Deadline, Policy, deadline, testing::Bench};

type Answer = Result<Response<Body>, CallError>;

/// Answers and failures that were counted of the first of two instances.
fn counted(bench: &Bench) -> (u32, u32) {
    let endpoint = &bench.upstream.endpoints()[0];
    let sums = endpoint.health.tally.sums(Duration::from_secs(60), Instant::now());
    (sums.answers, sums.failed)
}

fn bench(policy: Policy) -> Bench {
    let bench = Bench::new(policy);
    bench.rotate(2);
    bench
}

fn call(bench: &Bench) -> Call {
    to_first(bench, bench.get())
}

fn to_first(bench: &Bench, mut call: Call) -> Call {
    call.target = Some(Target::Remote(bench.upstream.endpoints()[0].clone()));
    call
}

/// What is counted of an answer that is read to its end.
async fn judged(answer: impl Fn(&Exchange) -> Answer + Clone + Send + 'static) -> (u32, u32) {
    let bench = bench(Policy::default());
    let inner = service_fn(move |call: Call| {
        let answer = answer(&call.exchange);
        async { answer }
    });
    if let Ok(response) = layer().layer(inner).call(call(&bench)).await {
        let _ = response.into_body().collect().await;
    }
    assert_eq!(bench.upstream.endpoints()[0].in_flight(), 0);
    counted(&bench)
}

const NOTHING: (u32, u32) = (0, 0);
const GOOD: (u32, u32) = (1, 0);
const FAILED: (u32, u32) = (1, 1);

/// A body of these frames, which then goes on for ever or not.
fn body(frames: Vec<Result<Frame<Bytes>, BoxError>>, endless: bool) -> Body {
    let frames = futures_util::stream::iter(frames);
    let rest = futures_util::stream::once(async move {
        if endless {
            pending::<()>().await;
        }
        Ok(Frame::data(Bytes::new()))
    });
    Body::new(StreamBody::new(futures_util::StreamExt::chain(frames, rest)))
}

fn data() -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data("x".into()))
}

fn trailers(status: &str) -> Result<Frame<Bytes>, BoxError> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    Ok(Frame::trailers(trailers))
}

fn grpc(body: Body) -> Response<Body> {
    Response::builder().header("content-type", "application/grpc+proto").body(body).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_status_speaks_of_the_instance_or_of_the_request() {
    for status in [200, 204, 304, 400, 404, 409, 429, 501, 505] {
        assert_eq!(judged(move |_| Ok(crate::testing::status(status))).await, GOOD, "{status}");
    }
    for status in [500, 502, 503, 504, 507, 599] {
        assert_eq!(judged(move |_| Ok(crate::testing::status(status))).await, FAILED, "{status}");
    }
}

/// An instance that refuses everybody is fast, and must not attract calls for that.
#[tokio::test(start_paused = true)]
async fn too_many_requests_cost_an_instance_as_much_as_a_failure_and_more_than_a_slow_answer() {
    let cost = async |code: u16, takes: u64| {
        let bench = bench(Policy::default());
        let inner = service_fn(move |_: Call| async move {
            sleep(Duration::from_millis(takes)).await;
            Ok(crate::testing::status(code))
        });
        for _ in 0..5 {
            layer().layer(inner).call(call(&bench)).await.unwrap();
        }
        bench.upstream.endpoints()[0].cost(Instant::now())
    };
    let (slow, refused, failed) = (cost(200, 20).await, cost(429, 1).await, cost(503, 1).await);
    assert!(refused > slow, "{refused} {slow}");
    assert_eq!(refused, failed);
}

#[tokio::test(start_paused = true)]
async fn a_grpc_status_counts_in_the_head_and_in_the_trailers() {
    let expected = |status: &str| match status {
        "2" | "13" | "14" | "15" => FAILED,
        // Its deadline was over at once, which is the caller's.
        "4" => NOTHING,
        _ => GOOD,
    };
    for status in ["0", "1", "2", "3", "4", "5", "7", "8", "12", "13", "14", "15", "16"] {
        let head = move |_: &Exchange| {
            let mut response = grpc(Body::empty());
            response.headers_mut().insert("grpc-status", status.parse().unwrap());
            Ok(response)
        };
        assert_eq!(judged(head).await, expected(status), "{status} in the head");
        let late = move |_: &Exchange| Ok(grpc(body(vec![data(), trailers(status)], false)));
        assert_eq!(judged(late).await, expected(status), "{status} in the trailers");
    }
    assert_eq!(judged(|_| Ok(grpc(body(vec![data()], false)))).await, FAILED, "no status");
    assert_eq!(judged(|_| Ok(grpc(Body::empty()))).await, FAILED, "no status and no trailers");
    let plain = |_: &Exchange| Ok(Response::new(body(vec![data(), trailers("14")], false)));
    assert_eq!(judged(plain).await, GOOD, "not gRPC");
}

#[tokio::test(start_paused = true)]
async fn errors_count_if_they_are_the_instances() {
    let service = |exchange: &Exchange| exchange.upstream().name().clone();
    let source = || BoxError::from("as told");
    let broken =
        move |exchange: &Exchange| CallError::Broken { service: service(exchange), source: source() };
    type Fails = Box<dyn Fn(&Exchange) -> CallError + Send + Sync>;
    let errors: [(_, Fails); 6] = [
        (FAILED, Box::new(broken)),
        (
            FAILED,
            Box::new(move |exchange| CallError::Connect { service: service(exchange), source: source() }),
        ),
        (FAILED, Box::new(move |exchange| CallError::Panic { service: service(exchange) })),
        (
            NOTHING,
            Box::new(move |exchange| CallError::Upload { service: service(exchange), source: source() }),
        ),
        (NOTHING, Box::new(|exchange| exchange.timeout(exchange.started))),
        (
            NOTHING,
            Box::new(move |exchange| {
                exchange.trail.sends(true);
                broken(exchange)
            }),
        ),
    ];
    for (expected, error) in errors {
        let error = Arc::new(error);
        let text = error(&Bench::new(Policy::default()).get().exchange).to_string();
        assert_eq!(judged(move |exchange| Err(error(exchange))).await, expected, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_end_of_a_stream_of_events() {
    for (media, waits) in [("text/event-stream; charset=utf-8", false), ("application/json", true)] {
        let bench = bench(Policy::default());
        let inner = service_fn(move |_: Call| async move {
            let mut response = Response::new(body(vec![data()], true));
            response.headers_mut().insert("content-type", media.parse().unwrap());
            Ok(response)
        });
        let first = bench.upstream.endpoints()[0].clone();
        let answer = layer().layer(inner).call(call(&bench)).await.unwrap();
        first.leave_rotation();
        let quiet = tokio::time::timeout(Duration::from_secs(1), first.quiet()).await;
        assert_eq!((quiet.is_err(), first.in_flight()), (waits, 1), "{media}");
        drop(answer);
        tokio::time::timeout(Duration::from_secs(1), first.quiet()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_a_failure_and_one_that_nobody_wants_is_none() {
    let broken = |_: &Exchange| Ok(Response::new(body(vec![data(), Err("reset".into())], false)));
    assert_eq!(judged(broken).await, FAILED);
    let broken = |_: &Exchange| Ok(grpc(body(vec![data(), Err("reset".into())], false)));
    assert_eq!(judged(broken).await, FAILED);
    for (response, expected) in [(Response::new as fn(Body) -> _, GOOD), (grpc, NOTHING)] {
        let bench = bench(Policy::default());
        let inner = service_fn(move |_: Call| async move { Ok(response(body(vec![data()], true))) });
        let answer = layer().layer(inner).call(call(&bench)).await.unwrap();
        assert_eq!((counted(&bench), bench.upstream.endpoints()[0].in_flight()), (NOTHING, 1));
        drop(answer);
        assert_eq!((counted(&bench), bench.upstream.endpoints()[0].in_flight()), (expected, 0));
    }
}

/// What is counted of an instance that never answers.
async fn hung(policy: Policy, callers: Option<u64>, leaves: Option<u64>) -> (u32, u32) {
    let bench = bench(policy);
    let hangs = service_fn(|_: Call| async { pending::<Answer>().await });
    let mut stack = deadline::total().layer(deadline::attempt().layer(layer().layer(hangs)));
    let mut request = Request::new(Body::empty());
    let mut context = CallContext::root();
    context.deadline = callers.map(|millis| Deadline::after(Duration::from_millis(millis)));
    request.extensions_mut().insert(context);
    let answer = stack.call(to_first(&bench, bench.call(request)));
    let leaves = Duration::from_millis(leaves.unwrap_or(1_000_000));
    assert!(
        tokio::time::timeout(leaves, answer).await.is_ok_and(|answer| answer.is_err())
            || leaves < Duration::from_secs(1000)
    );
    counted(&bench)
}

#[tokio::test(start_paused = true)]
async fn a_timeout_counts_unless_the_caller_was_in_a_hurry() {
    let attempts = Policy { attempt_timeout: Duration::from_millis(300), ..Policy::default() };
    assert_eq!(hung(Policy::default(), None, None).await, FAILED, "the whole time was over");
    assert_eq!(hung(attempts.clone(), None, None).await, FAILED, "that of an attempt was");
    assert_eq!(hung(attempts.clone(), Some(100), None).await, NOTHING);
    assert_eq!(hung(Policy::default(), Some(900), None).await, NOTHING);
    assert_eq!(hung(Policy::default(), Some(1100), None).await, FAILED, "longer than what is slow");
    assert_eq!(hung(Policy::default(), None, Some(5000)).await, NOTHING, "the caller left");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_says_at_least_that_it_took_so_long() {
    let bench = bench(Policy::default());
    let first = &bench.upstream.endpoints()[0];
    first.observe(Duration::from_millis(1), Instant::now());
    let hangs = service_fn(|_: Call| async { pending::<Answer>().await });
    let hedged = layer().layer(hangs).call(call(&bench));
    assert!(tokio::time::timeout(Duration::from_millis(60), hedged).await.is_err());
    assert!(first.cost(Instant::now()) >= 60_000.0);
    let quick = layer().layer(hangs).call(call(&bench));
    drop(quick);
    assert!(first.cost(Instant::now()) >= 60_000.0, "that nothing came at once says nothing");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_streams_is_judged_while_it_lasts() {
    let bench = bench(Policy::default());
    for _ in 0..5 {
        let inner = service_fn(|_: Call| async { Ok(crate::testing::status(500)) });
        layer().layer(inner).call(call(&bench)).await.unwrap();
    }
    assert_eq!(bench.upstream.endpoints.load().ejected(), 1);
    advance(Duration::from_secs(1)).await;
    let inner = service_fn(|call: Call| async move {
        assert!(call.probes.instance.is_none(), "taken by the layer");
        let frames = futures_util::stream::unfold(0, |number| async move {
            sleep(Duration::from_secs(number)).await;
            Some((data(), number + 2))
        });
        Ok(grpc(Body::new(StreamBody::new(frames))))
    });
    let mut probe = bench.get();
    let picked = bench.upstream.pick(None, &bench.policy, &bench.worker.random, Instant::now());
    let (target, ticket) = picked.unwrap();
    (probe.target, probe.probes.instance) = (Some(target), ticket);
    let mut answer = layer().layer(inner).call(probe).await.unwrap();
    answer.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(bench.upstream.endpoints.load().ejected(), 1);
    answer.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(bench.upstream.endpoints.load().ejected(), 0);
}

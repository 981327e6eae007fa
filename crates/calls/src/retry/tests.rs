use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use http::Request;
use madang_model::policy::RetryBudget;
use tower::service_fn;

use super::*;
use crate::{
    Context as CallContext, Deadline, Policy,
    exchange::Target,
    testing::{Bench, status},
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Connect,
    Broken,
    Timeout,
    Status(u16),
}

impl Outcome {
    fn answer(self, exchange: &Exchange) -> Answer {
        let service = exchange.upstream().name().clone();
        let source = || "as told".into();
        match self {
            Self::Connect => Err(CallError::Connect { service, source: source() }),
            Self::Broken => Err(CallError::Broken { service, source: source() }),
            Self::Timeout => Err(exchange.timeout(exchange.started)),
            Self::Status(code) => Ok(status(code)),
        }
    }
}

/// The number of attempts at a call whose every attempt ends in this way.
async fn tries(bench: &Bench, call: Call, outcome: Outcome) -> u32 {
    tries_and(bench, call, move |_| outcome).await
}

async fn tries_and(
    _bench: &Bench,
    call: Call,
    outcome: impl Fn(u32) -> Outcome + Clone + Send + 'static,
) -> u32 {
    let tried = Arc::new(AtomicU32::new(0));
    let counted = tried.clone();
    let inner = service_fn(move |call: Call| {
        let (counted, outcome) = (counted.clone(), outcome.clone());
        async move {
            assert_eq!(counted.fetch_add(1, Relaxed) + 1, call.attempt);
            outcome(call.attempt).answer(&call.exchange)
        }
    });
    let _ = layer().layer(inner).call(call).await;
    tried.load(Relaxed)
}

#[tokio::test(start_paused = true)]
async fn only_what_is_safe_is_tried_again() {
    use Outcome::*;
    let once = [Status(200), Status(404), Status(429), Status(500), Status(501)];
    let unsafe_twice = [Broken, Timeout, Status(502), Status(503), Status(504)];
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "POST", "PATCH", "CUSTOM"] {
        for key in [false, true] {
            let bench = Bench::new(Policy::default());
            let request = || {
                let mut request = Request::builder().method(method);
                if key {
                    request = request.header("idempotency-key", "k");
                }
                bench.call(request.body(Body::from("x")).unwrap())
            };
            for outcome in once {
                assert_eq!(tries(&bench, request(), outcome).await, 1, "{method} {key} {outcome:?}");
            }
            let safe = key || !["POST", "PATCH", "CUSTOM"].contains(&method);
            for outcome in unsafe_twice {
                let expected = if safe { 3 } else { 1 };
                assert_eq!(tries(&bench, request(), outcome).await, expected, "{method} {key} {outcome:?}");
            }
            let unsent = tries_and(&bench, request(), |n| if n < 5 { Connect } else { Status(200) });
            assert_eq!(unsent.await, 5, "{method}: nothing was sent");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn retries_stay_within_the_budget() {
    let bench = Bench::new(Policy { attempts: 10, ..Policy::default() });
    let (mut attempts, calls, begin) = (0, 2000, Instant::now());
    for _ in 0..calls {
        attempts += tries(&bench, bench.get(), Outcome::Status(503)).await;
        if bench.worker.random.below(10) == 0 {
            tokio::time::advance(Duration::from_millis(20)).await;
        }
    }
    assert!(attempts > calls, "some are tried again");
    let floor = 10.0 * begin.elapsed().as_secs_f64() + 100.0;
    assert!(f64::from(attempts - calls) <= f64::from(calls) * 0.2 + floor, "{attempts}");
    // Within one window, so that nothing is forgiven.
    let all = |bench: Bench| async move {
        let all = (0..1000).map(|_| tries(&bench, bench.get(), Outcome::Connect));
        futures_util::future::join_all(all).await.into_iter().sum::<u32>()
    };
    let attempts = all(Bench::new(Policy { attempts: 10, ..Policy::default() })).await;
    assert!(attempts <= 1000 + 200 + 100, "{attempts}");
    let retry_budget = RetryBudget { percent: 3, floor: 2 };
    let attempts = all(Bench::new(Policy { attempts: 10, retry_budget, ..Policy::default() })).await;
    assert!(attempts <= 1000 + 30 + 20, "{attempts}");
}

/// Whatever becomes of attempts and whatever the rules: no more retries than requests and time allow.
#[tokio::test(start_paused = true)]
async fn attempts_at_random_outcomes_stay_within_any_budget() {
    const OUTCOMES: [Outcome; 6] = [
        Outcome::Connect,
        Outcome::Broken,
        Outcome::Timeout,
        Outcome::Status(503),
        Outcome::Status(200),
        Outcome::Status(500),
    ];
    for seed in 0..40_u64 {
        let random = Arc::new(crate::random::Random::seeded(seed));
        let below = |limit| random.below(limit) as u32;
        let retry_budget = RetryBudget { percent: below(60), floor: below(4) };
        let attempts = 1 + below(6);
        let bench = Bench::new(Policy { attempts, retry_budget, ..Policy::default() });
        let (begin, mut requests, mut tried) = (Instant::now(), 0, 0);
        // Well within one window, so that nothing is forgotten.
        while begin.elapsed() < Duration::from_secs(7) {
            requests += 1;
            let draws = random.clone();
            let outcome = move |_| OUTCOMES[draws.below(OUTCOMES.len())];
            tried += tries_and(&bench, bench.get(), outcome).await;
            tokio::time::advance(random.up_to(Duration::from_millis(200))).await;
        }
        let allowed = requests * retry_budget.percent / 100 + retry_budget.floor * 10;
        assert!(tried - requests <= allowed, "seed {seed}: {tried} at {requests}, {retry_budget:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_if_there_is_time() {
    let bench = Bench::new(Policy::default());
    let asks = |seconds: &'static str| {
        service_fn(move |call: Call| async move {
            let mut response = status(if call.attempt == 1 { 503 } else { 200 });
            response.headers_mut().insert(RETRY_AFTER, seconds.parse().unwrap());
            Ok::<_, CallError>(response)
        })
    };
    let begin = Instant::now();
    let answer = layer().layer(asks("2")).call(bench.get()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(begin.elapsed() >= Duration::from_secs(2), "{:?}", begin.elapsed());

    let begin = Instant::now();
    let answer = layer().layer(asks("20")).call(bench.get()).await.unwrap();
    assert_eq!(answer.status(), 503, "20 s are longer than the call has");
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn retry_after_is_seconds_or_a_date() {
    let read = |text: &str| retry_after(&text.parse().unwrap());
    assert_eq!(read("7"), Duration::from_secs(7));
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
    assert!((Duration::from_secs(55)..=Duration::from_secs(60)).contains(&read(&date)), "{date}");
    for none in ["Sun, 06 Nov 1994 08:49:37 GMT", "soon", "-1", "1.5", ""] {
        assert_eq!(read(none), Duration::ZERO, "{none}");
    }
    let bench = Bench::new(Policy::default());
    assert!(!fits(&bench.get().exchange, read("18446744073709551615")), "no overflow");
}

#[tokio::test(start_paused = true)]
async fn grpc_is_tried_again_when_it_is_unavailable_and_nothing_speaks_against_it() {
    let bench = Bench::new(Policy::default());
    let answer = |grpc: &'static str, pushback: Option<&'static str>| {
        service_fn(move |call: Call| async move {
            let mut response = status(200);
            let code = if call.attempt == 1 { grpc } else { "0" };
            response.headers_mut().insert("grpc-status", code.parse().unwrap());
            if let Some(millis) = pushback {
                response.headers_mut().insert("grpc-retry-pushback-ms", millis.parse().unwrap());
            }
            response.headers_mut().insert("x-attempt", call.attempt.into());
            Ok::<_, CallError>(response)
        })
    };
    for (key, grpc, pushback, attempts, least) in [
        (false, "14", None, 1, 0),
        (true, "14", None, 2, 0),
        (true, "13", None, 1, 0),
        (true, "14", Some("700"), 2, 700),
        (true, "14", Some("20000"), 1, 0),
        (true, "14", Some("-1"), 1, 0),
        (true, "14", Some("later"), 1, 0),
    ] {
        let mut request = Request::post("/pay.Payments/Charge");
        if key {
            request = request.header("idempotency-key", "k");
        }
        let call = bench.call(request.body(Body::from("x")).unwrap());
        let begin = Instant::now();
        let response = layer().layer(answer(grpc, pushback)).call(call).await.unwrap();
        let context = format!("{key} {grpc} {pushback:?}");
        assert_eq!(response.headers()["x-attempt"], attempts.to_string(), "{context}");
        assert!(begin.elapsed() >= Duration::from_millis(least), "{context}: {:?}", begin.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_to_connect_runs_from_the_first_attempt_at_it_and_not_while_there_is_no_instance() {
    let secs = Duration::from_secs;
    let policy = Policy { connect_timeout: secs(2), timeout: secs(60), ..Policy::default() };
    // Each attempt hangs as long as it may.
    let hangs = service_fn(|call: Call| async move {
        tokio::time::sleep_until(call.exchange.connect_due()).await;
        Outcome::Connect.answer(&call.exchange)
    });
    let (bench, begin) = (Bench::new(policy.clone()), Instant::now());
    assert!(layer().layer(hangs).call(bench.get()).await.is_err());
    assert_eq!(begin.elapsed(), secs(2));

    let (bench, begin) = (Bench::new(policy), Instant::now());
    let refuses = service_fn(move |call: Call| async move {
        call.exchange.connect_due();
        if call.attempt == 2 {
            tokio::time::sleep(secs(5)).await;
            call.exchange.trail.connect_later(secs(5));
        }
        Outcome::Connect.answer(&call.exchange)
    });
    assert!(layer().layer(refuses).call(bench.get()).await.is_err());
    let took = begin.elapsed();
    assert!(took > secs(6) && took < secs(7), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_with_full_jitter_up_to_the_cap() {
    let check = |bench: Bench, expected: &[(u32, u128)]| {
        let exchange = bench.get().exchange;
        for &(tries, cap) in expected {
            let pauses: Vec<_> = (0..500).map(|_| backoff(&exchange, tries).as_millis()).collect();
            let (least, most) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
            let spread = *most <= cap && *most > cap * 9 / 10 && *least < cap / 10;
            assert!(spread, "{tries}: {least} to {most}");
        }
    };
    let usual = [(1, 25), (2, 50), (3, 100), (4, 200), (5, 250), (60, 250)];
    check(Bench::new(Policy::default()), &usual);
    let backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(1) };
    check(Bench::new(Policy { backoff, ..Policy::default() }), &[(1, 100), (3, 400), (9, 1000)]);
}

#[tokio::test(start_paused = true)]
async fn a_stale_connection_is_replaced_once_and_at_no_cost() {
    let bench = Bench::new(Policy { attempts: 1, ..Policy::default() });
    let begin = Instant::now();
    let inner = service_fn(|call: Call| async move {
        assert_eq!(call.fresh, call.attempt > 1);
        call.exchange.trail.sends(true);
        Outcome::Broken.answer(&call.exchange)
    });
    let call = bench.get();
    let exchange = call.exchange.clone();
    assert!(layer().layer(inner).call(call).await.is_err());
    assert_eq!(begin.elapsed(), Duration::ZERO);
    drop(exchange);
}

#[tokio::test(start_paused = true)]
async fn another_instance_is_preferred() {
    let bench = Bench::new(Policy::default());
    bench.rotate(3);
    let last = Arc::new(AtomicU64::new(0));
    let tried = last.clone();
    let inner = service_fn(move |call: Call| {
        let random = &call.exchange.worker.random;
        let policy = &call.exchange.policy;
        let picked = call.exchange.upstream().pick(call.avoid, policy, random, call.began);
        let target = picked.map(|(target, _)| target);
        let Some(Target::Remote(endpoint)) = &target else { panic!("no instance") };
        let before = tried.swap(endpoint.number, Relaxed);
        assert!(call.attempt == 1 || before != endpoint.number);
        call.exchange.trail.begin(1, target.as_ref().unwrap());
        async { Ok::<_, CallError>(status(502)) }
    });
    for _ in 0..30 {
        layer().layer(inner.clone()).call(bench.get()).await.unwrap();
    }
    assert_ne!(last.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_after_the_callers_deadline() {
    let bench = Bench::new(Policy { attempts: 100, ..Policy::default() });
    let mut request = Request::new(Body::empty());
    let mut context = CallContext::root();
    context.deadline = Some(Deadline::after(Duration::from_millis(200)));
    request.extensions_mut().insert(context);
    let begin = Instant::now();
    let call = bench.call(request);
    assert!(tries(&bench, call, Outcome::Status(503)).await > 1);
    assert!(begin.elapsed() <= Duration::from_millis(210), "{:?}", begin.elapsed());
}

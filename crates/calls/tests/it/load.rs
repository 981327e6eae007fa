//! What protects a caller from a slow service, and a service from its callers, over real connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use madang_calls::{Body, CallError, ClientConfig, Context, Deadline, Origin, Policy};
use madang_model::{
    Protocol,
    policy::{Concurrency, Fallback, Hedge, HedgeAfter, Limit, Priority},
};
use madang_wire::Hop;
use tokio::{sync::Semaphore, time::Instant};

use crate::support::*;

fn caller(policy: Policy) -> Caller {
    Caller::with(ClientConfig { seed: 1, ..ClientConfig::new(Hop::Sdk) }, policy)
}

fn limited(limit: u32, queue: u32, wait: Duration) -> Option<Concurrency> {
    Some(Concurrency { limit: Limit::Fixed(limit), queue, wait })
}

/// A server that answers each request once the test lets it.
async fn patient(protocol: Protocol) -> (Server, Arc<Semaphore>, Arc<AtomicUsize>) {
    let (gate, asked) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (waits, counted) = (gate.clone(), asked.clone());
    let server = Server::start(protocol, move |_| {
        let waits = waits.clone();
        counted.fetch_add(1, SeqCst);
        async move {
            waits.acquire().await.unwrap().forget();
            ok("late")
        }
    })
    .await;
    (server, gate, asked)
}

fn spawn_get(
    caller: &Arc<Caller>,
    priority: Priority,
) -> tokio::task::JoinHandle<Result<Response<Body>, CallError>> {
    let caller = caller.clone();
    tokio::spawn(async move {
        let mut request = request("GET", "/", "");
        request.extensions_mut().insert(Context { priority, ..Context::root() });
        caller.send(request).await
    })
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_hanging_service_takes_no_more_than_its_share_of_the_caller() {
    for protocol in [Protocol::Http, Protocol::H2c] {
        let (slow, gate, asked) = patient(protocol).await;
        let share = limited(5, 10, Duration::from_millis(50));
        let caller = Arc::new(caller(Policy { share, ..Policy::default() }));
        caller.rotate(&[&slow]);
        let calls: Vec<_> = (0..50).map(|_| spawn_get(&caller, Priority::Normal)).collect();
        let mut refused = 0;
        until("those beyond the share are refused", || {
            calls.iter().filter(|it| it.is_finished()).count() == 45
        })
        .await;
        assert_eq!(asked.load(SeqCst), 5);
        gate.add_permits(5);
        for call in calls {
            match call.await.unwrap() {
                Ok(response) => assert_eq!(text(response).await.1, "late"),
                Err(error) => {
                    assert!(matches!(error, CallError::Overloaded { .. }), "{error:?}");
                    refused += 1;
                }
            }
        }
        assert_eq!(refused, 45);
        gate.add_permits(1);
        assert_eq!(caller.get("/").await.0, 200, "the permits came back");
    }
}

#[tokio::test]
async fn a_stream_counts_until_it_ends_and_what_is_left_early_does_not() {
    let feeds = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = feeds.clone();
    let server = Server::start(Protocol::Http, move |_| {
        let (feed, body) = fed();
        kept.lock().unwrap().push(feed);
        async move { ok(body) }
    })
    .await;
    let caller = caller(Policy { concurrency: limited(2, 0, Duration::ZERO), ..Policy::default() });
    caller.rotate(&[&server]);
    let get = || caller.send(request("GET", "/", ""));
    let (first, second) = (get().await.unwrap(), get().await.unwrap());
    assert!(matches!(get().await, Err(CallError::Overloaded { .. })));
    drop(second);
    let third = get().await.unwrap();
    assert!(matches!(get().await, Err(CallError::Overloaded { .. })));
    feeds.lock().unwrap().clear();
    for response in [first, third] {
        text(response).await;
    }
    assert_eq!(get().await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_is_critical_is_answered_under_a_flood_of_what_is_not() {
    let server = Server::start(Protocol::Http, |_| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        ok("done")
    })
    .await;
    let concurrency = limited(2, 8, Duration::from_secs(5));
    let caller = Arc::new(caller(Policy { concurrency, ..Policy::default() }));
    caller.rotate(&[&server]);
    let mut critical = Vec::new();
    let mut others = Vec::new();
    let get = |priority| {
        let call = spawn_get(&caller, priority);
        // Read at once: what nobody reads keeps its permit.
        tokio::spawn(async move { Ok::<_, CallError>(text(call.await.unwrap()?).await.0) })
    };
    for _ in 0..20 {
        for priority in [Priority::BestEffort, Priority::Normal] {
            others.extend((0..5).map(|_| get(priority)));
        }
        critical.push(get(Priority::Critical));
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    for call in critical {
        assert_eq!(call.await.unwrap().unwrap(), 200);
    }
    let mut refused = 0;
    for call in others {
        refused += usize::from(call.await.unwrap().is_err());
    }
    assert!(refused > 100, "{refused} of 200");
}

#[tokio::test]
async fn the_priority_travels_with_the_call() {
    let server = Server::start(Protocol::Http, |request: Request<Incoming>| async move {
        let given = request.headers().get("madang-priority");
        ok(given.map_or("nothing", |value| value.to_str().unwrap()).to_owned())
    })
    .await;
    let caller = Arc::new(caller(Policy::default()));
    caller.rotate(&[&server]);
    for (priority, told) in [
        (Priority::Normal, "nothing"),
        (Priority::BestEffort, "best-effort"),
        (Priority::Critical, "critical"),
    ] {
        let answer = spawn_get(&caller, priority).await.unwrap().unwrap();
        assert_eq!(text(answer).await.1, told);
    }
    let mut forged = request("GET", "/", "");
    forged.headers_mut().insert("madang-priority", "critical".parse().unwrap());
    assert_eq!(text(caller.send(forged).await.unwrap()).await.1, "nothing");
}

#[tokio::test]
async fn a_slow_instance_is_hedged_at_another_one_and_the_record_counts_it() {
    for protocol in [Protocol::Http, Protocol::H2c] {
        let slow = Server::start(protocol, |_| async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            ok("slow")
        })
        .await;
        let fast = Server::start(protocol, |_| async { ok("fast") }).await;
        let hedge = Some(Hedge { after: HedgeAfter::Time(Duration::from_millis(100)) });
        let caller = caller(Policy { hedge, ..Policy::default() });
        caller.rotate(&[&slow, &fast]);
        for _ in 0..30 {
            let begin = Instant::now();
            assert_eq!(caller.get("/").await, (200, "fast".to_owned()));
            assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        }
        let (records, _) = caller.client.drain_records();
        let hedged = records.iter().filter(|record| record.attempts == 2).count();
        assert!(hedged > 0 && records.iter().all(|record| record.attempts <= 2), "{records:?}");
        // The instance that is always slow is known to be, although it never came to answer.
        assert!(hedged < 10, "{hedged} of 30 calls went to the slow instance first");
    }
}

#[tokio::test]
async fn the_last_good_answer_stands_in_for_a_service_that_is_gone() {
    let server = Server::start(Protocol::Http, |request: Request<Incoming>| async move {
        let mut response = ok(format!("you asked for {}", request.uri()));
        if request.uri().path() == "/bad" {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        response
    })
    .await;
    let fallback = Some(Fallback::LastGood(Duration::from_secs(60)));
    let connect_timeout = Duration::from_millis(50);
    let caller = caller(Policy { fallback, connect_timeout, attempts: 1, ..Policy::default() });
    caller.rotate(&[&server]);
    let good = caller.get("/a?b=1").await;
    assert_eq!(caller.get("/bad").await.0, 500);
    drop(server);
    tokio::task::yield_now().await;
    let response = caller.send(request("GET", "/a?b=1", "")).await.unwrap();
    assert_eq!(response.headers()["madang-fallback"], "last-good");
    assert_eq!(response.headers()["age"], "0");
    assert_eq!(text(response).await, good);
    assert!(caller.send(request("GET", "/bad", "")).await.is_err());
    assert!(caller.send(request("POST", "/a?b=1", "")).await.is_err());
    let (records, _) = caller.client.drain_records();
    let fallen = &records[2];
    assert_eq!((fallen.status, fallen.fallback), (200, Some(madang_wire::Fallback::LastGood)));
    assert_eq!(fallen.code.as_deref(), Some("MDG-CALL-002"));
    let counters = caller.client.counters();
    assert_eq!(counters[caller.users.upstream().name()].failures, 4, "it hides no failure");
}

#[tokio::test]
async fn a_caller_that_waits_for_a_permit_waits_no_longer_than_its_deadline() {
    let (slow, gate, asked) = patient(Protocol::Http).await;
    let share = limited(1, 10, Duration::from_secs(60));
    let caller = Arc::new(caller(Policy { share, ..Policy::default() }));
    caller.rotate(&[&slow]);
    let _first = spawn_get(&caller, Priority::Normal);
    until("the first is under way", || asked.load(SeqCst) == 1).await;
    let mut hurried = request("GET", "/", "");
    let deadline = Some(Deadline::after(Duration::from_millis(100)));
    hurried.extensions_mut().insert(Context { deadline, ..Context::root() });
    let begin = Instant::now();
    let error = caller.send(hurried).await.unwrap_err();
    assert!(matches!(error, CallError::Overloaded { .. }) && !error.outcome_unknown(), "{error:?}");
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(100) && took < Duration::from_secs(5), "{took:?}");
    // Another caller has a share of its own.
    let other =
        caller.directory.lane(Origin::Caller("mail".parse().unwrap()), caller.users.upstream().name());
    gate.add_permits(2);
    let answer = caller.client.call(&other, &caller.policy, request("GET", "/", "")).await.unwrap();
    assert_eq!(answer.status(), 200);
}

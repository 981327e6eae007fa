use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Json, Router, routing::get};
use expect_test::expect;
use madang_wire::admin::{Event, EventKind};
use tokio::sync::mpsc;

use crate::fake::{Fake, Process, always, event, instances, stream, system};

#[tokio::test]
async fn ready_is_seen_at_the_event_that_makes_it_so() {
    let (sender, events) = mpsc::channel::<Event>(1);
    let ready = Arc::new(AtomicBool::new(false));
    let is_ready = ready.clone();
    let api = Router::new()
        .route("/v1/system", get(|| async move { Json(system(1, is_ready.load(Ordering::SeqCst))) }))
        .route("/v1/events", stream(events));
    let fake = Fake::up(api);
    let waiting = fake.run("wait");
    let tell = async {
        sender.send(event("users", EventKind::Started, "")).await.unwrap();
        ready.store(true, Ordering::SeqCst);
        sender.send(event("users", EventKind::Ready, "")).await.unwrap();
    };
    let (ran, ()) = tokio::join!(waiting, tell);
    expect![[r#"
        exit 0
        shop is ready
    "#]]
    .assert_eq(&ran.to_string());
}

#[tokio::test]
async fn what_does_not_come_in_time_is_a_timeout() {
    let (_sender, events) = mpsc::channel::<Event>(1);
    let process = Process::start();
    let api = Router::new()
        .route("/v1/system", always(system(process.pid(), false)))
        .route("/v1/instances", always(instances()))
        .route("/v1/events", stream(events));
    let fake = Fake::up(api);
    fake.check(
        "wait --timeout 100ms",
        expect![[r#"
            exit 5
            --- stderr
            error: after 100ms the system is not ready: orders: waits for users (3 s); payments-x1: exit status 1
        "#]],
    )
    .await;
    fake.check(
        "wait --status down --timeout 100ms",
        expect![[r#"
            exit 5
            --- stderr
            error: after 100ms shop still runs
        "#]],
    )
    .await;
}

#[tokio::test]
async fn down_is_the_end_of_the_process() {
    let mut process = Process::start();
    let fake = Fake::up(Router::new().route("/v1/system", always(system(process.pid(), true))));
    let mut waiting = fake.command(["wait", "--status", "down"]).spawn().unwrap();
    while fake.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(waiting.try_wait().unwrap().is_none());
    process.end().await;
    assert!(waiting.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_system_that_does_not_run_is_down_and_never_ready() {
    let fake = Fake::down();
    assert_eq!(fake.run("wait --status down").await.code, 0);
    assert_eq!(fake.run("wait --status ready --timeout 200ms").await.code, 4);
}

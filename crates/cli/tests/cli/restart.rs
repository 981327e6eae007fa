use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    http::StatusCode,
    routing::{get, post},
};
use expect_test::expect;
use madang_wire::{
    Code, Problem,
    admin::{Event, EventKind, InstanceView, ServiceView, State},
};
use tokio::sync::mpsc;

use crate::fake::{Fake, always, event, instance, service, stream};

/// A node whose unit `core` hosts `users`: told to restart it, it tells these events; asked for the instances, it
/// answers each of these in turn.
fn node(events: Vec<Event>, instances: Vec<Vec<InstanceView>>) -> Router {
    let (sender, told) = mpsc::channel(8);
    let answers = Arc::new(Mutex::new(instances.into_iter()));
    let restart = move || async move {
        for event in events {
            sender.send(event).await.unwrap();
        }
        StatusCode::ACCEPTED
    };
    Router::new()
        .route("/v1/restart/users", post(restart))
        .route("/v1/services/users", always(ServiceView { unit: Some("core".into()), ..service("users") }))
        .route("/v1/instances", get(|| async move { Json(answers.lock().unwrap().next().unwrap()) }))
        .route("/v1/events", stream(told))
}

fn core(name: &str, state: State, since: u64) -> InstanceView {
    InstanceView { since, ..instance(name, "core", state) }
}

#[tokio::test]
async fn waits_until_every_instance_is_new() {
    const NEW: u64 = u64::MAX / 2;
    let ready = |message| event("core", EventKind::Ready, message);
    let events = vec![
        event("orders", EventKind::Exited, "of no concern"),
        event("core", EventKind::Started, "core-3"),
        ready("core-3"),
        event("core", EventKind::Started, "core-4"),
        ready("core-4"),
        event("core", EventKind::Stopped, "core-1"),
    ];
    let between = vec![core("core-1", State::Ready, 1), core("core-3", State::Ready, NEW)];
    let leaving = vec![
        core("core-1", State::Stopping, NEW),
        core("core-3", State::Ready, NEW),
        core("core-4", State::Ready, NEW),
    ];
    let after = vec![core("core-3", State::Ready, NEW), core("core-4", State::Ready, NEW)];
    Fake::up(node(events, vec![between.clone(), between, leaving, after]))
        .check(
            "restart users",
            expect![[r#"
                exit 0
                core  started: core-3
                core  ready after 0.0 s
                core  started: core-4
                core  ready after 0.0 s
                core  stopped: core-1
            "#]],
        )
        .await;
}

#[tokio::test]
async fn one_that_does_not_come_back_is_a_failure() {
    let events = vec![event("core", EventKind::BuildFailed, "exit status 101\nerror: expected `;`")];
    Fake::up(node(events, vec![]))
        .check(
            "restart users",
            expect![[r#"
        exit 1
        core  build failed: exit status 101
            error: expected `;`
        --- stderr
        error: core did not come back
    "#]],
        )
        .await;
}

#[tokio::test]
async fn returns_at_once_if_asked_to() {
    let fake = Fake::up(node(vec![], vec![]));
    fake.check(
        "restart users --no-wait",
        expect![[r#"
        exit 0
    "#]],
    )
    .await;
    assert!(fake.asked().contains(&"POST /v1/restart/users".to_owned()));
}

#[tokio::test]
async fn takes_no_longer_than_it_is_given() {
    Fake::up(node(vec![], vec![]))
        .check(
            "restart users --timeout 50ms",
            expect![[r#"
                exit 5
                --- stderr
                error: after 50ms the instances of core are still not new and ready
            "#]],
        )
        .await;
}

#[tokio::test]
async fn an_unknown_name_is_the_nodes_to_refuse() {
    let refuse = || async { (StatusCode::NOT_FOUND, Json(Problem::new(Code::UNKNOWN_NAME))) };
    let api = node(vec![], vec![]).route("/v1/restart/{name}", post(refuse));
    Fake::up(api)
        .check(
            "restart nobody",
            expect![[r#"
        exit 1
        --- stderr
        error: No such name in this system (MDG-ADM-001)
    "#]],
        )
        .await;
}

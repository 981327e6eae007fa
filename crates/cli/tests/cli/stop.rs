use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    http::StatusCode,
    routing::{get, post},
};
use expect_test::expect;
use madang_wire::admin::{Event, EventKind, InstanceView, State};
use tokio::sync::mpsc;

use crate::fake::{Fake, always, event, instance, service, stream};

/// A node whose unit `users` does what it is told: it tells this event, and looks like these in turn.
fn node(verb: &str, kind: EventKind, states: Vec<State>) -> Router {
    let (sender, told) = mpsc::channel::<Event>(8);
    let views: Vec<Vec<InstanceView>> =
        states.into_iter().map(|state| vec![instance("users-a", "users", state)]).collect();
    let answers = Arc::new(Mutex::new(views.into_iter()));
    let act = move || async move {
        sender.send(event("users", kind, "")).await.unwrap();
        // Kept open: the stream must not end before the command does.
        std::mem::forget(sender);
        StatusCode::ACCEPTED
    };
    Router::new()
        .route(&format!("/v1/units/users/{verb}"), post(act))
        .route("/v1/services/users", always(service("users")))
        .route("/v1/instances", get(|| async move { Json(answers.lock().unwrap().next().unwrap()) }))
        .route("/v1/events", stream(told))
}

#[tokio::test]
async fn stops_and_waits_until_nothing_runs() {
    let fake = Fake::up(node("stop", EventKind::Stopping, vec![State::Stopping, State::Stopped]));
    fake.check(
        "stop users",
        expect![[r#"
            exit 0
            users  stopping
        "#]],
    )
    .await;
}

#[tokio::test]
async fn starts_and_waits_until_it_is_ready() {
    let fake = Fake::up(node("start", EventKind::Started, vec![State::Starting, State::Ready]));
    fake.check(
        "start users",
        expect![[r#"
            exit 0
            users  started
        "#]],
    )
    .await;
}

#[tokio::test]
async fn returns_at_once_if_asked_to_and_gives_up_in_time() {
    let fake = Fake::up(node("stop", EventKind::Stopping, vec![]));
    assert_eq!(fake.run("stop users --no-wait").await.code, 0);
    let fake = Fake::up(node("start", EventKind::Started, vec![State::Starting; 50]));
    fake.check(
        "start users --timeout 50ms",
        expect![[r#"
            exit 5
            users  started
            --- stderr
            error: after 50ms users is still not ready
        "#]],
    )
    .await;
}

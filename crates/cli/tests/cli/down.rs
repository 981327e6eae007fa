use std::sync::Arc;

use axum::{Router, http::StatusCode, routing::post};
use expect_test::expect;
use madang_wire::admin::{Event, EventKind};
use tokio::sync::{Mutex, mpsc};

use crate::fake::{Fake, Process, always, event, instances, stream, system};

/// A node that, told to stop, tells of two units and, if it does end, ends.
async fn node(ends: bool) -> (Router, Arc<Mutex<Process>>) {
    let process = Process::start();
    let system = system(process.pid(), true);
    let process = Arc::new(Mutex::new(process));
    let (sender, events) = mpsc::channel::<Event>(8);
    let sender = Arc::new(Mutex::new(Some(sender)));
    let ending = process.clone();
    let down = move || async move {
        let sender = sender.lock().await.take().unwrap();
        for (unit, kind) in [("orders", EventKind::Stopping), ("orders", EventKind::Stopped)] {
            sender.send(event(unit, kind, "")).await.unwrap();
        }
        if ends {
            ending.lock().await.end().await;
        }
        StatusCode::ACCEPTED
    };
    let api = Router::new()
        .route("/v1/system", always(system))
        .route("/v1/instances", always(instances()))
        .route("/v1/events", stream(events))
        .route("/v1/down", post(down));
    (api, process)
}

#[tokio::test]
async fn shows_how_it_stops_and_returns_once_the_process_is_gone() {
    let (api, _process) = node(true).await;
    let fake = Fake::up(api);
    let ran = fake.run("down").await;
    assert_eq!(ran.code, 0, "{ran}");
    expect![[r#"
        orders    stopping
        orders    stopped
        shop is down"#]]
    .assert_eq(ran.stdout.split(" after ").next().unwrap());
    assert!(fake.asked().contains(&"POST /v1/down".to_owned()));
}

#[tokio::test]
async fn now_is_passed_on() {
    let (api, _process) = node(true).await;
    let fake = Fake::up(api);
    assert_eq!(fake.run("down --now").await.code, 0);
    assert!(fake.asked().contains(&"POST /v1/down?now=true".to_owned()));
}

#[tokio::test]
async fn a_node_that_does_not_end_is_a_timeout() {
    let (api, process) = node(false).await;
    let ran = Fake::up(api).run("down --timeout 50ms").await;
    let pid = process.lock().await.pid().to_string();
    expect![[r#"
        exit 5
        orders    stopping
        orders    stopped
        --- stderr
        error: after 50ms shop (process [PID]) still runs
    "#]]
    .assert_eq(&ran.to_string().replace(&pid, "[PID]"));
}

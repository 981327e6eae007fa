//! A service is killed under load: its callers do not notice.

use std::time::Duration;

use madang_testkit::{Load, Placement, Prepared};
use madang_wire::admin::State;

#[tokio::test(flavor = "multi_thread")]
async fn with_two_replicas_no_request_fails() {
    let shop = Prepared::shop();
    shop.edit("users/service.toml", "name = \"users\"", "name = \"users\"\nreplicas = 2");
    let shop = shop.start(Placement::Processes).await;
    let before = shop.pids("users").await;
    assert_eq!(before.len(), 2);

    let load = Load::start(shop.gateway_address(), "/users/1", 8);
    load.answered(200).await;
    madang_testkit::kill(before[0]);
    shop.until("two instances again", |shown| {
        let users = shown.iter().filter(|view| view.unit == "users" && view.state == State::Ready);
        let pids: Vec<_> = users.filter_map(|view| view.pid).collect();
        pids.len() == 2 && !pids.contains(&before[0])
    })
    .await;
    load.answered(200).await;
    let report = load.stop().await;
    assert!(report.failed.is_empty(), "{report:#?}");
    assert!(report.succeeded >= 400);
}

/// Kills the only process that answers, and asks on: requests wait for its successor.
async fn a_lone_process_is_killed(placement: Placement, unit: &str) {
    let shop = Prepared::shop().start(placement).await;
    let load = Load::start(shop.gateway_address(), "/users/1", 8);
    load.answered(200).await;
    let killed = shop.kill(unit).await;
    shop.until("another process", |shown| {
        shown.iter().any(|view| {
            view.unit == unit
                && view.state == State::Ready
                && view.restarts >= 1
                && view.pid.is_some_and(|pid| !killed.contains(&pid))
        })
    })
    .await;
    load.answered(200).await;
    let report = load.stop().await;
    assert!(report.failed.is_empty(), "{report:#?}");
    assert!(report.slowest < Duration::from_secs(10), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_replica_requests_wait_and_are_answered() {
    a_lone_process_is_killed(Placement::Processes, "users").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_one_process_requests_wait_and_are_answered() {
    a_lone_process_is_killed(Placement::Monolith, "shop").await;
}

/// A program that takes a second to come back: far longer than any pause between attempts.
#[tokio::test(flavor = "multi_thread")]
async fn requests_park_while_a_program_takes_its_time_to_start() {
    let shop = Prepared::shop();
    let users = madang_testkit::binary("shop-users").display().to_string();
    shop.edit(
        "users/service.toml",
        &format!("run = \"{users}\""),
        &format!("run = \"sleep 1; exec {users}\""),
    );
    let shop = shop.start(Placement::Processes).await;
    shop.kill("users").await;
    let asked = tokio::time::Instant::now();
    let answer = shop.get("/users/1").await;
    assert_eq!(answer.status, http::StatusCode::OK, "{}", answer.text());
    assert!(asked.elapsed() > Duration::from_millis(500), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_failure_of_one_service_stays_its_own() {
    let shop = Prepared::shop().start(Placement::Processes).await;
    let others = Load::start(shop.gateway_address(), "/products?limit=1", 4);
    others.answered(50).await;
    for _ in 0..3 {
        let killed = shop.kill("users").await;
        shop.until("another process", |shown| {
            let users = shown.iter().filter(|view| view.unit == "users" && view.state == State::Ready);
            users.filter_map(|view| view.pid).any(|pid| !killed.contains(&pid))
        })
        .await;
    }
    others.answered(50).await;
    let report = others.stop().await;
    assert!(report.failed.is_empty(), "{report:#?}");
    let restarts: Vec<u32> =
        shop.ps().await.iter().filter(|view| view.unit != "users").map(|view| view.restarts).collect();
    assert_eq!(restarts, [0, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_cannot_start_is_given_up_with_its_last_words() {
    let system = Prepared::with(
        r#"
        [gateway]
        listen = "127.0.0.1:{gateway}"

        [services.broken]
        run = "sh -c 'echo the disk is on fire >&2; exit 3'"
        routes = ["/**"]
        "#,
    );
    let output = system.madang(&["up"]).output().await.unwrap();
    let printed =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains("the disk is on fire"), "{printed}");
    assert_eq!(system.processes(), []);
}

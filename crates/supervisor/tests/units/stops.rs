//! How units stop, to the last grandchild.

use std::time::Duration;

use madang_wire::admin::EventKind;
use tokio::{sync::oneshot, time::Instant};

use crate::harness::*;

#[tokio::test]
async fn in_reverse_order_of_dependencies() {
    let mut orders = unit("orders", "sleep 60");
    orders.depends_on = ["users".parse().unwrap()].into();
    let running = run([orders, unit("users", "sleep 60")]).await;
    running.ready().await;
    let story = running.story.clone();
    let (rotation, row) = (running.rotation.clone(), running.row("users"));
    running.stop().await;
    let events = story.so_far();
    let at =
        |unit: &str, kind| events.iter().position(|event| event.unit == unit && event.kind == kind).unwrap();
    assert!(at("orders", EventKind::Stopped) < at("users", EventKind::Stopping));
    assert!(rotation.when(&format!("gone {}", row.name)).is_some());
    let stopped = events.iter().find(|event| event.kind == EventKind::Stopped).unwrap();
    assert_eq!(stopped.message, "was ended by SIGTERM (15)");
}

#[tokio::test]
async fn one_that_ends_its_work_is_out_of_rotation_first_and_not_killed() {
    let script = "trap 'sleep 0.3; echo bye; exit 0' TERM; while :; do sleep 0.02; done";
    let running = run([unit("users", script)]).await;
    running.ready().await;
    let (row, story, rotation) = (running.row("users"), running.story.clone(), running.rotation.clone());
    let _folder = running.stop().await;
    let gone = rotation.when(&format!("gone {}", row.name)).unwrap();
    assert!(gone.elapsed() >= Duration::from_millis(250), "before its work was over: {:?}", gone.elapsed());
    let log = std::fs::read_to_string(row.log.unwrap()).unwrap();
    assert!(log.ends_with("bye\n"), "{log}");
    assert_eq!(story.so_far().last().unwrap().message, "exited with code 0");
}

#[tokio::test]
async fn one_that_answers_requests_is_told_once_it_has_answered() {
    let running = run([unit("users", "sleep 60")]).await;
    running.ready().await;
    let (row, rotation) = (running.row("users"), running.rotation.clone());
    let (answered, busy) = oneshot::channel();
    *rotation.busy.lock().unwrap() = Some(busy);
    let stopping = tokio::spawn(running.stop());
    until("it leaves", || rotation.when(&format!("gone {}", row.name)).is_some()).await;
    assert!(!marked(&row.name).is_empty() && !stopping.is_finished());
    answered.send(()).unwrap();
    stopping.await.unwrap();
    assert_eq!(marked(&row.name), [0; 0]);
}

#[tokio::test]
async fn one_that_answers_requests_for_ever_is_told_in_the_end_and_at_once_in_a_hurry() {
    for hurry in [false, true] {
        let quiet = Duration::from_secs(if hurry { 600 } else { 0 });
        let running = run_with([unit("users", "sleep 60")], |config| config.quiet = quiet).await;
        running.ready().await;
        let (row, rotation) = (running.row("users"), running.rotation.clone());
        let (_answers, busy) = oneshot::channel();
        *rotation.busy.lock().unwrap() = Some(busy);
        if hurry {
            running.handle.kill_now();
        }
        running.stop().await;
        assert_eq!(marked(&row.name), [0; 0]);
    }
}

#[tokio::test]
async fn deaf_ones_and_those_that_left_for_another_session_too() {
    let script = "trap '' TERM
        setsid sh -c 'trap \"\" TERM; sleep 600 & sleep 600' &
        sh -c 'sleep 600 & setsid sleep 600 & exit 0'
        sleep 600 & wait; sleep 600";
    let running = run_with([unit("users", script)], |config| config.drain = Duration::from_millis(200)).await;
    running.ready().await;
    let row = running.row("users");
    until("all of them run", || marked(&row.name).len() == 7).await;
    let family = marked(&row.name);
    running.stop().await;
    assert_eq!(marked(&row.name), [0; 0]);
    assert_eq!(zombies(&family), [0; 0], "and the process table is clean");
}

fn zombies(pids: &[u32]) -> Vec<u32> {
    let stat = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    pids.iter().copied().filter(|pid| stat(pid).contains(") Z ")).collect()
}

#[tokio::test]
async fn told_twice_nobody_waits_for_the_drain() {
    let script = "trap '' TERM; while :; do sleep 1; done";
    let mut running =
        run_with([unit("users", script)], |config| config.drain = Duration::from_secs(600)).await;
    running.ready().await;
    let row = running.row("users");
    let (handle, told) = (running.handle.clone(), Instant::now());
    let first = tokio::spawn({
        let handle = handle.clone();
        async move { handle.stop().await }
    });
    running.event("users", EventKind::Stopping).await;
    handle.kill_now();
    running.stop().await;
    first.await.unwrap();
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
    assert_eq!(marked(&row.name), [0; 0]);
}

#[tokio::test]
async fn a_start_that_is_under_way_is_stopped_too() {
    let mut users = server("users");
    users.env.insert("READY_AFTER_MS".into(), "60000".into());
    let mut running = run([users]).await;
    running.event("users", EventKind::Started).await;
    let row = running.row("users");
    running.stop().await;
    assert_eq!(marked(&row.name), [0; 0]);
}

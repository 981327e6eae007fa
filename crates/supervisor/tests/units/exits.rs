//! What follows when a process exits that was not told to.

use std::{path::Path, sync::atomic::Ordering::Relaxed, time::Duration};

use madang_wire::admin::{EventKind, State};
use rustix::process::Signal;
use tokio::time::Instant;

use crate::harness::*;

#[tokio::test]
async fn it_is_out_of_rotation_at_once_and_another_takes_its_place() {
    let mut running = run([server("users")]).await;
    running.ready().await;
    let row = running.row("users");
    let killed = Instant::now();
    kill(row.pid.unwrap(), Signal::KILL);
    let exited = running.event("users", EventKind::Exited).await;
    assert!(exited.message.starts_with("was ended by SIGKILL (9)"), "{}", exited.message);
    let gone = running.rotation.when(&format!("gone {}", row.name)).unwrap();
    assert!(gone - killed < Duration::from_millis(250), "{:?}", gone - killed);
    running.event("users", EventKind::Ready).await;
    let next = running.row("users");
    assert_ne!(next.name, row.name);
    assert_eq!(next.restarts, 1);
    assert!(!running.history("users").contains(&EventKind::Backoff), "the first time there is no pause");
    running.stop().await;
}

#[tokio::test]
async fn one_that_never_becomes_ready_is_given_up_with_its_last_words() {
    let mut running = run([unit("users", "echo the database is missing; exit 3")]).await;
    running.event("users", EventKind::Backoff).await;
    let gave_up = running.event("users", EventKind::GaveUp).await;
    assert_eq!(
        gave_up.message,
        "gave up after 3 starts of which none became ready; the last exited with code 3; its last output:\n\
         the database is missing"
    );
    let row = running.row("users");
    assert_eq!((row.state, row.restarts), (State::Failed, 2));
    assert!(row.reason.unwrap().contains("the database is missing"));

    running.handle.restart("users".parse().unwrap());
    running.event("users", EventKind::Started).await;
    running.event("users", EventKind::GaveUp).await;
    running.stop().await;
}

#[tokio::test]
async fn what_it_started_goes_with_it() {
    let script = "setsid sleep 600 & sleep 600 & wait";
    let mut running = run([unit("users", script)]).await;
    running.ready().await;
    let row = running.row("users");
    until("its children run", || marked(&row.name).len() == 3).await;
    kill(row.pid.unwrap(), Signal::KILL);
    running.event("users", EventKind::Exited).await;
    assert_eq!(marked(&row.name), [0; 0], "they are gone before another is started");
    running.stop().await;
}

#[tokio::test]
async fn one_whose_task_failed_leaves_nobody_and_no_record() {
    let script = "setsid sleep 600 & sleep 600 & wait";
    let mut running =
        run_with([unit("users", script)], |config| config.settle = Duration::from_millis(300)).await;
    running.rotation.panics.store(true, Relaxed);
    running.event("users", EventKind::Started).await;
    let row = running.row("users");
    until("its children run", || marked(&row.name).len() == 3).await;
    let family = marked(&row.name);
    let exited = running.event("users", EventKind::Exited).await;
    assert_eq!(exited.message, "was lost: the task that watched it failed");
    assert_eq!(marked(&row.name), [0; 0], "they are gone before another is started");
    assert!(running.rotation.when(&format!("gone {}", row.name)).is_some());
    let counted = running.store.read(move |conn| {
        let count = "SELECT count(*) FROM supervisor_instances WHERE instance = ?1";
        conn.query_row(count, [&row.name], |row| row.get::<_, i64>(0))
    });
    assert_eq!(counted.await.unwrap(), 0);
    let exists = |pid: &u32| Path::new("/proc").join(pid.to_string()).exists();
    until("they are reaped", || !family.iter().any(exists)).await;
    running.event("users", EventKind::Ready).await;
    running.stop().await;
}

#[tokio::test]
async fn one_that_stops_answering_leaves_the_rotation_and_comes_back() {
    let mut running = run_with([server("users")], |config| {
        config.probe.every = Duration::from_millis(30);
        config.probe.timeout = Duration::from_millis(100);
    })
    .await;
    running.ready().await;
    let row = running.row("users");
    kill(row.pid.unwrap(), Signal::STOP);
    let lost = running.event("users", EventKind::Blocked).await;
    assert!(lost.message.ends_with("no answer in 100 ms"), "{}", lost.message);
    assert!(running.rotation.when(&format!("gone {}", row.name)).is_some());
    kill(row.pid.unwrap(), Signal::CONT);
    running.event("users", EventKind::Ready).await;
    assert_eq!(running.row("users").pid, row.pid, "it was not killed");
    running.stop().await;
}

//! How units start.

use std::{io::Read, io::Write, net::TcpStream, time::Duration};

use madang_model::PortRule;
use madang_wire::admin::{EventKind, State};

use crate::harness::*;

#[tokio::test]
async fn in_the_order_of_dependencies_and_otherwise_at_once() {
    let mut orders = unit("orders", "sleep 60");
    orders.depends_on = ["users".parse().unwrap()].into();
    let running = run_with([orders, unit("users", "sleep 60"), unit("payments", "sleep 60")], |config| {
        config.settle = Duration::from_millis(300);
    })
    .await;
    running.ready().await;
    let events = running.story.so_far();
    let at =
        |unit: &str, kind| events.iter().position(|event| event.unit == unit && event.kind == kind).unwrap();
    assert!(at("users", EventKind::Ready) < at("orders", EventKind::Started));
    assert!(at("payments", EventKind::Started) < at("users", EventKind::Ready));
    running.stop().await;
}

#[tokio::test]
async fn instances_are_told_who_they_are_and_where_to_listen() {
    let mut users = unit("users", "env; exec sleep 60");
    users.port = PortRule::Assigned;
    users.env = [
        ("SERVER_PORT".to_owned(), "${self.port}".to_owned()),
        ("NAME".to_owned(), "${self.unit}/${self.service}/${self.instance}".to_owned()),
        ("PEER".to_owned(), "${services.users.url}/v1 costs $$1".to_owned()),
        ("KEY".to_owned(), "it is ${secret.pay}".to_owned()),
        ("OURS".to_owned(), "y".to_owned()),
        ("MADANG_INSTANCE".to_owned(), "somebody else".to_owned()),
    ]
    .into();
    let mut running = run([users]).await;
    running.event("users", EventKind::Started).await;
    until("its environment is in the log", || running.log(&running.row("users")).contains("TOLD=")).await;
    let row = running.row("users");
    let log = running.log(&row);
    let port = log.lines().find_map(|line| line.strip_prefix("PORT=")).unwrap();
    assert!((20_000..30_000).contains(&port.parse::<u16>().unwrap()), "{port}");
    let id = &row.name;
    for line in [
        format!("SERVER_PORT={port}"),
        format!("NAME=users/users/{id}"),
        "PEER=http://users.of.users/v1 costs $1".to_owned(),
        "KEY=it is $ecret of users".to_owned(),
        format!("TOLD={id} of users"),
        "OURS=y".to_owned(),
        "MADANG_UNIT=users".to_owned(),
        "MADANG_SERVICE=users".to_owned(),
        format!("MADANG_INSTANCE={id}"),
        format!("MADANG_RELEASE={}", row.release.as_ref().unwrap()),
    ] {
        assert!(log.lines().any(|found| found == line), "{line} in\n{log}");
    }
    assert!(id.starts_with("users-") && id.len() == "users-".len() + 6, "{id}");
    running.stop().await;
}

#[tokio::test]
async fn what_asks_for_a_secret_that_cannot_be_told_does_not_start_and_says_why() {
    let mut users = unit("users", "exec sleep 60");
    users.env = [("KEY".to_owned(), "${secret.mail}".to_owned())].into();
    let mut running = run([users]).await;
    let failed = running.event("users", EventKind::GaveUp).await;
    let said = "gave up at the first start: no value for ${secret.mail}: it is not kept";
    assert_eq!(failed.message, said);
    running.stop().await;
}

#[tokio::test]
async fn replicas_have_ports_of_their_own_and_are_ready_once_they_answer() {
    let mut users = server("users");
    users.replicas = 2;
    let running = run([users]).await;
    running.ready().await;
    let rows = running.rows("users");
    assert_eq!(rows.len(), 2);
    for row in &rows {
        assert!(running.rotation.when(&format!("ready {}", row.name)).is_some());
        assert!(row.memory.unwrap() > 0);
        let address = row.url.as_ref().unwrap().strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with(&row.name), "{answer}");
    }
    running.stop().await;
}

#[tokio::test]
async fn one_whose_port_is_taken_says_by_whom_and_starts_when_it_is_free() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut users = server("users");
    users.port = PortRule::Fixed(port);
    let mut running = run([users]).await;
    let blocked = running.event("users", EventKind::Blocked).await;
    let expected = format!("port {port} is taken by");
    assert!(blocked.message.starts_with(&expected), "{}", blocked.message);
    assert!(blocked.message.contains(&format!("(pid {})", std::process::id())), "{}", blocked.message);
    assert_eq!(running.state("users"), State::Waiting);
    assert!(!running.history("users").contains(&EventKind::Started));
    drop(listener);
    running.ready().await;
    running.stop().await;
}

#[tokio::test]
async fn one_that_is_not_ready_in_time_is_stopped_and_what_was_seen_is_said() {
    let mut users = unit("users", "sleep 60");
    (users.port, users.health) = (PortRule::Assigned, Some("/healthz".into()));
    let mut running = run_with([users], |config| config.start_deadline = Duration::from_millis(200)).await;
    let exited = running.event("users", EventKind::Exited).await;
    let message = exited.message;
    assert!(message.starts_with("was not ready within 0.2 s: GET /healthz on 127.0.0.1:2"), "{message}");
    assert!(message.ends_with(": connection refused"), "{message}");
    running.event("users", EventKind::GaveUp).await;
    running.stop().await;
}

#[tokio::test]
async fn one_that_waits_says_for_whom() {
    let mut users = unit("users", "sleep 60");
    users.port = PortRule::Assigned;
    let mut orders = unit("orders", "sleep 60");
    orders.depends_on = ["users".parse().unwrap()].into();
    let mut running = run([users, orders]).await;
    let blocked = running.event("orders", EventKind::Blocked).await;
    assert_eq!(blocked.message, "waits for users (1 s)");
    let row = running.row("orders");
    assert_eq!(row.state, State::Waiting);
    assert!(row.health.starts_with("waits for users ("), "{}", row.health);
    running.handle.kill_now();
    running.stop().await;
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_named_and_given_up_at_once() {
    for (run_, expected) in [
        ("./no-such-program --serve", "gave up at the first start: `./no-such-program`: no such program"),
        (
            "A=1 no-such-program",
            "gave up at the first start: exited with code 127: its shell found no such program; its last \
             output:\n",
        ),
    ] {
        let mut running = run([unit("users", run_)]).await;
        let gave_up = running.event("users", EventKind::GaveUp).await;
        assert!(gave_up.message.starts_with(expected), "{}", gave_up.message);
        let row = running.row("users");
        assert_eq!((row.state, row.restarts), (State::Failed, 0));
        assert!(row.reason.unwrap().contains("no such program"));
        assert!(!running.history("users").contains(&EventKind::Backoff));
        running.stop().await;
    }
}

#[tokio::test]
async fn a_program_that_ran_before_is_looked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let (there, gone) = (folder.path().join("users"), folder.path().join("gone"));
    std::os::unix::fs::symlink("/bin/sleep", &there).unwrap();
    let users = unit("users", &format!("{} 60", there.display()));
    let mut running = run_with([users], |config| config.backoff.attempts = 1000).await;
    running.ready().await;
    std::fs::rename(&there, &gone).unwrap();
    kill(running.row("users").pid.unwrap(), rustix::process::Signal::KILL);
    // The first pause is none; the next is after the start that failed.
    running.event("users", EventKind::Backoff).await;
    std::fs::rename(&gone, &there).unwrap();
    running.event("users", EventKind::Ready).await;
    running.stop().await;
}

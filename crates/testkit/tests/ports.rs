//! Where programs listen: nowhere, on a port that they insist on, or behind Madang's own listener.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use http::{Method, StatusCode};
use madang_testkit::{Client, Load, Placement, Prepared, TestSystem, free_port};
use madang_wire::admin::{InstanceView, State};
use tokio::{task::JoinSet, time::Instant};

/// The program of every service here, beside the manifest.
const PROGRAM: &str = include_str!("programs/service.py");

/// A program that listens nowhere, asks `users` once and says what it was told.
const WORKER: &str = r#"
import json, os, time, urllib.request
with urllib.request.urlopen(os.environ["USERS_URL"] + "/from-worker") as answer:
    seen = json.load(answer)
print("users saw", seen["headers"]["madang-caller"], "at", seen["path"], flush=True)
print("PORT is", os.environ.get("PORT"), flush=True)
time.sleep(100000)
"#;

async fn start(manifest: &str) -> TestSystem {
    let prepared = Prepared::with(&format!("[gateway]\nlisten = \"127.0.0.1:{{gateway}}\"\n{manifest}"));
    prepared.write("service.py", PROGRAM);
    prepared.write("worker.py", WORKER);
    prepared.start(Placement::Processes).await
}

/// What `madang check` says to an edit that it refuses.
async fn refused(system: &TestSystem, from: &str, to: &str) -> String {
    system.edit("madang.toml", from, to);
    let check = system.madang(&["check"]).output().await.unwrap();
    let printed = String::from_utf8_lossy(&check.stderr).into_owned();
    assert_eq!(check.status.code(), Some(3), "{printed}");
    system.edit("madang.toml", to, from);
    printed
}

/// Whether these instances of a unit are ready, and none of the processes of before is left.
fn anew(unit: &'static str, count: usize, old: Vec<u32>) -> impl FnMut(&[InstanceView]) -> bool {
    move |shown| {
        let of_unit: Vec<_> = shown.iter().filter(|view| view.unit == unit).collect();
        let ready = |view: &&InstanceView| {
            view.state == State::Ready && view.pid.is_some_and(|pid| !old.contains(&pid))
        };
        of_unit.len() == count && of_unit.iter().all(ready)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_runs_calls_and_is_restarted_and_nothing_is_sent_to_it() {
    let began = Instant::now();
    let mut system = start(
        r#"
        [services.users]
        run = "python3 service.py"

        [services.worker]
        run = "python3 worker.py"
        port = false
        calls = { users = {} }
        "#,
    )
    .await;
    assert!(began.elapsed() > Duration::from_secs(1), "ready once it has run for a moment");
    let shown = system.ps().await;
    let worker = shown.iter().find(|view| view.unit == "worker").expect("the worker");
    assert_eq!((worker.state, worker.url.as_deref()), (State::Ready, None));
    let log = system.run(&["logs", "worker"]).await;
    assert!(log.contains("users saw worker at /from-worker"), "it calls through its door: {log}");
    assert!(log.contains("PORT is None"), "{log}");

    let killed = system.kill("worker").await;
    system.until("started again", anew("worker", 1, killed)).await;
    let shown = system.ps().await;
    assert_eq!(shown.iter().find(|view| view.unit == "worker").map(|view| view.restarts), Some(1));
    let log = system.run(&["logs", "worker"]).await;
    assert_eq!(log.matches("users saw worker").count(), 2, "{log}");

    for key in ["routes = [\"/worker\"]", "listen = 12000", "health = \"/healthz\""] {
        let printed = refused(&system, "port = false", &format!("port = false\n{key}")).await;
        assert!(printed.contains("MDG-MF-028") && printed.contains("madang.toml:"), "{printed}");
        assert!(printed.contains("\"worker\" has no port"), "{printed}");
    }
    system.down().await;
    assert_eq!(system.processes(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_at_once_is_never_ready() {
    let prepared = Prepared::with(
        "gateway.listen = '127.0.0.1:{gateway}'\n[services.worker]\nrun = \"echo done\"\nport = false\n",
    );
    let output = prepared.madang(&["up"]).output().await.unwrap();
    let printed =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains("done"), "its last words: {printed}");
    assert_eq!(prepared.processes(), []);
}

/// Python binds no port that another one still listens on, so that an exit would tell of an overlap.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_insists_on_a_port_is_replaced_stop_then_start() {
    let port = free_port();
    let manifest = format!(
        r#"
        [services.users]
        run = "python3 service.py {port}"
        port = {port}
        routes = ["/**"]
        "#
    );
    let system = start(&manifest).await;
    let fixed = SocketAddr::from(([127, 0, 0, 1], port));
    let direct = Client::new(fixed).get("/").await.expect("it listens where it wants to");
    let first = system.pids("users").await;
    assert_eq!(direct.json()["pid"], first[0]);

    let load = Load::start(system.gateway_address(), "/1", 4);
    load.answered(50).await;
    system.edit(
        "madang.toml",
        &format!("port = {port}"),
        &format!("port = {port}\nenv = {{ LEVEL = \"2\" }}"),
    );
    system.until("replaced after the edit", anew("users", 1, first.clone())).await;
    assert_eq!(Client::new(fixed).get("/env").await.unwrap().json()["LEVEL"], "2");
    let second = system.pids("users").await;
    system.run(&["restart", "users"]).await;
    system.until("replaced by hand", anew("users", 1, second)).await;
    load.answered(50).await;
    let report = load.stop().await;
    assert!(report.failed.is_empty(), "requests wait meanwhile: {report:#?}");
    let shown = system.ps().await;
    assert_eq!((shown.len(), shown[0].restarts), (1, 0), "none exited by itself: {shown:#?}");
    assert_eq!(shown[0].url.as_deref(), Some(&*format!("http://{fixed}")));

    let killed = system.kill("users").await;
    system.until("started again", anew("users", 1, killed)).await;
    assert_eq!(Client::new(fixed).get("/1").await.unwrap().status, StatusCode::OK);

    let printed = refused(&system, &format!("port = {port}"), &format!("port = {port}\nreplicas = 2")).await;
    for said in [
        "MDG-MF-018",
        &format!("2 replicas of \"users\" cannot all listen on port {port}"),
        "madang.toml:7",
        &format!("write `listen = {port}`"),
    ] {
        assert!(printed.contains(said), "{said}: {printed}");
    }
}

/// The processes that answer at an address when several clients ask at once.
async fn answering(address: SocketAddr) -> BTreeSet<u64> {
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        clients.spawn(async move {
            let mut client = Client::new(address);
            let mut pids = BTreeSet::new();
            for _ in 0..25 {
                let answer = client.send(Method::GET, "/", &[], "").await.expect("an answer");
                assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
                pids.insert(answer.json()["pid"].as_u64().expect("a process"));
            }
            pids
        });
    }
    clients.join_all().await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listener_of_a_service_balances_and_stays_where_it_is() {
    let port = free_port();
    let mut system = start(&format!(
        r#"
        [services.users]
        run = "python3 service.py"
        listen = {port}
        replicas = 2
        "#
    ))
    .await;
    let listener = SocketAddr::from(([127, 0, 0, 1], port));
    let pids = async |system: &TestSystem| -> BTreeSet<u64> {
        system.pids("users").await.into_iter().map(u64::from).collect()
    };
    assert_eq!(answering(listener).await, pids(&system).await, "both");
    let told: Vec<_> = system.ps().await.into_iter().filter_map(|view| view.url).collect();
    assert!(!told.contains(&format!("http://{listener}")), "each has a port of its own: {told:?}");

    let load = Load::start(listener, "/1", 4);
    let before = system.pids("users").await;
    system.run(&["restart", "users"]).await;
    system.until("replaced", anew("users", 2, before)).await;
    load.answered(50).await;
    let report = load.stop().await;
    assert!(report.failed.is_empty(), "{report:#?}");
    assert_eq!(answering(listener).await, pids(&system).await, "both of the new ones");

    system.kill_node().await;
    system.up(Placement::Processes).await;
    assert_eq!(answering(listener).await, pids(&system).await, "after madang was killed");
    system.down().await;
    system.up(Placement::Processes).await;
    assert_eq!(answering(listener).await, pids(&system).await, "after it was stopped");
}

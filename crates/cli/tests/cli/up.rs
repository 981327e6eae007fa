//! `up` with a real node: workers without a port, so that nothing but a shell is needed.

use std::{fs, net::TcpListener, process::Stdio};

use axum::Router;
use expect_test::expect;
use madang_testkit::free_port;
use madang_wire::admin::SystemView;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::process::Child;

use crate::fake::{Fake, always, read_until, system};

/// A system of workers that write their process ids down.
fn with(workers: &str) -> Fake {
    let fake = Fake::down();
    let gateway = free_port();
    fake.write(
        "madang.toml",
        &format!("system.name = \"yard\"\ngateway.listen = \"127.0.0.1:{gateway}\"\n{workers}"),
    );
    fake
}

const TWO: &str = r#"
[services.first]
run = "echo $$$$ > first.pid; exec sleep 100"
port = false

[services.second]
run = "echo $$$$ > second.pid; exec sleep 100"
port = false
depends_on = ["first"]
"#;

fn pid(fake: &Fake, file: &str) -> Pid {
    let text = fs::read_to_string(fake.root().join(file)).unwrap();
    Pid::from_raw(text.trim().parse().unwrap()).unwrap()
}

fn runs(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// What differs from run to run left out: numbers, folders, and that something had to wait.
fn steady(text: &str) -> String {
    let varies = ["gateway", "dashboard", "logs", "blocked"];
    let lines = text.lines().filter(|line| !varies.iter().any(|word| line.contains(word)));
    let lines: Vec<_> =
        lines.map(|line| line.replace(|c: char| c.is_ascii_digit() || c == '.', "")).collect();
    lines.join("\n")
}

#[tokio::test]
async fn a_refused_manifest_starts_nothing() {
    for command in ["up", "up -d"] {
        let fake = Fake::down();
        fake.write("madang.toml", "[services.users]\nran = \"node users.js\"\n");
        let ran = fake.run(command).await;
        assert_eq!((ran.code, &*ran.stdout), (3, ""), "{command}");
        assert!(ran.stderr.contains("MDG-MF-"), "{ran}");
        assert!(!fake.root().join(".madang").exists(), "{command}");
    }
}

#[tokio::test]
async fn a_system_that_runs_is_not_started_again() {
    let fake = Fake::up(
        Router::new().route("/v1/system", always(SystemView { started_at: u64::MAX, ..system(4711, true) })),
    );
    fake.write("madang.toml", "[services.users]\nrun = \"node users.js\"\n");
    fake.check(
        "up -d",
        expect![[r#"
            exit 1
            --- stderr
            error: shop in /shop is already run by process 4711, up for 0.0 s: `madang ps` shows it and `madang down` stops it; `madang up --isolated` runs a second one beside it
        "#]],
    )
    .await;
}

#[tokio::test]
async fn runs_until_it_is_interrupted_and_leaves_nothing_behind() {
    let fake = with(TWO);
    let mut up = fake.command(["up"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = up.stdout.take().unwrap();
    let start = read_until(&mut stdout, "Ctrl-C stops.\n").await;
    let (first, second) = (pid(&fake, "first.pid"), pid(&fake, "second.pid"));
    assert!(runs(first) && runs(second));
    expect![[r#"
        first   started: pid 
        first   ready after  s
        second  started: pid 
        second  ready after  s

        yard is ready after  s

        Ctrl-C stops"#]]
    .assert_eq(&steady(&start));

    signal(&up, Signal::INT);
    let end = read_until(&mut stdout, "first   stopped").await;
    assert!(end.find("second  stopped") < end.find("first   stopping"), "dependants first: {end}");
    assert!(up.wait().await.unwrap().success());
    assert!(!runs(first) && !runs(second));
    assert_eq!(fake.run("ps").await.code, 4);
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_work_to_end() {
    let fake = with(
        r#"
[services.stubborn]
run = "trap '' TERM; echo $$$$ > stubborn.pid; while :; do sleep 100; done"
port = false
"#,
    );
    let mut up = fake.command(["up"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = up.stdout.take().unwrap();
    read_until(&mut stdout, "Ctrl-C stops.\n").await;
    let stubborn = pid(&fake, "stubborn.pid");
    signal(&up, Signal::INT);
    read_until(&mut stdout, "stopping").await;
    assert!(runs(stubborn), "it was only asked");
    signal(&up, Signal::TERM);
    assert!(up.wait().await.unwrap().success());
    assert!(!runs(stubborn));
}

#[tokio::test]
async fn a_failed_start_stops_what_was_started() {
    let fails = "\n[services.third]\nbuild = \"echo no compiler; exit 3\"\nrun = \"true\"\nport = false\ndepends_on = [\"second\"]\n";
    for command in ["up", "up -d"] {
        let fake = with(&format!("{TWO}{fails}"));
        let ran = fake.run(command).await;
        assert_eq!(ran.code, 1, "{command}: {ran}");
        assert!(ran.stdout.contains("no compiler"), "{command}: {ran}");
        assert_eq!(ran.stderr, "error: third did not start\n", "{command}");
        assert_eq!(fake.run("ps").await.code, 4, "{command}");
        // It may have been stopped before it could write its id down.
        let first = fs::read_to_string(fake.root().join("first.pid")).unwrap_or_default();
        if let Ok(first) = first.trim().parse() {
            assert!(!runs(Pid::from_raw(first).unwrap()), "{command}");
        }
    }
}

#[tokio::test]
async fn in_the_background_it_stays_until_it_is_told_to_stop() {
    let fake = with(TWO);
    let ran = fake.run("up -d").await;
    assert_eq!(ran.code, 0, "{ran}");
    assert!(ran.stdout.ends_with("\nStop it with `madang down`.\n"), "{ran}");
    let first = pid(&fake, "first.pid");

    assert_eq!(fake.run("wait --timeout 5s").await.code, 0);
    assert_eq!(fake.run("up").await.code, 1, "a second one is refused");
    let shown = fake.run("ps").await.stdout;
    assert_eq!(shown.matches("ready").count(), 4, "{shown}");

    let restarted = fake.run("restart first --timeout 10s").await;
    assert_eq!(restarted.code, 0, "{restarted}");
    assert!(!runs(first));
    let first = pid(&fake, "first.pid");
    assert!(runs(first));

    assert_eq!(fake.run("down --timeout 10s").await.code, 0);
    assert!(!runs(first));
    assert_eq!(fake.run("down").await.code, 4);
}

#[tokio::test]
async fn a_node_that_cannot_start_in_the_background_says_why() {
    let fake = with(TWO);
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    fake.write("madang.toml", &format!("gateway.listen = \"{address}\"\n{TWO}"));
    let ran = fake.run("up -d").await;
    assert_eq!((ran.code, &*ran.stdout), (1, ""));
    let taken = format!("port {} is taken by ", address.port());
    assert!(ran.stderr.contains(&taken), "{ran}");
    assert!(ran.stderr.contains(&format!("(pid {})", std::process::id())), "{ran}");
}

/// `madang up | head -1` in a script that goes on.
#[tokio::test]
async fn a_closed_output_ends_no_system() {
    for format in ["table", "json"] {
        let fake = with(TWO);
        let mut command = fake.command(["up", "--format", format]);
        let mut up = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        read_until(up.stdout.as_mut().unwrap(), "\n").await;
        drop(up.stdout.take());
        let waited = fake.run("wait --timeout 20s").await;
        assert_eq!(waited.code, 0, "{waited}");
        // The second unit was started after nobody looked any more.
        assert!(runs(pid(&fake, "second.pid")));
        assert!(up.try_wait().unwrap().is_none(), "{format}: it ended");
        signal(&up, Signal::INT);
        let ended = up.wait_with_output().await.unwrap();
        assert_eq!(ended.status.code(), Some(0));
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(
            said, "the output is closed: the system runs on, and says nothing more here\n",
            "{format}"
        );
        let log = fs::read_to_string(fake.root().join(".madang/logs/madang.log")).unwrap_or_default();
        assert!(log.contains("the system runs on"), "{log}");
    }
}

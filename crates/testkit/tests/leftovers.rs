//! However a system ends, nothing of it is left behind.

use madang_testkit::{Placement, Prepared};
use rustix::process::Signal;

/// A unit whose shell has a child, a grandchild that ignores the polite signal, and one in a session of its own.
const FAMILY: &str = r#"
    [gateway]
    listen = "127.0.0.1:{gateway}"

    [services.family]
    run = "sh -c 'sh -c \"trap : TERM; while :; do sleep 1; done\" & setsid sleep 1000 & exec sleep 1000'"
    port = false
"#;

#[tokio::test(flavor = "multi_thread")]
async fn after_down() {
    let mut shop = Prepared::shop().start(Placement::Processes).await;
    assert!(shop.processes().len() >= 5);
    shop.down().await;
    assert_eq!(shop.processes(), []);
    let again = shop.madang(&["ps"]).output().await.unwrap();
    assert_eq!(again.status.code(), Some(4), "nothing runs: {}", String::from_utf8_lossy(&again.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_one_interrupt_to_the_last_grandchild() {
    let mut system = Prepared::with(FAMILY).start(Placement::Processes).await;
    assert!(system.processes().len() >= 4, "{:?}", system.processes());
    system.signal(Signal::INT);
    assert_eq!(system.ended().await, Some(0));
    assert_eq!(system.processes(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_two_interrupts_without_waiting() {
    let mut system = Prepared::with(FAMILY).start(Placement::Processes).await;
    system.signal(Signal::INT);
    system.until_printed("stopping").await;
    let asked = tokio::time::Instant::now();
    system.signal(Signal::INT);
    assert_eq!(system.ended().await, Some(0));
    assert!(asked.elapsed() < std::time::Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(system.processes(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_start_that_failed() {
    let shop = Prepared::shop();
    shop.edit(
        "payments/service.toml",
        "name = \"payments\"",
        "name = \"payments\"\nenv = { DATABASE_URL = \"sqlite:/proc/none\" }",
    );
    let output = shop.madang(&["up"]).output().await.unwrap();
    let printed =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains("payments"), "{printed}");
    assert_eq!(shop.processes(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named_and_nothing_is_started() {
    let shop = Prepared::shop();
    let _holder = std::net::TcpListener::bind(shop.gateway_address()).unwrap();
    let output = shop.madang(&["up"]).output().await.unwrap();
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains(&shop.gateway_address().port().to_string()), "{printed}");
    assert_eq!(shop.processes(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn detached_it_runs_until_told_to_stop() {
    let shop = Prepared::shop();
    let up = shop.madang(&["up", "-d"]).output().await.unwrap();
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    let second = shop.madang(&["up"]).output().await.unwrap();
    assert_eq!(second.status.code(), Some(1), "the same system twice");
    let mut client = madang_testkit::Client::new(shop.gateway_address());
    assert!(client.get("/users").await.unwrap().status.is_success());
    let logs = shop.madang(&["logs", "-n", "5", "users"]).output().await.unwrap();
    assert!(!logs.stdout.is_empty());
    let down = shop.madang(&["down"]).output().await.unwrap();
    assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
    assert_eq!(shop.processes(), []);
}

/// Whoever follows the log and stops reading keeps nobody from ending.
#[tokio::test(flavor = "multi_thread")]
async fn after_down_beside_a_reader_that_does_not_read() {
    let system = Prepared::with(
        r#"
        [gateway]
        listen = "127.0.0.1:{gateway}"

        [services.talker]
        run = "sh -c 'while :; do seq 1 20000; sleep 0.01; done'"
        port = false
        "#,
    );
    let mut system = system.start(Placement::Processes).await;
    let mut reader = system.madang(&["logs", "-f"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    system
        .until("much said", |_| {
            let logs = system.path().join(".madang/logs/talker");
            let files = std::fs::read_dir(logs).into_iter().flatten().flatten();
            files.filter_map(|file| file.metadata().ok()).any(|found| found.len() > 20_000_000)
        })
        .await;
    system.down().await;
    reader.kill().await.unwrap();
    assert_eq!(system.processes(), []);
}

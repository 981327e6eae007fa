use std::process::Stdio;

use axum::{Router, routing::get};
use expect_test::expect;
use madang_wire::{
    log::{LogLevel, LogLine},
    telemetry::{Missing, MissingKind, TelemetryView},
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::fake::{Fake, always, ndjson, read_until, stream};

fn line(at: u64, instance: &str, line: &str) -> LogLine {
    let unit = instance.split('-').next();
    let line = json!({"at": at, "unit": unit, "instance": instance, "source": "output", "line": line});
    serde_json::from_value(line).unwrap()
}

fn some() -> Vec<LogLine> {
    vec![
        line(1_000, "users-a", "listening"),
        line(61_002, "orders-b2", "주문 1"),
        line(61_003, "users-a", "GET /"),
    ]
}

#[tokio::test]
async fn shows_who_said_what_and_when() {
    let fake = Fake::up(Router::new().route("/v1/logs", get(|| async { ndjson(&some()) })));
    fake.check(
        "logs -n 3 users orders",
        expect![[r#"
        exit 0
        00:00:01.000 users-a | listening
        00:01:01.002 orders-b2 | 주문 1
        00:01:01.003 users-a   | GET /
    "#]],
    )
    .await;
    assert_eq!(fake.asked()[0], "GET /v1/logs?service=users&service=orders&n=3&follow=false");
}

#[tokio::test]
async fn structured_lines_are_written_out_unless_they_are_wanted_raw() {
    let json = r#"{"level":"INFO","message":"placed","order":7}"#;
    let structured = LogLine {
        level: Some(LogLevel::Info),
        message: Some("placed".into()),
        fields: serde_json::from_value(json!({"order": 7})).unwrap(),
        ..line(0, "orders-a", json)
    };
    let answer = ndjson(&[structured]);
    let fake = Fake::up(Router::new().route("/v1/logs", get(move || async move { answer })));
    assert_eq!(fake.run("logs").await.stdout, "00:00:00.000 orders-a | INFO  placed order=7\n");
    assert_eq!(fake.run("logs --raw").await.stdout, format!("00:00:00.000 orders-a | {json}\n"));
}

#[tokio::test]
async fn a_script_gets_one_document_a_line() {
    let fake = Fake::up(Router::new().route("/v1/logs", get(|| async { ndjson(&some()) })));
    let ran = fake.run("logs --format json").await;
    assert_eq!(ran.stdout, ndjson(&some()));
}

#[tokio::test]
async fn followed_lines_are_shown_as_they_come() {
    let (sender, lines) = mpsc::channel(1);
    let fake = Fake::up(Router::new().route("/v1/logs", stream(lines)));
    let mut follower = fake.command(["logs", "-f"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = follower.stdout.take().unwrap();
    for text in ["first", "second"] {
        sender.send(line(0, "users-a", text)).await.unwrap();
        read_until(&mut stdout, text).await;
    }
    drop(sender);
    assert!(follower.wait().await.unwrap().success(), "ends with the system");
}

#[tokio::test]
async fn a_closed_pipe_is_no_failure() {
    let many: Vec<_> = (0..5_000).map(|n| line(n, "users-a", "a line")).collect();
    let fake = Fake::up(Router::new().route("/v1/logs", get(|| async move { ndjson(&many) })));
    let mut command = fake.command(["logs"]);
    let mut logs = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = logs.stdout.take().unwrap();
    read_until(&mut stdout, "a line").await;
    drop(stdout);
    let output = logs.wait_with_output().await.unwrap();
    assert!(output.status.success());
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn lines_that_are_not_kept_are_said_beside_the_list() {
    let missing = |unit: &str, count| Missing {
        kind: MissingKind::Lines,
        reason: "budget".into(),
        unit: Some(unit.into()),
        count,
        why: "more than are kept".into(),
    };
    let view =
        TelemetryView { since: 0, missing: vec![missing("users", 7), missing("orders", 9)], forward: None };
    let api = Router::new().route("/v1/logs", get(|| async { ndjson(&some()) }));
    let fake = Fake::up(api.route("/v1/telemetry", always(view)));
    let ran = fake.run("logs users").await;
    assert_eq!(ran.stderr, "not kept since the start: 7 lines of users (more than are kept)\n");
    let all = fake.run("logs").await.stderr;
    assert!(all.contains("7 lines of users") && all.contains("9 lines of orders"), "{all}");
    assert_eq!(fake.run("logs --format json").await.stderr, "", "a script asks for it");
}

#[tokio::test]
async fn filters_are_asked_of_the_node() {
    let fake = Fake::up(Router::new().route("/v1/logs", get(|| async { ndjson(&some()) })));
    fake.run("logs --trace 0af7651916cd43dd8448eb211c80319c --level warn --grep user=7 orders").await;
    let asked = "GET /v1/logs?service=orders&trace=0af7651916cd43dd8448eb211c80319c&level=warn&grep=user%3D7&follow=false";
    assert_eq!(fake.asked()[0], asked);
    assert!(
        fake.run("logs --level loud")
            .await
            .stderr
            .contains("possible values: trace, debug, info, warn, error, fatal")
    );
}

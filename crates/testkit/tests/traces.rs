//! What the gateway and the doors saw of requests is there to be asked for, also after a restart.

use http::Method;
use madang_testkit::{Placement, Prepared, TestSystem};
use serde_json::Value;

/// The program of every service here, beside the manifest.
const PROGRAM: &str = include_str!("programs/service.py");

const SYSTEM: &str = r#"
    [gateway]
    listen = "127.0.0.1:{gateway}"

    [services.users]
    run = "python3 service.py"

    [services.orders]
    run = "python3 service.py"
    calls = { users = {} }
    routes = ["/**"]
"#;

/// Of what the traces are, which clients may say.
const GOOD: &str = "0af7651916cd43dd8448eb211c80319c";
const BAD: &str = "0af7651916cd43dd8448eb211c80319d";

async fn ask(system: &TestSystem, trace: &str, path: &str) -> u16 {
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let answer = system.client().send(Method::GET, path, &[("traceparent", parent.as_str())], "").await;
    answer.unwrap().status.as_u16()
}

async fn listed(system: &TestSystem, options: &[&str]) -> Vec<String> {
    let shown = system.run(&[&["traces", "--format", "json"], options].concat()).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let ids = shown["traces"].as_array().unwrap().iter().map(|trace| trace["trace_id"].as_str().unwrap());
    ids.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_crosses_the_gateway_and_a_door_and_outlives_the_node() {
    let prepared = Prepared::with(SYSTEM);
    prepared.write("service.py", PROGRAM);
    let mut system = prepared.start(Placement::Processes).await;
    assert_eq!(ask(&system, GOOD, "/call/users/7").await, 200);
    // The call is met by a fault at the door, for which the program passes on the answer.
    system.run(&["fault", "add", "orders", "--on", "users", "--status", "503"]).await;
    assert_eq!(ask(&system, BAD, "/call/users/7").await, 503);

    assert_eq!(listed(&system, &[]).await, [BAD, GOOD]);
    assert_eq!(listed(&system, &["--error"]).await, [BAD]);
    assert_eq!(listed(&system, &["--service", "users"]).await, [BAD, GOOD]);
    assert_eq!(listed(&system, &["--slow", "30s"]).await, [""; 0]);
    assert_eq!(listed(&system, &["--route", "/**"]).await, [BAD, GOOD]);
    assert_eq!(listed(&system, &["--route", "/**", "--error"]).await, [BAD]);
    let call = ["--caller", "orders", "--service", "users"];
    assert_eq!(listed(&system, &call).await, [BAD, GOOD]);
    assert_eq!(listed(&system, &[&call[..], &["--error"]].concat()).await, [BAD]);
    assert_eq!(listed(&system, &["--caller", "gateway", "--service", "users"]).await, [""; 0]);

    system.down().await;
    system.up(Placement::Processes).await;
    assert_eq!(listed(&system, &["--error"]).await, [BAD], "the file is kept");
    let view: Value = serde_json::from_str(&system.run(&["trace", GOOD, "--format", "json"]).await).unwrap();
    let spans = view["spans"].as_array().unwrap();
    let seen =
        spans.iter().map(|span| (span["service"].as_str(), span["peer"].as_str(), span["error"].as_bool()));
    let (gateway, door) = (Some("gateway"), Some("orders"));
    let expected = [(gateway, Some("orders"), Some(false)), (door, Some("users"), Some(false))];
    assert_eq!(seen.collect::<Vec<_>>(), expected);
    assert_eq!(spans[0]["parent_span_id"], "b7ad6b7169203331", "as the client said");
    assert_eq!(spans[1]["parent_span_id"], spans[0]["span_id"], "{view}");
    // The release of whoever answered is known where it was seen.
    assert!(spans.iter().all(|span| span["attributes"]["madang.release"].is_string()), "{view}");

    let drawn = system.run(&["trace", BAD]).await;
    // The gateway asked three times, and so did the door each time.
    assert!(drawn.starts_with(&format!("trace {BAD}: 4 spans, ")), "{drawn}");
    let lines: Vec<&str> = drawn.lines().skip(2).collect();
    assert!(lines[0].starts_with("GET /**") && lines[0].contains("503"), "{drawn}");
    assert!(lines[0].contains("3 attempts") && lines.len() == 4, "{drawn}");
    for line in &lines[1..] {
        assert!(
            line.starts_with("  GET users") && line.contains("3 attempts") && line.contains("fault"),
            "{drawn}"
        );
    }
}

//! A second receiver gets a whole copy of what the node has: spans, lines of files and what Madang measures, also after it
//! was away.

use std::time::Duration;

use http::Method;
use madang_testkit::{Placement, Prepared, TestSystem};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::collector::Collector;

const PROGRAM: &str = include_str!("../programs/service.py");

const SYSTEM: &str = r#"
    [gateway]
    listen = "127.0.0.1:{gateway}"

    [telemetry.forward]
    url = "{collector}"

    [services.users]
    run = "python3 service.py"

    [services.orders]
    run = "python3 service.py"
    calls = { users = {} }
    routes = ["/**"]

    [services.chatter]
    run = "sh -c 'n=0; while [ $n -lt 500 ]; do n=$((n+1)); echo \"line $n\"; done; exec sleep 600'"
    port = false
"#;

/// How long to wait for what comes by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many requests come from outside. Each is a call of another service besides.
const REQUESTS: usize = 60;

async fn lines(system: &TestSystem) -> usize {
    system.run(&["logs", "-n", "100000", "--format", "json"]).await.lines().count()
}

async fn spans(system: &TestSystem) -> u64 {
    let found = system.admin("/v1/traces?limit=1000").await;
    found["traces"].as_array().unwrap().iter().map(|trace| trace["spans"].as_u64().unwrap()).sum()
}

/// How many points there are, and the number of requests from outside, in what Prometheus reads.
async fn measured(system: &TestSystem) -> (usize, f64) {
    let text = system.admin_text("/metrics").await;
    let samples = || text.lines().filter(|line| !line.starts_with('#'));
    // A histogram is one point: that of its count.
    let part = |line: &&str| {
        let name = line.split(['{', ' ']).next().unwrap();
        let of_histogram = name.ends_with("_sum") && text.contains(&name.replace("_sum", "_bucket"));
        !of_histogram && !name.ends_with("_bucket")
    };
    let of_requests = samples().filter(|line| line.starts_with("madang_requests_total{"));
    let requests = of_requests.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
    (samples().filter(part).count(), requests)
}

async fn ask(system: &TestSystem) {
    for _ in 0..REQUESTS {
        let answer = system.client().send(Method::GET, "/call/users/7", &[], "").await.unwrap();
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_back_end_gets_spans_lines_and_metrics_whole_also_after_it_was_away() {
    let collector = Collector::start().await;
    let prepared = Prepared::with(&SYSTEM.replace("{collector}", &collector.url()));
    prepared.write("service.py", PROGRAM);
    let mut system = prepared.start(Placement::Processes).await;
    ask(&system).await;
    collector.refuse(true);
    ask(&system).await;
    // It is away, and that is seen.
    let began = Instant::now();
    while system.admin("/v1/telemetry").await["forward"]["trouble"] == Value::Null {
        assert!(began.elapsed() < PATIENCE, "it never has trouble");
        sleep(Duration::from_millis(50)).await;
    }
    collector.refuse(false);
    let expected = (spans(&system).await, lines(&system).await as u64);
    assert_eq!(expected, (4 * REQUESTS as u64, 500), "one at the gateway and one at the door of each");
    let (points, requests) = measured(&system).await;
    assert_eq!(requests, 2.0 * REQUESTS as f64);

    let began = Instant::now();
    loop {
        let found = (collector.spans(), collector.lines());
        let of_requests = collector.latest("madang_requests");
        if found == expected && of_requests == requests {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{found:?} of {expected:?}, {of_requests} of {requests}");
        // Nobody tells when the back end has it all.
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(collector.latest_points(), points, "each series that Prometheus reads is one point");
    let view = system.admin("/v1/telemetry").await;
    let dropped = view["missing"].as_array().unwrap().iter().filter(|one| one["kind"] == "forwarded");
    assert!(dropped.clone().count() == 2 && dropped.into_iter().all(|one| one["count"] == 0), "{view}");

    // The end is told too: what is measured last, and the last lines.
    system.down().await;
    assert_eq!((collector.spans(), collector.lines()), expected);
}

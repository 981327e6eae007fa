//! What is known of a system whose node was killed: all of it but the last second, and that it was killed.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::Method;
use madang_testkit::{Client, Placement, Prepared, TestSystem};
use madang_wire::{
    admin::{Event, EventKind},
    log::LogLine,
};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// Says each request on its output, with its trace; and what services measure, when it is told to.
const PROGRAM: &str = r#"
import http.server, json, os, socketserver, urllib.request

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    def do_GET(self):
        trace = self.headers["traceparent"].split("-")[1]
        # At once, as several threads write.
        os.write(1, (json.dumps({"message": "asked", "trace_id": trace}) + "\n").encode())
        self.end()
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        key, _, value = os.environ["OTEL_EXPORTER_OTLP_HEADERS"].partition("=")
        headers = {key: urllib.parse.unquote(value), "content-type": "application/json"}
        url = os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] + self.path
        urllib.request.urlopen(urllib.request.Request(url, body, headers)).read()
        self.end()
    def end(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

const SYSTEM: &str = r#"
    [gateway]
    listen = "127.0.0.1:{gateway}"

    [telemetry] # nothing is left out by its number
    spans_per_second = 100000
    log_lines_per_second = 100000

    [services.users]
    run = "python3 service.py"
    routes = ["/**"]
"#;

/// How many requests are answered before the node is killed, and how many more are on their way then.
const ANSWERED: usize = 3000;
const ASKING: usize = 4;

/// The pause after each, so that the load lasts for more than the second that may be lost.
const PAUSE: Duration = Duration::from_millis(4);

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// Asks one after the other until nobody answers; gives the traces of what was answered, each with when.
async fn ask(address: std::net::SocketAddr, who: usize, count: watch::Sender<usize>) -> Vec<(String, u64)> {
    let mut client = Client::new(address);
    let mut answered = Vec::new();
    loop {
        let trace = format!("{:032x}", (who + 1) << 32 | (answered.len() + 1));
        let parent = format!("00-{trace}-b7ad6b7169203331-01");
        match client.send(Method::GET, "/it", &[("traceparent", parent.as_str())], "").await {
            Ok(answer) if answer.status == 200 => answered.push((trace, now())),
            _ => return answered,
        }
        count.send_modify(|count| *count += 1);
        sleep(PAUSE).await;
    }
}

async fn metrics(system: &TestSystem) -> Value {
    system.admin("/v1/metrics/external?service=users").await
}

/// The number of requests that the tables know, over all of the last hour.
async fn counted(system: &TestSystem) -> u64 {
    let series = system.admin("/v1/metrics/series?caller=gateway&window=1h&step=10s").await;
    let points = series["points"].as_array().unwrap().iter();
    points.map(|point| point["flow"]["requests"].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_under_load_loses_a_second_at_most_and_the_next_one_says_so() {
    let prepared = Prepared::with(SYSTEM);
    prepared.write("service.py", PROGRAM);
    let mut system = prepared.start(Placement::Processes).await;
    let told = |name: &str| {
        json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [
            { "name": name, "sum": { "aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [{ "asInt": "7" }] } }
        ] }] }] })
    };
    let line = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [{ "body": { "stringValue": "by otlp" } }] }] }] });
    for (path, body) in [("/v1/metrics", told("jobs")), ("/v1/logs", line)] {
        assert_eq!(system.client().post(path, &body, &[]).await.unwrap().status, 200);
    }
    let count = watch::Sender::new(0);
    let mut answered = count.subscribe();
    let asking: Vec<_> =
        (0..ASKING).map(|who| tokio::spawn(ask(system.gateway_address(), who, count.clone()))).collect();
    let enough = timeout(Duration::from_secs(60), answered.wait_for(|count| *count >= ANSWERED)).await;
    enough.expect("answers").unwrap();
    let killed = now();
    system.kill_node().await;
    let gone = now();
    let mut seen = Vec::new();
    for asking in asking {
        seen.extend(asking.await.unwrap());
    }
    system.up(Placement::Processes).await;

    let events = system.run(&["events", "--format", "json", "-n", "1000"]).await;
    let events: Vec<Event> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told_of: Vec<_> = events.iter().filter(|event| event.kind == EventKind::NodeKilled).collect();
    let [event] = &told_of[..] else { panic!("one: {told_of:#?}") };
    assert!((killed.saturating_sub(1_000)..=gone).contains(&event.at), "{killed} {gone} {event:?}");
    assert!(event.message.starts_with("telemetry is whole up to 2"), "{event:?}");
    assert!(system.output().contains("node killed"), "{}", system.output());

    let whole: Vec<&str> =
        seen.iter().filter(|(_, at)| *at < event.at).map(|(trace, _)| trace.as_str()).collect();
    assert!(whole.len() > ANSWERED / 4, "the load was before: {} of {}", whole.len(), seen.len());
    for trace in &whole {
        let view = system.admin(&format!("/v1/traces/{trace}")).await;
        assert_eq!(view["spans"].as_array().map(Vec::len), Some(1), "{trace}: {view}");
    }
    let requests = counted(&system).await;
    // Two more came to tell of metrics and lines, and of those on their way nobody knows.
    let possible = whole.len() as u64 + 2..=(seen.len() + ASKING) as u64 + 2;
    assert!(possible.contains(&requests), "{requests} not in {possible:?}");

    // Lines of files are all there, also those that were written while no node ran.
    let lines = system.run(&["logs", "--grep", "asked", "-n", "100000", "--format", "json"]).await;
    let mut said: BTreeMap<String, usize> = BTreeMap::new();
    for line in lines.lines() {
        let line: LogLine = serde_json::from_str(line).unwrap();
        *said.entry(line.trace_id.expect("a trace").to_string()).or_default() += 1;
    }
    for (trace, _) in &seen {
        assert_eq!(said.get(trace), Some(&1), "{trace}");
    }
    assert!(system.run(&["logs", "--grep", "by otlp"]).await.contains("by otlp"));
    // What services measure goes on where it was.
    assert_eq!(metrics(&system).await[0]["series"][0]["value"], 7.0);
    system.client().post("/v1/metrics", &told("jobs"), &[]).await.unwrap();
    assert_eq!(metrics(&system).await[0]["series"][0]["value"], 14.0);

    // A node that is told to stop is not said to have been killed.
    system.down().await;
    system.up(Placement::Processes).await;
    let events = system.run(&["events", "--format", "json", "-n", "1000"]).await;
    assert_eq!(events.matches("node_killed").count(), 1, "{events}");
    system.down().await;
}

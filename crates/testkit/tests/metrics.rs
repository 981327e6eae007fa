//! What is measured is there to be asked for, also after a restart; Prometheus reads it, and has the same numbers.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use madang_testkit::{Client, Placement, Prepared, TestSystem, free_port};
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    time::{Instant, sleep},
};

/// The program of every service here, beside the manifest.
const PROGRAM: &str = include_str!("programs/service.py");

const SYSTEM: &str = r#"
    [system]
    name = "measured"

    [gateway]
    listen = "127.0.0.1:{gateway}"

    [telemetry]
    metrics = {metrics}

    [services.users]
    run = "python3 service.py"

    [services.orders]
    run = "python3 service.py"
    calls = { users = {} }
    routes = ["/**"]
"#;

/// How long Prometheus may take to start, to scrape twice and to know what it read.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start() -> (TestSystem, SocketAddr) {
    let port = free_port();
    let prepared = Prepared::with(&SYSTEM.replace("{metrics}", &port.to_string()));
    prepared.write("service.py", PROGRAM);
    (prepared.start(Placement::Processes).await, ([127, 0, 0, 1], port).into())
}

/// So many requests, each of which is a call of orders to users.
async fn ask(system: &TestSystem, count: usize) {
    for _ in 0..count {
        system.get("/call/users/7").await;
    }
}

/// Fifteen calls that go well, and three that fail as often as they are tried.
async fn traffic(system: &TestSystem) {
    ask(system, 15).await;
    system.run(&["fault", "add", "orders", "--on", "users", "--status", "503"]).await;
    ask(system, 3).await;
    system.run(&["fault", "rm", "--all"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_calls_add_up_to_is_told_by_second_and_outlives_the_node() {
    let (mut system, metrics) = start().await;
    traffic(&system).await;
    let summary = system.admin("/v1/metrics/summary?window=5m").await;
    let edge = |caller: &str, callee: &str| {
        let edges = summary["edges"].as_array().unwrap().iter();
        edges.clone().find(|edge| edge["caller"] == caller && edge["callee"] == callee).cloned().unwrap()
    };
    assert_eq!(edge("gateway", "orders")["flow"]["requests"], 18, "{summary}");
    assert_eq!(
        edge("orders", "users")["flow"]["errors"],
        edge("orders", "users")["flow"]["requests"].as_u64().unwrap() - 15
    );
    let orders = summary["services"]
        .as_array()
        .unwrap()
        .iter()
        .find(|service| service["service"] == "orders")
        .unwrap();
    assert_eq!((orders["ready"].as_u64(), orders["flow"]["errors"].as_u64()), (Some(1), Some(3)), "{orders}");
    assert!(orders["memory"].as_u64().unwrap() > 1_000_000, "{orders}");
    // What a fault answered is of no release.
    let failed = |release: &Value| release["flow"]["errors"] == release["flow"]["requests"];
    let releases = summary["releases"].as_array().unwrap();
    assert_eq!(releases.len(), 3, "{summary}");
    assert!(releases.iter().all(|one| one["release"].is_string() != failed(one)), "{summary}");

    let shown = system.run(&["top", "--once", "--window", "5m"]).await;
    assert!(shown.contains("\norders ") && shown.contains("\nusers "), "{shown}");
    let shown = system.run(&["map", "--window", "5m"]).await;
    assert!(shown.contains("└─ orders") && shown.contains("   └─ users"), "{shown}");
    // Seconds are known from the start of the node on.
    let started = system.admin("/v1/system").await["started_at"].as_u64().unwrap();
    let asked = format!("/v1/metrics/series?service=users&from={started}&step=1s&buckets=true");
    let seconds = system.admin(&asked).await;
    assert_eq!(seconds["step_ms"], 1000);
    let exemplars =
        seconds["points"].as_array().unwrap().iter().flat_map(|point| point["exemplars"].as_array().unwrap());
    let failed: Vec<_> = exemplars.filter(|exemplar| exemplar["failed"] == true).collect();
    let trace = failed[0]["trace_id"].as_str().unwrap();
    assert!(system.run(&["trace", trace]).await.contains("fault"), "the trace of an exemplar is kept");
    let text = Client::new(metrics).get("/metrics").await.unwrap().text();
    assert!(text.contains("madang_node_info{system=\"measured\""), "{text}");
    assert_eq!(Client::new(metrics).get("/v1/system").await.unwrap().status, 404, "metrics and nothing else");

    let count = |series: &Value| -> u64 {
        series["points"]
            .as_array()
            .unwrap()
            .iter()
            .map(|point| point["flow"]["requests"].as_u64().unwrap())
            .sum()
    };
    let asked = "/v1/metrics/series?service=orders&caller=gateway&window=30m&step=10s";
    assert_eq!(count(&system.admin(asked).await), 18);
    system.down().await;
    system.up(Placement::Processes).await;
    assert_eq!(count(&system.admin(asked).await), 18, "kept over a restart");
    ask(&system, 2).await;
    assert_eq!(count(&system.admin(asked).await), 20);
    system.down().await;
}

/// A server of Prometheus that ends with this.
struct Prometheus {
    _server: Child,
    address: SocketAddr,
}

impl Prometheus {
    fn start(folder: &Path) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let server = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--enable-feature=exemplar-storage", "--log.level=error"])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("prometheus runs: `cargo xtask test` installs it");
        Self { _server: server, address }
    }

    /// What it answers, once it does.
    async fn api(&self, path: &str) -> Option<Value> {
        let answer = Client::new(self.address).get(path).await.ok()?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// The samples of a query, each with its labels; `None` if it is no query or it does not answer yet.
    async fn query(&self, query: &str) -> Option<Vec<Value>> {
        let answer = self.api(&format!("/api/v1/query?query={}", escaped(query))).await?;
        (answer["status"] == "success")
            .then(|| answer["data"]["result"].as_array().cloned().unwrap_or_default())
    }

    /// The one number that a query gives.
    async fn number(&self, query: &str) -> Option<f64> {
        let [sample] = &self.query(query).await?[..] else { return None };
        sample["value"][1].as_str()?.parse().ok()
    }

    /// Waits until a query gives this number: it is asked until the scrape that has it has been read.
    async fn until(&self, query: &str, expected: f64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.number(query).await;
            if found == Some(expected) {
                return;
            }
            assert!(Instant::now() < deadline, "{query}: {found:?}, not {expected}");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

fn escaped(query: &str) -> String {
    query.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

async fn promtool(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut tool = Command::new("promtool");
    tool.args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut tool = tool.spawn().expect("promtool runs: `cargo xtask test` installs it");
    tool.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = tool.wait_with_output().await.unwrap();
    let said = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
    output
}

/// An alert that is raised when a tenth of the calls fail, and not when one in ten thousand does.
const RULE_TEST: &str = r#"
rule_files: [madang-alerts.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'madang_calls_total{system="s", caller="gateway", callee="bad", failed="true"}'
        values: 0+10x120
      - series: 'madang_calls_total{system="s", caller="gateway", callee="bad", failed="false"}'
        values: 0+90x120
      - series: 'madang_calls_total{system="s", caller="gateway", callee="good", failed="true"}'
        values: 0+1x120
      - series: 'madang_calls_total{system="s", caller="gateway", callee="good", failed="false"}'
        values: 0+9999x120
      - series: 'madang_service_ready_instances{system="s", service="gone"}'
        values: 1x60 0x60
    alert_rule_test:
      - eval_time: 70m
        alertname: MadangErrorsBurnFast
        exp_alerts:
          - exp_labels: { severity: page, system: s, callee: bad }
            exp_annotations:
              summary: "10% of the calls to bad fail: the errors of a month in two days"
              next: "madang traces --error --service bad"
      - eval_time: 59m
        alertname: MadangNoReadyInstance
      - eval_time: 63m
        alertname: MadangNoReadyInstance
        exp_alerts:
          - exp_labels: { severity: page, system: s, service: gone }
            exp_annotations:
              summary: "no instance of gone is in rotation"
              next: "madang logs gone"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_reads_the_numbers_that_the_admin_api_tells() {
    let (mut system, metrics) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    system.run(&["export", "prometheus", "--out", out]).await;
    system.run(&["export", "grafana", "--out", out]).await;
    promtool(folder.path(), &["check", "config", "prometheus.yml"], "").await;
    promtool(folder.path(), &["check", "rules", "madang-alerts.yml"], "").await;
    std::fs::write(folder.path().join("rules.yml"), RULE_TEST).unwrap();
    promtool(folder.path(), &["test", "rules", "rules.yml"], "").await;
    // As exported, but for a scrape each second.
    let config = folder.path().join("prometheus.yml");
    let exported = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, exported.replace("_interval: 5s", "_interval: 1s")).unwrap();

    let prometheus = Prometheus::start(folder.path());
    prometheus.until("up{job=\"madang\"}", 1.0).await;
    ask(&system, 1).await;
    prometheus.until("sum(madang_requests_total)", 1.0).await;
    traffic(&system).await;
    let summary = system.admin("/v1/metrics/summary?window=10m").await;
    let mut edges = 0;
    for edge in summary["edges"].as_array().unwrap() {
        let of = format!("caller={},callee={}", edge["caller"], edge["callee"]);
        let number = |field: &str| edge["flow"][field].as_f64().unwrap();
        prometheus.until(&format!("sum(madang_calls_total{{{of}}})"), number("requests")).await;
        prometheus.until(&format!("sum(madang_calls_total{{{of},failed=\"true\"}})"), number("errors")).await;
        prometheus.until(&format!("sum(madang_call_retries_total{{{of}}})"), number("retries")).await;
        prometheus
            .until(&format!("sum(madang_call_duration_seconds_count{{{of}}})"), number("requests"))
            .await;
        // Its buckets are wider: it finds the bucket that the exact quantile is in.
        let p50 = number("p50_us") / 1e6;
        let below = |bound: &str| format!("sum(madang_call_duration_seconds_bucket{{{of},le=\"{bound}\"}})");
        let half =
            format!("histogram_quantile(0.5, sum by (le) (madang_call_duration_seconds_bucket{{{of}}}))");
        let found = prometheus.number(&half).await.unwrap();
        assert!(found < p50 * 3.0 + 0.0006 && found > p50 / 3.0 - 0.0006, "{of}: {found} and {p50}");
        assert_eq!(prometheus.number(&below("+Inf")).await, Some(number("requests")));
        edges += 1;
    }
    assert_eq!(edges, 2, "{summary}");
    for release in summary["releases"].as_array().unwrap() {
        // To Prometheus a label that is not there is an empty one.
        let of =
            format!("service={},release={:?}", release["service"], release["release"].as_str().unwrap_or(""));
        let requests = release["flow"]["requests"].as_f64().unwrap();
        prometheus.until(&format!("sum(madang_release_calls_total{{{of}}})"), requests).await;
    }
    prometheus.until("madang_service_ready_instances{service=\"orders\"}", 1.0).await;

    // A rate needs two scrapes that have seen what failed.
    let scraped = "min(count_over_time(madang_release_calls_total{failed=\"true\"}[5m])) >= bool 2";
    prometheus.until(scraped, 1.0).await;
    // Every query of every dashboard is one, and shows something of what there is.
    for name in ["madang-system.json", "madang-service.json"] {
        let dashboard: Value =
            serde_json::from_slice(&std::fs::read(folder.path().join(name)).unwrap()).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                let expr = target["expr"].as_str().unwrap();
                let expr = expr.replace("$__rate_interval", "5m").replace("$service", "orders");
                let found = prometheus.query(&expr).await.unwrap_or_else(|| panic!("no query: {expr}"));
                // There is no breaker.
                assert!(!found.is_empty() || expr.contains("madang_service_breaker"), "no data: {expr}");
            }
        }
    }
    let exemplars = prometheus
        .api("/api/v1/query_exemplars?query=madang_call_duration_seconds_bucket&start=0&end=9999999999")
        .await
        .unwrap();
    let trace = exemplars["data"][0]["exemplars"][0]["labels"]["trace_id"].as_str().unwrap_or_default();
    assert_eq!(trace.len(), 32, "{exemplars}");
    let text = Client::new(metrics).get("/metrics").await.unwrap().text();
    promtool(folder.path(), &["check", "metrics"], &text).await;
    system.down().await;
}

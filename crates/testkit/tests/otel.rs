//! Services with OpenTelemetry's own libraries tell of themselves without a setting, over every transport; and all that
//! is told goes on to a second receiver.

#[path = "otel/collector.rs"]
mod collector;
#[path = "otel/forwarding.rs"]
mod forwarding;

use std::{collections::BTreeMap, time::Duration};

use http::Method;
use madang_testkit::{Placement, Prepared, TestSystem, binary, library};
use madang_wire::{
    log::{LogLevel, LogLine, LogSource},
    trace::{SpanView, TraceView},
};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use collector::Collector;

const NODE: &str = include_str!("programs/otel/main.js");
const PYTHON: &str = include_str!("programs/otel/main.py");

/// How long to wait for libraries that send when they like.
const PATIENCE: Duration = Duration::from_secs(20);

const SYSTEM: &str = r#"
    [gateway]
    listen = "127.0.0.1:{gateway}"

    [telemetry.forward]
    url = "{collector}"
    headers = { authorization = "Bearer of-the-collector" }

    [services.rust]
    run = "{rust}"
    health = "/healthz"
    routes = ["/rust/**"]
    calls = ["nodehttp", "nodejson", "nodegrpc"]

    [services.nodehttp]
    run = "node main.js"
    calls = ["pyhttp"]
    env = { NODE_PATH = "{node}", {soon} }

    [services.nodejson]
    run = "node main.js"
    calls = ["pygrpc"]
    env = { NODE_PATH = "{node}", OTEL_EXPORTER_OTLP_PROTOCOL = "http/json", {soon} }

    [services.nodegrpc]
    run = "node main.js"
    calls = ["pyhttp"]
    env = { NODE_PATH = "{node}", OTEL_EXPORTER_OTLP_PROTOCOL = "grpc", {soon} }

    [services.pyhttp]
    run = "python3 {python}/bin/opentelemetry-instrument python3 main.py"
    env = { PYTHONPATH = "{python}", OTEL_EXPORTER_OTLP_COMPRESSION = "gzip", {soon} }

    [services.pygrpc]
    run = "python3 {python}/bin/opentelemetry-instrument python3 main.py"
    env = { PYTHONPATH = "{python}", OTEL_EXPORTER_OTLP_PROTOCOL = "grpc", OTEL_EXPORTER_OTLP_COMPRESSION = "gzip", {soon} }
"#;

/// Has the libraries send soon, and all that they have: most send no log records unless they are told to.
const SOON: &str = r#"OTEL_BSP_SCHEDULE_DELAY = "200", OTEL_BLRP_SCHEDULE_DELAY = "200",
    OTEL_METRIC_EXPORT_INTERVAL = "500", OTEL_METRICS_EXPORTER = "otlp", OTEL_LOGS_EXPORTER = "otlp",
    OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED = "true""#;

async fn start(collector: &Collector) -> TestSystem {
    let paths = [
        ("{collector}", collector.url()),
        ("{rust}", binary("polyglot-rust").display().to_string()),
        ("{node}", library("node/node_modules").display().to_string()),
        ("{python}", library("python").display().to_string()),
        ("{soon}", SOON.replace('\n', " ")),
    ];
    let system = paths.iter().fold(SYSTEM.to_owned(), |system, (name, path)| system.replace(name, path));
    let prepared = Prepared::with(&system);
    prepared.write("main.js", NODE);
    prepared.write("main.py", PYTHON);
    prepared.start(Placement::Processes).await
}

/// Sends somebody round, in a trace of this number.
async fn trip(system: &TestSystem, trace: u128, path: &str) -> u16 {
    let parent = format!("00-{trace:032x}-b7ad6b7169203331-01");
    let answer = system.client().send(Method::GET, path, &[("traceparent", parent.as_str())], "").await;
    answer.unwrap().status.as_u16()
}

/// The trace, once it is as it should be.
async fn trace(system: &TestSystem, trace: u128, is: impl Fn(&TraceView) -> bool) -> TraceView {
    let began = Instant::now();
    loop {
        let found = system.admin(&format!("/v1/traces/{trace:032x}")).await;
        let shown = found.to_string();
        let view: Option<TraceView> = serde_json::from_value(found).ok();
        match view.filter(|view| is(view)) {
            Some(view) => return view,
            None => assert!(began.elapsed() < PATIENCE, "never whole: {shown}"),
        }
        // The libraries tell nobody when they have sent all.
        sleep(Duration::from_millis(100)).await;
    }
}

/// The lines that `madang logs` finds.
async fn said(system: &TestSystem, options: &[&str]) -> Vec<LogLine> {
    let shown = system.run(&[&["logs", "--format", "json", "-n", "1000"], options].concat()).await;
    shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The way from a span to what caused it all, as `service kind`.
fn way_up<'a>(view: &'a TraceView, from: &'a SpanView) -> Vec<String> {
    let known: BTreeMap<u64, &SpanView> = view.spans.iter().map(|span| (span.span_id.0, span)).collect();
    let up = |span: &&SpanView| known.get(&span.parent_span_id?.0).copied();
    std::iter::successors(Some(from), up).map(|span| format!("{} {}", span.service, span.kind)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_crosses_rust_node_and_python_over_every_transport_and_goes_on_whole() {
    let collector = Collector::start().await;
    let mut system = start(&collector).await;
    for (number, node, python) in
        [(1, "nodehttp", "pyhttp"), (2, "nodejson", "pygrpc"), (3, "nodegrpc", "pyhttp")]
    {
        assert_eq!(trip(&system, number, &format!("/rust/trip/{node}/{python}")).await, 200);
        // The gateway's, a door's, two of Node's, a door's, two of Python's.
        let view = trace(&system, number, |view| view.spans.len() >= 7).await;
        let named = |name: &str| view.spans.iter().find(|span| span.name == name).expect(name);
        let expected = [
            format!("{python} server"),
            format!("{node} client"), // at the door
            format!("{node} client"), // in the program
            format!("{node} server"),
            "rust client".to_owned(), // at the door; this program has no library
            "gateway server".to_owned(),
        ];
        assert_eq!(way_up(&view, named("stop")), expected, "{view:#?}");
        assert_eq!(way_up(&view, named("pack")), [&[format!("{python} internal")], &expected[..]].concat());
        assert_eq!(view.spans.len(), 7, "one tree of all: {view:#?}");

        // Whose it is follows from the token.
        let stop = named("stop");
        assert!(stop.instance.as_ref().is_some_and(|id| id.starts_with(python)), "{stop:?}");
        assert!(stop.release.is_some() && stop.resource["telemetry.sdk.language"] == "python", "{stop:?}");
        let details = stop.details.as_ref().unwrap();
        assert_eq!(
            (details.scope.as_deref(), details.events[0].name.as_str()),
            (Some("stops 1.2"), "arrived")
        );
        assert_eq!(stop.attributes["path"], format!("/{python}/trip"));

        let began = Instant::now();
        while let Some(missing) = collector.missing(&view) {
            assert!(began.elapsed() < PATIENCE, "never came: {missing:?}");
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(collector.spans_of(number).len(), view.spans.len(), "nothing else of it came");
    }

    // What goes wrong is seen where it did.
    assert_eq!(trip(&system, 4, "/rust/trip/nodehttp/pyhttp/fail").await, 500);
    let failed = |view: &TraceView| view.spans.iter().any(|span| span.name == "stop");
    trace(&system, 4, failed).await;
    let drawn = system.run(&["trace", &format!("{:032x}", 4)]).await;
    assert!(drawn.contains("· exception") && drawn.contains("ValueError: no such stop"), "{drawn}");

    // What they measure is kept too, and what they log goes on too.
    for (service, metric) in [
        ("nodehttp", "trips"),
        ("nodejson", "trips"),
        ("nodegrpc", "trips"),
        ("pyhttp", "stop.size"),
        ("pygrpc", "stop.size"),
    ] {
        let began = Instant::now();
        let path = format!("/v1/metrics/external?service={service}");
        while !system.admin(&path).await.to_string().contains(&format!("\"{metric}\"")) {
            assert!(began.elapsed() < PATIENCE, "never measured: {service} {metric}");
            sleep(Duration::from_millis(100)).await;
        }
    }
    let logs = [
        "a stop at pyhttp",
        "a stop at pygrpc",
        "a trip by nodehttp",
        "a trip by nodejson",
        "a trip by nodegrpc",
    ];
    let began = Instant::now();
    while !(logs.iter().all(|log| collector.has_log(log))
        && collector.has_metric("trips")
        && collector.has_metric("stop.size"))
    {
        assert!(began.elapsed() < PATIENCE, "logs and metrics never went on");
        sleep(Duration::from_millis(100)).await;
    }

    // And is among the lines of the services, with whose it is by the token.
    for (trace, node, python) in
        [(1, "nodehttp", "pyhttp"), (2, "nodejson", "pygrpc"), (3, "nodegrpc", "pyhttp")]
    {
        let (trip, stop) = (format!("a trip by {node}"), format!("a stop at {python}"));
        let found = said(&system, &["--trace", &format!("{trace:032x}"), "--level", "warn"]).await;
        for (body, service) in [(&trip, node), (&stop, python)] {
            let line = found.iter().find(|line| line.line == *body && line.source == LogSource::Otlp);
            let line = line.unwrap_or_else(|| panic!("no {body} in {found:#?}"));
            assert_eq!((&*line.unit, line.level), (service, Some(LogLevel::Warn)));
            assert!(
                line.instance.starts_with(service) && line.release.is_some() && line.span_id.is_some(),
                "{line:?}"
            );
        }
        let found = said(&system, &[node, "--grep", &trip]).await;
        assert!(found.iter().any(|line| line.fields["next"] == python), "{found:#?}");
    }
    let missing = system.admin("/v1/telemetry").await;
    let refused =
        missing["missing"].as_array().unwrap().iter().find(|it| it["kind"] == "lines" && it["count"] != 0);
    assert_eq!(refused, None, "none were too many");

    assert!(collector.headers_were("authorization", "Bearer of-the-collector"));
    let shown = system.admin("/v1/system").await;
    assert_eq!(
        (&shown["forward"]["dropped"], &shown["forward"]["refused"]),
        (&0.into(), &0.into()),
        "{shown}"
    );
    assert_eq!(shown["forward"]["trouble"], Value::Null);
    system.down().await;
}

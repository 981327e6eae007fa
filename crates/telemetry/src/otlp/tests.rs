//! Exports over their whole way: read, kept, asked for.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use futures_util::StreamExt;
use madang_wire::{
    TraceId,
    log::{LogLevel, LogLine},
    otlp::{
        collector::trace::v1::ExportTraceServiceRequest, metrics::v1::ResourceMetrics, resource::v1::Resource,
    },
    trace::SpanView,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{Archive, ArchiveConfig, LogConfig, LogFilter, LogQuery, PushedValue, TraceConfig};

async fn all_stores(config: TraceConfig) -> (Receiver, Stores, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(&folder.path().join("telemetry.db"), ArchiveConfig::default()).await.unwrap();
    let logs =
        Logs::new(folder.path().join("logs"), &archive, LogConfig { lines_per_second: 5, largest: 1 << 20 });
    let stores = Stores { traces: Traces::new(&archive, config), logs, external: External::default() };
    (Receiver::new(stores.clone(), None), stores, folder)
}

async fn stores(config: TraceConfig) -> (Receiver, Traces, TempDir) {
    let (receiver, stores, folder) = all_stores(config).await;
    (receiver, stores.traces, folder)
}

fn sender(services: &[&str]) -> Sender {
    Sender {
        name: "core".into(),
        unit: "core".into(),
        services: services.iter().map(|service| (*service).into()).collect(),
        instance: Some("core-a".into()),
        release: Some("r1".into()),
    }
}

/// Now, in nanoseconds and less a little: what is too old is deleted.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_nanos() as u64 / 1000 * 1000
}

fn exported(resource: Value, spans: Value) -> Value {
    json!({ "resourceSpans": [{ "resource": { "attributes": resource },
        "scopeSpans": [{ "scope": { "name": "lib", "version": "2" }, "spans": spans }] }] })
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

async fn kept(traces: &Traces, trace: u128) -> Vec<SpanView> {
    traces.flush().await.unwrap();
    traces.get(TraceId(trace)).await.unwrap().map(|view| view.spans).unwrap_or_default()
}

#[tokio::test]
async fn a_span_is_kept_with_all_that_it_tells_whichever_way_it_is_written() {
    let (receiver, traces, _folder) = stores(TraceConfig::default()).await;
    let start = now();
    let span = |trace: &str| {
        json!({
            "traceId": trace, "spanId": "00000000000000a1", "parentSpanId": "00000000000000a0", "name": "GET /x", "kind": 2,
            "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + 5_000_000).to_string(),
            "attributes": [text("http.request.method", "GET"), { "key": "n", "value": { "intValue": "7" } }],
            "events": [{ "timeUnixNano": start + 1_000_000, "name": "exception",
                "attributes": [text("exception.type", "TypeError"), text("exception.message", "x is none")] }],
            "links": [{ "traceId": "0000000000000000000000000000000f", "spanId": "000000000000000e" }, { "traceId": "" }],
            "status": { "code": 2, "message": "it broke" }, "traceState": "a=b", "droppedAttributesCount": 3
        })
    };
    let resource =
        json!([text("service.name", "users"), text("host.name", "h"), text("service.version", "1.4")]);
    let as_json = exported(resource.clone(), json!([span("00000000000000000000000000000001")]));
    let as_protobuf: ExportTraceServiceRequest =
        serde_json::from_value(exported(resource, json!([span("00000000000000000000000000000002")])))
            .unwrap();
    let sender = sender(&["users", "cart"]);
    for (encoding, body) in [
        (Encoding::Json, as_json.to_string().into_bytes()),
        (Encoding::Protobuf, as_protobuf.encode_to_vec()),
    ] {
        let partial = receiver.receive(&sender, Signal::Traces, encoding, &body).unwrap();
        assert_eq!(partial, Partial::default());
    }
    let [span] = &kept(&traces, 1).await[..] else { panic!("one") };
    assert_eq!(kept(&traces, 2).await, std::slice::from_ref(span));
    assert_eq!(
        (&*span.service, span.instance.as_deref(), span.release.as_deref()),
        ("users", Some("core-a"), Some("r1"))
    );
    assert_eq!(
        (span.span_id.0, span.parent_span_id.unwrap().0, &*span.kind, span.error),
        (0xa1, 0xa0, "server", true)
    );
    assert_eq!((span.start_us, span.duration_us), (start / 1000, 5000));
    assert_eq!(Value::from(span.attributes.clone()), json!({ "http.request.method": "GET", "n": 7 }));
    assert_eq!(
        Value::from(span.resource.clone()),
        json!({ "host.name": "h", "told.service.version": "1.4" })
    );
    assert_eq!(
        serde_json::to_value(&span.details).unwrap(),
        json!({ "message": "it broke", "scope": "lib 2", "trace_state": "a=b", "dropped": 4,
            "events": [{ "at_us": start / 1000 + 1000, "name": "exception",
                "attributes": { "exception.type": "TypeError", "exception.message": "x is none" } }],
            "links": [{ "trace_id": "0000000000000000000000000000000f", "span_id": "000000000000000e" }] })
    );
}

#[tokio::test]
async fn spans_that_are_none_are_counted_and_leave_the_others() {
    let (receiver, traces, _folder) = stores(TraceConfig::default()).await;
    let span = |trace: &str, id: &str, parent: &str, start: u64| {
        json!({ "traceId": trace, "spanId": id, "parentSpanId": parent, "startTimeUnixNano": start,
            "endTimeUnixNano": 1 })
    };
    let (trace, id) = ("00000000000000000000000000000001", "0000000000000001");
    let zeros = "00000000000000000000000000000000";
    for (wrong, why) in [
        (span(zeros, id, "", now()), "its trace id is all zeros"),
        (span(trace, &zeros[16..], "", now()), "its span id is all zeros"),
        (span("", id, "", now()), "its trace id has 0 bytes instead of 16"),
        (span(trace, "01", "", now()), "its span id has 1 bytes instead of 8"),
        (span(trace, id, "01", now()), "its parent span id has 1 bytes instead of 8"),
        (span(trace, id, "", 0), "it does not say when it began"),
    ] {
        let export = exported(json!([]), json!([span(trace, id, &zeros[16..], now()), wrong]));
        let body = export.to_string();
        let partial = receiver.receive(&sender(&["users"]), Signal::Traces, Encoding::Json, body.as_bytes());
        let why = format!("resourceSpans[0].scopeSpans[0].spans[1]: {why}");
        assert_eq!(partial.unwrap(), Partial { rejected: 1, why });
    }
    let [span] = &kept(&traces, 1).await[..] else { panic!("one") };
    assert_eq!((span.parent_span_id, span.duration_us, &*span.service), (None, 0, "users"));
}

#[test]
fn who_it_is_follows_from_who_sends_it() {
    let check = |services: &[&str], told: Value, service: &str, stamped: Value| {
        let mut resource: Resource = serde_json::from_value(json!({ "attributes": told })).unwrap();
        let origin = sender(services).stamp(&mut resource);
        assert_eq!(&*origin.service, service);
        let fields = resource.attributes.into_iter();
        let fields = fields.map(|field| (field.key, madang_wire::otlp::to_json(field.value)));
        assert_eq!(Value::from(fields.collect::<serde_json::Map<_, _>>()), stamped);
    };
    let own = |service: &str| json!({ "service.name": service, "service.instance.id": "core-a", "service.version": "r1" });
    let and = |mut value: Value, key: &str, told: &str| {
        value[key] = told.into();
        value
    };
    check(&["users", "cart"], json!([text("service.name", "cart")]), "cart", own("cart"));
    check(&["users", "cart"], json!([]), "core", own("core"));
    check(&["users"], json!([]), "users", own("users"));
    let foreign = json!([text("service.name", "payments"), text("told.service.name", "forged")]);
    check(&["users", "cart"], foreign.clone(), "core", and(own("core"), "told.service.name", "payments"));
    check(&["users"], foreign, "users", and(own("users"), "told.service.name", "payments"));
    let instance =
        json!([text("service.instance.id", "core-a"), text("service.version", "9"), text("host.name", "h")]);
    let stamped = and(and(own("users"), "told.service.version", "9"), "host.name", "h");
    check(&["users"], instance, "users", stamped);
}

#[tokio::test]
async fn what_cannot_be_read_is_said_with_its_place() {
    let (receiver, ..) = stores(TraceConfig::default()).await;
    let said = |encoding, body: &[u8]| {
        receiver.receive(&sender(&["users"]), Signal::Traces, encoding, body).unwrap_err().to_string()
    };
    let bad = exported(json!([]), json!([{ "traceId": "00" }, { "traceId": "xy" }])).to_string();
    assert!(
        said(Encoding::Json, bad.as_bytes()).starts_with(
            "failed to read it as JSON of OTLP: at resourceSpans[0].scopeSpans[0].spans[1].traceId: invalid value: \
             string \"xy\", expected an even number of hexadecimal digits"
        ),
        "{}",
        said(Encoding::Json, bad.as_bytes())
    );
    assert!(said(Encoding::Json, b"{} {}").contains("at its end: trailing characters"));
    let deep = r#"{"resourceSpans":[{"resource":{"attributes":[{"value":"#.to_owned();
    let deep = deep + &r#"{"arrayValue":{"values":["#.repeat(100);
    assert!(said(Encoding::Json, deep.as_bytes()).contains("recursion limit"));
    assert!(said(Encoding::Protobuf, b"\x0a\x05abc").starts_with("failed to read it as protobuf of OTLP: "));
    assert!(said(Encoding::Protobuf, b"not protobuf").starts_with("failed to read it as protobuf of OTLP: "));
}

#[test]
fn gzip_is_unpacked_as_far_as_its_bound() {
    let pack = |bytes: &[u8]| {
        let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    };
    assert_eq!(gunzip(&pack(b"it"), 2).unwrap(), b"it");
    let bomb = pack(&vec![0; 10 << 20]);
    assert!(bomb.len() < 64 * 1024);
    assert!(matches!(gunzip(&bomb, 1 << 20), Err(Unreadable::TooLarge(_))));
    assert!(matches!(gunzip(b"plain", 100), Err(Unreadable::Packed(_))));
    let packed = pack(b"cut off");
    assert!(matches!(gunzip(&packed[..packed.len() - 9], 100), Err(Unreadable::Packed(_))));
}

#[tokio::test]
async fn a_flood_finds_no_room_and_is_told_so() {
    let config = TraceConfig { waiting: 100, ..Default::default() };
    let (receiver, traces, _folder) = stores(config).await;
    let span = |n: u64, code: u32| {
        json!({ "traceId": format!("{n:032x}"), "spanId": "0000000000000001", "startTimeUnixNano": now(), "endTimeUnixNano": 1,
            "status": { "code": code }, "attributes": [text("stack", &"x".repeat(5200))] })
    };
    let send = |spans: Vec<Value>| {
        let body = exported(json!([]), spans.into()).to_string();
        receiver.receive(&sender(&["users"]), Signal::Traces, Encoding::Json, body.as_bytes()).unwrap()
    };
    // Each takes five units of the hundred.
    let flood = send((1..=30).map(|n| span(n, 1)).collect());
    assert_eq!(flood, Partial { rejected: 10, why: "too many spans wait to be written".to_owned() });
    assert_eq!(send(vec![span(100, 2)]).rejected, 1, "an ordinary one made room for one that failed");
    assert_eq!(kept(&traces, 100).await.len(), 1);
    assert_eq!((kept(&traces, 2).await.len(), kept(&traces, 25).await.len()), (1, 0));
    assert_eq!(traces.not_kept().sampled, 11);
}

/// What is kept of a query's lines, once they are written.
async fn lines(logs: &Logs, filter: LogFilter) -> Vec<LogLine> {
    // A query waits for that for so long only as a person does.
    while !logs.flush().await {}
    let query = LogQuery { filter, ..LogQuery::default() };
    logs.query(query).map(Result::unwrap).collect().await
}

#[tokio::test]
async fn a_log_record_is_a_line_of_whoever_sent_it_whichever_way_it_is_written() {
    let (receiver, stores, _folder) = all_stores(TraceConfig::default()).await;
    let keeping = tokio::spawn(stores.logs.clone().run(std::future::pending()));
    let at = now();
    let export = |body: Value| {
        json!({ "resourceLogs": [{ "resource": { "attributes": [text("service.name", "cart")] },
            "scopeLogs": [{ "scope": { "name": "checkout" }, "logRecords": [
                { "timeUnixNano": at.to_string(), "observedTimeUnixNano": (at + 9_000_000).to_string(),
                    "severityNumber": 18, "severityText": "Bad", "body": body, "eventName": "order.refused",
                    "attributes": [text("user", "kim"), { "key": "n", "value": { "intValue": "7" } }],
                    "droppedAttributesCount": 2,
                    "traceId": "00000000000000000000000000000001", "spanId": "00000000000000a1" },
                { "observedTimeUnixNano": (at + 1_000_000).to_string(), "severityText": "warn", "eventName": "bare",
                    "traceId": "", "spanId": "0000000000000000" }
            ] }] }] })
    };
    let as_json = export(json!({ "stringValue": "it is refused" }));
    let map = json!({ "kvlistValue": { "values": [{ "key": "why", "value": { "boolValue": true } }] } });
    let as_protobuf: ExportLogsServiceRequest = serde_json::from_value(export(map)).unwrap();
    let sender = Sender { unit: "of-cart".into(), ..sender(&["users", "cart"]) };
    for (encoding, body) in [
        (Encoding::Json, as_json.to_string().into_bytes()),
        (Encoding::Protobuf, as_protobuf.encode_to_vec()),
    ] {
        assert_eq!(receiver.receive(&sender, Signal::Logs, encoding, &body).unwrap(), Partial::default());
    }
    let trace = LogFilter { trace: Some(TraceId(1)), ..LogFilter::default() };
    let [first, second] = &lines(&stores.logs, trace).await[..] else { panic!("two of the trace") };
    let expected = json!({ "at": at / 1_000_000, "unit": "of-cart", "instance": "core-a", "release": "r1",
        "source": "otlp", "level": "error", "trace_id": "00000000000000000000000000000001",
        "span_id": "00000000000000a1", "line": "it is refused",
        "fields": { "service": "cart", "logger": "checkout", "event": "order.refused", "user": "kim", "n": 7,
            "madang.dropped": 2 } });
    assert_eq!(serde_json::to_value(first).unwrap(), expected);
    assert_eq!((&*second.line, &second.fields), (r#"{"why":true}"#, &first.fields));
    let bare = LogFilter { grep: Some("bare".into()), ..LogFilter::default() };
    let bare = lines(&stores.logs, bare).await;
    assert_eq!(bare.len(), 2);
    assert_eq!(
        (&*bare[0].line, bare[0].level, bare[0].at),
        ("bare", Some(LogLevel::Warn), at / 1_000_000 + 1)
    );
    assert_eq!((bare[0].trace_id, bare[0].span_id), (None, None));
    keeping.abort();
}

#[tokio::test]
async fn lines_beyond_the_budget_are_refused_and_counted_and_no_others() {
    let (receiver, stores, _folder) = all_stores(TraceConfig::default()).await;
    let records = |level: u8| vec![json!({ "severityNumber": level, "body": { "stringValue": "again" } }); 7];
    let send = |level| {
        let export = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": records(level) }] }] });
        let body = export.to_string();
        receiver.receive(&sender(&["users"]), Signal::Logs, Encoding::Json, body.as_bytes()).unwrap()
    };
    assert_eq!(send(9).rejected, 2);
    assert_eq!(send(13).rejected, 2, "what is bad has a budget of its own");
    assert!(send(9).why.starts_with("more lines than"));
    assert_eq!(stores.logs.too_many()["core"], 11);
}

#[tokio::test]
async fn what_is_large_is_cut_and_what_waits_is_bounded_by_its_bytes() {
    let (_, stores, folder) = all_stores(TraceConfig::default()).await;
    let archive = Archive::open(&folder.path().join("other.db"), ArchiveConfig::default()).await.unwrap();
    let config = LogConfig { lines_per_second: 1_000_000, ..LogConfig::default() };
    let logs = Logs::new(folder.path().join("logs"), &archive, config);
    let receiver = Receiver::new(Stores { logs: logs.clone(), ..stores }, None);
    let attributes: Vec<_> = (0..20).map(|n| text(&format!("a{n}"), &"x".repeat(8000))).collect();
    let record = json!({ "body": { "stringValue": "y".repeat(100_000) }, "attributes": attributes });
    let export =
        json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": vec![record; 20] }] }] }).to_string();
    let send = || {
        receiver
            .receive(&sender(&["users"]), Signal::Logs, Encoding::Json, export.as_bytes())
            .unwrap()
            .rejected
    };
    let refused: u64 = (0..20).map(|_| send()).sum();
    let waits = 400 - refused;
    assert!((200..256).contains(&waits), "16 MiB of lines of 64 KiB, not {waits}");
    let keeping = tokio::spawn(logs.clone().run(std::future::pending()));
    let found = lines(&logs, LogFilter::default()).await;
    assert!(found[0].line.len() < 66_000 && found[0].line.ends_with('…'));
    assert!(found[0].fields["madang.cut"].as_u64() > Some(160_000), "{:?}", found[0].fields);
    assert_eq!(send(), 0, "what is written makes room");
    keeping.abort();
}

#[test]
fn an_answer_says_what_is_not_kept() {
    let partial = || Partial { rejected: 3, why: "no".to_owned() };
    let json = String::from_utf8(partial().answer(Signal::Logs, Encoding::Json)).unwrap();
    assert_eq!(json, r#"{"partialSuccess":{"errorMessage":"no","rejectedLogRecords":"3"}}"#);
    assert_eq!(Partial::default().answer(Signal::Logs, Encoding::Json), b"{}");
    assert_eq!(Partial::default().answer(Signal::Metrics, Encoding::Protobuf), b"");
    let protobuf = partial().answer(Signal::Traces, Encoding::Protobuf);
    let read = ExportTraceServiceResponse::decode(&*protobuf).unwrap().partial_success.unwrap();
    assert_eq!((read.rejected_spans, &*read.error_message), (3, "no"));
}

#[test]
fn a_point_is_pushed_for_each_series_with_its_instance() {
    let mut given: ResourceMetrics = serde_json::from_value(json!({ "scopeMetrics": [{ "metrics": [
        { "name": "jobs", "unit": "1", "sum": { "aggregationTemporality": 1, "isMonotonic": true,
            "dataPoints": [{ "asInt": "3", "attributes": [text("queue", "a"), { "key": "n", "value": { "intValue": 1 } }] },
                { "asInt": 9, "flags": 1 }] } },
        { "name": "size", "gauge": { "dataPoints": [{ "asDouble": 0.5 }] } },
        { "name": "wait", "histogram": { "aggregationTemporality": 2,
            "dataPoints": [{ "count": 3, "sum": 4.5, "bucketCounts": [1, 2], "explicitBounds": [1.0] }] } },
        { "name": "wide", "exponentialHistogram": { "aggregationTemporality": 2, "dataPoints": [{ "count": 6, "sum": 1.0,
            "scale": 2, "zeroCount": 1, "positive": { "offset": -3, "bucketCounts": [2] },
            "negative": { "offset": 1, "bucketCounts": [1, 2] } }] } },
        { "name": "old", "summary": { "dataPoints": [{ "count": 2, "sum": 3.0, "quantileValues": [{ "quantile": 0.5, "value": 1.5 }] }] } }
    ] }] }))
    .unwrap();
    let origin = sender(&["users"]).stamp(given.resource.get_or_insert_default());
    let mut pushed = Vec::new();
    metrics::read(&origin, given, &mut pushed);
    let shown: Vec<_> = pushed.iter().map(|one| (one.name.as_str(), one.value.clone())).collect();
    let total = |value| PushedValue::Sum { value, monotonic: true, delta: false };
    let expected = [
        ("jobs", PushedValue::Sum { value: 3.0, monotonic: true, delta: true }),
        ("size", PushedValue::Gauge(0.5)),
        (
            "wait",
            PushedValue::Histogram {
                bounds: vec![1.0],
                counts: vec![1, 2],
                count: 3,
                sum: 4.5,
                delta: false,
            },
        ),
        (
            "wide",
            PushedValue::Exponential {
                buckets: crate::Exponential { scale: 2, zero: 4, offset: -3, counts: vec![2] },
                count: 6,
                sum: 1.0,
                delta: false,
            },
        ),
        ("old", PushedValue::Gauge(1.5)),
        ("old.count", total(2.0)),
        ("old.sum", total(3.0)),
    ];
    assert_eq!(shown, expected);
    let attributes = [("instance", "core-a"), ("n", "1"), ("queue", "a")];
    assert!(pushed[0].attributes.iter().map(|(key, value)| (&**key, &**value)).eq(attributes));
    assert_eq!(pushed[4].attributes["quantile"], "0.5");
}

#[tokio::test]
async fn metrics_reach_their_store() {
    let (receiver, stores, _folder) = all_stores(TraceConfig::default()).await;
    let send = |signal, body: Value| {
        receiver.receive(&sender(&["users"]), signal, Encoding::Json, body.to_string().as_bytes()).unwrap()
    };
    let metric = |name: &str| json!({ "name": name, "gauge": { "dataPoints": [{ "asDouble": 2 }] } });
    let export =
        json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [metric("size"), metric("")] }] }] });
    assert_eq!(send(Signal::Metrics, export).rejected, 1, "the one without a name");
    let listed = stores.external.list(Some("users"), None, false);
    assert_eq!((listed.len(), &*listed[0].name, listed[0].series[0].value), (1, "size", 2.0));
}

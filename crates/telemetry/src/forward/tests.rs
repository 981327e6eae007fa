//! What is forwarded arrives, whatever the back end does meanwhile.

use std::{collections::VecDeque, io::Read};

use flate2::read::GzDecoder;
use futures_util::{FutureExt, StreamExt};
use madang_wire::{
    Hop, SpanId, TraceId,
    otlp::{
        Message, attribute,
        collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
        logs::v1::{LogRecord, ScopeLogs},
        text, to_json,
        trace::v1::{ScopeSpans, Span},
    },
};

use super::*;
use crate::{Archive, ArchiveConfig, LogConfig, LogQuery, Logs};

/// The exports, unpacked.
type Came = Arc<Mutex<Vec<(Signal, Vec<u8>)>>>;

/// A back end that answers what it is told to, and then takes everything.
#[derive(Clone, Default)]
struct BackEnd {
    answers: Arc<Mutex<VecDeque<Carried>>>,
    came: Came,
    at: Arc<Mutex<Vec<Instant>>>,
}

impl Carrier for BackEnd {
    fn carry(&self, signal: Signal, packed: Vec<u8>) -> BoxFuture<'_, Carried> {
        self.at.lock().unwrap().push(Instant::now());
        let answer = self.answers.lock().unwrap().pop_front();
        let answer = answer.unwrap_or(Carried::Taken { rejected: 0, why: String::new() });
        if let Carried::Taken { .. } = answer {
            let mut bytes = Vec::new();
            GzDecoder::new(&*packed).read_to_end(&mut bytes).unwrap();
            self.came.lock().unwrap().push((signal, bytes));
        }
        async move { answer }.boxed()
    }
}

impl BackEnd {
    fn answering(answers: impl IntoIterator<Item = Carried>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Default::default() }
    }

    /// The names of the spans that came.
    fn spans(&self) -> Vec<String> {
        let came = self.came.lock().unwrap();
        let traces = came.iter().filter(|(signal, _)| *signal == Signal::Traces);
        let of = |bytes: &Vec<u8>| {
            let export = ExportTraceServiceRequest::decode(&**bytes).unwrap();
            let scopes = export.resource_spans.into_iter().flat_map(|of| of.scope_spans);
            scopes.flat_map(|scope| scope.spans).map(|span| span.name).collect::<Vec<_>>()
        };
        traces.flat_map(|(_, bytes)| of(bytes)).collect()
    }
}

fn spans(names: impl IntoIterator<Item = String>, size: usize) -> Item {
    let span =
        |name| Span { name, attributes: vec![attribute("a", &"x".repeat(size))], ..Default::default() };
    let scope = ScopeSpans { spans: names.into_iter().map(span).collect(), ..Default::default() };
    Item::Spans(ResourceSpans { scope_spans: vec![scope], ..Default::default() })
}

fn one(name: &str) -> Item {
    spans([name.to_owned()], 1)
}

fn later(why: &str, after: Option<u64>) -> Carried {
    Carried::Later { why: why.to_owned(), after: after.map(Duration::from_secs) }
}

/// Runs it for a while, and says what changed.
async fn run(forward: &Forward, back_end: &BackEnd, time: Duration) -> Vec<String> {
    let said = Arc::new(Mutex::new(Vec::new()));
    let changed = {
        let said = said.clone();
        move |trouble: Option<&str>| said.lock().unwrap().push(trouble.unwrap_or("over").to_owned())
    };
    forward.clone().run(back_end.clone(), || 0.5, changed, sleep(time)).await;
    said.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn what_comes_together_goes_together_and_each_signal_alone() {
    let forward = Forward::new("it", ForwardConfig::default());
    let log = ScopeLogs { log_records: vec![LogRecord::default(); 2], ..Default::default() };
    forward.push([
        one("a"),
        Item::Logs(ResourceLogs { scope_logs: vec![log], ..Default::default() }),
        one("b"),
    ]);
    let back_end = BackEnd::default();
    assert!(run(&forward, &back_end, Duration::from_secs(2)).await.is_empty());
    let came: Vec<Signal> = back_end.came.lock().unwrap().iter().map(|(signal, _)| *signal).collect();
    assert_eq!(
        (came, back_end.spans()),
        (vec![Signal::Traces, Signal::Logs], vec!["a".to_owned(), "b".to_owned()])
    );
    let view = forward.view();
    assert_eq!((view.sent, view.waiting, view.dropped, view.trouble), (4, 0, 0, None));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_taken_now_is_sent_again_after_pauses_that_double() {
    let forward = Forward::new("it", ForwardConfig::default());
    forward.push([one("a")]);
    let back_end = BackEnd::answering([later("away", None), later("away", None), later("busy", Some(20))]);
    let said = run(&forward, &back_end, Duration::from_secs(60)).await;
    assert_eq!(said, ["away", "over"]);
    assert_eq!(back_end.spans(), ["a"]);
    let at = back_end.at.lock().unwrap();
    let pauses: Vec<u64> = at.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert_eq!(pauses, [1, 2, 20], "the last as the back end asked");
    assert_eq!((forward.view().sent, forward.view().trouble), (1, None));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_or_never_taken_is_counted_and_the_next_goes_on() {
    let forward = Forward::new("it", ForwardConfig::default());
    let refused = Carried::Refused { why: "not such".to_owned() };
    let back_end = BackEnd::answering([refused]);
    forward.push([one("a")]);
    assert_eq!(run(&forward, &back_end, Duration::from_secs(1)).await, ["not such"]);
    forward.push([one("b")]);
    assert_eq!(run(&forward, &back_end, Duration::from_secs(1)).await, ["over"]);
    let view = forward.view();
    assert_eq!((view.sent, view.refused, view.refusal.as_deref()), (1, 1, Some("not such")));

    let away = BackEnd::answering((0..100).map(|_| later("away", None)));
    forward.push([one("c")]);
    run(&forward, &away, Duration::from_secs(400)).await;
    let view = forward.view();
    assert_eq!(
        (view.refused, view.waiting, view.trouble.as_deref()),
        (2, 0, Some("away")),
        "after five minutes"
    );
    assert!(away.at.lock().unwrap().len() < 20, "not often");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_drops_the_oldest_and_too_large_is_split() {
    let config = ForwardConfig { waiting: 3 << 20, ..Default::default() };
    let forward = Forward::new("it", config);
    forward.push((0..40).map(|n| spans([n.to_string()], 100 << 10)));
    let view = forward.view();
    assert!(view.dropped >= 10 && view.dropped + view.waiting == 40, "{view:?}");
    let back_end = BackEnd::default();
    run(&forward, &back_end, Duration::from_secs(2)).await;
    assert_eq!(back_end.spans().last().unwrap(), "39", "the newest");
    assert_eq!(back_end.spans()[0], view.dropped.to_string());

    let forward = Forward::new("it", ForwardConfig::default());
    forward.push([spans((0..50).map(|n| n.to_string()), 100 << 10)]);
    let back_end = BackEnd::default();
    run(&forward, &back_end, Duration::from_secs(2)).await;
    let came = back_end.came.lock().unwrap().iter().map(|(_, bytes)| bytes.len()).collect::<Vec<_>>();
    assert!(came.len() >= 4 && came.iter().all(|bytes| *bytes < 3 << 20), "{came:?}");
    assert!(back_end.spans().iter().map(|name| name.parse::<usize>().unwrap()).eq(0..50));
}

#[tokio::test(start_paused = true)]
async fn the_end_sends_what_waits_but_not_for_long() {
    let forward = Forward::new("it", ForwardConfig::default());
    forward.push([one("a")]);
    let back_end = BackEnd::default();
    run(&forward, &back_end, Duration::ZERO).await;
    assert_eq!(back_end.spans(), ["a"]);

    let away = BackEnd::answering((0..100).map(|_| later("away", None)));
    forward.push([one("b")]);
    let began = Instant::now();
    run(&forward, &away, Duration::ZERO).await;
    assert!(began.elapsed() <= Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn lines_of_files_go_on_as_they_are_kept_and_the_oldest_fall_out_where_there_is_no_room() {
    const LINES: u64 = 1000;
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(&folder.path().join("telemetry.db"), ArchiveConfig::default()).await.unwrap();
    // Some batches of a hundred lines.
    let forward = Forward::new("it", ForwardConfig { waiting: 20_000, ..Default::default() });
    let config = LogConfig { lines_per_second: 100_000, ..LogConfig::default() };
    let logs = Logs::new(folder.path().join("logs"), &archive, config).forwarding(Some(forward.clone()));
    let keeping = tokio::spawn(logs.clone().run(std::future::pending()));
    std::fs::create_dir_all(folder.path().join("logs/users")).unwrap();
    let text: String = (0..LINES).map(|n| format!("line {n}\n")).collect();
    std::fs::write(folder.path().join("logs/users/users-a.log"), text).unwrap();
    // The last line waits for others that may continue it: it is asked again until that is kept too.
    let all = async {
        while forwarded(&forward) < LINES {
            logs.query(LogQuery { last: 1, ..LogQuery::default() }).count().await;
        }
    };
    timeout(Duration::from_secs(30), all).await.expect("all lines go on");
    let view = forward.view();
    assert!(view.dropped > 0 && view.waiting > 0 && view.dropped + view.waiting == LINES, "{view:?}");

    let back_end = BackEnd::default();
    forward.clone().run(back_end.clone(), || 0.5, |_| {}, sleep(Duration::from_millis(1))).await;
    let came = back_end.came.lock().unwrap();
    let bodies = came.iter().flat_map(|(_, bytes)| {
        let export = ExportLogsServiceRequest::decode(&**bytes).unwrap();
        let scopes = export.resource_logs.into_iter().flat_map(|of| of.scope_logs);
        scopes.flat_map(|scope| scope.log_records).map(|record| to_json(record.body)).collect::<Vec<_>>()
    });
    assert!(bodies.eq((view.dropped..LINES).map(|n| format!("line {n}"))), "the newest, in their order");
    keeping.abort();
}

/// How many have come to be forwarded.
fn forwarded(forward: &Forward) -> u64 {
    let view = forward.view();
    view.waiting + view.dropped
}

#[test]
fn a_record_is_a_span_of_who_called() {
    let record = RequestRecord {
        at: 5,
        at_us: 0,
        hop: Hop::Door,
        request_id: "r".parse().unwrap(),
        trace_id: TraceId(7),
        span_id: SpanId(8),
        parent_span_id: Some(SpanId(9)),
        route: None,
        caller: Some("orders".into()),
        service: Some("users".into()),
        instance: Some("users-a".into()),
        release: Some("r1".into()),
        method: "GET".into(),
        status: 503,
        grpc_status: None,
        code: None,
        attempts: 2,
        fault: None,
        duration_us: 3000,
        upstream_us: 0,
        fallback: None,
        cache: None,
        parked_us: 0,
    };
    let [of] = &records::spans(&[record])[..] else { panic!("one") };
    assert_eq!(text(&of.resource.as_ref().unwrap().attributes, "service.name"), Some("orders"));
    let span = &of.scope_spans[0].spans[0];
    assert_eq!(span.trace_id, 7u128.to_be_bytes());
    assert_eq!(
        (span.parent_span_id.as_slice(), span.kind, span.name.as_str()),
        (&9u64.to_be_bytes()[..], 3, "GET users")
    );
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (5_000_000, 8_000_000));
    assert_eq!(span.status.as_ref().unwrap().code, 2);
    assert_eq!(text(&span.attributes, "madang.instance"), Some("users-a"));
    assert_eq!(text(&span.attributes, "service.instance.id"), None, "that of orders is not known");
    assert_eq!(text(&span.attributes, "peer.service"), Some("users"));
}

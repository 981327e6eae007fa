//! What a service tells of its work, without a line of its own: a real process, and who is told.

#[allow(dead_code, reason = "each test uses its part of a process")]
mod child;
#[allow(dead_code, reason = "each test uses its part of the service")]
mod notes;
mod receiver;

use std::{process::ExitCode, time::Duration};

use http::StatusCode;
use madang::{
    Calls, Error, Path, Resources, Result, Service,
    axum::{Router, routing::get},
    sqlx,
};
use rustix::process::Signal;
use serde_json::json;

use child::{Process, ROLE, get_from};
use receiver::Receiver;

/// Not a test: what the child processes run.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let code = match role.as_str() {
        "desk" => madang::run([notes::sqlite(), desk()]),
        "alone" => madang::run(desk()),
        "sweeper" => madang::run(notes::sqlite().background(sweep)),
        other => panic!("there is no role {other}"),
    };
    std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
}

fn desk() -> Service {
    async fn look(resources: Resources, calls: Calls, Path(id): Path<i64>) -> Result<String> {
        resources.counter("looked").add(2);
        tracing::info!(note = id, "looking");
        search(&calls, id).await
    }
    #[tracing::instrument(skip(calls), err)]
    async fn search(calls: &Calls, id: i64) -> Result<String> {
        match id {
            13 => Err(Error::internal(std::io::Error::other("the shelf is empty"))),
            _ => Ok(calls.to("notes").get(format!("/notes/{id}")).send().await?.status().to_string()),
        }
    }
    async fn panics() {
        panic!("out of luck")
    }
    async fn hang() {
        tracing::info!("waiting");
        std::future::pending().await
    }
    let routes =
        Router::new().route("/desk/{id}", get(look)).route("/panics", get(panics)).route("/hang", get(hang));
    Service::new("desk").routes(routes)
}

/// Looks once; the query outside of the span of its own is nobody's.
async fn sweep(resources: Resources) {
    #[tracing::instrument(skip_all)]
    async fn find(resources: &Resources) {
        let db = resources.sqlite().unwrap();
        sqlx::query("SELECT id FROM notes WHERE text = 'old'").fetch_all(&db).await.unwrap();
        let held = madang::begin_write(&db).await.unwrap();
        let held = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            drop(held);
        };
        let (write, ()) = tokio::join!(madang::begin_write(&db), held);
        write.unwrap().rollback().await.unwrap();
    }
    let db = resources.sqlite().unwrap();
    sqlx::query("SELECT 1").execute(&db).await.unwrap();
    find(&resources).await;
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: [u8; 8] = [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31];

/// Starts a process that tells the receiver.
async fn start(role: &str, also: &[(&str, &str)]) -> (Receiver, Process, tempfile::TempDir) {
    let (receiver, url) = Receiver::start(&["notes", "desk"]).await;
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", folder.path().join("notes.db").display());
    let environment = [
        ("MADANG_URL", &*url),
        ("MADANG_TOKEN", "secret"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20a%20b"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=core-a"),
        ("OTEL_SERVICE_NAME", "core"),
        ("NOTES_DATABASE_URL", &database),
        ("DATABASE_URL", if role == "sweeper" { &database } else { "" }),
    ];
    let process = Process::start(role, &[&environment, also].concat());
    (receiver, process, folder)
}

/// Asks for a path of the desk in the trace.
async fn ask(url: &str, path: &str, flags: &str) -> StatusCode {
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-{flags}");
    let headers = [("madang-service", "desk"), ("traceparent", &*traceparent), ("x-request-id", "r-7")];
    get_from(url, path, &headers).await.0
}

/// Only what is told at its end is told at all.
const LATE: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "600000");

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_one_tree_of_services_calls_and_queries_told_before_the_process_ends() {
    let (receiver, mut process, _folder) = start("desk", &[LATE]).await;
    let url = process.ready();
    assert_eq!(ask(&url, "/desk/1", "01").await, StatusCode::OK);
    let line = process.logged("looking");
    process.signal(Signal::TERM);
    assert_eq!(process.ended(), (0, String::new()));

    let told = receiver.so_far();
    let desk = told.span("GET /desk/{id}");
    assert_eq!((&*desk.service, desk.instance.as_deref()), ("desk", Some("core-a")));
    assert_eq!((desk.span.parent_span_id.as_slice(), desk.span.kind), (&PARENT[..], 2));
    assert_eq!(desk.span.trace_id, u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes());
    assert_eq!(
        (desk.attribute("http.route"), desk.attribute("url.path")),
        (json!("/desk/{id}"), json!("/desk/1"))
    );
    assert_eq!((desk.attribute("http.response.status_code"), desk.failure()), (json!(200), None));
    assert_eq!(desk.attribute("madang.request_id"), "r-7");
    let own_id = u64::from_be_bytes(desk.span.span_id.clone().try_into().unwrap());
    assert_eq!((&line["trace_id"], &line["span_id"]), (&json!(TRACE), &json!(format!("{own_id:016x}"))));
    assert_eq!((&line["note"], &line["service"]), (&json!(1), &json!("desk")));

    assert_eq!(told.below(&desk.span.span_id), ["search"]);
    let search = told.span("search");
    assert_eq!((&*search.service, search.attribute("id"), search.span.kind), ("desk", json!(1), 1));

    // The call is told as a record, and as no other span.
    let [call] = &told.records[..] else { panic!("{:?}", told.records) };
    assert_eq!(call.parent_span_id.unwrap().0.to_be_bytes(), search.span.span_id.as_slice());
    assert_eq!((call.caller.as_deref(), call.service.as_deref()), (Some("desk"), Some("notes")));

    let notes = told.span("GET /notes/{id}");
    assert_eq!((&*notes.service, notes.attribute("madang.caller")), ("notes", json!("desk")));
    assert_eq!(notes.span.parent_span_id, call.span_id.0.to_be_bytes());
    assert_eq!(told.below(&notes.span.span_id), ["SELECT notes"]);
    let query = told.span("SELECT notes");
    assert_eq!((&*query.service, query.span.kind), ("notes", 3));
    assert_eq!(query.attribute("db.query.text"), "SELECT id, text FROM notes WHERE id = ?");
    assert_eq!(
        (query.attribute("db.system.name"), query.attribute("db.response.returned_rows")),
        (json!("sqlite"), json!(1))
    );

    let within = |inner: &receiver::Span, outer: &receiver::Span| {
        inner.span.start_time_unix_nano >= outer.span.start_time_unix_nano
            && inner.span.end_time_unix_nano <= outer.span.end_time_unix_nano
    };
    assert!(within(search, desk) && within(notes, search) && within(query, notes));
    let duration = |service: &str, route: &str| {
        told.counted(service, "http.server.request.duration", "http.route", route)
    };
    assert_eq!((duration("desk", "/desk/{id}"), duration("notes", "/notes/{id}")), (Some(1), Some(1)));
    assert_eq!((duration("desk", "/notes/{id}"), duration("desk", "/desk/1")), (None, None));
    assert_eq!(told.counted("desk", "looked", "", ""), Some(2), "the author's own");
    let connections =
        |state| told.counted("notes", "db.client.connection.count", "db.client.connection.state", state);
    assert_eq!(connections("used"), Some(0));
    assert!(told.counted("desk", "madang.runtime.tasks", "", "") > Some(0));
    assert_eq!(told.counted("desk", "madang.spans.lost", "reason", "overflow"), Some(0));

    assert_eq!(told.spans.len(), 4, "what is done to prepare is in no trace: {:#?}", told.spans);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_says_so_and_what_is_left_too() {
    let (receiver, mut process, _folder) =
        start("desk", &[LATE, ("RUST_LOG", "error,madang::run=info,telemetry=info")]).await;
    let url = process.ready();
    assert_eq!(ask(&url, "/panics", "01").await, StatusCode::INTERNAL_SERVER_ERROR);
    let line = process.logged("panicked");
    assert_eq!((&line["panic"], &line["trace_id"]), (&json!("out of luck"), &json!(TRACE)));
    assert_eq!(ask(&url, "/desk/13", "01").await, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(ask(&url, "/nowhere", "01").await, StatusCode::NOT_FOUND);
    let (asked, path) = (url.clone(), "/hang");
    let left = tokio::spawn(async move { ask(&asked, path, "01").await });
    process.logged("waiting");
    left.abort();
    let _ = left.await;
    process.signal(Signal::TERM);
    process.ended();

    let told = receiver.so_far();
    let panics = told.span("GET /panics");
    assert_eq!(panics.exception(), Some(("panic", "the handler panicked: out of luck")));
    assert_eq!(
        (panics.failure(), panics.attribute("error.type")),
        (Some("the handler panicked: out of luck"), json!("MDG-SVC-004"))
    );
    let failed = told.span("GET /desk/{id}");
    assert_eq!(failed.exception(), Some(("MDG-SVC-004", "the shelf is empty")));
    assert!(told.span("search").failure().is_some(), "by the event of its attribute `err`");
    let unknown = told.span("GET");
    assert_eq!((unknown.failure(), unknown.attribute("madang.code")), (None, json!("MDG-SVC-002")));
    assert_eq!(told.span("GET /hang").attribute("error.type"), "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_background_task_begins_traces_with_spans_of_its_author() {
    let (receiver, mut process, _folder) = start("sweeper", &[]).await;
    process.ready();
    let told = receiver.told(|told| !told.spans.is_empty()).await;
    let find = told.span("find");
    assert_eq!((&*find.service, find.span.parent_span_id.len()), ("notes", 0));
    let query = told.span("SELECT notes");
    assert_eq!((&query.span.trace_id, &query.span.parent_span_id), (&find.span.trace_id, &find.span.span_id));
    assert_eq!(query.attribute("db.query.text"), "SELECT id FROM notes WHERE text = ?");
    assert_eq!(told.below(&find.span.span_id), ["SELECT notes"]);
    assert_eq!(told.spans.len(), 2, "the first query is nobody's: {:#?}", told.spans);
    let waits = told.waits.iter().filter(|wait| wait.span.name == "wait for the turn to write");
    assert_eq!(waits.map(|wait| &wait.span.parent_span_id).collect::<Vec<_>>(), [&find.span.span_id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_asked_for_is_not_told() {
    for off in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
    ] {
        let (receiver, mut process, _folder) = start("desk", &[LATE, off]).await;
        let url = process.ready();
        assert_eq!(ask(&url, "/desk/1", "01").await, StatusCode::OK);
        process.signal(Signal::TERM);
        process.ended();
        let told = receiver.so_far();
        assert!(told.spans.is_empty(), "{off:?}");
        assert_eq!(
            told.records[0].parent_span_id.unwrap().0.to_be_bytes(),
            PARENT,
            "nothing is between them"
        );
    }
    let (receiver, mut process, _folder) = start("desk", &[LATE]).await;
    let url = process.ready();
    ask(&url, "/desk/1", "00").await;
    process.signal(Signal::TERM);
    process.ended();
    assert!(receiver.so_far().spans.is_empty(), "whoever began the trace decides");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_takes_nothing_costs_spans_and_no_request() {
    let few = [("OTEL_BSP_MAX_QUEUE_SIZE", "64"), ("OTEL_BSP_SCHEDULE_DELAY", "20")];
    let (receiver, mut process, _folder) = start("desk", &few).await;
    receiver.refuse(true);
    let url = process.ready();
    for id in 100..300 {
        assert_eq!(ask(&url, &format!("/desk/{id}"), "01").await, StatusCode::OK);
    }
    process.logged("spans are not taken; they are tried again for a while, and then dropped");
    assert_eq!(ask(&url, "/desk/13", "01").await, StatusCode::INTERNAL_SERVER_ERROR);
    receiver.refuse(false);
    let told = receiver.told(|told| told.spans.iter().any(|span| span.failure().is_some())).await;
    let requests = told.spans.iter().filter(|span| span.span.name == "GET /desk/{id}").count();
    assert!(requests < 100, "what waits is bounded: {requests}");
    process.logged("spans are taken again");
    process.signal(Signal::TERM);
    process.ended();
}

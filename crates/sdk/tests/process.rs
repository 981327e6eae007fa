//! A real process: its environment, its log, its signals and its exit code.
//!
//! The process is this test binary again, told by a variable to be a service instead.

#[allow(dead_code, reason = "each test uses its part of a process")]
mod child;
#[allow(dead_code, reason = "each test uses its part of the service")]
mod notes;

use std::{process::ExitCode, time::Duration};

use http::StatusCode;
use madang::{
    Calls, Service,
    axum::{Router, routing::get},
};
use rustix::process::Signal;
use serde_json::json;

use child::{Process, ROLE, get_from};

/// Not a test: what the child processes run.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let code = match role.as_str() {
        "notes" => madang::run(notes::sqlite()),
        "work" => madang::run([work("work"), work("more")]),
        "broken" => madang::run(work("work").background(|_| async { panic!("out of luck") })),
        other => panic!("there is no role {other}"),
    };
    let code = if code == ExitCode::SUCCESS { 0 } else { 1 };
    std::process::exit(code);
}

fn work(name: &str) -> Service {
    async fn slow() -> &'static str {
        tracing::info!(step = 1, "working");
        tokio::time::sleep(Duration::from_millis(300)).await;
        "done"
    }
    async fn hang() {
        tracing::info!("working");
        std::future::pending().await
    }
    async fn fails() -> madang::Result<()> {
        Err(madang::Error::internal(std::io::Error::other("the disk is on fire")))
    }
    async fn relay(calls: Calls) -> madang::Result<String> {
        Ok(calls.to("more").get("/fails").send().await?.status().to_string())
    }
    let routes = Router::new().route("/slow", get(slow)).route("/hang", get(hang));
    Service::new(name).routes(routes.route("/fails", get(fails)).route("/relay", get(relay)))
}

const ID: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_is_finished_before_the_process_ends() {
    let mut process = Process::start("work", &[]);
    let url = process.ready();
    let headers = [("madang-service", "work"), ("x-request-id", "r-7")];
    let asked = tokio::spawn(async move { get_from(&url, "/slow", &headers).await });
    let line = process.logged("working");
    assert_eq!((&line["request_id"], &line["service"]), (&json!("r-7"), &json!("work")));
    assert_eq!((&line["step"], &line["level"]), (&json!(1), &json!("INFO")));
    process.signal(Signal::TERM);
    let (status, body) = asked.await.unwrap();
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"done"[..]));
    assert_eq!(process.ended(), (0, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let mut process = Process::start("work", &[]);
    let url = process.ready();
    tokio::spawn(async move { get_from(&url, "/hang", &[("madang-service", "work")]).await });
    process.logged("working");
    let started = tokio::time::Instant::now();
    process.signal(Signal::INT);
    process.logged("stopping");
    process.signal(Signal::INT);
    process.logged("stopped before everything under way was done");
    assert_eq!(process.ended().0, 0);
    assert!(started.elapsed() < Duration::from_secs(4), "it does not wait for the handler");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_logged_with_its_causes_and_its_trace() {
    let mut process = Process::start("work", &[("RUST_LOG", "warn,madang=info")]);
    let url = process.ready();
    let traceparent = format!("00-{ID}-b7ad6b7169203331-01");
    let headers = [("madang-service", "work"), ("traceparent", &traceparent)];
    let (status, body) = get_from(&url, "/relay", &headers).await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"500 Internal Server Error"[..]));
    let line = process.logged("request failed");
    assert_eq!((&line["service"], &line["trace_id"]), (&json!("more"), &json!(ID)));
    assert_eq!((&line["code"], &line["error"]), (&json!("MDG-SVC-004"), &json!("the disk is on fire")));
    assert!(line["span_id"].is_string() && line["timestamp"].is_string() && line["target"].is_string());
}

#[test]
fn a_taken_port_ends_it_before_anything_is_touched() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("notes.db");
    let url = format!("sqlite:{}", database.display());
    let mut process = Process::start("notes", &[("PORT", &port), ("DATABASE_URL", &url)]);
    let message = format!("failed to listen on 127.0.0.1:{port}: Address already in use (os error 98)");
    assert_eq!(process.fatal(), message);
    assert!(!database.exists());
}

#[test]
fn what_is_missing_is_named() {
    let message = "notes keeps a database: set DATABASE_URL, such as sqlite:notes.db";
    assert_eq!(Process::start("notes", &[]).fatal(), message);
    let postgres = [("DATABASE_URL", "postgres://localhost/notes")];
    let message =
        "notes cannot use its database URL: the service has no migrations for it: add `.postgres(…)`";
    assert_eq!(Process::start("notes", &postgres).fatal(), message);
    let memory = [("DATABASE_URL", "sqlite::memory:")];
    assert!(Process::start("notes", &memory).fatal().ends_with("does not outlive a restart: name a file"));
    let message = "the variable PORT is not as expected: a port from 0 to 65535";
    assert_eq!(Process::start("notes", &[("PORT", "http")]).fatal(), message);
}

#[test]
fn a_folder_that_is_missing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("a/b/notes.db").display());
    let mut process = Process::start("notes", &[("DATABASE_URL", &url)]);
    process.ready();
    process.signal(Signal::TERM);
    assert_eq!(process.ended(), (0, String::new()));
}

#[test]
fn a_background_task_that_panics_ends_the_process() {
    let mut process = Process::start("broken", &[]);
    assert_eq!(process.logged("panicked")["panic"], "out of luck");
    assert_eq!(process.fatal(), "a background task of work panicked: out of luck");
}

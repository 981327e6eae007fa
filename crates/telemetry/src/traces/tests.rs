//! Traces over their whole way: recorded, written, asked for, deleted.

mod before;
mod finding;

use std::{sync::Arc, time::Duration};

use madang_wire::{Hop, RequestRecord, SpanId, TraceId};
use tempfile::TempDir;

use super::{TraceConfig, TraceFilter, Traces};
use crate::{Archive, ArchiveConfig};

/// Far from any that is too old.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_millis() as u64
}

fn record(trace: u128, span: u64, at: u64, service: &str, status: u16) -> RequestRecord {
    RequestRecord {
        at,
        at_us: 0,
        hop: Hop::Gateway,
        request_id: (trace as u64).into(),
        trace_id: TraceId(trace),
        span_id: SpanId(span),
        parent_span_id: None,
        route: Some(format!("/{service}/{{id}}").into()),
        caller: None,
        service: Some(service.into()),
        instance: Some(format!("{service}-a").into()),
        release: Some("r1".into()),
        method: "GET".into(),
        status,
        grpc_status: None,
        code: None,
        attempts: 2,
        fault: None,
        duration_us: 3000,
        upstream_us: 2000,
        fallback: None,
        cache: None,
        parked_us: 500,
    }
}

/// The call that a service made for a request, as its door saw it.
fn within(parent: &RequestRecord, span: u64, service: &str, status: u16) -> RequestRecord {
    RequestRecord {
        hop: Hop::Door,
        parent_span_id: Some(parent.span_id),
        route: None,
        caller: parent.service.clone(),
        ..record(parent.trace_id.0, span, parent.at + 1, service, status)
    }
}

async fn open(config: TraceConfig) -> (Traces, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (open_in(&folder, ArchiveConfig::default(), config).await, folder)
}

async fn open_in(folder: &TempDir, archive: ArchiveConfig, config: TraceConfig) -> Traces {
    Traces::new(&Archive::open(&folder.path().join("telemetry.db"), archive).await.unwrap(), config)
}

async fn listed(traces: &Traces, filter: TraceFilter) -> Vec<u128> {
    traces.list(filter).await.unwrap().traces.iter().map(|trace| trace.trace_id.0).collect()
}

#[tokio::test]
async fn a_trace_is_whole_and_there_after_a_restart() {
    let (traces, folder) = open(TraceConfig::default()).await;
    let outer = record(7, 1, now(), "orders", 502);
    let inner = within(&outer, 2, "users", 503);
    traces.record(vec![inner, outer.clone()]);
    traces.flush().await.unwrap();
    // Told once more, as a client would that got no answer.
    traces.record(vec![outer]);
    traces.flush().await.unwrap();
    drop(traces);

    let traces = open_in(&folder, ArchiveConfig::default(), TraceConfig::default()).await;
    let list = traces.list(TraceFilter::default()).await.unwrap().traces;
    let [one] = &list[..] else { panic!("{list:?}") };
    assert_eq!((one.name.as_str(), one.service.as_str()), ("GET /orders/{id}", "gateway"));
    assert_eq!((one.spans, one.errors, one.duration_us), (2, 2, 4000), "the second began 1 ms later");

    let view = traces.get(TraceId(7)).await.unwrap().unwrap();
    let seen: Vec<_> = view
        .spans
        .iter()
        .map(|span| (span.service.as_str(), span.peer.as_deref(), span.name.as_str(), span.kind.as_str()))
        .collect();
    let expected = [
        ("gateway", Some("orders"), "GET /orders/{id}", "server"),
        ("orders", Some("users"), "GET users", "client"),
    ];
    assert_eq!(seen, expected);
    assert_eq!(view.spans[1].parent_span_id, Some(view.spans[0].span_id));
    let attributes = &view.spans[1].attributes;
    for (name, value) in [
        ("http.response.status_code", 503),
        ("madang.attempts", 2),
        ("madang.upstream_us", 2000),
        ("madang.parked_us", 500),
    ] {
        assert_eq!(attributes[name], value, "{name}");
    }
    assert!(traces.get(TraceId(8)).await.unwrap().is_none());

    let found = async |id: &str| traces.find(id).await.unwrap();
    assert_eq!(found("7").await, Some(TraceId(7)), "by the request's id, which both spans have");
    assert_eq!(found("8").await, None);
    assert_eq!(found(&TraceId(8).to_string()).await, Some(TraceId(8)));
}

#[tokio::test]
async fn traces_are_found_by_what_was_wrong_with_them() {
    let (traces, _folder) = open(TraceConfig::default()).await;
    let at = now();
    let slow = RequestRecord { duration_us: 2_000_000, ..record(3, 1, at + 2, "mail", 200) };
    let quick = record(1, 1, at, "users", 200);
    let failed = record(2, 1, at + 1, "orders", 500);
    traces.record(vec![within(&quick, 9, "mail", 200), quick, failed, slow]);
    traces.flush().await.unwrap();

    let check = async |filter: TraceFilter, expected: &[u128]| {
        assert_eq!(listed(&traces, filter.clone()).await, expected, "{filter:?}");
    };
    let all = TraceFilter::default();
    check(all.clone(), &[3, 2, 1]).await;
    check(TraceFilter { limit: 2, ..all.clone() }, &[3, 2]).await;
    check(TraceFilter { error: true, ..all.clone() }, &[2]).await;
    check(TraceFilter { slow: Some(Duration::from_secs(1)), ..all.clone() }, &[3]).await;
    check(TraceFilter { service: Some("mail".into()), ..all.clone() }, &[3, 1]).await;
    check(TraceFilter { service: Some("users".into()), ..all.clone() }, &[1]).await;
    check(TraceFilter { service: Some("mai".into()), ..all.clone() }, &[]).await;
    check(TraceFilter { service: Some("mail".into()), error: true, ..all }, &[]).await;
}

#[tokio::test]
async fn traces_of_a_service_are_found_by_what_went_wrong_anywhere_in_them() {
    let (traces, _folder) = open(TraceConfig::default()).await;
    let at = now();
    let quick = record(1, 1, at, "users", 200);
    // What failed and what took long come after what did not, in another write.
    let (late, slow) = (record(2, 1, at + 1, "users", 200), record(3, 1, at + 2, "users", 200));
    let (failed, ended) = (within(&late, 2, "mail", 500), within(&slow, 2, "mail", 200));
    let ended = RequestRecord { duration_us: 200_000, ..ended };
    traces.record(vec![quick, late, slow]);
    traces.flush().await.unwrap();
    let users = TraceFilter { service: Some("users".into()), ..TraceFilter::default() };
    let errors = TraceFilter { error: true, ..users.clone() };
    let slow = |millis| TraceFilter { slow: Some(Duration::from_millis(millis)), ..users.clone() };
    assert_eq!(listed(&traces, errors.clone()).await, [0; 0]);
    traces.record(vec![failed, ended]);
    traces.flush().await.unwrap();

    assert_eq!(listed(&traces, errors.clone()).await, [2]);
    assert_eq!(listed(&traces, slow(200)).await, [3]);
    assert_eq!(listed(&traces, slow(201)).await, [3], "it began 1 ms before the call that took so long");
    assert_eq!(listed(&traces, slow(202)).await, [0; 0]);
    assert_eq!(listed(&traces, TraceFilter { error: true, ..slow(200) }).await, [0; 0]);
    let mail = TraceFilter { service: Some("mail".into()), ..errors.clone() };
    assert_eq!(listed(&traces, mail).await, [2]);
    let before_us = Some((at + 1) * 1000);
    assert_eq!(listed(&traces, TraceFilter { before_us, ..errors.clone() }).await, [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn ten_times_the_budget_takes_no_more_room_than_the_budget_and_is_counted() {
    const WAITING: usize = 400;
    let config = TraceConfig { sampled_per_second: 100, waiting: WAITING, ..Default::default() };
    let (traces, _folder) = open(config).await;
    let at = now();
    let mut told = 0;
    for _ in 0..40 {
        for _ in 0..5 {
            let first = told + 1;
            told += 50;
            traces.record((first..=told).map(|trace| record(trace, 1, at, "users", 200)).collect());
            assert!(traces.waiting().queue.held() <= WAITING);
        }
        traces.flush().await.unwrap();
        assert_eq!(traces.waiting().queue.held(), 0);
        tokio::time::advance(Duration::from_millis(250)).await;
    }
    let all = TraceFilter { limit: u32::MAX, ..Default::default() };
    let kept = listed(&traces, all).await.len() as u64;
    assert_eq!(kept, 100 + 39 * 25, "what a second allows, and then a quarter of it each time");
    let not_kept = traces.not_kept();
    assert_eq!(kept + not_kept.sampled, told as u64);
    assert_eq!((not_kept.overflow, not_kept.unwritten), (0, 0));
}

#[tokio::test]
async fn under_a_flood_what_failed_is_kept_and_what_is_not_is_counted() {
    let config = TraceConfig { sampled_per_second: 100, waiting: 1000, ..Default::default() };
    let (traces, _folder) = open(config).await;
    let at = now();
    for trace in 1..=5000 {
        let status = if trace % 100 == 0 { 500 } else { 200 };
        traces.record(vec![record(trace, 1, at, "users", status)]);
    }
    traces.flush().await.unwrap();
    let all = TraceFilter { limit: 10_000, ..Default::default() };
    assert_eq!(listed(&traces, TraceFilter { error: true, ..all.clone() }).await.len(), 50);
    assert_eq!(listed(&traces, all.clone()).await.len(), 150);
    let not_kept = traces.list(all).await.unwrap().not_kept;
    assert_eq!((not_kept.sampled, not_kept.overflow, not_kept.unwritten), (4850, 0, 0));
}

#[tokio::test]
async fn what_is_too_old_goes_first_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let archive = ArchiveConfig { oldest: Duration::from_secs(3600), ..Default::default() };
    let traces = open_in(&folder, archive, TraceConfig::default()).await;
    let at = now();
    traces
        .record(vec![record(1, 1, at - 3_700_000, "users", 500), record(2, 1, at - 3_500_000, "users", 500)]);
    traces.flush().await.unwrap();
    traces.archive.trim().await.unwrap();
    assert_eq!(listed(&traces, TraceFilter::default()).await, [2]);
    assert!(traces.get(TraceId(1)).await.unwrap().is_none());
    let left = async |table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        traces.archive.read(move |conn| conn.query_one(&sql, [], |row| row.get::<_, i64>(0))).await.unwrap()
    };
    let (names, places) = (left("trace_names").await, left("trace_places").await);
    assert_eq!((names, places), (4, 8), "gateway, service, route and call: by how long it took, and failed");
    traces.archive.write(|tx| super::delete::delete(tx, i64::MAX, 10)).await.unwrap();
    for table in ["traces", "spans", "trace_names", "trace_places"] {
        assert_eq!(left(table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn the_files_stay_below_their_bound_and_keep_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let bound = ArchiveConfig { largest: 16 << 20, ..Default::default() };
    let config = TraceConfig { sampled_per_second: 1_000_000, waiting: 100_000, ..Default::default() };
    let traces = open_in(&folder, bound, config).await;
    let start = now() - 1_000_000;
    let mut trace = 0;
    for _ in 0..100 {
        let batch: Vec<_> = (0..800)
            .map(|_| {
                trace += 1;
                record(trace, 1, start + trace as u64, "users", 200)
            })
            .collect();
        traces.record(batch);
        traces.flush().await.unwrap();
        let files = std::fs::read_dir(folder.path()).unwrap();
        let named =
            files.map(Result::unwrap).filter(|file| !file.file_name().to_string_lossy().ends_with("-shm"));
        let size: u64 = named.map(|file| file.metadata().unwrap().len()).sum();
        assert!(size <= bound.largest, "{size}");
    }
    let all = TraceFilter { limit: u32::MAX, ..Default::default() };
    let kept = listed(&traces, all).await;
    assert!((2000..70_000).contains(&kept.len()), "{} are kept", kept.len());
    assert!(kept.iter().copied().eq((0..kept.len() as u128).map(|n| trace - n)), "the newest without a gap");
    assert_eq!(traces.not_kept().unwritten, 0);
}

#[tokio::test]
async fn what_came_before_the_end_is_written_at_the_end() {
    let (traces, _folder) = open(TraceConfig::default()).await;
    let end = Arc::new(tokio::sync::Notify::new());
    let running = tokio::spawn({
        let (traces, end) = (traces.clone(), end.clone());
        async move { traces.run(async move { end.notified().await }).await }
    });
    traces.record(vec![record(1, 1, now(), "users", 500)]);
    end.notify_one();
    running.await.unwrap();
    assert_eq!(listed(&traces, TraceFilter::default()).await, [1]);
}

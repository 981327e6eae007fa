//! Over resolutions and restarts, with a clock that the test moves.

use std::{path::Path, time::Duration};

use madang_wire::{Hop, RequestRecord, SpanId, TraceId, metrics::Flow};

use super::{MetricConfig, MetricFilter, Metrics, SeriesQuery};
use crate::{Archive, ArchiveConfig};

/// The start of five minutes, in milliseconds since 1970.
const START: u64 = 1_800_000_000_000;

/// A request over a route to users that took a millisecond and ended well, at the start.
pub(crate) fn record() -> RequestRecord {
    RequestRecord {
        at: START,
        at_us: 0,
        hop: Hop::Gateway,
        request_id: 7.into(),
        trace_id: TraceId(7),
        span_id: SpanId(7),
        parent_span_id: None,
        route: Some("/users/**".into()),
        caller: None,
        service: Some("users".into()),
        instance: Some("users-a".into()),
        release: Some("r1".into()),
        method: "GET".into(),
        status: 200,
        grpc_status: None,
        code: None,
        fault: None,
        fallback: None,
        cache: None,
        attempts: 1,
        duration_us: 1000,
        upstream_us: 800,
        parked_us: 0,
    }
}

fn at(second: u64) -> RequestRecord {
    RequestRecord { at: START + second * 1000, ..record() }
}

async fn open(folder: &Path, config: MetricConfig, second: u64) -> Metrics {
    let archive = Archive::open(&folder.join("telemetry.db"), ArchiveConfig::default()).await.unwrap();
    Metrics::open_at(&archive, config, START + second * 1000).await.unwrap()
}

/// A call each second for so many seconds, of which each tenth failed.
async fn pass(metrics: &Metrics, seconds: std::ops::Range<u64>) {
    for second in seconds {
        let status = if second % 10 == 3 { 503 } else { 200 };
        metrics.record_at(&[RequestRecord { status, ..at(second) }], START + second * 1000 + 900);
        if second % 10 == 9 {
            metrics.tick(START + second * 1000 + 950).await.unwrap();
        }
    }
}

fn users() -> MetricFilter {
    MetricFilter { service: Some("users".into()), ..MetricFilter::default() }
}

async fn points(metrics: &Metrics, from: u64, until: u64, step: u64) -> (u64, Vec<(u64, u64, u64)>) {
    let (from, until) = (START + from * 1000, START + until * 1000);
    let query = SeriesQuery { filter: users(), from, until, step, buckets: false };
    let found = metrics.series(query).await.unwrap();
    let seen = |point: &madang_wire::metrics::MetricPoint| {
        ((point.at - START) / 1000, point.flow.requests, point.flow.errors)
    };
    (found.step_ms / 1000, found.points.iter().map(seen).collect())
}

#[tokio::test]
async fn seconds_are_kept_for_ten_minutes_and_ten_seconds_and_five_minutes_for_longer() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = open(folder.path(), MetricConfig::default(), 0).await;
    pass(&metrics, 0..1210).await;
    let (step, seen) = points(&metrics, 900, 904, 1).await;
    assert_eq!((step, seen), (1, vec![(900, 1, 0), (901, 1, 0), (902, 1, 0), (903, 1, 1)]));
    let (step, seen) = points(&metrics, 100, 125, 1).await;
    assert_eq!((step, seen), (10, vec![(100, 10, 1), (110, 10, 1), (120, 10, 1)]), "longer ago");
    let (step, seen) = points(&metrics, 0, 1200, 300).await;
    assert_eq!(step, 300);
    assert_eq!(seen, [(0, 300, 30), (300, 300, 30), (600, 300, 30), (900, 300, 30)]);
    // A day later only the longest are left, and the last minutes are nobody's.
    let day = 86_400 + 1300;
    metrics.tick(START + day * 1000).await.unwrap();
    let (step, seen) = points(&metrics, 0, 1200, 10).await;
    assert_eq!((step, seen.len()), (300, 4));
    metrics.state().rolled = Some(0);
    assert_eq!(points(&metrics, 0, 1200, 300).await.1, [], "points of ten seconds are gone");
}

#[tokio::test]
async fn a_restart_loses_nothing_that_was_written_and_goes_on_in_the_middle_of_an_interval() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = open(folder.path(), MetricConfig::default(), 0).await;
    pass(&metrics, 0..595).await;
    metrics.flush().await.unwrap();
    drop(metrics);
    let metrics = open(folder.path(), MetricConfig::default(), 596).await;
    metrics.tick(START + 596_000).await.unwrap();
    pass(&metrics, 596..700).await;
    let (step, seen) = points(&metrics, 580, 620, 1).await;
    assert_eq!((step, seen), (10, vec![(580, 10, 1), (590, 9, 1), (600, 10, 1), (610, 10, 1)]));
    metrics.tick(START + 700_000).await.unwrap();
    assert_eq!(points(&metrics, 0, 600, 300).await.1, [(0, 300, 30), (300, 299, 30)]);
}

#[tokio::test]
async fn a_summary_says_for_how_long_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = open(folder.path(), MetricConfig::default(), 0).await;
    pass(&metrics, 0..20).await;
    let summary = metrics.summary_at(Duration::from_secs(60), START + 20_000).await.unwrap();
    assert_eq!(summary.window_ms, 20_000);
    assert_eq!((summary.total.requests, summary.total.rate), (20, 1.0));
    let summary = metrics.summary_at(Duration::from_secs(10), START + 20_000).await.unwrap();
    let Flow { requests, errors, rate, error_ratio, .. } = summary.services["users"];
    assert_eq!((summary.window_ms, requests, errors, rate, error_ratio), (10_000, 10, 1, 1.0, 0.1));
    let [edge] = &summary.edges[..] else { panic!("{summary:?}") };
    assert_eq!((&*edge.caller, &*edge.callee), ("gateway", "users"));
    assert_eq!(summary.routes[0].route.as_deref(), Some("/users/**"));
    assert_eq!(summary.releases[0].release.as_deref(), Some("r1"));

    pass(&metrics, 20..1000).await;
    let summary = metrics.summary_at(Duration::from_secs(900), START + 1_000_000).await.unwrap();
    assert_eq!((summary.window_ms, summary.total.requests), (900_000, 900));
    let summary = metrics.summary_at(Duration::from_secs(3600), START + 1_000_000).await.unwrap();
    assert_eq!((summary.window_ms, summary.total.rate), (1_000_000, 1.0), "as long as is known");
}

#[tokio::test]
async fn releases_are_known_in_the_order_in_which_they_came() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = open(folder.path(), MetricConfig::default(), 0).await;
    for (second, release, status) in [(0, "r9", 200), (20, "r9", 200), (20, "r1", 200), (40, "r1", 500)] {
        let call = RequestRecord { release: Some(release.into()), status, ..at(second) };
        metrics.record_at(&[call], START + second * 1000 + 500);
    }
    let releases = metrics.releases("users").await.unwrap();
    let seen: Vec<_> =
        releases.iter().map(|span| (&*span.release, span.first - START, span.last - START)).collect();
    assert_eq!(seen, [("r9", 0, 20_000), ("r1", 20_000, 40_000)]);
    let of = |release: &str| MetricFilter { release: Some(release.into()), ..users() };
    let bad = metrics.flow(&of("r1"), START, START + 60_000).await.unwrap();
    let good = metrics.flow(&of("r9"), START, START + 60_000).await.unwrap();
    assert_eq!((bad.requests, bad.error_ratio, good.requests, good.error_ratio), (2, 0.5, 2, 0.0));
}

#[tokio::test]
async fn a_flood_of_names_takes_a_bounded_number_of_series_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = open(folder.path(), MetricConfig { series: 50, ..MetricConfig::default() }, 0).await;
    for second in 0..30 {
        let calls: Vec<_> = (0..200)
            .map(|n| RequestRecord { route: Some(format!("/{second}/{n}").into()), ..at(second) })
            .collect();
        metrics.record_at(&calls, START + second * 1000);
    }
    let totals = metrics.totals();
    assert_eq!(totals.len(), 51);
    let counted: u64 = totals.iter().map(|one| one.totals.classes[2][0]).sum();
    assert_eq!((counted, metrics.dropped().other), (6000, 5950));
}

/// What nobody calls any more is scraped no more; what goes on is counted on.
#[tokio::test]
async fn a_series_that_is_gone_is_told_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = open(folder.path(), MetricConfig::default(), 0).await;
    let gone = RequestRecord { release: Some("r0".into()), ..at(0) };
    metrics.record_at(&[gone, at(0)], START + 1000);
    assert_eq!(metrics.totals().len(), 2);
    for second in [1800, 3600, 5400, 7200] {
        metrics.record_at(&[at(second)], START + second * 1000 + 1000);
    }
    let totals = metrics.totals();
    assert_eq!(totals.iter().map(|one| one.totals.classes[2][0]).collect::<Vec<_>>(), [5]);
}

#[tokio::test]
async fn the_file_stays_within_the_bound_of_the_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let bound = ArchiveConfig { largest: 12 << 20, ..ArchiveConfig::default() };
    let archive = Archive::open(&folder.path().join("telemetry.db"), bound).await.unwrap();
    let metrics = Metrics::open_at(&archive, MetricConfig::default(), START).await.unwrap();
    for second in (0..12_000).step_by(10) {
        let calls: Vec<_> =
            (0..30).map(|n| RequestRecord { service: Some(format!("s{n}").into()), ..at(second) }).collect();
        metrics.record_at(&calls, START + second * 1000);
        metrics.tick(START + second * 1000).await.unwrap();
    }
    let sizes = archive
        .read(|conn| {
            let sql = "SELECT (SELECT bytes FROM metric_sizes WHERE step = 10), sum(length(point) + 64) FROM metric_points WHERE step = 10";
            conn.query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        })
        .await
        .unwrap();
    assert_eq!(sizes.0, sizes.1, "what is counted is what there is");
    assert!((1 << 20..(12 << 20) / 8 + (1 << 20)).contains(&sizes.0), "{sizes:?}");
}

#[tokio::test]
async fn a_clock_that_is_put_back_hides_nothing_that_comes() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = open(folder.path(), MetricConfig::default(), 7200).await;
    pass(&metrics, 7200..7210).await;
    pass(&metrics, 0..10).await;
    assert_eq!(points(&metrics, 0, 10, 1).await.1.len(), 10);
    assert_eq!(points(&metrics, 7200, 7210, 10).await.1, [], "what was said to come is not there");
}

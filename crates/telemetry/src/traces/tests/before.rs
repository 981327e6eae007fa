//! A file of the version before: what it holds is found as what was kept since.

use madang_store::{Settings, Store};

use super::*;
use crate::traces::schema::MIGRATIONS;

/// What version 5 had written of a trace that failed, and of one that was slow.
const WRITTEN: &str = r#"
    INSERT INTO spans (trace, span, parent, service, peer, request, name, kind, start, duration, error, attributes)
        VALUES
        (x'00000000000000000000000000000001', x'0000000000000001', NULL, 'gateway', 'orders', 'first',
         'GET /orders/{id}', 'server', :at + 0, 3000, 1,
         '{"http.request.method":"GET","http.route":"/orders/{id}","madang.hop":"gateway","madang.request_id":"first"}'),
        (x'00000000000000000000000000000001', x'0000000000000002', x'0000000000000001', 'orders', 'users', 'first',
         'GET users', 'client', :at + 1000, 1000, 1, '{"http.request.method":"GET","madang.hop":"door"}'),
        (x'00000000000000000000000000000002', x'0000000000000001', NULL, 'gateway', 'users', 'second',
         'GET /users/{id}', 'server', :at + 5000, 300000, 0,
         '{"http.request.method":"GET","http.route":"/users/{id}","madang.hop":"gateway","madang.request_id":"second"}');
    INSERT INTO span_resources VALUES (1, '{"host.name":"h"}', :at);
    INSERT INTO spans (trace, span, parent, service, name, kind, start, duration, error, attributes, instance, resource)
        VALUES
        (x'00000000000000000000000000000002', x'0000000000000002', x'0000000000000001', 'users', 'GET', 'server',
         :at + 5100, 1000, 0, '{"http.route":"/other"}', 'users-a', 1);
    INSERT INTO traces VALUES
        (x'00000000000000000000000000000001', :at + 0, :at + 3000, 2, 2),
        (x'00000000000000000000000000000002', :at + 5000, :at + 305000, 2, 0);
    INSERT INTO trace_services VALUES
        ('gateway', :at + 0, x'00000000000000000000000000000001'),
        ('orders', :at + 0, x'00000000000000000000000000000001'),
        ('users', :at + 1000, x'00000000000000000000000000000001'),
        ('gateway', :at + 5000, x'00000000000000000000000000000002'),
        ('users', :at + 5000, x'00000000000000000000000000000002');
    INSERT INTO trace_marks SELECT service, 0, start, trace FROM trace_services WHERE start < :at + 5000;
    INSERT INTO trace_marks SELECT service, 1, start, trace FROM trace_services WHERE start = :at + 5000;
"#;

async fn written(folder: &TempDir, at: u64) {
    let url = format!("sqlite:{}", folder.path().join("telemetry.db").display());
    let store =
        Store::open_with(&url, Settings { lossy: true, largest: Some(ArchiveConfig::default().largest) })
            .unwrap();
    store.migrate("traces", &MIGRATIONS[..5]).await.unwrap();
    let rows = WRITTEN.replace(":at", &(at * 1000).to_string());
    store.write(move |tx| tx.execute_batch(&rows)).await.unwrap();
}

#[tokio::test]
async fn what_the_version_before_kept_is_found_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = now();
    written(&folder, at).await;
    let traces = open_in(&folder, ArchiveConfig::default(), TraceConfig::default()).await;

    let check = async |filter: TraceFilter, expected: &[u128]| {
        assert_eq!(listed(&traces, filter.clone()).await, expected, "{filter:?}");
    };
    let all = TraceFilter::default();
    let slow = Some(Duration::from_millis(200));
    check(all.clone(), &[2, 1]).await;
    check(TraceFilter { error: true, ..all.clone() }, &[1]).await;
    check(TraceFilter { slow, ..all.clone() }, &[2]).await;
    for (service, all_of, failed, slow_ones) in [
        ("gateway", &[2, 1][..], &[1][..], &[2][..]),
        ("orders", &[1], &[1], &[]),
        ("users", &[2, 1], &[1], &[2]),
    ] {
        let of = TraceFilter { service: Some(service.into()), ..all.clone() };
        check(of.clone(), all_of).await;
        check(TraceFilter { error: true, ..of.clone() }, failed).await;
        check(TraceFilter { slow, ..of }, slow_ones).await;
    }
    let route = |route: &str| TraceFilter { route: Some(route.into()), ..all.clone() };
    check(route("/orders/{id}"), &[1]).await;
    check(TraceFilter { service: Some("users".into()), error: true, ..route("/orders/{id}") }, &[1]).await;
    check(route("/other"), &[]).await;
    let call = |caller: &str| TraceFilter { call: Some((caller.into(), "users".into())), ..all.clone() };
    check(call("orders"), &[1]).await;
    check(TraceFilter { error: true, ..call("orders") }, &[1]).await;
    check(TraceFilter { error: true, ..call("gateway") }, &[]).await;
    check(TraceFilter { slow, ..call("gateway") }, &[2]).await;

    let view = traces.get(TraceId(2)).await.unwrap().unwrap();
    assert_eq!(view.spans[0].attributes["http.route"], "/users/{id}");
    assert_eq!(view.spans[1].resource["host.name"], "h");
    assert_eq!(traces.find("first").await.unwrap(), Some(TraceId(1)));

    // What comes of it now joins it.
    let outer = RequestRecord { duration_us: 400_000, ..record(2, 1, at + 5, "users", 200) };
    traces.record(vec![within(&outer, 7, "mail", 500), record(3, 1, at + 900, "users", 200)]);
    traces.flush().await.unwrap();
    check(all.clone(), &[3, 2, 1]).await;
    let list = traces.list(TraceFilter { limit: 3, ..all.clone() }).await.unwrap().traces;
    assert_eq!((list[1].spans, list[1].errors, list[1].duration_us), (3, 1, 300_000));
    let view = traces.get(TraceId(2)).await.unwrap().unwrap();
    assert_eq!(view.spans.iter().map(|span| span.span_id.0).collect::<Vec<_>>(), [1, 2, 7]);

    traces.archive.write(|tx| crate::traces::delete::delete(tx, i64::MAX, 10)).await.unwrap();
    check(all, &[]).await;
    assert!(traces.get(TraceId(2)).await.unwrap().is_none());
    assert_eq!(traces.find("first").await.unwrap(), None);
}

/// A file that is as full as it gets has room for what it becomes.
#[tokio::test]
async fn a_full_file_of_the_version_before_goes_on_within_its_bound() {
    let folder = tempfile::tempdir().unwrap();
    let largest = 16 << 20;
    let url = format!("sqlite:{}", folder.path().join("telemetry.db").display());
    let settings = Settings { lossy: true, largest: Some(largest - madang_store::WAL) };
    let store = Store::open_with(&url, settings).unwrap();
    store.migrate("traces", &MIGRATIONS[..5]).await.unwrap();
    // A trace of one span each, of which the lists take the greatest part.
    let rows = format!(
        r#"WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 11500)
        INSERT INTO spans (trace, span, service, peer, request, name, kind, start, duration, error, attributes)
        SELECT randomblob(16), randomblob(8), 'gateway', 'orders', hex(randomblob(8)), 'GET /orders/**', 'server',
            {at} + n * 1000, 3000, 0, '{{"http.request.method":"GET","http.route":"/orders/**",
             "http.response.status_code":200,"service.instance.id":"orders-a","madang.release":"5f1e0c2a9b7d",
             "madang.hop":"gateway","madang.request_id":"' || hex(randomblob(8)) || '","madang.attempts":1}}'
        FROM n;
        INSERT INTO traces SELECT trace, start, start + duration, 1, error FROM spans;
        INSERT INTO trace_services SELECT service, start, trace FROM spans UNION SELECT peer, start, trace FROM spans"#,
        at = (now() - 100_000) * 1000
    );
    let grown = store.write(move |tx| {
        tx.execute_batch(&rows)?;
        tx.query_one("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", [], |row| {
            row.get::<_, i64>(0)
        })
    });
    let room = (largest - madang_store::WAL) / 10 * 9;
    let grown = grown.await.unwrap() as u64;
    assert!(grown > room / 10 * 9 && grown < room, "{grown} of {room} is what a file may have at rest");
    drop(store);
    let bound = ArchiveConfig { largest, ..ArchiveConfig::default() };
    let traces = open_in(&folder, bound, TraceConfig::default()).await;
    let route = TraceFilter { route: Some("/orders/**".into()), limit: 100_000, ..TraceFilter::default() };
    assert_eq!(listed(&traces, route).await.len(), 11_500);
}

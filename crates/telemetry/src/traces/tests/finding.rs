//! Traces by what they have to do with, and one by its id however late it came.

use super::*;
use crate::traces::recent::GENERATION;

fn all() -> TraceFilter {
    TraceFilter { limit: 1000, ..TraceFilter::default() }
}

fn route(route: &str) -> TraceFilter {
    TraceFilter { route: Some(route.to_owned()), ..all() }
}

fn call(caller: &str, callee: &str) -> TraceFilter {
    TraceFilter { call: Some((caller.to_owned(), callee.to_owned())), ..all() }
}

#[tokio::test]
async fn traces_are_found_by_their_route_and_by_a_call_in_them() {
    let (traces, _folder) = open(TraceConfig::default()).await;
    let at = now();
    let [good, failed, other] = [1, 2, 3].map(|n| record(n, 1, at + n as u64, "orders", 200));
    let failed = RequestRecord { status: 500, ..failed };
    let users = record(4, 1, at + 4, "users", 200);
    let slow = |record: RequestRecord, millis: u64| RequestRecord { duration_us: millis * 1000, ..record };
    traces.record(vec![
        within(&good, 2, "users", 200),
        within(&failed, 2, "users", 503),
        // In 3 another call failed, and this one took long.
        slow(within(&other, 2, "users", 200), 60),
        within(&other, 3, "mail", 500),
        good,
        failed,
        slow(other, 300),
        users,
    ]);
    traces.flush().await.unwrap();

    let check = async |filter: TraceFilter, expected: &[u128]| {
        assert_eq!(listed(&traces, filter.clone()).await, expected, "{filter:?}");
    };
    let slow = |millis, filter| TraceFilter { slow: Some(Duration::from_millis(millis)), ..filter };
    let error = |filter| TraceFilter { error: true, ..filter };
    let orders = || route("/orders/{id}");
    check(orders(), &[3, 2, 1]).await;
    check(route("/users/{id}"), &[4]).await;
    check(route("/orders/{id"), &[]).await;
    check(error(orders()), &[3, 2]).await;
    check(slow(100, orders()), &[3]).await;
    check(slow(301, orders()), &[]).await;
    check(TraceFilter { before_us: Some((at + 3) * 1000), ..orders() }, &[2, 1]).await;
    check(TraceFilter { limit: 1, ..orders() }, &[3]).await;
    check(TraceFilter { service: Some("mail".into()), ..orders() }, &[3]).await;
    check(TraceFilter { service: Some("mail".into()), ..route("/users/{id}") }, &[]).await;

    check(call("orders", "users"), &[3, 2, 1]).await;
    check(call("users", "orders"), &[]).await;
    check(call("gateway", "users"), &[4]).await;
    check(error(call("orders", "users")), &[2]).await;
    check(error(call("orders", "mail")), &[3]).await;
    check(slow(50, call("orders", "users")), &[3]).await;
    check(slow(61, call("orders", "users")), &[]).await;
    check(slow(50, error(call("orders", "users"))), &[]).await;
    check(TraceFilter { route: Some("/orders/{id}".into()), ..call("gateway", "users") }, &[]).await;
    check(TraceFilter { route: Some("/users/{id}".into()), ..call("gateway", "users") }, &[4]).await;
}

#[tokio::test]
async fn a_trace_moves_in_the_lists_with_what_comes_of_it() {
    let (traces, _folder) = open(TraceConfig::default()).await;
    let at = now();
    let outer = record(1, 1, at, "orders", 200);
    let inner = within(&outer, 2, "users", 200);
    traces.record(vec![inner]);
    traces.flush().await.unwrap();
    assert_eq!(listed(&traces, route("/orders/{id}")).await, [0; 0]);
    let users = TraceFilter { service: Some("users".into()), ..all() };
    let slow = TraceFilter { slow: Some(Duration::from_secs(5)), ..users.clone() };
    assert_eq!(listed(&traces, slow.clone()).await, [0; 0]);
    // It began earlier, took longer and failed.
    traces.record(vec![RequestRecord { duration_us: 6_000_000, status: 500, ..outer }]);
    traces.flush().await.unwrap();
    for filter in [&users, &slow, &TraceFilter { error: true, ..users.clone() }, &route("/orders/{id}")] {
        assert_eq!(listed(&traces, filter.clone()).await, [1], "{filter:?}");
    }
    let quick = TraceFilter { before_us: Some(at * 1000), ..users };
    assert_eq!(listed(&traces, quick).await, [0; 0]);
    let places = "SELECT count(*), count(DISTINCT start) FROM trace_places AS place JOIN trace_names ON id = place.name
        WHERE what < 2";
    let read = |conn: &madang_store::rusqlite::Connection| {
        conn.query_one(places, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
    };
    assert_eq!(traces.archive.read(read).await.unwrap(), (8, 1), "nothing is left where it stood before");
}

#[tokio::test]
async fn what_comes_much_later_is_part_of_the_trace() {
    let config = TraceConfig { sampled_per_second: 1_000_000, ..TraceConfig::default() };
    let (traces, folder) = open(config.clone()).await;
    let at = now();
    let outer = record(1, 1, at, "orders", 200);
    let late = within(&outer, 2, "users", 500);
    traces.record(vec![outer.clone()]);
    traces.flush().await.unwrap();
    traces.record((0..GENERATION as u128 * 3).map(|n| record(100 + n, 1, at, "mail", 200)).collect());
    traces.flush().await.unwrap();
    traces.record(vec![late]);
    traces.flush().await.unwrap();

    let check = async |traces: &Traces| {
        let view = traces.get(TraceId(1)).await.unwrap().unwrap();
        assert_eq!(view.spans.iter().map(|span| span.span_id.0).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(traces.find("1").await.unwrap(), Some(TraceId(1)));
        let one = traces.list(TraceFilter { service: Some("orders".into()), ..all() }).await.unwrap().traces;
        let [one] = &one[..] else { panic!("{one:?}") };
        assert_eq!(
            (one.name.as_str(), one.spans, one.errors, one.duration_us),
            ("GET /orders/{id}", 2, 1, 4000)
        );
    };
    check(&traces).await;
    drop(traces);
    let traces = open_in(&folder, ArchiveConfig::default(), config).await;
    check(&traces).await;
    // Numbers go on where they were, and what came lately is known.
    let last = record(100 + GENERATION as u128 * 3 - 1, 2, at, "mail", 200);
    traces.record(vec![last, record(5, 1, at, "mail", 200)]);
    traces.flush().await.unwrap();
    check(&traces).await;
    let rows = "SELECT count(*) FROM traces";
    let rows = traces.archive.read(move |conn| conn.query_one(rows, [], |row| row.get::<_, i64>(0))).await;
    assert_eq!(rows.unwrap(), GENERATION as i64 * 3 + 3, "1 twice, and 5");
}

use std::sync::{Arc, Mutex};

use axum::{Json, Router, routing::post};
use expect_test::expect;
use madang_wire::cache::{CacheView, CachedRoute, PurgeSpec, Purged};

use crate::fake::{Fake, always};

#[tokio::test]
async fn what_is_kept_is_shown_by_route() {
    let route = CachedRoute {
        route: "/products/**".into(),
        service: "catalog".into(),
        entries: 12,
        bytes: 34_000,
        hits: 560,
        stale: 3,
        revalidated: 7,
        misses: 45,
        evicted: 1,
        purged: 2,
        left_out: 0,
    };
    let view = CacheView { used: 40_000, size: 64 << 20, routes: vec![route] };
    let fake = Fake::up(Router::new().route("/v1/cache", always(view)));
    fake.check(
        "cache show",
        expect![[r#"
        exit 0
        ROUTE         SERVICE  KEPT  SIZE    HITS  STALE  REVALIDATED  MISSES  EVICTED  LEFT OUT
        /products/**  catalog  12    33 KiB  560   3      7            45      1        0
        39 KiB of 64.0 MiB are used
    "#]],
    )
    .await;
    let none = Fake::up(Router::new().route("/v1/cache", always(CacheView::default())));
    assert_eq!(
        none.run("cache show").await.stdout,
        "no route keeps answers: write edge = { cache = true } in the manifest\n"
    );
}

#[tokio::test]
async fn what_is_meant_is_purged() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    let purge = async move |Json(spec): Json<PurgeSpec>| {
        let count = hears.lock().unwrap().len() as u64;
        hears.lock().unwrap().push(spec);
        Json(Purged { entries: count })
    };
    let fake = Fake::up(Router::new().route("/v1/cache/purge", post(purge)));
    for (command, said) in [
        ("cache purge /products/**", "nothing of that was kept\n"),
        ("cache purge --route /products/**", "1 answer is forgotten\n"),
        ("cache purge --service catalog", "2 answers are forgotten\n"),
        ("cache purge --tag news", "3 answers are forgotten\n"),
        ("cache purge --all", "4 answers are forgotten\n"),
    ] {
        assert_eq!(fake.run(command).await.stdout, said, "{command}");
    }
    let of = |path: &str, route: &str, service: &str, tag: &str| {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        PurgeSpec { path: some(path), route: some(route), service: some(service), tag: some(tag) }
    };
    let expected = [
        of("/products/**", "", "", ""),
        of("", "/products/**", "", ""),
        of("", "", "catalog", ""),
        of("", "", "", "news"),
        of("", "", "", ""),
    ];
    assert_eq!(*heard.lock().unwrap(), expected);
    assert_eq!(fake.run("cache purge").await.code, 2, "all is not forgotten by mistake");
    assert_eq!(fake.run("cache purge /a --tag news").await.code, 2);
}

use std::{thread, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header::VARY};
use madang_model::edge::Cache as Rule;
use tokio::time::Instant;

use super::*;
use crate::cache::{
    entry::{Draft, selected},
    terms::{Asker, Terms},
};

fn place(path: &str) -> Place<&str> {
    Place { secure: false, host: "a.example", path }
}

fn draft(zone: &Arc<Zone>, path: &str, vary: Option<(&str, &str)>) -> Draft {
    let (mut fields, mut asked) = (HeaderMap::new(), HeaderMap::new());
    fields.insert("cache-control", HeaderValue::from_static("max-age=60"));
    if let Some((name, value)) = vary {
        fields.insert(VARY, name.parse().unwrap());
        asked.insert(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
    }
    let now = std::time::SystemTime::now();
    let terms =
        Terms::of(&Rule::default(), Asker::default(), StatusCode::OK, &fields, Duration::ZERO, now).unwrap();
    Draft {
        zone: zone.clone(),
        place: place(path).owned(),
        selected: selected(&[], &fields, &asked),
        status: StatusCode::OK,
        fields: Draft::fields(&fields, &[]),
        came: Instant::now(),
        terms,
        tags: Box::new([]),
    }
}

fn put(store: &Arc<Store>, zone: &Arc<Zone>, path: &str, body: usize) -> bool {
    let hash = place(path).hash(&store.hasher);
    let entry = draft(zone, path, None).entry(Bytes::from(vec![b'x'; body]));
    store.put(hash, entry, None, store.changes(hash))
}

fn has(store: &Store, zone: &Arc<Zone>, path: &str) -> bool {
    let found = store.get(place(path).hash(&store.hasher), &place(path), zone, &HeaderMap::new());
    found.inspect(|entry| entry.give()).is_some()
}

#[test]
fn all_that_is_used_is_what_is_kept_and_is_within_bounds() {
    let store = Arc::new(Store::new(100_000));
    let zone = store.zone("z", "/**", "a");
    for number in 0..1000 {
        assert!(put(&store, &zone, &format!("/{number}"), (number * 37) % 5000));
        let stats = zone.stats();
        assert!(store.used() <= 100_000);
        assert_eq!(store.used(), stats.bytes);
        assert_eq!(stats.entries + stats.evicted, number as u64 + 1);
    }
    assert!(!put(&store, &zone, "/long", 100_001), "what does not fit at all is left out");
    assert_eq!((zone.stats().left_out, zone.stats().entries > 10), (1, true));
    store.resize(20_000);
    assert!(store.used() <= 20_000);
    assert_eq!(store.purge(&Purge::All), zone.stats().purged);
    assert_eq!((store.used(), zone.stats().entries, zone.stats().bytes), (0, 0, 0));
}

#[test]
fn what_is_on_its_way_counts_and_comes_back() {
    let store = Arc::new(Store::new(10_000));
    let zone = store.zone("z", "/**", "a");
    let mut room = store.reserve(6000).unwrap();
    assert!(room.grow_to(9000) && !room.grow_to(10_001));
    assert!(store.reserve(2000).is_none() && !put(&store, &zone, "/", 2000));
    drop(room);
    assert_eq!(store.used(), 0);
    assert!(put(&store, &zone, "/", 2000));
    assert!(store.reserve(9000).is_some(), "what is kept makes room");
    assert!(!has(&store, &zone, "/"));
}

#[test]
fn many_threads_keep_within_bounds() {
    let store = Arc::new(Store::new(50_000));
    let zone = store.zone("z", "/**", "a");
    thread::scope(|scope| {
        for thread in 0..4 {
            let (store, zone) = (&store, &zone);
            scope.spawn(move || {
                for number in 0..500 {
                    put(store, zone, &format!("/{thread}/{}", number % 50), (number * 13) % 2000);
                    assert!(store.used() <= 50_000);
                    has(store, zone, &format!("/{}/{}", (thread + 1) % 4, number % 50));
                    if number % 100 == 0 {
                        store.purge(&Purge::Path(format!("/{thread}/**")));
                    }
                }
            });
        }
    });
    assert_eq!(store.used(), zone.stats().bytes);
    store.purge(&Purge::All);
    assert_eq!((store.used(), zone.stats().entries), (0, 0));
}

#[test]
fn what_was_given_gets_a_second_chance() {
    let store = Arc::new(Store::new(60_000));
    let zone = store.zone("z", "/**", "a");
    put(&store, &zone, "/often", 100);
    for number in 0..300 {
        put(&store, &zone, &format!("/{number}"), 2000);
        assert!(has(&store, &zone, "/often"), "after {number}");
    }
    assert!(!has(&store, &zone, "/0"));
}

#[test]
fn no_address_has_variants_without_end() {
    let store = Arc::new(Store::new(1_000_000));
    let zone = store.zone("z", "/**", "a");
    let hash = place("/").hash(&store.hasher);
    for number in 0..3 * VARIANTS {
        let entry = draft(&zone, "/", Some(("x-a", &number.to_string()))).entry(Bytes::new());
        assert!(store.put(hash, entry, None, 0));
    }
    assert_eq!(zone.stats().entries, VARIANTS as u64);
    let again = draft(&zone, "/", Some(("x-a", "190"))).entry(Bytes::from_static(b"new"));
    store.put(hash, again, None, 0);
    let mut asked = HeaderMap::new();
    asked.insert("x-a", HeaderValue::from_static("190"));
    assert_eq!(store.get(hash, &place("/"), &zone, &asked).unwrap().body, "new");
    assert_eq!(zone.stats().entries, VARIANTS as u64, "it replaces what was");
    assert!(
        store.shards.iter().map(|shard| shard.read().unwrap().queue.len()).sum::<usize>() <= 2 * VARIANTS + 1
    );
}

#[test]
fn what_became_invalid_while_it_came_is_not_kept() {
    let store = Arc::new(Store::new(1_000_000));
    let zone = store.zone("z", "/**", "a");
    let hash = place("/").hash(&store.hasher);
    let changes = store.changes(hash);
    let entry = || draft(&zone, "/", None).entry(Bytes::new());
    store.invalidate(&place("/"));
    assert!(!store.put(hash, entry(), None, changes));
    let changes = store.changes(hash);
    store.purge(&Purge::Path("/".into()));
    assert!(!store.put(hash, entry(), None, changes));
    assert_eq!(store.used(), 0);
    assert!(store.put(hash, entry(), None, store.changes(hash)));
    let changes = store.changes(hash);
    let elsewhere = (0..10_000).map(|number| format!("/{number}")).collect::<Vec<_>>();
    let near = elsewhere.iter().map(|path| place(path));
    let near: Vec<_> = near.filter(|it| it.hash(&store.hasher) % 64 == hash % 64).collect();
    near.iter().take(CHANGES).for_each(|it| store.invalidate(it));
    assert!(store.put(hash, entry(), None, changes), "others' changes are theirs");
    near.iter().cycle().take(CHANGES + 1).for_each(|it| store.invalidate(it));
    assert!(!store.put(hash, entry(), None, changes), "what is not remembered may be anything");
}

#[test]
fn what_no_route_leads_to_any_more_goes() {
    let store = Arc::new(Store::new(1_000_000));
    let (one, two) = (store.zone("1", "/**", "a"), store.zone("2", "/**", "b"));
    assert!(put(&store, &one, "/", 1) && put(&store, &two, "/", 1));
    assert!(has(&store, &one, "/") && has(&store, &two, "/"), "each has its own");
    store.keep_zones(&["2"]);
    assert!(!has(&store, &one, "/") && has(&store, &two, "/"));
    assert_eq!(store.view().routes.len(), 1);
}

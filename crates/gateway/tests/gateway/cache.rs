//! Answers that are kept, through a running gateway. What is old is said to be old (`Age`), so that nobody waits for it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use madang_calls::Body;
use madang_gateway::{ApiKey, Purge};
use madang_wire::{
    CacheUse, Fallback,
    cache::{CacheView, CachedRoute},
};
use tokio::sync::Semaphore;

use crate::stage::{Answer, Stage, config, field, http2, manifest, serve, until};

const CACHED: &str = r#"
    [services.a]
    run = false
    routes = ["/**"]
    edge = { cache = true }
"#;

/// A gateway with what a manifest says.
pub async fn stage(text: &str) -> Stage {
    Stage::start(config(), manifest(text), Vec::new()).await
}

/// A service that answers by a script: what each request gets, by its number from 1; and what it was asked.
#[derive(Clone)]
struct Scripted {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(Method, String, HeaderMap)>>>,
    /// Each answer takes one, but to what changes something.
    gate: Arc<Semaphore>,
}

impl Scripted {
    /// Answers at once.
    async fn new(
        script: impl Fn(usize, &Request<()>) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> Self {
        let scripted = Self::gated(script).await;
        scripted.gate.add_permits(1000);
        scripted
    }

    /// Answers as often as it is let.
    async fn gated(
        script: impl Fn(usize, &Request<()>) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> Self {
        let (asked, gate) = (Arc::<Mutex<Vec<_>>>::default(), Arc::new(Semaphore::new(0)));
        let (kept, held) = (asked.clone(), gate.clone());
        let address = serve(move |request| {
            let (script, kept, held) = (script.clone(), kept.clone(), held.clone());
            async move {
                let (head, body) = request.into_parts();
                let request = Request::from_parts(head.clone(), ());
                let number = {
                    let mut kept = kept.lock().unwrap();
                    kept.push((head.method, head.uri.to_string(), head.headers));
                    kept.len()
                };
                body.collect().await.unwrap();
                if request.method().is_safe() {
                    held.acquire().await.unwrap().forget();
                }
                script(number, &request)
            }
        })
        .await;
        Self { address, asked, gate }
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// A header of the request of a number.
    fn told(&self, number: usize, name: &str) -> String {
        let asked = self.asked.lock().unwrap();
        asked[number - 1].2.get(name).map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    }
}

/// An answer of a status with these fields (`name: value`), whose body is a text.
fn answer(status: u16, fields: &[&str], body: impl Into<String>) -> Response<Body> {
    let mut answer = Response::new(Body::from(body.into()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    for field in fields {
        let (name, value) = field.split_once(": ").unwrap();
        answer.headers_mut().append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    answer
}

fn only(stage: &Stage) -> CachedRoute {
    let CacheView { used, routes, .. } = stage.handle.cache();
    let [stats] = <[_; 1]>::try_from(routes).expect("one route");
    assert!(stats.bytes <= used, "the rest is on its way");
    stats
}

/// What the records of the requests so far say of the cache, with their statuses, once there are so many.
async fn uses(stage: &Stage, count: usize) -> Vec<(Option<CacheUse>, u16)> {
    let mut records = Vec::new();
    until(|| {
        records.extend(stage.handle.records());
        records.len() >= count
    })
    .await;
    records.sort_by_key(|record| (record.at, record.at_us));
    records.iter().map(|record| (record.cache, record.status)).collect()
}

#[tokio::test]
async fn an_answer_is_given_again_to_whoever_asks_the_same() {
    let script = |number: usize, _: &Request<()>| {
        answer(
            200,
            &["cache-control: max-age=60", "age: 5", "etag: \"v\"", "x-a: 1"],
            format!("answer {number}"),
        )
    };
    let service = Scripted::new(script).await;
    let stage = stage(CACHED).await.with("a", service.address);
    let mut client = stage.client().await;
    let first = client.get("/x?q=1").await;
    assert_eq!((first.text(), field(&first, "cache-status")), ("answer 1", "madang; fwd=uri-miss; stored"));
    let second = stage.client().await.get("/./x?q=1").await;
    assert_eq!((second.text(), field(&second, "x-a"), field(&second, "age")), ("answer 1", "1", "5"));
    assert!(field(&second, "cache-status").starts_with("madang; hit; ttl=5"), "{second:?}");
    assert_ne!(field(&first, "x-request-id"), field(&second, "x-request-id"));
    let head = client.ask(Method::HEAD, "/x?q=1", &[]).await;
    assert_eq!((head.status.as_u16(), field(&head, "content-length"), head.body.len()), (200, "8", 0));
    let known = client.ask(Method::GET, "/x?q=1", &[("if-none-match", "\"o\", W/\"v\"")]).await;
    assert_eq!((known.status.as_u16(), field(&known, "etag"), known.body.len()), (304, "\"v\"", 0));
    let part = client.ask(Method::GET, "/x?q=1", &[("range", "bytes=0-5")]).await;
    assert_eq!((part.status.as_u16(), part.text()), (206, "answer"));
    assert_eq!((field(&part, "content-range"), field(&part, "content-length")), ("bytes 0-5/8", "6"));
    let other = client.ask(Method::GET, "/x?q=1", &[("range", "bytes=0-5"), ("if-range", "\"w\"")]).await;
    assert_eq!((other.status.as_u16(), other.text()), (200, "answer 1"));
    let beyond = client.ask(Method::GET, "/x?q=1", &[("range", "bytes=8-")]).await;
    assert_eq!((beyond.status.as_u16(), field(&beyond, "content-range")), (416, "bytes */8"));
    assert_eq!(service.count(), 1);
    let mut over_http2 = http2(stage.address()).await;
    let request = Request::get(format!("http://{}/x?q=1", stage.address())).body(Full::default()).unwrap();
    let answered = over_http2.send_request(request).await.unwrap();
    assert_eq!(answered.into_body().collect().await.unwrap().to_bytes(), "answer 1");
    // Whatever a service may tell apart is another question.
    for (path, headers) in
        [("/x?q=2", &[][..]), ("/x", &[]), ("/X?q=1", &[]), ("/x?q=1", &[("host", "other.example")])]
    {
        let answered = client.ask(Method::GET, path, headers).await;
        assert_eq!(answered.text(), format!("answer {}", service.count()), "{path} {headers:?}");
    }
    assert_eq!(service.count(), 5);
    let stats = only(&stage);
    assert_eq!((&*stats.route, &*stats.service), ("/**", "a"));
    assert_eq!((stats.entries, stats.hits, stats.misses), (5, 7, 5));
    let uses = uses(&stage, 12).await;
    assert_eq!(uses[..2], [(Some(CacheUse::Miss), 200), (Some(CacheUse::Hit), 200)]);
    assert_eq!(uses[3], (Some(CacheUse::Hit), 304));
    stage.stop().await;
}

#[tokio::test]
async fn vary_tells_answers_apart() {
    let script = |number: usize, _: &Request<()>| {
        answer(200, &["cache-control: max-age=60", "vary: Accept-Language"], number.to_string())
    };
    let service = Scripted::new(script).await;
    let text = r#"
        [services.a]
        run = false
        routes = ["/**"]
        edge = { cache = { vary = ["X-Tenant"] } }
    "#;
    let stage = stage(text).await.with("a", service.address);
    let mut client = stage.client().await;
    for (headers, text) in [
        (&[("accept-language", "ko, en")][..], "1"),
        (&[("accept-language", "ko,en")], "1"),
        (&[("accept-language", "ko"), ("accept-language", "en")], "1"),
        (&[("accept-language", "en")], "2"),
        (&[], "3"),
        (&[("x-tenant", "b")], "4"),
        (&[("x-other", "c")], "3"),
        (&[("accept-language", "en")], "2"),
    ] {
        assert_eq!(client.ask(Method::GET, "/", headers).await.text(), text, "{headers:?}");
    }
    stage.stop().await;
}

#[tokio::test]
async fn what_is_not_fresh_is_asked_about() {
    let script = |number: usize, request: &Request<()>| match number {
        1 => answer(
            200,
            &["cache-control: max-age=60", "age: 60", "etag: \"1\"", "x-a: old", "x-b: kept"],
            "body",
        ),
        2 => {
            assert_eq!(request.headers()["if-none-match"], "\"1\"");
            answer(304, &["cache-control: max-age=90", "etag: \"1\"", "x-a: new"], "")
        }
        _ => answer(200, &["cache-control: no-store"], "other"),
    };
    let service = Scripted::new(script).await;
    let stage = stage(CACHED).await.with("a", service.address);
    let mut client = stage.client().await;
    client.get("/").await;
    let renewed = client.get("/").await;
    assert_eq!((renewed.status.as_u16(), renewed.text()), (200, "body"));
    assert_eq!(
        (field(&renewed, "x-a"), field(&renewed, "x-b"), field(&renewed, "age")),
        ("new", "kept", "0")
    );
    assert!(
        field(&renewed, "cache-status").starts_with("madang; fwd=stale; fwd-status=304; ttl="),
        "{renewed:?}"
    );
    assert_eq!(field(&client.get("/").await, "x-a"), "new");
    assert_eq!(service.count(), 2);
    let forced = client.ask(Method::GET, "/", &[("cache-control", "no-cache"), ("range", "bytes=0-1")]).await;
    assert_eq!(
        (forced.text(), service.told(3, "if-none-match"), service.told(3, "range")),
        ("other", "\"1\"".into(), String::new())
    );
    assert_eq!(field(&forced, "cache-status"), "madang; fwd=request", "what is kept is fresh");
    assert_eq!(client.get("/").await.text(), "other", "what may not be kept replaces what was");
    assert_eq!((service.count(), only(&stage).entries), (4, 0));
    let said = uses(&stage, 5).await;
    assert_eq!(said[1], (Some(CacheUse::Revalidated), 200), "as the client got it");
    assert_eq!(said[2].0, Some(CacheUse::Hit));
    stage.stop().await;
}

#[tokio::test]
async fn a_stale_answer_is_given_while_one_request_fetches_another() {
    let script = |number: usize, _: &Request<()>| match number {
        1 => answer(200, &["cache-control: max-age=60, stale-while-revalidate=60", "age: 70"], "old"),
        _ => answer(200, &["cache-control: max-age=60"], "new"),
    };
    let service = Scripted::gated(script).await;
    let stage = stage(CACHED).await.with("a", service.address);
    let mut client = stage.client().await;
    service.gate.add_permits(1);
    client.get("/").await;
    for _ in 0..5 {
        let stale = client.get("/").await;
        assert_eq!(stale.text(), "old", "nobody waits");
        assert!(field(&stale, "cache-status").starts_with("madang; hit; detail=stale; ttl=-1"), "{stale:?}");
    }
    until(|| service.count() == 2).await;
    service.gate.add_permits(1);
    until(|| only(&stage).misses == 2).await;
    let mut fresh = client.get("/").await;
    for _ in 0..1000 {
        if fresh.text() != "old" {
            break;
        }
        fresh = client.get("/").await;
    }
    assert_eq!((fresh.text(), service.count()), ("new", 2));
    stage.stop().await;
}

#[tokio::test]
async fn a_stale_answer_stands_in_for_a_failure() {
    let script = |number: usize, request: &Request<()>| match (number, request.uri().path()) {
        (1, _) => answer(200, &["cache-control: max-age=60, stale-if-error=60", "age: 70"], "old"),
        (2, _) => answer(
            200,
            &["cache-control: max-age=60, stale-if-error=5, must-revalidate", "age: 70", "etag: \"1\""],
            "strict",
        ),
        _ => answer(500, &[], "broken"),
    };
    let service = Scripted::new(script).await;
    let stage = stage(CACHED).await.with("a", service.address);
    let mut client = stage.client().await;
    client.get("/").await;
    client.get("/strict").await;
    let old = client.get("/").await;
    assert_eq!((old.status.as_u16(), old.text()), (200, "old"));
    assert!(
        field(&old, "cache-status").starts_with("madang; fwd=stale; detail=stale; fwd-status=500; ttl=-"),
        "{old:?}"
    );
    assert_eq!(client.get("/strict").await.status, 500);
    let mut records = Vec::new();
    until(|| {
        records.extend(stage.handle.records());
        records.len() >= 4
    })
    .await;
    let record = records.iter().find(|record| record.cache == Some(CacheUse::Stale)).unwrap();
    assert_eq!((record.status, record.fallback), (200, Some(Fallback::Stale)));
    assert!(record.failed(), "what stands in for a failure is none the less one");
    stage.stop().await;
}

/// Asks the same so often at once, and waits until all wait but those whom the service knows.
async fn ask_at_once(
    stage: &Stage,
    service: &Scripted,
    path: &'static str,
    count: usize,
) -> Vec<tokio::task::JoinHandle<Answer>> {
    let before = service.count();
    let mut asking = Vec::new();
    for number in 0..count {
        let mut client = stage.client().await;
        asking.push(tokio::spawn(async move { client.get(path).await }));
        if number == 0 {
            until(|| service.count() > before).await;
        }
    }
    asking
}

#[tokio::test]
async fn one_request_fetches_what_many_want() {
    let script = |number: usize, request: &Request<()>| match request.uri().path() {
        "/kept" => answer(200, &["cache-control: max-age=60"], number.to_string()),
        "/own" => answer(200, &["cache-control: private"], number.to_string()),
        _ => answer(404, &["cache-control: no-store"], number.to_string()),
    };
    let service = Scripted::gated(script).await;
    let stage = stage(CACHED).await.with("a", service.address);
    let asking = ask_at_once(&stage, &service, "/kept", 20).await;
    service.gate.add_permits(1);
    let mut collapsed = 0;
    for asked in asking {
        let answered = asked.await.unwrap();
        assert_eq!(answered.text(), "1");
        collapsed += usize::from(field(&answered, "cache-status").contains("hit"));
    }
    assert_eq!((service.count(), collapsed), (1, 19));
    // Nobody gets what is somebody else's: they ask for themselves, and whoever comes next does not wait.
    let asking = ask_at_once(&stage, &service, "/own", 5).await;
    service.gate.add_permits(1);
    until(|| service.count() == 6).await;
    service.gate.add_permits(4);
    let mut texts = BTreeMap::new();
    for asked in asking {
        *texts.entry(asked.await.unwrap().text().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(texts.values().copied().collect::<Vec<_>>(), [1; 5]);
    let asking = ask_at_once(&stage, &service, "/own", 3).await;
    until(|| service.count() == 9).await;
    service.gate.add_permits(3);
    for asked in asking {
        asked.await.unwrap();
    }
    stage.stop().await;
}

#[tokio::test]
async fn whoever_waits_goes_on_when_the_one_who_asks_leaves() {
    let script =
        |number: usize, _: &Request<()>| answer(200, &["cache-control: max-age=60"], number.to_string());
    let service = Scripted::gated(script).await;
    let stage = stage(CACHED).await.with("a", service.address);
    let mut asking = ask_at_once(&stage, &service, "/", 2).await;
    asking.remove(0).abort();
    until(|| service.count() == 2).await;
    service.gate.add_permits(2);
    assert_eq!(asking.remove(0).await.unwrap().text(), "2");
    stage.stop().await;
}

#[tokio::test]
async fn what_changes_something_leaves_nothing_of_what_was() {
    let script = |number: usize, request: &Request<()>| match (request.method(), request.uri().path()) {
        (&Method::POST, "/fails") => answer(409, &[], ""),
        (&Method::POST, "/places") => {
            let fields = ["location: /there", "content-location: http://elsewhere.example/far"];
            answer(201, &fields, "")
        }
        (&Method::POST, "/groups") => answer(200, &["cache-group-invalidation: \"news\""], ""),
        (&Method::GET, "/far") => {
            answer(200, &["cache-control: max-age=60", "cache-groups: \"a\", \"news\""], number.to_string())
        }
        _ => answer(200, &["cache-control: max-age=60"], number.to_string()),
    };
    let service = Scripted::new(script).await;
    let stage = stage(CACHED).await.with("a", service.address);
    let mut client = stage.client().await;
    let paths = ["/fails", "/places", "/there", "/far", "/groups"];
    for path in paths {
        client.get(path).await;
    }
    let mut kept = async |post: &str| {
        if !post.is_empty() {
            client.ask(Method::POST, post, &[]).await;
        }
        let before = service.count();
        let mut kept = Vec::new();
        for path in paths {
            let count = service.count();
            client.get(path).await;
            if service.count() == count {
                kept.push(path);
            }
        }
        (kept, service.count() - before)
    };
    assert_eq!(kept("").await, (paths.to_vec(), 0));
    assert_eq!(kept("/fails").await, (paths.to_vec(), 0));
    assert_eq!(kept("/places").await, (vec!["/fails", "/far", "/groups"], 2));
    assert_eq!(kept("/groups").await, (vec!["/fails", "/places", "/there"], 2));
    assert_eq!(only(&stage).purged, 4);
    stage.stop().await;
}

#[tokio::test]
async fn a_request_that_is_overtaken_by_a_change_keeps_nothing() {
    let script =
        |number: usize, _: &Request<()>| answer(200, &["cache-control: max-age=60"], number.to_string());
    let service = Scripted::gated(script).await;
    let stage = stage(CACHED).await.with("a", service.address);
    let mut asking = ask_at_once(&stage, &service, "/", 1).await;
    let mut client = stage.client().await;
    client.ask(Method::PUT, "/", &[]).await;
    service.gate.add_permits(1);
    assert_eq!(asking.remove(0).await.unwrap().text(), "1");
    service.gate.add_permits(1);
    assert_eq!(client.get("/").await.text(), "3", "what was read before the change is not kept");
    stage.stop().await;
}

#[tokio::test]
async fn an_answer_is_for_those_alone_who_may_have_it() {
    let text = r#"
        gateway.auth.keys = true
        [services.a]
        run = false
        routes = ["/**"]
        edge = { cache = { ttl = "60s" }, rate_limit = { rate = "7/h", per = "all" }, cors = { origins = "*" } }
    "#;
    let script = |number: usize, request: &Request<()>| {
        let control = request.uri().query().unwrap_or_default();
        answer(200, &[&format!("cache-control: {control}")], number.to_string())
    };
    let service = Scripted::new(script).await;
    let stage = stage(text).await.with("a", service.address);
    let text = |name: &str| ApiKey::text(name, "secret");
    stage.identity.take_api_keys(["one", "two"].map(|name| ApiKey {
        id: name.to_owned(),
        name: name.to_owned(),
        hash: ApiKey::hash(&text(name)),
        scopes: Default::default(),
        expires: None,
    }));
    let mut client = stage.client().await;
    let mut ask = async |key: &str, path: &str| {
        let key = text(key);
        let mut headers = vec![("origin", "https://shop.example")];
        headers.extend((key != text("")).then_some(("x-api-key", &*key)));
        client.ask(Method::GET, path, &headers).await
    };
    for (key, path, text) in [
        ("one", "/?max-age=60", "1"),
        ("one", "/?max-age=60", "2"),
        ("one", "/?max-age=60,public", "3"),
        ("two", "/?max-age=60,public", "3"),
    ] {
        let answered = ask(key, path).await;
        assert_eq!(
            (answered.text(), field(&answered, "access-control-allow-origin")),
            (text, "*"),
            "{key} {path}"
        );
        assert!(answered.headers.contains_key("ratelimit"));
    }
    assert_eq!(ask("", "/?max-age=60,public").await.status, 401, "a hit is still asked whose it is");
    for _ in 0..3 {
        ask("two", "/?max-age=60,public").await;
    }
    assert_eq!(ask("two", "/?max-age=60,public").await.status, 429, "and is counted");
    stage.stop().await;
}

#[tokio::test]
async fn what_may_be_kept_takes_no_more_room_than_it_has() {
    let text = r#"
        gateway.cache_size = "256KiB"
        [services.a]
        run = false
        routes = ["/**"]
        edge = { cache = { max_body = "20KiB" } }
    "#;
    let script = |_, request: &Request<()>| {
        let length = request.uri().query().unwrap().parse().unwrap();
        answer(200, &["cache-control: max-age=60"], "x".repeat(length))
    };
    let service = Scripted::new(script).await;
    let stage = stage(text).await.with("a", service.address);
    let mut client = stage.client().await;
    for number in 0..200 {
        let answered = client.get(&format!("/{number}?{}", 1000 + 97 * number)).await;
        assert_eq!(answered.body.len(), 1000 + 97 * number);
        let CacheView { used, size, .. } = stage.handle.cache();
        assert!(used <= size && size == 256 << 10, "{used}");
    }
    let stats = only(&stage);
    assert!(stats.entries >= 10 && stats.evicted > 150, "{stats:?}");
    assert_eq!(client.get("/long?20481").await.body.len(), 20481);
    assert_eq!((client.get("/long?20481").await.body.len(), only(&stage).left_out), (20481, 2));
    // What is asked for again and again stays.
    client.get("/often?500").await;
    for number in 0..100 {
        client.get(&format!("/once/{number}?5000")).await;
        let often = client.get("/often?500").await;
        assert!(field(&often, "cache-status").contains("hit"), "{number}");
    }
    stage.stop().await;
}

#[tokio::test]
async fn what_is_kept_stays_over_a_change_and_goes_to_no_other_service() {
    let script =
        |number: usize, _: &Request<()>| answer(200, &["cache-control: max-age=60"], number.to_string());
    let (a, b) = (
        Scripted::new(script).await,
        Scripted::new(|_, _: &Request<()>| answer(200, &["cache-control: max-age=60"], "b")).await,
    );
    let text = r#"
        [services.a]
        run = false
        routes = ["/**"]
        [services.b]
        run = false
        [gateway.edge]
        cache = { tags = ["all"] }
    "#;
    let mut stage = stage(text).await.with("a", a.address).with("b", b.address);
    let mut client = stage.client().await;
    client.get("/").await;
    stage.apply().await.unwrap();
    assert_eq!((client.get("/").await.text(), a.count()), ("1", 1));
    let before = stage.system.clone();
    stage.system.routes[0].to[0].service = "b".parse().unwrap();
    stage.apply().await.unwrap();
    assert_eq!(client.get("/").await.text(), "b");
    assert_eq!(only(&stage).entries, 1, "what nobody leads to any more is gone");
    stage.system = before;
    stage.apply().await.unwrap();
    assert_eq!(client.get("/").await.text(), "2");
    client.get("/x/y?z").await;
    for (purge, count) in [
        (Purge::Path("/y".into()), 0),
        (Purge::Path("/x/y".into()), 1),
        (Purge::Path("/x/**".into()), 0),
        (Purge::Route("/other".into()), 0),
        (Purge::Service("b".into()), 0),
        (Purge::Tag("all".into()), 1),
        (Purge::All, 0),
    ] {
        assert_eq!(stage.handle.purge(&purge), count, "{purge:?}");
    }
    assert_eq!(client.get("/").await.text(), "4");
    stage.system.gateway.edge = Default::default();
    stage.apply().await.unwrap();
    assert_eq!((client.get("/").await.text(), stage.handle.cache().used), ("5", 0), "off is off");
    stage.stop().await;
}

#[tokio::test]
async fn whoever_takes_only_what_is_kept_gets_nothing_else() {
    let service = Scripted::new(|_, _: &Request<()>| answer(200, &["cache-control: max-age=60"], "a")).await;
    let stage = stage(CACHED).await.with("a", service.address);
    let mut client = stage.client().await;
    let only_kept = [("cache-control", "only-if-cached")];
    let nothing = client.ask(Method::GET, "/", &only_kept).await;
    assert_eq!((nothing.status.as_u16(), &*nothing.problem().code), (504, "MDG-GW-040"));
    assert_eq!(service.count(), 0);
    client.get("/").await;
    assert_eq!(client.ask(Method::GET, "/", &only_kept).await.text(), "a");
    stage.stop().await;
}

#[tokio::test]
async fn the_key_is_what_the_client_asked_for() {
    let text = r#"
        [services.a]
        run = false
        routes = [
            { path = "/one/**", edge = { path = { strip = "/one" } } },
            { path = "/two/**", edge = { path = { strip = "/two" } } },
        ]
        edge = { cache = true }
    "#;
    let script =
        |number: usize, _: &Request<()>| answer(200, &["cache-control: max-age=60"], number.to_string());
    let service = Scripted::new(script).await;
    let stage = stage(text).await.with("a", service.address);
    let mut client = stage.client().await;
    for (path, text) in [("/one/x", "1"), ("/two/x", "2"), ("/one/x", "1")] {
        assert_eq!(client.get(path).await.text(), text);
    }
    assert_eq!(service.asked.lock().unwrap()[1].1, "/x");
    assert_eq!(stage.handle.purge(&Purge::Path("/two/**".into())), 1);
    assert_eq!(stage.handle.purge(&Purge::Route("/one/**".into())), 1);
    stage.stop().await;
}

//! `madang why` against known culprits: each service of the shop, not well in each way. It names the right one, or says
//! that it cannot tell; a wrong one never.

mod sabotaged;

use std::time::Duration;

use http::Method;
use madang_testkit::{Client, Placement, Prepared};
use madang_wire::admin::{InstanceView, State};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use sabotaged::{SERVICES, Sabotaged, id};

/// What must happen does so within this time.
const PATIENCE: Duration = Duration::from_secs(30);

impl Sabotaged {
    async fn why(&self, id: &str) -> Value {
        let shown = self.shop.run(&["why", id, "--format", "json"]).await;
        serde_json::from_str(&shown).unwrap()
    }

    /// Puts another release of a service in the place of the one that runs, and waits until it does.
    async fn release(&self, service: &str, from: &str, to: &str) {
        let release = |views: &[InstanceView]| {
            let ready = views.iter().find(|view| view.unit == service && view.state == State::Ready);
            ready.and_then(|view| view.release.clone())
        };
        let before = release(&self.shop.ps().await);
        self.shop.edit(&format!("{service}/service.toml"), from, to);
        let ready = |views: &[InstanceView]| release(views).is_some_and(|now| Some(now) != before);
        self.shop.until("released", ready).await;
    }

    /// Waits until all goes well again, as it did before.
    async fn recovered(&self) {
        let began = Instant::now();
        loop {
            let asked = Instant::now();
            let (page, _) = self.ask("storefront").await;
            let (status, id) = self.ask("orders").await;
            if (page, status) == (200, 201) && asked.elapsed() < Duration::from_millis(200) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "never well again: {:#}", self.why(&id).await);
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Whom a verdict speaks against: all that it names.
fn blamed(why: &Value) -> Vec<&str> {
    match why["blame"]["kind"].as_str() {
        Some("service") => vec![why["blame"]["service"].as_str().unwrap()],
        Some("unknown") => {
            why["blame"]["suspects"].as_array().unwrap().iter().filter_map(Value::as_str).collect()
        }
        _ => Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_service_is_named_or_none() {
    let system = Sabotaged::start().await;
    system.recovered().await;
    let (mut right, mut untold) = (0, Vec::new());
    for service in SERVICES {
        for how in ["slow 400", "error", "hang", "crash"] {
            system.spoil(service, how);
            let (status, id) = system.ask(service).await;
            let why = system.why(&id).await;
            system.spoil(service, "");
            let case = format!("{service}: {how}: {status}: {why:#}");
            // An order may be taken although its payment waits: that is well, and the failed call is told.
            assert_ne!(why["blame"]["kind"], "nobody", "{case}");
            match (blamed(&why)[..] == [service], why["certainty"].as_str()) {
                (true, _) => right += 1,
                (false, Some("none")) => untold.push(format!("{service}: {how}: {}", why["summary"])),
                (false, _) => panic!("a wrong blame: {case}"),
            }
            assert!(!why["evidence"].as_array().unwrap().is_empty(), "{case}");
            if how == "error" {
                let said = why["logs"].as_array().unwrap().iter().filter_map(|line| line["message"].as_str());
                assert!(said.into_iter().any(|said| said == "the disk cannot be written"), "{case}");
            }
            system.recovered().await;
        }
    }
    println!("{right} of 20 named, the others not told: {untold:#?}");
    assert!(right >= 18, "{untold:#?}");

    for service in SERVICES {
        for _ in 0..25 {
            system.ask(service).await;
        }
        system.release(service, "env = { ", "env = { SABOTAGE_RELEASE = \"error\", ").await;
        let mut id = String::new();
        for _ in 0..25 {
            id = system.ask(service).await.1;
        }
        let why = system.why(&id).await;
        let case = format!("{service}: bad release: {why:#}");
        assert_eq!(blamed(&why), [service], "{case}");
        let evidence = why["evidence"].as_array().unwrap().iter().filter_map(|it| it["text"].as_str());
        let evidence: Vec<&str> = evidence.collect();
        assert!(evidence.iter().any(|text| text.contains("the release")), "{case}");
        let kinds: Vec<_> = why["changes"].as_array().unwrap().iter().map(|it| &it["kind"]).collect();
        assert!(kinds.contains(&&json!("released")), "{case}");
        system.release(service, "SABOTAGE_RELEASE = \"error\", ", "").await;
        system.recovered().await;
    }
}

/// `orders` is a program that calls `users` through its door and carries nothing on.
const FORGETFUL: &str = r#"
    [gateway]
    listen = "127.0.0.1:{gateway}"

    [services.users]
    run = "python3 service.py"

    [services.orders]
    run = "python3 service.py"
    env = { FORGETFUL = "yes" }
    calls = { users = {} }
    routes = ["/**"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_carries_no_trace_on_is_not_blamed_for_what_cannot_be_seen() {
    let prepared = Prepared::with(FORGETFUL);
    prepared.write("service.py", include_str!("programs/service.py"));
    let system = prepared.start(Placement::Processes).await;
    let why = async |path: &str| {
        let answer = system.get(path).await;
        let shown = system.run(&["why", &id(&answer), "--format", "json"]).await;
        (answer.status.as_u16(), serde_json::from_str::<Value>(&shown).unwrap())
    };

    // Its own failure, with no call of it that failed: it was not seen at work, so it is only likely.
    let (status, view) = why("/fail").await;
    assert_eq!((status, &view["certainty"]), (500, &json!("likely")), "{view:#}");
    assert_eq!(blamed(&view), ["orders"], "{view:#}");

    // The failure of whom it called is in a trace of its own.
    let (status, view) = why("/call/users/fail").await;
    assert_eq!((status, &view["certainty"]), (500, &json!("none")), "{view:#}");
    assert_eq!(blamed(&view), ["orders", "users"], "{view:#}");
    let evidence = view["evidence"].as_array().unwrap().iter().filter_map(|it| it["text"].as_str());
    assert!(evidence.into_iter().any(|text| text.contains("does not carry the trace on")), "{view:#}");

    // One that does is told apart.
    system.edit("madang.toml", "FORGETFUL", "OTHERWISE");
    let began = Instant::now();
    loop {
        let (status, view) = why("/call/users/fail").await;
        if view["certainty"] != "none" {
            assert_eq!((status, blamed(&view)), (500, vec!["users"]), "{view:#}");
            return;
        }
        assert!(began.elapsed() < PATIENCE, "never released: {view:#}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_a_failure_of_its_service() {
    let prepared = Prepared::with(FORGETFUL);
    prepared.write("service.py", include_str!("programs/service.py"));
    let system = prepared.start(Placement::Processes).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let mut client = Client::new(system.gateway_address());
    let cut = client.send(Method::GET, "/cut", &[("traceparent", &parent)], "").await;
    assert!(cut.is_err(), "its head said 200, and its length was not reached");

    let shown = system.run(&["why", trace, "--format", "json"]).await;
    let why: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((blamed(&why), &why["certainty"]), (vec!["orders"], &json!("certain")), "{why:#}");
    let because = why["summary"].as_str().unwrap();
    assert!(because.contains("broke off in the middle of its answer"), "{because}");
    let failed = system.run(&["traces", "--error"]).await;
    assert!(failed.contains(&trace[..8]), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_is_named_and_not_the_service_that_it_stands_for() {
    let shop = Prepared::shop().start(Placement::Processes).await;
    // One that the gateway meets, and one that the SDK meets in the process of orders.
    for (caller, callee, order) in [("gateway", "users", false), ("orders", "payments", true)] {
        shop.run(&["fault", "add", caller, "--on", callee, "--status", "503", "--for", "60s"]).await;
        let began = Instant::now();
        loop {
            let answer = match order {
                true => shop.post("/orders", json!({"user": 1, "product": "Book"})).await,
                false => shop.get("/users").await,
            };
            let shown = shop.run(&["why", &id(&answer), "--format", "json"]).await;
            let why: Value = serde_json::from_str(&shown).unwrap();
            let blame = &why["blame"];
            // A service hears of a fault a moment later.
            if blame["kind"] == "nobody" && began.elapsed() < PATIENCE {
                continue;
            }
            assert_eq!((&blame["kind"], &blame["caller"]), (&json!("fault"), &json!(caller)), "{why:#}");
            assert_eq!(why["certainty"], "certain", "{why:#}");
            let next = &why["next"][0]["command"];
            assert_eq!(next, &json!(format!("madang fault rm {}", blame["id"].as_str().unwrap())), "{why:#}");
            break;
        }
        shop.run(&["fault", "rm", "--all"]).await;
    }
}

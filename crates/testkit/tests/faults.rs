//! Every pair of caller and callee of the shop, with the callee slow, erroring, hanging, killed and losing replies:
//! the failure of one service stays its own, takes no longer than callers wait, and ends with the fault.

use std::{collections::BTreeMap, time::Duration};

use http::{Method, StatusCode};
use madang_testkit::{Answer, Client, Load, Placement, Prepared, TestSystem};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

/// The time that any request has, as the test's manifest says; and what a busy machine may add to it.
const LIMIT: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_millis(700);
/// How long what must happen by itself may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who calls whom; what makes it do so, and what else the caller does, which must go on.
const PAIRS: [(&str, &str, Ask, &str); 7] = [
    ("gateway", "users", Ask::Get("/users/1"), "/orders?limit=1"),
    ("gateway", "catalog", Ask::Get("/products?limit=1"), "/users/1"),
    ("gateway", "orders", Ask::Get("/orders?limit=1"), "/users/1"),
    ("gateway", "payments", Ask::Get("/payments/balance-check"), "/users/1"),
    ("orders", "users", Ask::Order, "/orders?limit=1"),
    ("orders", "catalog", Ask::Order, "/orders?limit=1"),
    ("orders", "payments", Ask::Order, "/orders?limit=1"),
];

const EFFECTS: [&[&str]; 5] =
    [&["--delay", "800ms"], &["--status", "503"], &["--hang"], &["--lose-reply"], &["--kill"]];

/// What a customer asks for.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Get(&'static str),
    Order,
}

impl Ask {
    /// The answer and how long it took; none within the limit is a failure of the test.
    async fn ask(self, shop: &TestSystem, key: &str) -> (Answer, Duration) {
        let began = Instant::now();
        let mut client = Client::new(shop.gateway_address());
        let asked = async {
            match self {
                Self::Get(path) => client.get(path).await,
                Self::Order => {
                    let key = format!("\"{key}\"");
                    let headers = [("content-type", "application/json"), ("idempotency-key", &key)];
                    let body = json!({ "user": 1, "product": "Book" }).to_string();
                    client.send(Method::POST, "/orders", &headers, body).await
                }
            }
        };
        let answer = timeout(LIMIT + SLACK, asked).await;
        let answer = answer.unwrap_or_else(|_| panic!("{self:?} waits past its deadline"));
        (answer.unwrap_or_else(|error| panic!("{self:?}: {error}")), began.elapsed())
    }

    fn went_well(self, answer: &Answer) -> bool {
        match self {
            Self::Get(_) => {
                answer.status == StatusCode::OK && !answer.headers.contains_key("madang-fallback")
            }
            Self::Order => answer.status == StatusCode::CREATED && answer.json()["status"] == "confirmed",
        }
    }
}

/// Whether the fault was met: an answer that is not as usual, or late, or a callee that is another process by now.
async fn is_met(
    shop: &TestSystem,
    callee: &str,
    before: &[u32],
    ask: Ask,
    answer: &Answer,
    took: Duration,
) -> bool {
    !ask.went_well(answer) || took > Duration::from_millis(400) || shop.pids(callee).await != before
}

#[tokio::test(flavor = "multi_thread")]
async fn the_failure_of_any_callee_is_borne_by_any_caller() {
    let shop = Prepared::shop();
    shop.edit("madang.toml", "[gateway]", "[gateway]\ntimeout = \"2s\"");
    let shop = shop.start(Placement::Processes).await;
    let mut asked = 0;
    for (caller, callee, ask, other) in PAIRS {
        for effect in EFFECTS {
            let case = format!("{caller} -> {callee} {}", effect.join(" "));
            let before = shop.pids(callee).await;
            let load = Load::start(shop.gateway_address(), other, 2);
            let add = [&["fault", "add", caller, "--on", callee, "--for", "60s"], effect].concat();
            shop.run(&add).await;
            // A service hears of it a moment later than the gateway.
            let began = Instant::now();
            loop {
                asked += 1;
                let (answer, took) = ask.ask(&shop, &format!("k{asked}")).await;
                if is_met(&shop, callee, &before, ask, &answer, took).await {
                    break;
                }
                assert!(began.elapsed() < PATIENCE, "{case}: never met");
            }
            load.answered(20).await;
            shop.run(&["fault", "rm", "--all"]).await;
            let report = load.stop().await;
            assert!(report.failed.is_empty(), "{case}: the caller's other work failed: {report:#?}");
            assert!(
                report.slowest < Duration::from_secs(1),
                "{case}: the caller's other work waited: {report:#?}"
            );

            // Nobody lends a hand.
            let began = Instant::now();
            loop {
                asked += 1;
                let (answer, _) = ask.ask(&shop, &format!("k{asked}")).await;
                if ask.went_well(&answer) {
                    break;
                }
                assert!(began.elapsed() < PATIENCE, "{case}: it does not recover: {}", answer.text());
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
    no_call_was_tried_too_often(&shop).await;
    nothing_was_charged_twice(&shop).await;
}

async fn no_call_was_tried_too_often(shop: &TestSystem) {
    let records = shop.admin("/v1/requests?n=100000").await;
    for record in records.as_array().expect("records") {
        // Three attempts, and one more over a new connection if the first met one that was closing.
        assert!(record["attempts"].as_u64().unwrap() <= 4, "{record:#}");
    }
}

/// Waits until every order has ended, then compares each with the ledger.
async fn nothing_was_charged_twice(shop: &TestSystem) {
    const OVER: [&str; 5] = ["confirmed", "out_of_stock", "declined", "failed", "refunded"];
    let began = Instant::now();
    let orders = loop {
        let orders = shop.get("/orders?limit=500").await.json();
        let orders = orders.as_array().expect("orders").clone();
        if orders.iter().all(|order| OVER.contains(&order["status"].as_str().unwrap())) {
            break orders;
        }
        assert!(began.elapsed() < PATIENCE, "an order never ends: {orders:#?}");
        sleep(Duration::from_millis(200)).await;
    };
    let ledger = shop.get("/payments/ledger?limit=500").await.json();
    let mut moved: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for transaction in ledger["items"].as_array().expect("transactions") {
        let kind = transaction["kind"].as_str().unwrap();
        *moved.entry((kind, transaction["reference"].as_str().unwrap())).or_default() += 1;
    }
    let charges: Vec<_> = moved.iter().filter(|((kind, _), _)| *kind == "charge").collect();
    assert!(charges.iter().all(|(_, count)| **count == 1), "charged twice: {charges:#?}");
    let paid = |order: &&Value| matches!(order["status"].as_str(), Some("confirmed" | "refunded"));
    // The first order is there from the beginning and was never paid here.
    let paid = orders.iter().filter(|order| order["charge"].is_i64()).filter(paid).count();
    assert_eq!(charges.len(), paid, "{charges:#?} {orders:#?}");
    let check = shop.get("/payments/balance-check").await.json();
    assert_eq!(check["balanced"], json!(true), "{check:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_fails_under_load_is_not_pushed_over_by_retries() {
    let shop = Prepared::shop().start(Placement::Processes).await;
    shop.run(&["fault", "add", "gateway", "--on", "users GET", "--status", "503"]).await;
    let load = Load::start(shop.gateway_address(), "/users/1", 16);
    load.answered(2000).await;
    load.stop().await;
    let records = shop.admin("/v1/requests?n=100000&service=users").await;
    let records = records.as_array().expect("records");
    let attempts: u64 = records.iter().map(|record| record["attempts"].as_u64().unwrap()).sum();
    let (requests, retries) = (records.len() as u64, attempts.saturating_sub(records.len() as u64));
    assert!(requests > 1000, "{requests}");
    assert!(retries > 0 && retries <= requests / 5 + 100, "{retries} retries of {requests} requests");
    assert!(records.iter().all(|record| record["fault"].is_string()));
}

/// It ends by itself, the node says so, and a node that is started again knows those that have not ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_ends_by_itself_and_outlives_the_node() {
    let mut shop = Prepared::shop().start(Placement::Processes).await;
    let add = ["fault", "add", "gateway", "--on", "users", "--status", "418", "--for"];
    shop.run(&[&add[..], &["2s"]].concat()).await;
    assert_eq!(shop.get("/users/1").await.status, StatusCode::IM_A_TEAPOT);
    let began = Instant::now();
    while shop.get("/users/1").await.status != StatusCode::OK {
        assert!(began.elapsed() < Duration::from_secs(10), "it never ends");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(shop.run(&["fault", "list"]).await, "no fault is in force\n");

    shop.run(&[&add[..], &["10m"]].concat()).await;
    shop.down().await;
    shop.up(Placement::Processes).await;
    assert_eq!(shop.get("/users/1").await.status, StatusCode::IM_A_TEAPOT);
    shop.run(&["fault", "rm", "--all"]).await;
    assert_eq!(shop.get("/users/1").await.status, StatusCode::OK);
}

/// A caller that knows nothing of Madang: the fault meets its call at the door, and nobody else's.
const WITHOUT_SDK: &str = r#"
    [gateway]
    listen = "127.0.0.1:{gateway}"

    [services.users]
    run = "python3 service.py"
    routes = ["/users/**"]

    [services.orders]
    run = "python3 service.py"
    calls = { users = { timeout = "2s" } }
    policy = { retries = 0 } # what is met is met once
    routes = ["/**"]
"#;

async fn without_sdk() -> TestSystem {
    let prepared = Prepared::with(WITHOUT_SDK);
    prepared.write("service.py", include_str!("programs/service.py"));
    prepared.start(Placement::Processes).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_meets_calls_through_a_door() {
    let system = without_sdk().await;
    let add = ["fault", "add", "orders", "--on", "users GET /charges/**"];
    let through_door = || system.get("/call/users/charges/1");
    for (effect, status, code) in [
        (vec!["--status", "418"], 418, Some("MDG-FLT-001")),
        (vec!["--hang"], 504, Some("MDG-CALL-003")),
        (vec!["--lose-reply"], 502, Some("MDG-CALL-004")),
    ] {
        system.run(&[&add[..], &effect].concat()).await;
        let began = Instant::now();
        let answer = through_door().await;
        assert_eq!((answer.status.as_u16(), answer.json()["code"].as_str()), (status, code), "{effect:?}");
        assert!(began.elapsed() < LIMIT + SLACK, "{effect:?}: {:?}", began.elapsed());
        assert_eq!(system.get("/call/users/1").await.status, StatusCode::OK, "{effect:?}: another path");
        assert_eq!(system.get("/users/charges/1").await.status, StatusCode::OK, "{effect:?}: another caller");
        system.run(&["fault", "rm", "--all"]).await;
        assert_eq!(through_door().await.status, StatusCode::OK, "{effect:?} is removed");
    }
    let before = system.pids("users").await;
    system.run(&[&add[..], &["--kill"]].concat()).await;
    let _ = through_door().await;
    system
        .until("another process", |shown| shown.iter().any(|view| view.unit == "users" && view.restarts > 0))
        .await;
    system.run(&["fault", "rm", "--all"]).await;
    assert_eq!(through_door().await.status, StatusCode::OK);
    assert_ne!(system.pids("users").await, before);
    let records = system.admin("/v1/requests?n=1000").await;
    let met = records.as_array().unwrap().iter().filter(|record| record["fault"].is_string());
    assert!(met.clone().count() >= 4 && met.clone().all(|record| record["hop"] == "door"), "{records:#}");
}

/// `kill -9` of `madang` neither ends nor prolongs it.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_outlives_a_node_that_is_killed_and_ends_when_it_would_have() {
    let mut system = without_sdk().await;
    system.run(&["fault", "add", "orders", "--on", "users", "--status", "418", "--for", "6s"]).await;
    let ends = async |system: &TestSystem| -> u64 {
        let listed = system.run(&["fault", "list", "--format", "json"]).await;
        let listed: Value = serde_json::from_str(&listed).expect("faults");
        listed[0]["until"].as_u64().expect("its end")
    };
    let end = ends(&system).await;
    system.kill_node().await;
    system.up(Placement::Processes).await;
    assert_eq!(system.get("/call/users/1").await.status, StatusCode::IM_A_TEAPOT, "{}", system.output());
    assert_eq!(ends(&system).await, end);
    while system.get("/call/users/1").await.status == StatusCode::IM_A_TEAPOT {
        sleep(Duration::from_millis(20)).await;
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    assert!((end..end + 3000).contains(&now), "{now} is not soon after {end}");
    assert_eq!(system.get("/call/users/1").await.status, StatusCode::OK);
    assert_eq!(system.run(&["fault", "list"]).await, "no fault is in force\n");
}

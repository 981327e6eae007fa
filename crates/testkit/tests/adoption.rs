//! `madang` is killed, under load and again and again: its services do not notice, and the next one goes on with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use http::{Method, StatusCode};
use madang_testkit::{Client, Placement, Prepared, TestSystem, processes_of};
use madang_wire::{admin::State, log::LogLine};
use serde_json::json;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

/// How often `madang` is killed, at least, and how long that may take.
const KILLS: usize = 20;
const WITHIN: Duration = Duration::from_secs(90);

/// How many orders are acknowledged between two kills.
const ORDERS: usize = 8;

/// How many buy at a time.
const BUYERS: usize = 4;

/// A unit whose log is numbers in a row, so that it shows a gap and a double.
const COUNTER: &str = r#"
[services.counter]
run = "sh -c 'n=0; while :; do n=$((n+1)); echo \"line $n\"; sleep 0.01; done'"
port = false
"#;

/// What one buyer was told, by the key under which each order was placed.
#[derive(Default)]
struct Acknowledged {
    orders: BTreeMap<String, i64>,
    /// Those that were over when they were acknowledged, in that order.
    over: Vec<i64>,
}

/// Places one order after the other, each under a key of its own and again until there is an answer.
async fn buy(
    address: SocketAddr,
    buyer: usize,
    stopped: watch::Receiver<bool>,
    count: watch::Sender<usize>,
) -> Acknowledged {
    let mut client = Client::new(address);
    let user = client.post("/users", &json!({"name": format!("Buyer {buyer}")}), &[]).await.unwrap().json();
    let order = json!({"user": user["id"], "product": "Book"}).to_string();
    let mut acknowledged = Acknowledged::default();
    for number in 0.. {
        let key = format!("\"order-{buyer}-{number}\"");
        let headers = [("content-type", "application/json"), ("idempotency-key", &*key)];
        let answer = loop {
            match client.send(Method::POST, "/orders", &headers, order.clone()).await {
                Ok(answer) => break answer,
                // No node: nothing was acknowledged, and nothing is known.
                Err(_) => sleep(Duration::from_millis(5)).await,
            }
        };
        let made = [StatusCode::CREATED, StatusCode::ACCEPTED, StatusCode::PAYMENT_REQUIRED];
        let text = answer.text();
        assert!(made.contains(&answer.status), "{key}: {} {text}", answer.status);
        if answer.status != StatusCode::PAYMENT_REQUIRED {
            let id = answer.json()["id"].as_i64().expect("an id");
            acknowledged.orders.insert(key, id);
            if answer.status == StatusCode::CREATED {
                acknowledged.over.push(id);
            }
        }
        count.send_modify(|count| *count += 1);
        if *stopped.borrow() {
            break;
        }
    }
    acknowledged
}

/// Who runs: each unit's instance with its process and address.
async fn running(system: &TestSystem) -> BTreeMap<String, (String, Option<u32>, Option<String>)> {
    let shown = system.ps().await.into_iter();
    shown.map(|view| (view.unit, (view.name, view.pid, view.url))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn over_twenty_kills_nothing_is_restarted_and_nothing_is_lost() {
    let shop = Prepared::shop();
    shop.edit("madang.toml", "[gateway]", &format!("{COUNTER}\n[gateway]"));
    let mut shop = shop.start(Placement::Processes).await;
    let before = running(&shop).await;
    assert_eq!(before.len(), 6);

    let (stop, stopped) = watch::channel(false);
    let count = watch::Sender::new(0);
    let mut answered = count.subscribe();
    let mut buyers = JoinSet::new();
    for buyer in 0..BUYERS {
        buyers.spawn(buy(shop.gateway_address(), buyer, stopped.clone(), count.clone()));
    }
    let began = Instant::now();
    let mut away = Duration::ZERO;
    for kill in 1..=KILLS {
        let enough = *answered.borrow_and_update() + ORDERS;
        let waited = tokio::time::timeout(WITHIN, answered.wait_for(|count| *count >= enough)).await;
        waited.unwrap_or_else(|_| panic!("no orders after kill {kill}:\n{}", shop.output())).unwrap();
        let killed = Instant::now();
        shop.kill_node().await;
        shop.up(Placement::Processes).await;
        away = away.max(killed.elapsed());
        assert_eq!(running(&shop).await, before, "after kill {kill}:\n{}", shop.output());
    }
    assert!(began.elapsed() < WITHIN, "{KILLS} kills took {:?}", began.elapsed());
    stop.send_replace(true);
    let (mut acknowledged, mut over) = (BTreeMap::new(), Vec::new());
    while let Some(told) = buyers.join_next().await {
        let told = told.unwrap();
        acknowledged.extend(told.orders);
        over.push(told.over);
    }
    eprintln!(
        "{KILLS} kills in {:.1?}, back within {away:.1?}, {} orders",
        began.elapsed(),
        acknowledged.len()
    );

    // Each order is there once, and everybody is shown as adopted.
    assert!(acknowledged.len() >= KILLS * ORDERS / 2, "{}", acknowledged.len());
    let ids: BTreeSet<i64> = acknowledged.values().copied().collect();
    assert_eq!(ids.len(), acknowledged.len(), "one order under two keys");
    for (key, id) in &acknowledged {
        let order = shop.get(&format!("/orders/{id}")).await;
        assert_eq!(order.status, StatusCode::OK, "{key} {id}: {}", order.text());
    }
    let ledger = shop.get("/payments/balance-check").await;
    assert_eq!(ledger.json()["balanced"], json!(true), "{}", ledger.text());
    for view in shop.ps().await {
        assert_eq!(
            (view.restarts, view.state, &*view.health),
            (0, State::Ready, "ready, adopted"),
            "{view:?}"
        );
    }
    the_log_has_every_line_once(&shop).await;
    the_log_has_every_order_once(&shop, &over).await;
    shop.down().await;
    assert_eq!(shop.processes(), []);
}

/// Whatever node shows it, and whoever reads on while a node ends.
async fn the_log_has_every_line_once(system: &TestSystem) {
    let shown = system.run(&["logs", "-n", "1000000", "counter", "--format", "json"]).await;
    let lines = shown.lines().map(|line| serde_json::from_str::<LogLine>(line).unwrap().line);
    let numbers: Vec<usize> = lines.map(|line| line.trim_start_matches("line ").parse().unwrap()).collect();
    assert!(numbers.len() > 100, "{}", numbers.len());
    assert!(numbers.iter().copied().eq(1..=numbers.len()), "a gap or a double: {numbers:?}");
}

/// Each order that was over when its buyer heard of it has the line that says so: one, and after those of the orders
/// that the same buyer placed before.
async fn the_log_has_every_order_once(system: &TestSystem, over: &[Vec<i64>]) {
    let shown = system.run(&["logs", "-n", "1000000", "orders", "--format", "json"]).await;
    let lines = shown.lines().map(|line| serde_json::from_str::<LogLine>(line).unwrap().line);
    let events = lines.filter_map(|line| serde_json::from_str::<serde_json::Value>(&line).ok());
    let logged: Vec<i64> = events
        .filter(|event| event["message"] == "an order is over")
        .map(|event| event["order"].as_i64().expect("an order"))
        .collect();
    assert!(over.iter().map(Vec::len).sum::<usize>() > KILLS, "{over:?}");
    for of_buyer in over {
        let told: BTreeSet<_> = of_buyer.iter().collect();
        let of_log: Vec<_> = logged.iter().filter(|id| told.contains(id)).copied().collect();
        assert_eq!(of_log, *of_buyer, "a gap, a double or another order in {logged:?}");
    }
}

/// What a node that is gone said, and the next one.
fn why_restarted(system: &TestSystem) -> String {
    system.output().lines().filter(|line| line.contains("restarted")).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_changed_meanwhile_is_restarted() {
    let mut shop = Prepared::shop().start(Placement::Processes).await;
    let before = running(&shop).await;
    shop.kill_node().await;
    shop.edit("catalog/service.toml", "name = \"catalog\"", "name = \"catalog\"\nenv = { LEVEL = \"1\" }");
    madang_testkit::kill(before["payments"].1.unwrap());
    shop.up(Placement::Processes).await;
    shop.until("all as the manifest has it", |shown| {
        shown.len() == 5 && shown.iter().all(|view| view.state == State::Ready)
    })
    .await;
    let after = running(&shop).await;
    for unit in ["users", "orders"] {
        assert_eq!(after[unit], before[unit], "{unit}");
    }
    let shown = shop.ps().await;
    let health = |unit: &str| shown.iter().find(|view| view.unit == unit).unwrap().health.clone();
    assert_eq!(health("users"), "ready, adopted");
    assert_eq!(health("catalog"), "ready, restarted: its part of the manifest changed");
    assert_eq!(health("payments"), "ready, restarted: it exited while no node watched it");
    let said = why_restarted(&shop);
    assert!(said.contains("its part of the manifest changed") && said.lines().count() == 2, "{said}");
    let placed = shop.post("/orders", json!({"user": 1, "product": "Book"})).await;
    assert_eq!(placed.status, StatusCode::CREATED, "{}", placed.text());
    shop.down().await;
    assert_eq!(shop.processes(), []);
}

/// The port of the service API is another's when the next node comes: whoever was told it is told anew.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_told_a_port_that_is_gone_is_restarted() {
    let mut shop = Prepared::shop().start(Placement::Processes).await;
    let users = running(&shop).await["users"].1.unwrap();
    let environment = std::fs::read_to_string(format!("/proc/{users}/environ")).unwrap();
    let url = environment.split('\0').find_map(|entry| entry.strip_prefix("MADANG_URL=http://")).unwrap();
    shop.kill_node().await;
    let _taken = std::net::TcpListener::bind(url).unwrap();
    shop.up(Placement::Processes).await;
    shop.until("all told anew", |shown| {
        let anew = "ready, restarted: MADANG_URL in its environment changed";
        shown.len() == 5 && shown.iter().all(|view| view.health == anew)
    })
    .await;
    let placed = shop.post("/orders", json!({"user": 1, "product": "Book"})).await;
    assert_eq!(placed.status, StatusCode::CREATED, "{}", placed.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_node_what_is_left_is_named_and_can_be_stopped() {
    let mut shop = Prepared::shop().start(Placement::Processes).await;
    shop.kill_node().await;
    let ps = shop.madang(&["ps"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&ps.stderr).into_owned();
    assert_eq!(ps.status.code(), Some(4), "{said}");
    let expected = "no node runs this folder, and 5 instances of an earlier one still do: `madang up` takes them over, \
                    `madang down` stops them";
    assert!(said.contains(expected), "{said}");
    assert_eq!(processes_of(shop.path()).len(), 5);

    let down = shop.madang(&["down"]).output().await.unwrap();
    assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
    assert_eq!(shop.processes(), []);
    let again = shop.madang(&["down"]).output().await.unwrap();
    assert_eq!(again.status.code(), Some(4), "nothing is left");
}

/// `kill -9` and `up` in one breath, without a wait for the first to be gone.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_one_may_come_before_the_last_one_is_quite_gone() {
    let mut shop = Prepared::shop().start(Placement::Processes).await;
    let before = running(&shop).await;
    for _ in 0..5 {
        madang_testkit::kill(shop.node_pid());
        shop.up(Placement::Processes).await;
        assert_eq!(running(&shop).await, before, "{}", shop.output());
    }
}

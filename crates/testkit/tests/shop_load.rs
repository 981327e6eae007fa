//! `shop load` against the real shop, each scenario while payments is killed: what must hold holds, and is proven.

use std::process::Stdio;

use madang_testkit::{Placement, Prepared, TestSystem, binary, signal};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

/// A load that runs.
struct Load {
    process: Child,
    progress: Lines<BufReader<ChildStderr>>,
}

impl Load {
    fn start(shop: &TestSystem, options: &[&str]) -> Self {
        let mut command = Command::new(binary("shop"));
        command
            .args(["load", "--format", "json", "--gateway"])
            .arg(format!("http://{}", shop.gateway_address()));
        command
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut process = command.spawn().expect("shop load starts");
        let progress = BufReader::new(process.stderr.take().expect("its stderr")).lines();
        Self { process, progress }
    }

    /// Waits for a second's line in which something was answered.
    async fn answered(&mut self) {
        loop {
            let line = self.progress.next_line().await.expect("progress").expect("it goes on");
            if line.contains(" answered ") && !line.contains("    0 answered ") {
                return;
            }
        }
    }

    /// Waits for its end; gives the exit code and the report.
    async fn ended(mut self) -> (Option<i32>, Value) {
        let rest = async { while let Ok(Some(_)) = self.progress.next_line().await {} };
        let (output, ()) = tokio::join!(self.process.wait_with_output(), rest);
        let output = output.expect("its output");
        let report = serde_json::from_slice(&output.stdout);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), report.unwrap_or_else(|error| panic!("{error}: {text}")))
    }
}

fn answered(report: &Value, kind: &str) -> u64 {
    report["requests"][kind]["answered"].as_u64().unwrap_or_default()
}

fn assert_all_holds(code: Option<i32>, report: &Value) {
    let judged = &report["invariants"];
    assert_eq!(report["verdict"], json!("holds"), "{report:#}");
    for what in ["money", "stock", "double_charges", "lost_orders", "unfinished"] {
        assert_eq!(judged[what], json!(0), "{what}: {report:#}");
    }
    assert_eq!(code, Some(0));
}

/// Loads a shop for some seconds, in which payments is killed twice.
async fn while_payments_is_killed(scenario: &str, placement: Placement) -> Value {
    let shop = Prepared::shop().start(placement).await;
    let options = ["--scenario", scenario, "--rate", "40/s", "--for", "5s", "--seed", "7"];
    let mut load = Load::start(&shop, &options);
    let unit = if placement == Placement::Monolith { "shop" } else { "payments" };
    for _ in 0..2 {
        load.answered().await;
        shop.kill(unit).await;
    }
    let (code, report) = load.ended().await;
    assert_all_holds(code, &report);
    let restarts: Vec<u32> =
        shop.ps().await.iter().filter(|view| view.unit == unit).map(|view| view.restarts).collect();
    assert!(restarts.iter().all(|restarts| *restarts >= 1), "{restarts:?}");
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn browsing_does_not_notice_that_payments_is_killed() {
    let report = while_payments_is_killed("browse", Placement::Processes).await;
    for kind in ["front page", "list", "search", "product"] {
        assert!(answered(&report, kind) > 0, "{report:#}");
    }
    assert_eq!(report["failures"], json!({}), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_money_and_no_stock_is_lost_while_payments_is_killed() {
    let report = while_payments_is_killed("checkout", Placement::Processes).await;
    assert!(answered(&report, "place order") > 100 && answered(&report, "second click") > 5, "{report:#}");
    assert!(report["invariants"]["seen"]["sold"].as_i64().is_some_and(|sold| sold > 100), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_whole_shop_in_one_process_is_killed() {
    let report = while_payments_is_killed("checkout", Placement::Monolith).await;
    assert!(report["invariants"]["seen"]["sold"].as_i64().is_some_and(|sold| sold > 100), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_sells_what_there_is_and_no_more_while_payments_is_killed() {
    let report = while_payments_is_killed("flash-sale", Placement::Processes).await;
    let seen = &report["invariants"]["seen"];
    assert_eq!(seen["initial"], json!(25), "{report:#}");
    let (sold, left) = (seen["sold"].as_i64().unwrap(), seen["left"].as_i64().unwrap());
    assert!(sold + left == 25 && sold > 0, "{report:#}");
    assert!(
        report["requests"]["place order"]["others"]["sold out"].as_u64().is_some_and(|many| many > 0),
        "{report:#}"
    );
}

/// Ctrl-C: what was measured until then, with what must hold.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_stopped_reports_what_it_has() {
    let shop = Prepared::shop().start(Placement::Processes).await;
    let mut load = Load::start(&shop, &["--scenario", "checkout", "--for", "10m"]);
    load.answered().await;
    signal(load.process.id().expect("it runs"), Signal::INT);
    let (code, report) = load.ended().await;
    assert_eq!(report["interrupted"], json!(true), "{report:#}");
    assert!(answered(&report, "place order") > 0, "{report:#}");
    assert_all_holds(code, &report);
}

/// Somebody tampers with the stock while orders are made: the difference is found, and the exit code says so.
#[tokio::test(flavor = "multi_thread")]
async fn stock_that_somebody_takes_away_is_found_missing() {
    let shop = Prepared::shop().start(Placement::Processes).await;
    let mut load = Load::start(&shop, &["--scenario", "checkout", "--for", "3s"]);
    load.answered().await;
    let taken = json!({"quantity": 90_000}).to_string();
    let headers = [("content-type", "application/json")];
    let answer = shop.client().send(http::Method::PUT, "/products/1/stock", &headers, taken).await.unwrap();
    assert_eq!(answer.status, http::StatusCode::OK, "{}", answer.text());
    let (code, report) = load.ended().await;
    assert_eq!((code, &report["verdict"]), (Some(1), &json!("broken")), "{report:#}");
    let stock = report["invariants"]["stock"].as_i64().unwrap();
    assert!((9_000..=10_000).contains(&stock), "{report:#}");
    assert_eq!(report["invariants"]["money"], json!(0), "{report:#}");
}

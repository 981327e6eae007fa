//! The load against a shop of a few lines that is right, or wrong in one way: what must hold is found to hold, or not.

mod fake;

use std::time::Duration;

use fake::{Fake, Wrong};
use shop_load::{
    args::{Format, Options, Scenario},
    report::{Report, Verdict},
};
use tokio::sync::watch;

fn options(fake: &Fake, scenario: Scenario) -> Options {
    Options {
        scenario,
        rate: "200/s".parse().unwrap(),
        time: Duration::from_secs(1),
        gateway: fake.url().parse().unwrap(),
        seed: Some(7),
        in_flight: 64,
        format: Format::Json,
    }
}

async fn load(fake: &Fake, scenario: Scenario) -> Report {
    let (_stop, stopped) = watch::channel(false);
    shop_load::run(&options(fake, scenario), stopped).await.unwrap()
}

#[tokio::test]
async fn a_shop_that_is_right_is_found_to_be() {
    let fake = Fake::start(Wrong::Nothing).await;
    for scenario in [Scenario::Browse, Scenario::Checkout, Scenario::FlashSale] {
        let report = load(&fake, scenario).await;
        let judged = report.invariants.as_ref().unwrap();
        assert_eq!(report.verdict, Verdict::Holds, "{scenario:?}: {report}");
        let answered: u64 = report.requests.values().map(|kind| kind.answered).sum();
        assert!(answered > 130 && report.failures.is_empty(), "{report}");
        match scenario {
            Scenario::Browse => assert_eq!(judged.seen.orders.len(), 0),
            Scenario::Checkout => {
                assert!(judged.seen.captured["KRW"] > 0 && judged.seen.sold > 100, "{report}");
                assert!(report.requests["second click"].answered > 5, "{report}");
            }
            Scenario::FlashSale => {
                assert!((24..=25).contains(&judged.seen.sold) && judged.seen.initial == 25, "{report}");
                assert!(report.requests["place order"].others["sold out"] > 50, "{report}");
            }
        }
    }
}

#[tokio::test]
async fn a_shop_that_is_wrong_is_found_out() {
    for wrong in
        [Wrong::ChargesTwice, Wrong::ChargesMore, Wrong::LosesStock, Wrong::LosesOrders, Wrong::ForgetsKeys]
    {
        let fake = Fake::start(wrong).await;
        let report = load(&fake, Scenario::Checkout).await;
        assert_eq!((report.verdict, report.verdict.code()), (Verdict::Broken, 1), "{wrong:?}: {report}");
        let judged = report.invariants.as_ref().unwrap();
        let found = match wrong {
            Wrong::ChargesTwice => judged.double_charges > 0 && judged.money > 0,
            Wrong::ChargesMore => judged.money > 0 && judged.double_charges == 0,
            Wrong::LosesStock => judged.stock > 0 && judged.money == 0,
            Wrong::LosesOrders => judged.lost_orders > 0,
            _ => judged.double_charges > 0 && judged.money == 0,
        };
        assert!(found, "{wrong:?}: {report}");
        assert!(report.to_string().contains("BROKEN"), "{report}");
    }
}

/// Nobody waits for a shop that answers nothing: those who come later are sent away, and counted.
#[tokio::test]
async fn an_open_loop_goes_on_while_nothing_is_answered() {
    let fake = Fake::start(Wrong::Hangs).await;
    let mut options = options(&fake, Scenario::Browse);
    options.in_flight = 10;
    let (stop, stopped) = watch::channel(false);
    let load = tokio::spawn(async move { shop_load::run(&options, stopped).await });
    fake.asked(10).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await; // customers come for a second
    fake.answer_from_now_on();
    let report = load.await.unwrap().unwrap();
    drop(stop);
    assert!(report.refused > 100, "{report}");
    let slowest = report.requests.values().map(|kind| kind.max_us).max().unwrap();
    assert!(slowest > 1_000_000, "latency counts from when it was due: {report}");
    let answered: u64 = report.requests.values().map(|kind| kind.answered).sum();
    assert_eq!(answered, 10, "{report}");
}

#[tokio::test]
async fn whoever_stops_it_gets_what_was_measured_and_proven() {
    let fake = Fake::start(Wrong::Nothing).await;
    let options = Options { time: Duration::from_secs(600), ..options(&fake, Scenario::Checkout) };
    let (stop, stopped) = watch::channel(false);
    let load = tokio::spawn(async move { shop_load::run(&options, stopped).await });
    fake.asked(60).await;
    stop.send_replace(true);
    let report = load.await.unwrap().unwrap();
    assert!(report.interrupted && report.verdict == Verdict::Holds, "{report}");
    assert!(report.requests["place order"].answered > 5, "{report}");
}

#[tokio::test]
async fn without_a_shop_nothing_is_claimed() {
    let fake = Fake::start(Wrong::Nothing).await;
    let mut options = options(&fake, Scenario::Browse);
    options.gateway = "http://127.0.0.1:9".parse().unwrap();
    let (_stop, stopped) = watch::channel(false);
    let failure = shop_load::run(&options, stopped).await.unwrap_err();
    assert_eq!(failure.to_string(), "failed to connect to 127.0.0.1:9");
}

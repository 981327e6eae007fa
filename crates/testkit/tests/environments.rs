//! A system that is started in an environment runs with what that lays over its manifest, also after edits of it.

use http::StatusCode;
use madang_testkit::{Placement, Prepared, TestSystem};
use madang_wire::admin::State;
use serde_json::Value;

const SYSTEM: &str = r#"
    [gateway]
    listen = "127.0.0.1:{gateway}"

    [services.users]
    run = "python3 service.py"

    [services.orders]
    run = "python3 service.py"
    env = { LEVEL = "debug", PLACE = "everywhere" }
    calls = { users = { timeout = "9s" } }
    routes = ["/**"]
"#;

const PRODUCTION: &str = r#"[services.orders.env]
LEVEL = "warn"

[services.orders.calls.users]
timeout = "4s"
"#;

/// A variable that `orders` was told.
async fn told(system: &TestSystem, name: &str) -> Value {
    system.get("/env").await.json()[name].take()
}

/// How long a call of `orders` to `users` may take, as `users` sees it, in milliseconds.
async fn limit(system: &TestSystem) -> u64 {
    let answer = system.get("/call/users/1").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()["headers"]["madang-timeout"].as_str().and_then(|left| left.parse().ok()).expect("a limit")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_values_of_production_are_in_force_and_edits_of_them_apply() {
    let prepared = Prepared::with(SYSTEM).in_environment("production");
    prepared.write("service.py", include_str!("programs/service.py"));
    prepared.write("madang.production.toml", PRODUCTION);
    let system = prepared.start(Placement::Processes).await;
    assert_eq!(
        (told(&system, "LEVEL").await, told(&system, "PLACE").await),
        ("warn".into(), "everywhere".into())
    );
    let left = limit(&system).await;
    assert!((2_000..=4_000).contains(&left), "{left}");

    let explained = ["policy", "explain", "orders", "users", "--format", "json"];
    let timeout = |printed: &str| {
        let limits: Value = serde_json::from_str(printed).expect("limits");
        [limits[0]["value"].clone(), limits[0]["place"].clone()]
    };
    let in_production = system.run(&[&explained[..], &["--env", "production"]].concat()).await;
    assert_eq!(timeout(&in_production), ["4s", "madang.production.toml:5"]);
    assert_eq!(timeout(&system.run(&explained).await), ["9s", "madang.toml:11"]);

    let before = system.pids("orders").await;
    system.edit("madang.production.toml", "4s", "2s");
    system.until_printed("the manifest is in force").await;
    let left = limit(&system).await;
    assert!(left <= 2_000, "{left}");
    assert_eq!(system.pids("orders").await, before, "limits make no release");

    system.edit("madang.production.toml", "warn", "error");
    system
        .until("another release of orders", |shown| {
            let orders: Vec<_> = shown.iter().filter(|view| view.unit == "orders").collect();
            orders.len() == 1
                && orders[0].state == State::Ready
                && !before.contains(&orders[0].pid.unwrap_or(0))
        })
        .await;
    assert_eq!(told(&system, "LEVEL").await, "error");
}

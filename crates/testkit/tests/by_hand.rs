//! A unit that a person runs instead of `madang`: traffic reaches it while it answers, and nobody touches it.

use std::{process::Stdio, time::Duration};

use http::StatusCode;
use madang_testkit::{Placement, Prepared, TestSystem, binary, kill, signal};
use madang_wire::admin::{EnvironmentView, InstanceView, State};
use rustix::process::Signal;
use serde_json::json;
use tokio::{
    process::{Child, Command},
    time::Instant,
};

async fn start() -> TestSystem {
    let shop = Prepared::shop().with_options(&["--except", "orders"]);
    shop.edit("madang.toml", "[gateway]", "[gateway]\ntimeout = \"2s\"");
    shop.start(Placement::Processes).await
}

/// Starts the program of orders as a person would, in what `madang env` says.
fn by_hand(shop: &TestSystem) -> Child {
    let program = binary("shop-orders").display().to_string();
    let mut command = shop.madang(&["env", "orders", "--", &program]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn orders(shown: &[InstanceView]) -> &InstanceView {
    shown.iter().find(|view| view.unit == "orders").expect("a line for orders")
}

async fn ready(shop: &TestSystem, process: &Child) {
    let pid = process.id();
    shop.until("it is in rotation", |shown| {
        let view = orders(shown);
        (view.state, view.pid, &*view.health) == (State::Ready, pid, "ready, run by hand")
    })
    .await;
}

async fn order(shop: &TestSystem) -> (StatusCode, String) {
    let answer = shop.post("/orders", json!({"user": 1, "product": "Book"})).await;
    (answer.status, answer.text())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_is_run_by_hand_while_traffic_reaches_it() {
    let mut shop = start().await;
    let line = "  by hand   orders           start it with `madang env";
    shop.until("it is said how", |_| shop.output().contains(line)).await;
    let view = orders(&shop.ps().await).clone();
    assert_eq!((view.state, view.by_hand, view.pid), (State::Waiting, true, None));
    assert!(view.health.starts_with("run by hand: "), "{}", view.health);
    let (status, text) = order(&shop).await;
    assert_eq!((status, text.contains("MDG-CALL-001")), (StatusCode::SERVICE_UNAVAILABLE, true), "{text}");

    // A request that waits is answered by the process that a person starts.
    let (placed, mut process) = tokio::join!(order(&shop), async { by_hand(&shop) });
    assert_eq!(placed.0, StatusCode::CREATED, "{}", placed.1);
    ready(&shop, &process).await;
    let address = orders(&shop.ps().await).url.clone();

    // Another `madang` goes on with it: the same port, and the process is not touched.
    shop.kill_node().await;
    shop.up(Placement::Processes).await;
    ready(&shop, &process).await;
    assert_eq!(orders(&shop.ps().await).url, address);
    assert_eq!(order(&shop).await.0, StatusCode::CREATED);

    // It exits: out of rotation at once, and not started again; then a person starts it again.
    let killed = Instant::now();
    kill(process.id().unwrap());
    process.wait().await.unwrap();
    shop.until("it is out of rotation", |shown| orders(shown).state == State::Waiting).await;
    assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
    let (status, text) = order(&shop).await;
    assert_eq!((status, text.contains("MDG-CALL-001")), (StatusCode::SERVICE_UNAVAILABLE, true), "{text}");
    assert_eq!(orders(&shop.ps().await).restarts, 0);
    let restart = shop.madang(&["restart", "orders"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&restart.stderr).into_owned();
    assert!(!restart.status.success() && said.contains("orders is run by hand"), "{said}");
    let mut process = by_hand(&shop);
    ready(&shop, &process).await;
    assert_eq!(order(&shop).await.0, StatusCode::CREATED);

    // Nothing is left but what is the person's.
    shop.down().await;
    assert!(process.try_wait().unwrap().is_none(), "it was ended");
    let left: Vec<u32> = shop.processes().into_iter().map(|(pid, _)| pid).collect();
    assert_eq!(left, [process.id().unwrap()]);
    process.kill().await.unwrap();
}

/// Who hangs, as in a debugger, is out of rotation until they go on.
#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_is_out_of_rotation_until_they_go_on() {
    let shop = start().await;
    let mut process = by_hand(&shop);
    ready(&shop, &process).await;
    let pid = process.id().unwrap();
    madang_testkit::stop(pid);
    shop.until("it is out of rotation", |shown| orders(shown).state == State::Waiting).await;
    signal(pid, Signal::CONT);
    ready(&shop, &process).await;
    assert_eq!(order(&shop).await.0, StatusCode::CREATED);
    process.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_is_told_is_what_an_instance_is_told() {
    let shop = start().await;
    let told = async |name: &str| {
        let printed = shop.run(&["env", name, "--format", "json"]).await;
        serde_json::from_str::<EnvironmentView>(&printed).unwrap()
    };
    let orders = told("orders").await;
    assert!(orders.by_hand && orders.folder.ends_with("/orders"), "{orders:?}");
    let expected = "CATALOG_URL DATABASE_URL MADANG_INSTANCE MADANG_PRINCIPAL_KEYS MADANG_RELEASE MADANG_SERVICE MADANG_TOKEN \
                    MADANG_UNIT MADANG_URL OTEL_EXPORTER_OTLP_ENDPOINT OTEL_EXPORTER_OTLP_HEADERS OTEL_EXPORTER_OTLP_PROTOCOL \
                    OTEL_RESOURCE_ATTRIBUTES OTEL_SERVICE_NAME PAYMENTS_OVER PAYMENTS_URL PORT USERS_URL \
                    services__catalog__http__0 services__payments__http__0 services__users__http__0";
    assert!(orders.variables.keys().eq(expected.split(' ')), "{:?}", orders.variables.keys());

    // A shell reads the same.
    let script = "eval \"$(madang env orders)\" && printf '%s %s' \"$PORT\" \"$DATABASE_URL\"";
    let madang = binary("madang");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).current_dir(shop.path());
    shell.env("XDG_RUNTIME_DIR", shop.path().join("run"));
    shell.env("PATH", format!("{}:/usr/bin:/bin", madang.parent().unwrap().display()));
    let read = String::from_utf8(shell.output().await.unwrap().stdout).unwrap();
    assert_eq!(read, format!("{} {}", orders.variables["PORT"], orders.variables["DATABASE_URL"]));

    // Of one that madang runs: the same as it has, on a port of its own.
    let users = told("users").await;
    let pid = shop.pids("users").await[0];
    let environ = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let own = |name: &str| {
        let mut entries = environ.split('\0').filter_map(|entry| entry.split_once('='));
        entries.find(|(one, _)| *one == name).unwrap_or_else(|| panic!("{name}")).1
    };
    assert!(!users.by_hand);
    for name in
        ["DATABASE_URL", "MADANG_URL", "MADANG_SERVICE", "OTEL_SERVICE_NAME", "OTEL_EXPORTER_OTLP_ENDPOINT"]
    {
        assert_eq!(users.variables[name], own(name), "{name}");
    }
    for name in ["PORT", "MADANG_TOKEN", "MADANG_INSTANCE", "OTEL_EXPORTER_OTLP_HEADERS"] {
        assert_ne!(users.variables[name], own(name), "{name}");
    }
}

#[tokio::test]
async fn a_name_that_nobody_has_is_refused_with_the_nearest() {
    let shop = Prepared::shop();
    for options in [&["up", "--except", "users,oders"][..], &["up", "-d", "--except", "oders"]] {
        let up = shop.madang(options).output().await.unwrap();
        let said = String::from_utf8_lossy(&up.stderr).into_owned();
        assert_eq!(up.status.code(), Some(1), "{said}");
        assert!(said.contains("shop has no service or unit \"oders\": did you mean \"orders\"?"), "{said}");
    }
}

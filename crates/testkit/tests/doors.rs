//! Programs without the SDK call each other through doors.

use std::net::SocketAddr;

use http::{Method, StatusCode};
use madang_testkit::{Client, Load, Placement, Prepared, TestSystem};
use madang_wire::admin::State;
use serde_json::Value;

/// The program of every service here, beside the manifest.
const PROGRAM: &str = include_str!("programs/service.py");

const SYSTEM: &str = r#"
    [gateway]
    listen = "127.0.0.1:{gateway}"

    [services.users]
    run = "python3 service.py"

    [services.mail]
    run = "python3 service.py"

    [services.orders]
    run = "python3 service.py"
    calls = { users = { timeout = "5s" } }
    routes = ["/**"]
"#;

fn prepared(manifest: &str) -> Prepared {
    let prepared = Prepared::with(manifest);
    prepared.write("service.py", PROGRAM);
    prepared
}

async fn start(manifest: &str) -> TestSystem {
    prepared(manifest).start(Placement::Processes).await
}

/// A variable that `orders` was told.
async fn told(system: &TestSystem, name: &str) -> Option<String> {
    let answer = system.get("/env").await.json();
    answer[name].as_str().map(str::to_owned)
}

fn address(url: &str) -> SocketAddr {
    url.strip_prefix("http://").expect("a URL").parse().expect("an address")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_reaches_what_it_declares_with_the_context_of_its_request() {
    let system = start(SYSTEM).await;
    let url = told(&system, "USERS_URL").await.expect("the door");
    assert_eq!(told(&system, "services__users__http__0").await.as_deref(), Some(&*url));
    assert_eq!(told(&system, "MAIL_URL").await, None, "it is not declared");
    let port = address(&url).port();
    assert!((30_000..32_768).contains(&port), "{port} is no ephemeral port");

    let given = [("x-request-id", "of-the-client"), ("idempotency-key", "k-1")];
    let answer = system.client().send(Method::GET, "/call/users/7", &given, "").await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let seen = answer.json();
    assert_eq!((seen["service"].as_str(), seen["path"].as_str()), (Some("users"), Some("/7")), "{seen}");
    let headers = &seen["headers"];
    for (name, value) in [
        ("madang-caller", "orders"),
        ("madang-service", "users"),
        ("x-request-id", "of-the-client"),
        ("idempotency-key", "k-1"),
    ] {
        assert_eq!(headers[name], value, "{seen}");
    }
    let left: u64 = headers["madang-timeout"].as_str().unwrap().parse().unwrap();
    assert!(left <= 5000, "the limit of the call: {left}");
    let trace = answer.headers.get("x-request-id").map(|id| id.to_str().unwrap());
    assert_eq!(trace, Some("of-the-client"));
}

/// For a program that looks for it under a name of its own, and also for a service that runs elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_says_where_else_the_url_of_a_door_stands() {
    let elsewhere = start("services.users = { run = 'python3 service.py', routes = ['/**'] }\ngateway.listen = '127.0.0.1:{gateway}'").await;
    let manifest = SYSTEM.replace(
        "[services.mail]\n    run = \"python3 service.py\"",
        "[services.mail]\n    url = \"{mail}\"",
    );
    let manifest = manifest.replace("{mail}", &format!("http://{}", elsewhere.gateway_address())).replace(
        r#"calls = { users = { timeout = "5s" } }"#,
        r#"calls = { users = {}, mail = {} }
           env = { USERS_API = "${services.users.url}/v1", POST_URL = "${services.mail.url}" }"#,
    );
    let system = start(&manifest).await;
    let url = told(&system, "USERS_URL").await.expect("the door");
    assert_eq!(told(&system, "USERS_API").await, Some(format!("{url}/v1")));
    assert_eq!(told(&system, "POST_URL").await, told(&system, "MAIL_URL").await);
    let answer = system.get("/call/post/7").await;
    assert_eq!(
        (answer.status, answer.json()["path"].as_str()),
        (StatusCode::OK, Some("/7")),
        "{}",
        answer.text()
    );

    let without = manifest.replace("calls = { users = {}, mail = {} }", "calls = { mail = {} }");
    let check = prepared(&without).madang(&["check"]).output().await.unwrap();
    let printed = String::from_utf8_lossy(&check.stderr);
    assert!(check.status.code() == Some(3) && printed.contains("MDG-MF-036"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_that_is_killed_is_waited_for() {
    let system = start(SYSTEM).await;
    let load = Load::start(system.gateway_address(), "/call/users/1", 4);
    load.answered(50).await;
    let killed = system.kill("users").await;
    system
        .until("another process", |shown| {
            let ready = shown.iter().filter(|view| view.unit == "users" && view.state == State::Ready);
            ready.filter_map(|view| view.pid).any(|pid| !killed.contains(&pid))
        })
        .await;
    load.answered(50).await;
    let report = load.stop().await;
    assert!(report.failed.is_empty(), "{report:#?}");
}

/// Python ends at the signal, with whatever it was answering.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_has_begun_to_answer_is_answered_before_it_is_told_to_stop() {
    let system = start(SYSTEM).await;
    let old = system.pids("orders").await;
    let load = Load::start(system.gateway_address(), "/slowly", 8);
    load.answered(8).await;
    system.edit("madang.toml", r#"{ users = { timeout = "5s" } }"#, "{ users = {} }\n    env = { A = 'b' }");
    let replaced = |shown: &[madang_wire::admin::InstanceView]| {
        let mut orders = shown.iter().filter(|view| view.unit == "orders");
        orders.all(|view| view.state == State::Ready && view.pid.is_some_and(|pid| !old.contains(&pid)))
    };
    system.until("another process", replaced).await;
    let report = load.stop().await;
    assert!(report.failed.is_empty(), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_is_where_it_was_when_the_system_is_started_again() {
    let mut system = start(SYSTEM).await;
    let before = told(&system, "USERS_URL").await.expect("the door");
    system.down().await;
    system.up(Placement::Processes).await;
    assert_eq!(told(&system, "USERS_URL").await, Some(before));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_calls_opens_and_closes_doors_and_no_request_notices() {
    let system = start(SYSTEM).await;
    let users = told(&system, "USERS_URL").await.expect("the door");
    let load = Load::start(system.gateway_address(), "/call/users/1", 4);
    let old = system.pids("orders").await;
    system.edit("madang.toml", r#"{ users = { timeout = "5s" } }"#, r#"{ users = {}, mail = {} }"#);
    let replaced = |old: Vec<u32>| {
        move |shown: &[madang_wire::admin::InstanceView]| {
            let orders: Vec<_> = shown.iter().filter(|view| view.unit == "orders").collect();
            let ready = orders.iter().all(|view| view.state == State::Ready);
            ready && orders.len() == 1 && orders[0].pid.is_some_and(|pid| !old.contains(&pid))
        }
    };
    system.until("told of another door", replaced(old)).await;
    assert_eq!(told(&system, "USERS_URL").await.as_deref(), Some(&*users), "it stays where it is");
    let mail = told(&system, "MAIL_URL").await.expect("the other door");
    assert_eq!(system.get("/call/mail/1").await.json()["service"], "mail");
    load.answered(50).await;
    let report = load.stop().await;
    assert!(report.failed.is_empty(), "{report:#?}");

    let load = Load::start(system.gateway_address(), "/call/mail/1", 4);
    load.answered(50).await;
    let report = load.stop().await;
    assert!(report.failed.is_empty(), "{report:#?}");
    let old = system.pids("orders").await;
    system.edit("madang.toml", "users = {}, mail = {}", "mail = {}");
    system.until("told of one door less", replaced(old)).await;
    assert_eq!(told(&system, "USERS_URL").await, None);
    assert_eq!(told(&system, "MAIL_URL").await, Some(mail));
    let closed = async {
        while tokio::net::TcpStream::connect(address(&users)).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), closed).await.expect("its door is closed");
}

/// Two services in one process: each names itself, and the first stands for both if it does not.
#[tokio::test(flavor = "multi_thread")]
async fn the_services_of_a_unit_share_its_door() {
    let system = start(
        r#"
        [gateway]
        listen = "127.0.0.1:{gateway}"
        [services.users]
        run = "python3 service.py"
        [services.cart]
        calls = { users = {} }
        routes = ["/cart/**"]
        [services.orders]
        calls = { users = {} }
        routes = ["/**"]
        [units.core]
        services = ["cart", "orders"]
        run = "python3 service.py"
        "#,
    )
    .await;
    let door = address(&told(&system, "USERS_URL").await.expect("the door"));
    let mut client = Client::new(door);
    for (named, caller) in [("orders", "orders"), ("cart", "cart"), ("users", "cart")] {
        let answer = client.send(Method::GET, "/", &[("madang-caller", named)], "").await.unwrap();
        assert_eq!(answer.json()["headers"]["madang-caller"], caller);
    }
}

/// What the program at the door could not be asked for is said in the form of every other failure.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_at_a_door_is_a_problem() {
    let system = start(&SYSTEM.replace("5s", "300ms")).await;
    let pid = system.pids("users").await[0];
    madang_testkit::stop(pid);
    let answer = system.get("/call/users/1").await;
    madang_testkit::signal(pid, rustix::process::Signal::CONT);
    let problem: Value = answer.json();
    assert_eq!((answer.status.as_u16(), problem["code"].as_str()), (504, Some("MDG-CALL-003")), "{problem}");
    assert!(problem["trace_id"].is_string() && problem["request_id"].is_string(), "{problem}");
}

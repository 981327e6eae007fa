//! Several systems on one machine: each is its own, a second node of one is refused, and the same manifest runs twice
//! where it is told to run isolated.

use std::{net::TcpListener, process::Stdio};

use http::StatusCode;
use madang_testkit::{Client, Placement, Prepared, TestSystem, kill, processes_of};
use madang_wire::admin::SystemView;
use serde_json::json;
use tokio::process::Command;

/// A service that calls another and says who answered.
const PAIR: &str = r#"
    [system]
    name = "{name}"

    [gateway]
    listen = "127.0.0.1:{gateway}"

    [services.front]
    run = "python3 server.py"
    routes = ["/front/**"]
    calls = ["back"]

    [services.back]
    run = "python3 server.py"
"#;

const SERVER: &str = r#"
import os, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        said = os.environ["MADANG_SERVICE"] + " of " + os.path.basename(os.getcwd())
        if "BACK_URL" in os.environ:
            said += ", " + urllib.request.urlopen(os.environ["BACK_URL"] + "/", timeout=5).read().decode()
        self.send_response(200)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said.encode())

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Server).serve_forever()
"#;

fn pair(name: &str) -> Prepared {
    let prepared = Prepared::with(&PAIR.replace("{name}", name));
    prepared.write("server.py", SERVER);
    prepared
}

/// What a command that is to fail says.
async fn refused(mut command: Command) -> String {
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

/// The address of the gateway of an isolated system.
async fn gateway(system: &TestSystem, isolated: &str) -> std::net::SocketAddr {
    let shown = system.run(&["systems", "--format", "json"]).await;
    let systems: Vec<SystemView> = serde_json::from_str(&shown).unwrap();
    let found = systems.iter().find(|system| system.isolated.as_deref() == Some(isolated));
    let found = found.unwrap_or_else(|| panic!("no {isolated} in {shown}"));
    found.gateway.strip_prefix("http://").unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_systems_run_at_once_and_each_calls_its_own() {
    let (first, second) = (pair("one"), pair("two"));
    let (mut first, mut second) =
        tokio::join!(first.start(Placement::Processes), second.start(Placement::Processes));
    for _ in 0..3 {
        for system in [&first, &second] {
            let folder = system.path().file_name().unwrap().to_str().unwrap();
            let answer = system.get("/front").await;
            assert_eq!(answer.text(), format!("front of {folder}, back of {folder}"));
        }
    }
    first.down().await;
    assert_eq!(first.processes(), []);
    assert_eq!(second.get("/front").await.status, StatusCode::OK);
    second.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_system_twice_is_refused_and_the_owner_named() {
    let mut system = pair("one").start(Placement::Processes).await;
    let (pid, root) = (system.node_pid(), system.path().display().to_string());
    for options in [&["up"][..], &["up", "-d"]] {
        let said = refused(system.madang(options)).await;
        for part in [
            &format!("one in {root} is already run by process {pid}, up for "),
            "`madang ps",
            "`madang down",
            "`madang up --isolated` runs a second one beside it",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    assert_eq!(system.get("/front").await.status, StatusCode::OK);
    system.down().await;
}

/// The gateway's port, or that of a program that insists on it.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_port_is_named() {
    let mut first = pair("one").start(Placement::Processes).await;
    let (pid, root) = (first.node_pid(), first.path().display().to_string());
    let second = pair("two");
    let port = first.gateway_address().port();
    second.edit("madang.toml", &second.gateway_address().port().to_string(), &port.to_string());
    let said = refused(second.madang(&["up"])).await;
    let expected = format!(
        "port {port} is taken by the system one in {root} (pid {pid}), which `madang down {root}` stops: stop that, \
         choose another port in the manifest, or run this system with --isolated"
    );
    assert!(said.contains(&expected), "{said}");
    assert_eq!(second.processes(), []);
    first.down().await;

    // Neither a node nor anything of one.
    let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let said = refused(second.madang(&["up"])).await;
    let me = format!("(pid {}): stop that", std::process::id());
    assert!(said.contains(&format!("port {port} is taken by ")) && said.contains(&me), "{said}");
    drop(taken);

    // An instance of another system.
    let mut third = pair("three");
    third.edit("madang.toml", "routes = [\"/front/**\"]", &format!("port = {port}"));
    let third_root = third.path().display().to_string();
    let mut running = std::mem::replace(&mut third, pair("four")).start(Placement::Processes).await;
    let holder = running.pids("front").await[0];
    let said = refused(second.madang(&["up"])).await;
    let expected =
        format!("server.py (pid {holder}), an instance of the system three in {third_root}: stop that");
    assert!(said.contains(&expected), "{said}");
    running.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_runs_isolated_beside_itself_and_leaves_nothing() {
    let mut shop = Prepared::shop().start(Placement::Processes).await;
    let kept = processes_of(shop.path()).len();
    let mut up = shop.madang(&["up", "--isolated=ci"]);
    let mut up = up.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    shop.run(&["wait", "--isolated=ci", "--timeout", "60s"]).await;

    // Its own gateway, its own data.
    let isolated = gateway(&shop, "ci").await;
    assert_ne!(isolated, shop.gateway_address());
    let user = json!({"name": "Isolated"});
    let made = Client::new(isolated).post("/users", &user, &[]).await.unwrap();
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let order = json!({"user": 1, "product": "Book"});
    let placed = Client::new(isolated).post("/orders", &order, &[]).await.unwrap();
    assert_eq!(placed.status, StatusCode::CREATED, "{}", placed.text());
    assert!(!shop.get("/users").await.text().contains("Isolated"));
    assert_eq!(shop.post("/orders", order.clone()).await.status, StatusCode::CREATED);

    // It is addressed by its name, or as the only one; the system itself is another.
    let (own, beside) = (shop.run(&["ps"]).await, shop.run(&["ps", "--isolated"]).await);
    assert!(own.contains("orders-") && beside.contains("orders-") && own != beside, "{own}{beside}");
    assert!(shop.run(&["logs", "--isolated=ci", "users"]).await.contains("ready"));
    let again = refused(shop.madang(&["up", "--isolated=ci"])).await;
    assert!(again.contains("`madang down --isolated=ci "), "{again}");

    // An edit keeps it where it is.
    shop.edit("catalog/service.toml", "name = \"catalog\"", "name = \"catalog\"\nenv = { LEVEL = \"1\" }");
    shop.run(&["wait", "--isolated=ci"]).await;
    let answer = Client::new(isolated).get("/users").await.unwrap();
    assert!(answer.text().contains("Isolated"), "{}", answer.text());

    // Killed, its services go on under the next of its name.
    kill(up.id().unwrap());
    up.wait().await.unwrap();
    let left = shop.madang(&["ps", "--isolated=ci"]).output().await.unwrap();
    assert_eq!(left.status.code(), Some(4));
    shop.run(&["up", "-d", "--isolated=ci"]).await;
    assert!(shop.run(&["ps", "--isolated=ci"]).await.contains("ready, adopted"));
    assert_eq!(gateway(&shop, "ci").await, isolated);

    shop.run(&["down", "--isolated=ci"]).await;
    assert!(!shop.path().join(".madang/isolated").exists());
    shop.until("nothing of it is left", |_| processes_of(shop.path()).len() <= kept).await;
    assert_eq!(shop.post("/orders", order).await.status, StatusCode::CREATED);
    shop.down().await;
    assert_eq!(shop.processes(), []);
}

#[tokio::test]
async fn a_database_that_is_the_same_for_both_is_refused() {
    let shop = Prepared::shop();
    shop.edit("users/service.toml", "database = \"sqlite\"", "database = \"sqlite:users.db\"");
    let said = refused(shop.madang(&["up", "--isolated"])).await;
    assert!(said.contains("users cannot run isolated: its database is "), "{said}");
    assert!(!shop.path().join(".madang/isolated").exists());
}

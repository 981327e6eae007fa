//! What Madang does not start: instances that join and renew, over a restart of `madang` too, and services that run
//! elsewhere.

use std::{process::Stdio, time::Duration};

use http::StatusCode;
use madang_testkit::{Placement, Prepared, TestSystem, free_port, kill};
use madang_wire::admin::{InstanceView, TokenView};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

/// A server with nothing of Madang's in it. It joins if it is told how, and renews until it is asked to be silent.
const TILL: &str = r#"
import json, os, threading, time, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

renewals, renewing = 0, True

class Till(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        global renewing
        if self.path.endswith("/silence"):
            renewing = False
        body = json.dumps({"renewals": renewals, "headers": {k.lower(): v for k, v in self.headers.items()}}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "0"))), Till)
threading.Thread(target=server.serve_forever, daemon=True).start()
join = json.dumps({"address": f"127.0.0.1:{server.server_port}", "lease": os.environ.get("LEASE", "10s")})
while True:
    if renewing and "MADANG_URL" in os.environ:
        request = urllib.request.Request(
            os.environ["MADANG_URL"] + "/v1/services/pos/instances/till-1", method="PUT", data=join.encode(),
            headers={"authorization": "Bearer " + os.environ["MADANG_TOKEN"], "content-type": "application/json"})
        try:
            urllib.request.urlopen(request, timeout=5).read()
            renewals += 1
        except OSError:
            pass  # the node is away: again, for ever
    time.sleep(float(os.environ.get("PAUSE", "1")))
"#;

const MANIFEST: &str = r#"
    [gateway]
    listen = "127.0.0.1:{gateway}"

    [services.pos]
    run = false
    timeout = "2s"
    routes = ["/pos/**"]

    [services.mail]
    url = "http://localhost:{mail}"
    timeout = "5s"
    routes = ["/mail/**"]

    [services.clock]
    run = "sleep 100000"
    port = false
"#;

async fn start(mail: u16) -> TestSystem {
    let prepared = Prepared::with(&MANIFEST.replace("{mail}", &mail.to_string()));
    prepared.write("till.py", TILL);
    prepared.start(Placement::Processes).await
}

/// Starts the server with these variables; it ends when this is dropped, at the latest.
fn till(system: &TestSystem, env: &[(&str, &str)]) -> Child {
    let mut python = Command::new("python3");
    python.arg(system.path().join("till.py")).current_dir(system.path()).stdin(Stdio::null());
    python.envs(env.iter().copied()).kill_on_drop(true).spawn().expect("python3 starts")
}

async fn joining(system: &TestSystem, lease: &str, pause: &str) -> Child {
    let token = system.run(&["token", "pos", "--format", "json"]).await;
    let token: TokenView = serde_json::from_str(&token).expect("a token");
    till(
        system,
        &[("MADANG_URL", &token.url), ("MADANG_TOKEN", &token.token), ("LEASE", lease), ("PAUSE", pause)],
    )
}

fn has_joined(shown: &[InstanceView]) -> bool {
    shown.iter().any(|view| view.name == "till-1" && view.lease_ends.is_some())
}

/// Waits until the state on the disk knows who joined, which nobody else has to wait for.
async fn kept(system: &TestSystem) {
    let look = "import sqlite3; print(sqlite3.connect('.madang/state.db').execute(\
                'SELECT count(*) FROM discovery_leases').fetchone()[0])";
    let began = Instant::now();
    loop {
        let mut python = Command::new("python3");
        let looked =
            python.args(["-c", look]).current_dir(system.path()).output().await.expect("python3 runs");
        if looked.stdout == b"1\n" {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{looked:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_joined_is_in_rotation_after_madang_was_killed() {
    let mut system = start(free_port()).await;
    let _till = joining(&system, "5m", "100").await;
    system.until("joined", has_joined).await;
    let answer = system.get("/pos/1").await;
    assert_eq!((answer.status, answer.json()["renewals"].as_u64()), (StatusCode::OK, Some(1)));
    assert!(answer.json()["headers"]["madang-service"] == "pos", "it is one of ours: {}", answer.text());
    kept(&system).await;

    kill(system.node_pid());
    system.ended().await;
    system.up(Placement::Processes).await;
    let answer = system.get("/pos/2").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.json()["renewals"], 1, "it did not have to say so again");
    assert!(has_joined(&system.ps().await));
    system.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_falls_silent_is_out_and_may_join_again() {
    let mut system = start(free_port()).await;
    let silent = joining(&system, "1s", "0.3").await;
    system.until("joined", has_joined).await;
    assert_eq!(system.get("/pos/silence").await.status, StatusCode::OK);
    system.until("out", |shown| !has_joined(shown)).await;
    let answer = system.get("/pos/1").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "it would still answer: {}", answer.text());
    system.until_printed("expired").await;
    drop(silent);

    let _again = joining(&system, "10s", "1").await;
    system.until("joined again", has_joined).await;
    assert_eq!(system.get("/pos/2").await.status, StatusCode::OK);
    system.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_elsewhere_is_called_by_its_own_name_and_hears_nothing_of_ours() {
    let port = free_port();
    let mut system = start(port).await;
    let _mail = till(&system, &[("PORT", &port.to_string())]);
    let began = Instant::now();
    let answer = loop {
        let answer = system.get("/mail/1").await;
        // Until it listens, it cannot be connected to.
        if answer.status == StatusCode::OK || began.elapsed() > Duration::from_secs(30) {
            break answer;
        }
        assert!(answer.text().contains("failed to connect to mail: "), "{}", answer.text());
    };
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let heard = answer.json()["headers"].clone();
    assert_eq!(heard["host"], format!("localhost:{port}"));
    let names: Vec<_> = heard.as_object().expect("headers").keys().cloned().collect();
    assert!(
        names.iter().any(|name| name == "traceparent") && names.iter().any(|name| name == "x-request-id")
    );
    assert!(!names.iter().any(|name| name.starts_with("madang-")), "{names:?}");
    let shown = system.ps().await;
    assert!(shown.iter().any(|view| view.unit == "mail" && view.health.starts_with("elsewhere: found")));
    system.down().await;
}

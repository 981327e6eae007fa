//! Ten thousand clients that send a byte now and then: what they cost, and that others are served.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use madang_gateway::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    floods::{ALONE, memory},
    frames::{HEADERS, PATIENCE, PREFACE, frame, request, settings},
    stage::{Client, Stage, config, saying, system, until},
};

/// How many.
const CLIENTS: u64 = 10_000;

/// What one may cost, in bytes: the largest part is hyper's buffer of eight kilobytes.
const EACH: u64 = 24 * 1024;

/// Tells the process of the clients where the gateway is.
const GATEWAY: &str = "MADANG_TEST_SLOW_CLIENTS_OF";

/// What that process says once all are connected.
const CONNECTED: &str = "all are connected";

/// Both sides have a file for each connection, and a process only so many of them.
fn have_room() {
    let wanted = CLIENTS + 500;
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit { current: Some(wanted), maximum: Some(maximum.unwrap_or(wanted).max(wanted)) };
    let within = Rlimit { current: Some(wanted), maximum };
    setrlimit(Resource::Nofile, raised).or_else(|_| setrlimit(Resource::Nofile, within)).unwrap_or_else(
        |_| panic!("a process may open {maximum:?} files, and {wanted} are needed: raise `ulimit -Hn`"),
    );
}

/// The process of the clients, which is this program with another test.
struct Clients(Child);

impl Clients {
    /// Returns when all of them are connected and have sent what they send.
    fn start(gateway: SocketAddr) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "slow::clients", "--ignored", "--nocapture"])
            .env(GATEWAY, gateway.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let connected = said.lines().map_while(Result::ok).any(|line| line.contains(CONNECTED));
        let clients = Self(child);
        assert!(connected, "the process of the clients ended early");
        clients
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Not a test, but the clients of the one below.
#[test]
#[ignore = "run by ten_thousand_slow_clients_cost_little_and_keep_nobody_out"]
fn clients() {
    let Ok(gateway) = env::var(GATEWAY) else { return };
    have_room();
    let over_http2 = [PREFACE, &settings(&[]), &frame(HEADERS, 0, 1, &request("GET", &[]))].concat();
    let half_a_head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(1_000));
    let all: Vec<TcpStream> = (0..CLIENTS)
        .map(|at| {
            let mut stream = TcpStream::connect(&gateway).unwrap();
            stream.write_all(if at % 10 == 0 { &over_http2 } else { half_a_head.as_bytes() }).unwrap();
            stream
        })
        .collect();
    println!("{CONNECTED}");
    // Until whoever started it wants no more of them, or is gone.
    let _ = io::stdin().read(&mut [0]);
    drop(all);
}

#[tokio::test]
async fn ten_thousand_slow_clients_cost_little_and_keep_nobody_out() {
    let _alone = ALONE.lock().await;
    have_room();
    let patient = Config {
        connections: 2 * CLIENTS as usize,
        head_time: Duration::from_secs(600),
        idle_time: Duration::from_secs(600),
        ..config()
    };
    let stage =
        Stage::start(patient, system(&["- /** -> users"]), Vec::new()).await.with("users", saying("u").await);
    let gateway = stage.address();
    assert_eq!(Client::new(gateway).await.get("/").await.status, 200);
    let before = memory();
    let clients = spawn_blocking(move || Clients::start(gateway)).await.unwrap();
    until(|| stage.handle.stats().connections >= CLIENTS).await;
    let answer =
        timeout(PATIENCE, async { Client::new(gateway).await.get("/").await }).await.expect("an answer");
    assert_eq!(answer.status, 200);
    let cost = memory().saturating_sub(before);
    println!("{CLIENTS} slow clients cost {} MiB, {} bytes each", cost >> 20, cost / CLIENTS);
    assert!(cost < CLIENTS * EACH, "{} bytes each", cost / CLIENTS);
    drop(clients);
    until(|| stage.handle.stats().connections == 0).await;
    stage.stop().await;
}

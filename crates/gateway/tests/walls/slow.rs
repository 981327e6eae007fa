//! Ten thousand clients that send a byte now and then: what they cost, and that others are served.

use std::{net::SocketAddr, time::Duration};

use madang_gateway::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use crate::{
    floods::{ALONE, memory},
    frames::{HEADERS, PATIENCE, PREFACE, frame, request, settings},
    stage::{Client, Stage, config, saying, system, until},
};

/// How many.
const CLIENTS: u64 = 10_000;

/// What one may cost, in bytes: the largest part is hyper's buffer of eight kilobytes.
const EACH: u64 = 24 * 1024;

/// Both ends of a connection are of this process. What may not be raised bounds how many there are.
fn clients() -> u64 {
    let wanted = 2 * CLIENTS + 500;
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: Some(wanted), maximum: Some(now.maximum.unwrap_or(wanted).max(wanted)) };
    let most = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => wanted,
        Err(_) => now.maximum.unwrap_or(wanted).min(wanted),
    };
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit { current: Some(most), maximum: now.maximum.map(|it| it.max(most)) },
    );
    (most - 500) / 2
}

async fn slow(gateway: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

#[tokio::test]
async fn ten_thousand_slow_clients_cost_little_and_keep_nobody_out() {
    let _alone = ALONE.lock().await;
    let count = clients();
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
    let over_http2 = [PREFACE, &settings(&[]), &frame(HEADERS, 0, 1, &request("GET", &[]))].concat();
    let half_a_head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(1_000));
    let before = memory();
    let mut all = Vec::new();
    for at in 0..count {
        let bytes = if at % 10 == 0 { &over_http2[..] } else { half_a_head.as_bytes() };
        all.push(slow(gateway, bytes).await);
    }
    until(|| stage.handle.stats().connections >= count).await;
    let answer =
        timeout(PATIENCE, async { Client::new(gateway).await.get("/").await }).await.expect("an answer");
    assert_eq!(answer.status, 200);
    let cost = memory().saturating_sub(before);
    println!("{count} slow clients cost {} MiB, {} bytes each", cost >> 20, cost / count);
    assert!(cost < count * EACH, "{} bytes each", cost / count);
    drop(all);
    until(|| stage.handle.stats().connections == 0).await;
    stage.stop().await;
}

//! Floods of HTTP/2 that have had names: each ends its connection or is borne, nobody else waits, and memory has a bound.

use std::{net::SocketAddr, time::Duration};

use tokio::{sync::Mutex, time::timeout};

use crate::{
    frames::*,
    stage::{Client, Stage, config, saying, system},
};

/// The most memory that one connection may cost meanwhile, in bytes.
const MOST: u64 = 32 * 1024 * 1024;

/// Held by who measures memory, which is that of all tests.
pub static ALONE: Mutex<()> = Mutex::const_new(());

/// Resident memory of this process: the gateway, its service and its client.
pub fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

async fn stage() -> Stage {
    Stage::start(config(), system(&["- /** -> users"]), Vec::new()).await.with("users", saying("u").await)
}

/// Sends pieces until the gateway has had enough, or all are sent; whether it had enough.
async fn flood(gateway: SocketAddr, first: &[u8], pieces: impl Iterator<Item = Vec<u8>>) -> bool {
    let mut peer = Peer::greeting(gateway).await;
    peer.send(first).await;
    for piece in pieces {
        if !peer.send(&piece).await {
            return true;
        }
    }
    // What it had to say of it.
    let ended = async { while peer.next().await.is_some_and(|frame| frame.kind != GOAWAY) {} };
    timeout(Duration::from_secs(2), ended).await.is_ok()
}

/// The others are served while it lasts and afterwards, and what was taken is bounded.
async fn holds(
    name: &str,
    must_end: bool,
    first: Vec<u8>,
    pieces: impl Iterator<Item = Vec<u8>> + Send + 'static,
) {
    let _alone = ALONE.lock().await;
    let stage = stage().await;
    let mut other = Client::new(stage.address()).await;
    assert_eq!(other.get("/").await.status, 200);
    let (gateway, before) = (stage.address(), memory());
    let flooding = tokio::spawn(async move { flood(gateway, &first, pieces).await });
    let mut most = before;
    while !flooding.is_finished() {
        let answer =
            timeout(PATIENCE, other.get("/")).await.unwrap_or_else(|_| panic!("{name}: nobody is served"));
        assert_eq!(answer.status, 200, "{name}");
        most = most.max(memory());
    }
    let ended = flooding.await.unwrap();
    assert!(ended || !must_end, "{name}: it was borne for ever");
    assert!(most - before < MOST, "{name}: {} MiB", (most - before) >> 20);
    assert_eq!(Client::new(gateway).await.get("/").await.status, 200, "{name}");
    stage.stop().await;
}

fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|at| 2 * at + 1)
}

/// CVE-2023-44487.
#[tokio::test]
async fn rapid_reset() {
    let reset = |stream| [get(stream), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat();
    holds("rapid reset", true, Vec::new(), streams(20_000).map(reset)).await;
}

/// CVE-2025-8671: the client has the server reset its streams.
#[tokio::test]
async fn made_you_reset() {
    let bad = |stream| [get(stream), frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat();
    holds("made you reset", true, Vec::new(), streams(20_000).map(bad)).await;
}

/// CVE-2024-24549 and others: a head that never ends.
#[tokio::test]
async fn continuation() {
    let first = frame(HEADERS, END_STREAM, 1, &request("GET", &[]));
    let more = |_| frame(CONTINUATION, 0, 1, &block(&[("x", &"y".repeat(1_000))]));
    holds("continuation", true, first.clone(), (0..50_000).map(more)).await;
    let nothing = |_| frame(CONTINUATION, 0, 1, b"");
    holds("empty continuation", true, first, (0..200_000).map(nothing)).await;
}

/// CVE-2019-9515: each asks for an acknowledgement.
#[tokio::test]
async fn settings_flood() {
    holds("settings", false, Vec::new(), (0..50_000).map(|_| settings(&[(3, 100)]))).await;
}

/// CVE-2019-9512.
#[tokio::test]
async fn ping_flood() {
    holds("ping", false, Vec::new(), (0..50_000).map(|_| frame(PING, 0, 0, &[0; 8]))).await;
}

/// CVE-2019-9518: frames that carry nothing.
#[tokio::test]
async fn empty_frames() {
    let open = frame(HEADERS, END_HEADERS, 1, &request("POST", &[]));
    holds("empty data", false, open, (0..200_000).map(|_| frame(DATA, 0, 1, b""))).await;
}

/// CVE-2019-9511 and -9517: much is asked for and nothing is read, or only byte by byte.
#[tokio::test]
async fn windows_that_stay_shut() {
    let shut = settings(&[(4, 0)]);
    holds("no window", false, shut, streams(128).map(get)).await;
}

/// CVE-2019-9513: priorities that change all the time.
#[tokio::test]
async fn priority_flood() {
    let change = |at: u32| frame(PRIORITY, 0, 2 * (at % 1_000) + 1, &[0, 0, 0, 0, (at % 256) as u8]);
    holds("priority", false, Vec::new(), (0..100_000).map(change)).await;
}

/// CVE-2019-9516 and bombs of HPACK: a little that means much.
#[tokio::test]
async fn heads_that_grow() {
    // One field of four kilobytes goes into the table, and is then named again and again.
    let mut bomb = request("GET", &[]);
    bomb.extend([0x40, 1, b'x', 127, 0xa1, 30]);
    bomb.extend([b'y'; 127 + 33 + 30 * 128]);
    bomb.extend([0xbe; 10_000]);
    let head = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &bomb);
    let heads: Vec<_> = streams(200).map(head).collect();
    holds("bomb", false, Vec::new(), heads.into_iter()).await;
    let nameless =
        |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", &vec![("", ""); 4_000]));
    let heads: Vec<_> = streams(200).map(nameless).collect();
    holds("fields of nothing", false, Vec::new(), heads.into_iter()).await;
}

//! What a call costs through the SDK and through a door, beside a direct call over a connection that is kept.
//!
//! All three are made by the same program under the same node (`crates/sdk/examples/calling.rs`), in turn in each
//! round; a difference is taken within a round and the median of the differences is shown.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clap::Args;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

use super::{
    gateway::median,
    process,
    running::{Running, madang},
};
use crate::command::{self, cargo};

/// What the design promises of the median, in µs above a direct call.
const SDK: f64 = 50.0;
const DOOR: f64 = 250.0;

/// The ways to call, in the order of a round.
const WAYS: [&str; 3] = ["direct", "sdk", "door"];

/// Options of `cargo xtask bench doors`.
#[derive(Args)]
pub struct Options {
    /// How many rounds; each measures every way once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Requests a second.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// How many call at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
    /// How long each way is measured in a round, in seconds.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// The size of an answer, in bytes.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    size: u32,
    /// Fails if a target is missed.
    #[arg(long)]
    check: bool,
}

/// One way in one round: times in µs, CPU in µs per request.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Measured {
    requests: usize,
    p50: f64,
    p90: f64,
    p99: f64,
    /// Of the caller.
    cpu: f64,
    /// Of `madang`.
    #[serde(skip)]
    node: f64,
}

/// An instance as `madang ps` shows it.
#[derive(Deserialize)]
struct Instance {
    unit: String,
    url: Option<String>,
}

/// Measures.
pub fn run(options: &Options) -> Result<()> {
    let built = ["--package", "madang-cli", "--package", "madang", "--bins", "--example", "calling"];
    command::run(cargo().args(["build", "--release"]).args(built))?;
    let folder = tempfile::tempdir().context("failed to make a temporary folder")?;
    let program = command::release()?.join("examples/calling");
    let manifest = format!(
        "[system]\nname = \"doors\"\n[gateway]\nlisten = \"127.0.0.1:0\"\n\
         [services.callee]\nrun = \"{program} callee\"\nhealth = \"/healthz\"\n\
         [services.caller]\nrun = \"{program} caller\"\nhealth = \"/healthz\"\ncalls = [\"callee\"]\n",
        program = program.display(),
    );
    fs::write(folder.path().join("madang.toml"), manifest).context("failed to write the manifest")?;
    let running = Running::start(madang(folder.path())?.arg("up"), folder.path())?;
    let (callee, caller) = ready(folder.path())?;
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        let measure = |way: &&str| measure(options, way, callee, caller, running.pid());
        rounds.push(WAYS.iter().map(measure).collect::<Result<Vec<_>>>()?);
    }
    let memory = process::memory(running.pid())?;
    running.stop()?;
    let met = show(options, &rounds);
    println!("madang {:.1} MB resident", memory.resident as f64 / 1e6);
    ensure!(met || !options.check, "a target is missed");
    Ok(())
}

fn show(options: &Options, rounds: &[Vec<Measured>]) -> bool {
    let Options { rate, connections, size, .. } = options;
    println!(
        "{size} B, {rate} requests/s on {connections} connections; µs, medians over {} rounds",
        rounds.len()
    );
    println!(
        "{:<7} {:>8} {:>8} {:>8}   {:>10} {:>8}   {:>9} {:>9}",
        "", "p50", "p90", "p99", "CPU caller", "madang", "p50 above", "p99 above"
    );
    let mut met = true;
    for (index, way) in WAYS.iter().enumerate() {
        let of = |value: fn(&Measured) -> f64| median(rounds.iter().map(|round| value(&round[index])));
        let above = |value: fn(&Measured) -> f64| {
            median(rounds.iter().map(|round| value(&round[index]) - value(&round[0])))
        };
        let target = match index {
            1 => Some(SDK),
            2 => Some(DOOR),
            _ => None,
        };
        let missed = target.is_some_and(|target| above(|it| it.p50) > target);
        met &= !missed;
        let target = target.map(|most| format!("  target: p50 at most {most:.0} above")).unwrap_or_default();
        println!(
            "{way:<7} {:>8.0} {:>8.0} {:>8.0}   {:>10.1} {:>8.1}   {:>9.0} {:>9.0}{target}{}",
            of(|it| it.p50),
            of(|it| it.p90),
            of(|it| it.p99),
            of(|it| it.cpu),
            of(|it| it.node),
            above(|it| it.p50),
            above(|it| it.p99),
            if missed { ", MISSED" } else { "" },
        );
    }
    met
}

fn measure(
    options: &Options,
    way: &str,
    callee: SocketAddr,
    caller: SocketAddr,
    node: u32,
) -> Result<Measured> {
    let Options { rate, connections, seconds, size, .. } = options;
    let before = process::cpu(node)?;
    let path = format!(
        "/measure?way={way}&rate={rate}&connections={connections}&seconds={seconds}&size={size}&callee={callee}"
    );
    let answer = get(caller, &path)?;
    let mut measured: Measured =
        serde_json::from_slice(&answer).with_context(|| String::from_utf8_lossy(&answer).into_owned())?;
    let spent = process::cpu(node)? - before;
    measured.node = spent.as_secs_f64() * 1e6 / measured.requests as f64;
    Ok(measured)
}

/// Where the instances of the callee and of the caller listen, once both are ready.
fn ready(folder: &Path) -> Result<(SocketAddr, SocketAddr)> {
    command::run(madang(folder)?.args(["wait", "--timeout", "30s"]))?;
    let shown = command::output(madang(folder)?.args(["ps", "--format", "json"]))?;
    let instances: Vec<Instance> = serde_json::from_str(&shown).context("`madang ps` printed no JSON")?;
    let address = |unit: &str| {
        let url = instances.iter().find(|it| it.unit == unit).and_then(|it| it.url.as_deref());
        let url = url.with_context(|| format!("{unit} listens nowhere"))?;
        url.trim_start_matches("http://").parse().with_context(|| format!("{url} has no address"))
    };
    Ok((address("callee")?, address("caller")?))
}

fn get(address: SocketAddr, path: &str) -> Result<Bytes> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::get(path).header("host", address.to_string()).body(Empty::<Bytes>::new())?;
        let answer = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
        connection.abort();
        Ok(answer)
    })
}

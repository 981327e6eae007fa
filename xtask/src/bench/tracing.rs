//! What it costs to trace: a request at the gateway, whose record the node keeps; and a request of a service of the SDK
//! with one query, which tells of both.
//!
//! The same program runs with and without, in turn in each round; a difference is taken within a round and the median of
//! the differences is shown.

mod sink;

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Result, ensure};
use clap::Args;

use super::gateway::{
    CLIENTS,
    load::Load,
    median,
    peers::{self, Running},
};
use crate::command::{self, release};

/// What the design promises of a request at the gateway: CPU time above the same without, in µs.
const AT_GATEWAY: f64 = 1.0;
/// The same of a request with one query in a service of the SDK.
const IN_SERVICE: f64 = 5.0;

/// Options of `cargo xtask bench tracing`.
#[derive(Args)]
pub struct Options {
    /// How many rounds; each measures every program once.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How many requests are counted for each program in a round.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..=100_000_000))]
    requests: u32,
    /// How many requests a second are sent where each of them is told of.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Only this part: `gateway` or `service`.
    #[arg(long)]
    only: Option<String>,
    /// Fails if a target is missed.
    #[arg(long)]
    check: bool,
    /// Says that this program is built for release and so is Madang.
    #[arg(long, hide = true)]
    built: bool,
}

/// How requests come.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// As fast as they are answered.
    Flood,
    /// At a steady rate.
    Steady,
}

/// Measures.
pub fn run(options: &Options) -> Result<()> {
    if !options.built {
        let packages = ["--package", "xtask", "--package", "madang-node", "--package", "madang"];
        let examples = ["--bins", "--example", "traced", "--example", "telling"];
        return command::again_for_release(&[&packages[..], &examples].concat());
    }
    let folder = tempfile::tempdir()?;
    let release = release()?;
    let wanted = |part: &str| options.only.as_deref().is_none_or(|only| only == part);
    let mut met = true;
    if wanted("gateway") {
        met &= at_gateway(options, &release, folder.path())?;
    }
    if wanted("service") {
        met &= in_service(options, &release, folder.path())?;
    }
    ensure!(met || !options.check, "a target is missed");
    Ok(())
}

fn at_gateway(options: &Options, release: &Path, folder: &Path) -> Result<bool> {
    let upstream = peers::upstream(&release.join("xtask"))?;
    let start = |name: &'static str, what: &str| {
        let listen = peers::free_address()?;
        let mut command = peers::pinned(peers::PROXY_CORE, &release.join("examples/traced"));
        command.args([&listen.to_string(), &upstream.http1.to_string(), what]).arg(folder.join(what));
        Running::start(name, &mut command, listen, listen)
    };
    let programs =
        [start("nothing kept", "nothing")?, start("traces kept", "traces")?, start("metrics too", "all")?];
    let mut met = true;
    for way in [Way::Flood, Way::Steady] {
        let cpu = measure(options, &programs, way)?;
        println!("a request at the gateway, {}: CPU µs, and above the first", way.said(options));
        let above = show(&programs, &cpu);
        if matches!(way, Way::Flood) {
            met = above[1] <= AT_GATEWAY;
            println!("  traces at most +{AT_GATEWAY} µs at the sampling budget: {}", verdict(met));
        }
    }
    Ok(met)
}

fn in_service(options: &Options, release: &Path, folder: &Path) -> Result<bool> {
    let receiver = sink::start()?;
    let start = |name: &'static str, also: &[(&str, &str)]| {
        let listen: SocketAddr = peers::free_address()?;
        let mut command = peers::pinned(peers::PROXY_CORE, &release.join("examples/telling"));
        let database = format!("sqlite:{}", folder.join(format!("{}.db", listen.port())).display());
        command.env("PORT", listen.port().to_string()).env("DATABASE_URL", database);
        command.envs(also.iter().copied());
        Running::start(name, &mut command, listen, listen)
    };
    let endpoint = format!("http://{receiver}");
    let told = ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint);
    let programs = [
        start("no spans", &[told, ("OTEL_TRACES_EXPORTER", "none")])?,
        start("spans", &[told])?,
        start("nothing told", &[])?,
    ];
    let mut met = true;
    for way in [Way::Flood, Way::Steady] {
        let cpu = measure(options, &programs, way)?;
        println!("a request with one query in a service, {}: CPU µs, and above the first", way.said(options));
        let above = show(&programs, &cpu);
        let this = above[1] <= IN_SERVICE;
        println!("  spans at most +{IN_SERVICE} µs: {}", verdict(this));
        met &= this;
    }
    Ok(met)
}

/// CPU time per request in µs, by program and round.
fn measure(options: &Options, programs: &[Running], way: Way) -> Result<Vec<Vec<f64>>> {
    let load = |program: &Running| Load {
        address: program.http1,
        http2: false,
        size: 128,
        clients: CLIENTS,
        fields: &[],
        tls: None,
    };
    let mut cpu = vec![Vec::new(); programs.len()];
    for program in programs {
        load(program).count(options.requests as usize / 4)?;
    }
    for _ in 0..options.rounds {
        for (program, cpu) in programs.iter().zip(&mut cpu) {
            let before = program.cpu()?;
            let count = match way {
                Way::Flood => {
                    load(program).count(options.requests as usize)?;
                    options.requests as usize
                }
                Way::Steady => {
                    let time = Duration::from_secs(1) * options.requests / options.rate / 4;
                    load(program).pace(options.rate, time)?.len()
                }
            };
            // What waits is written or sent within a second.
            std::thread::sleep(Duration::from_millis(1200));
            cpu.push((program.cpu()? - before).as_secs_f64() * 1e6 / count as f64);
        }
    }
    Ok(cpu)
}

/// Shows the programs; what each costs above the first.
fn show(programs: &[Running], cpu: &[Vec<f64>]) -> Vec<f64> {
    let above = |of: &Vec<f64>| median(of.iter().zip(&cpu[0]).map(|(this, first)| this - first));
    let above: Vec<f64> = cpu.iter().map(above).collect();
    for ((program, cpu), above) in programs.iter().zip(cpu).zip(&above) {
        println!("  {:<13} {:>7.2} µs {above:>+7.2} µs", program.name, median(cpu.iter().copied()));
    }
    above
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}

// === impl Way ===

impl Way {
    fn said(self, options: &Options) -> String {
        match self {
            Self::Flood => format!("{CLIENTS} at once"),
            Self::Steady => format!("{} a second", options.rate),
        }
    }
}

//! From `madang up shop`, everything built and nothing stored yet, to the first order; and the memory of each
//! process after it.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    copy,
    process::{Memory, memory},
    running::{Running, madang},
};
use crate::{command, test::build_programs};

/// What the design promises.
const TIME: Duration = Duration::from_millis(1500);
/// What the design promises for `madang` itself, in bytes.
const MEMORY: u64 = 25_000_000;

/// Options of `cargo xtask bench start`.
#[derive(Args)]
pub struct Options {
    /// How often to start the shop, each time from nothing.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Fails if a target is missed.
    #[arg(long)]
    check: bool,
}

/// One start.
struct Start {
    time: Duration,
    processes: Vec<(String, Memory)>,
}

/// Measures.
pub fn run(options: &Options) -> Result<()> {
    build_programs()?;
    let mut starts = (0..options.runs).map(|_| start()).collect::<Result<Vec<_>>>()?;
    starts.sort_by_key(|start| start.time);
    let (fastest, median, slowest) = (&starts[0], &starts[starts.len() / 2], &starts[starts.len() - 1]);
    println!(
        "from `madang up shop` to the first order: median {:.2} s of {} (from {:.2} to {:.2} s); target: under {:.1} s",
        median.time.as_secs_f64(),
        starts.len(),
        fastest.time.as_secs_f64(),
        slowest.time.as_secs_f64(),
        TIME.as_secs_f64(),
    );
    println!("{:<12} {:>8} {:>8}", "MB", "resident", "share*");
    for (name, memory) in &median.processes {
        let target = if name == "madang" {
            format!("  target: under {:.0}", megabytes(MEMORY))
        } else {
            String::new()
        };
        let (resident, proportional) = (megabytes(memory.resident), megabytes(memory.proportional));
        println!("{name:<12} {resident:>8.1} {proportional:>8.1}{target}");
    }
    println!("* each shared page divided by the processes that share it");
    if options.check { check(median) } else { Ok(()) }
}

fn check(median: &Start) -> Result<()> {
    if median.time >= TIME {
        bail!("the first order took {:?}, the target is under {TIME:?}", median.time);
    }
    match median.processes.iter().find(|(name, _)| name == "madang") {
        Some((_, memory)) if memory.resident < MEMORY => Ok(()),
        measured => bail!("madang's memory is {measured:?}, the target is under {MEMORY} bytes"),
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Starts the shop from nothing and stops it again.
fn start() -> Result<Start> {
    let folder = tempfile::tempdir().context("failed to make a temporary folder")?;
    let gateway = copy::shop(folder.path())?;
    let began = Instant::now();
    let mut running = Running::start(madang(folder.path())?.arg("up"), folder.path())?;
    running.first_order(gateway)?;
    let time = began.elapsed();
    let processes = processes(folder.path(), running.pid())?;
    running.stop()?;
    Ok(Start { time, processes })
}

/// The memory of `madang` and of each instance.
fn processes(folder: &Path, node: u32) -> Result<Vec<(String, Memory)>> {
    #[derive(Deserialize)]
    struct Instance {
        unit: String,
        pid: Option<u32>,
    }
    let shown = command::output(madang(folder)?.args(["ps", "--format", "json"]))?;
    let instances: Vec<Instance> = serde_json::from_str(&shown).context("`madang ps` printed no JSON")?;
    let instances = instances.into_iter().filter_map(|instance| Some((instance.unit, instance.pid?)));
    let named = [("madang".to_owned(), node)].into_iter().chain(instances);
    named.map(|(name, pid)| Ok((name, memory(pid)?))).collect()
}

//! What it costs to keep telemetry, and how long it takes to ask for it: an archive is filled with spans, log lines and
//! metrics of a day and asked what people ask (`crates/telemetry/examples/archive.rs`).

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::command::{self, cargo};

/// What the design promises of each question, in ms.
const ANSWER: f64 = 200.0;
/// What the design promises of the cost of one request at the sampling budget, in µs.
const REQUEST: f64 = 1.0;

/// Options of `cargo xtask bench telemetry`.
#[derive(Args)]
pub struct Options {
    /// How many spans and how many log lines.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1000..=1_000_000_000))]
    count: u64,
    /// Where the archive is made, which needs about 1 KiB for each span and line; a temporary folder if absent.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Fails if a target is missed.
    #[arg(long)]
    check: bool,
}

/// One thing that was measured.
struct Measured {
    name: String,
    value: f64,
    unit: String,
}

/// Measures.
pub fn run(options: &Options) -> Result<()> {
    let built = ["--package", "madang-telemetry", "--example", "archive"];
    command::run(cargo().args(["build", "--release"]).args(built))?;
    let folder = match &options.folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let folder = folder.context("failed to make a folder for the archive")?;
    let mut program = Command::new(command::target()?.join("release/examples/archive"));
    let printed = command::output(program.arg(folder.path()).arg(options.count.to_string()))?;
    let measured = printed.lines().map(read).collect::<Result<Vec<_>>>()?;
    println!("{} spans and as many log lines", options.count);
    let mut missed = Vec::new();
    for Measured { name, value, unit } in measured {
        let target = match (unit.as_str(), name.as_str()) {
            ("ms", _) => Some(ANSWER),
            (_, "us_per_request") => Some(REQUEST),
            _ => None,
        };
        let words = name.replace('_', " ");
        match target {
            Some(target) => println!("{words:<28} {value:>12.1} {unit:<4} target: under {target:.0}"),
            None => println!("{words:<28} {value:>12.1} {unit}"),
        }
        missed.extend(target.filter(|target| value >= *target).map(|_| words));
    }
    ensure!(!options.check || missed.is_empty(), "missed: {}", missed.join(", "));
    Ok(())
}

fn read(line: &str) -> Result<Measured> {
    let mut words = line.split(' ');
    let mut next = || words.next().with_context(|| format!("a line that says nothing: {line:?}"));
    let (name, value, unit) = (next()?.to_owned(), next()?.parse()?, next()?.to_owned());
    Ok(Measured { name, value, unit })
}

//! What it costs to keep telemetry, and how long it takes to ask for it: an archive is filled with spans, log lines and
//! metrics of a day, asked what people ask, and told ten times what it keeps (`crates/telemetry/examples/archive`).

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::command::{self, cargo};

/// What the design promises of each question, in ms: of the median once it has been asked.
const ANSWER: f64 = 200.0;
/// By how much memory grows under the flood at most, in MB, once what is bounded is full.
const GROWTH: f64 = 10.0;

/// Options of `cargo xtask bench telemetry`.
#[derive(Args)]
pub struct Options {
    /// How many spans and how many log lines.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(8000..=1_000_000_000))]
    count: u64,
    /// Where the archive is made, which needs about 1.2 KiB for each span and line; a temporary folder if absent.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Asks an archive that is in this folder already, of so many spans and lines, and leaves it there.
    #[arg(long, value_name = "FOLDER", conflicts_with = "folder")]
    of: Option<PathBuf>,
    /// Only questions whose names begin with one of these.
    #[arg(long, value_name = "NAME")]
    question: Vec<String>,
    /// For how long ten times the budget comes, in seconds.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(8..=3600))]
    flood: u32,
    /// Fails if a target is missed.
    #[arg(long)]
    check: bool,
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
    let archive = options.of.as_deref().unwrap_or(folder.path());
    let mut missed = Vec::new();
    println!("{} spans and as many log lines", options.count);
    if options.of.is_none() {
        archived("fill", archive, options.count, &[], &mut missed)?;
    }
    println!("{:<28} {:>9} {:>9}   {:>9} {:>9}   {:>5}", "ms", "cold", "slowest", "warm", "slowest", "found");
    archived("ask", archive, options.count, &options.question, &mut missed)?;
    if options.of.is_none() {
        println!("ten times the budget for {} s, in an archive of the default size", options.flood);
        archived("flood", &archive.join("flood"), options.flood.into(), &[], &mut missed)?;
    }
    ensure!(!options.check || missed.is_empty(), "missed: {}", missed.join(", "));
    Ok(())
}

/// Runs the program and shows what it measures as it does; what misses its target is added to those that do.
fn archived(what: &str, folder: &Path, count: u64, rest: &[String], missed: &mut Vec<String>) -> Result<()> {
    let mut program = Command::new(command::release()?.join("examples/archive"));
    program.arg(what).arg(folder).arg(count.to_string()).args(rest).stdout(Stdio::piped());
    let mut running = program.spawn().context("failed to start the example archive")?;
    let printed = running.stdout.take().context("the example prints nothing")?;
    for line in BufReader::new(printed).lines() {
        missed.extend(show(&line?)?);
    }
    let status = running.wait()?;
    ensure!(status.success(), "the example archive ended with {status}");
    Ok(())
}

/// Shows one thing that was measured; its name, if it misses its target.
fn show(line: &str) -> Result<Option<String>> {
    let words: Vec<&str> = line.split(' ').collect();
    let number = |word: &str| word.parse::<f64>().with_context(|| format!("no number: {word:?}"));
    let (name, missed) = match words[..] {
        ["figure", name, value, unit] => {
            let (name, value) = (name.replace('_', " "), number(value)?);
            let target = (name == "memory growth in flood").then_some(GROWTH);
            let target = target.map(|most| (format!("  target: at most {most} {unit}"), value > most));
            println!("{name:<28} {value:>9.1} {unit}{}", target.as_ref().map_or("", |(said, _)| said));
            (name, target.is_some_and(|(_, missed)| missed))
        }
        ["answer", name, cold, coldest, warm, slowest, found] => {
            let (name, median) = (name.replace('_', " "), number(warm)?);
            let missed = median >= ANSWER;
            let said = if missed { format!("   MISSED: under {ANSWER}") } else { String::new() };
            println!("{name:<28} {cold:>9} {coldest:>9}   {warm:>9} {slowest:>9}   {found:>5}{said}");
            (name, missed)
        }
        _ => bail!("a line that says nothing: {line:?}"),
    };
    Ok(missed.then_some(name))
}

//! Checks, benches and chores of this repository: `cargo xtask --help`.
//!
//! Knows the repository's files, cargo and the programs that tests run; nothing of what Madang does inside.

mod bench;
mod check;
mod ci;
mod command;
mod count;
mod fuzz;
mod libraries;
mod needs;
mod test;

use std::process::ExitCode;

use clap::Parser;

/// Checks, benches and chores of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Runs every test, after installing or naming what they need.
    Test(test::Options),
    /// Runs what CI runs, step by step, with the time of each.
    Ci,
    /// Checks one rule of the repository.
    #[command(subcommand)]
    Check(check::Check),
    /// Tries what a fuzzer makes up on what reads bytes from outside.
    Fuzz(fuzz::Options),
    /// Measures.
    #[command(subcommand)]
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Test(options) => test::run(&options),
        Task::Ci => ci::run(),
        Task::Check(check) => check.run(),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Bench(bench) => bench.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

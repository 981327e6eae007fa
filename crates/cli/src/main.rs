//! The command `madang`: thin commands over the admin API of a running node, and `up`, which is one.

mod args;
mod client;
mod commands;
mod failure;
mod journal;
mod line;
mod locate;
mod manifest;
mod output;
mod progress;
mod screen;
mod style;
mod table;
mod units;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

/// A request takes some twenty short-lived allocations: see `docs/adr/0039-the-allocator-of-the-node.md`.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match commands::run(args::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            failure.exit_code()
        }
    }
}

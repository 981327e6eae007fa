//! `madang completions`: what a shell needs to complete a command line.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{args::Args, failure::Failure, output::Output};

/// Prints the completions.
pub fn run(shell: Shell, output: &Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "madang", &mut script);
    output.text(&String::from_utf8_lossy(&script))
}

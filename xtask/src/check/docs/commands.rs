//! The commands that the docs may show: those that a test runs.

use std::fs;

use clap::Parser;

use crate::{Task, command::root};

/// What else a reader is shown, by its first words.
const OTHERS: &[&str] = &["curl ", "git clone ", "kill "];

/// Whether a test runs this command.
pub fn known(command: &str) -> bool {
    let command = command.split(" #").next().unwrap_or(command).trim();
    let command = command.replacen("cargo run --release -- ", "madang ", 1);
    let words: Vec<_> = command.split_whitespace().collect();
    match words.as_slice() {
        ["cargo", "xtask", ..] => Task::try_parse_from(&words[1..]).is_ok(),
        ["madang", subcommand, ..] => tested(subcommand),
        _ => OTHERS.iter().any(|start| command.starts_with(start)),
    }
}

/// Each subcommand of `madang` has a file of tests by its name, which run it.
fn tested(subcommand: &str) -> bool {
    let tests = root().join("crates/cli/tests/cli").join(subcommand).with_extension("rs");
    let runs = |text: String| {
        text.contains(&format!("\"{subcommand}\"")) || text.contains(&format!("\"{subcommand} "))
    };
    fs::read_to_string(tests).is_ok_and(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_xtask_are_those_it_has() {
        assert!(known("cargo xtask test"));
        assert!(known("cargo xtask check imports # the table"));
        assert!(!known("cargo xtask tset"));
        assert!(!known("rm -rf /"));
    }

    #[test]
    fn commands_of_madang_are_those_that_tests_run() {
        assert!(known("madang routes shop") && known("cargo run --release -- routes shop"));
        assert!(!known("madang frobnicate") && !known("madang main"));
    }
}

//! The commands that the docs may show: those that a test runs.

use std::fs;

use clap::Parser;

use crate::{Task, command::root};

/// Each subcommand of `madang` and the file of the test that runs it.
const MADANG: &[(&str, &str)] = &[
    ("check", "crates/testkit/tests/edit.rs"),
    ("describe", "crates/testkit/tests/shop.rs"),
    ("down", "crates/testkit/tests/leftovers.rs"),
    ("logs", "crates/testkit/tests/leftovers.rs"),
    ("ps", "crates/testkit/tests/leftovers.rs"),
    ("up", "crates/testkit/tests/leftovers.rs"),
    ("wait", "crates/testkit/src/system.rs"),
];

/// What else a reader is shown, by its first words.
const OTHERS: &[&str] = &["curl ", "git clone ", "kill "];

/// Whether a test runs this command.
pub fn known(command: &str) -> bool {
    let command = command.split(" #").next().unwrap_or(command).trim();
    let command = command.replacen("cargo run --release -- ", "madang ", 1);
    let words: Vec<_> = command.split_whitespace().collect();
    match words.as_slice() {
        ["cargo", "xtask", ..] => Task::try_parse_from(&words[1..]).is_ok(),
        ["madang", subcommand, ..] => {
            MADANG.iter().any(|(name, test)| name == subcommand && runs(test, subcommand))
        }
        _ => OTHERS.iter().any(|start| command.starts_with(start)),
    }
}

fn runs(test: &str, subcommand: &str) -> bool {
    fs::read_to_string(root().join(test)).is_ok_and(|text| text.contains(&format!("\"{subcommand}\"")))
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
}

//! The commands that the docs may show: those that exist as they are written, and that a test runs.

use std::fs;

use clap::Parser;

use crate::{Task, command::root};

/// The command line of `madang`, from the same files as in the program: to import its package instead would build
/// a whole node before any chore of this repository could run.
#[path = "../../../../crates/cli/src/args/mod.rs"]
mod madang;

/// The options of `shop load`, from the same file as in the program, for the same reason.
#[path = "../../../../shop/load/src/args.rs"]
mod load;

/// `shop load` as it is written.
#[derive(Parser)]
#[command(name = "load")]
struct Load {
    #[command(flatten)]
    _options: load::Options,
}

/// What else a reader is shown, by its first words.
const OTHERS: &[&str] = &["curl ", "git clone ", "kill "];

/// Why a command may not be shown, if so.
pub fn refused(command: &str) -> Option<String> {
    let command = command.split(" #").next().unwrap_or(command).trim();
    let written = command.replacen("cargo run --release -- ", "madang ", 1);
    let words = words(&written);
    match words.as_slice() {
        ["cargo", "xtask", ..] => misunderstood(command, Task::try_parse_from(&words[1..]).err()),
        ["madang", subcommand, ..] => misunderstood(command, madang::Args::try_parse_from(&words).err())
            .or_else(|| untested(subcommand)),
        ["cargo", "run", "--release", "-p", "shop", "--", "load", ..] => {
            misunderstood(command, Load::try_parse_from(&words[6..]).err())
        }
        _ if OTHERS.iter().any(|start| command.starts_with(start)) => None,
        _ => Some(format!("nothing tells whether `{command}` works")),
    }
}

/// The words that a shell would make of it: what stands in double quotes is one.
fn words(written: &str) -> Vec<&str> {
    let parts = written.split('"').enumerate();
    parts
        .flat_map(|(n, part)| if n % 2 == 1 { vec![part] } else { part.split_whitespace().collect() })
        .collect()
}

fn misunderstood(command: &str, error: Option<clap::Error>) -> Option<String> {
    let error = error?.to_string();
    let first = error.lines().next().unwrap_or_default();
    Some(format!("`{command}` is not understood: {}", first.trim_start_matches("error: ")))
}

/// Each subcommand of `madang` has a file of tests by its name, which run it.
fn untested(subcommand: &str) -> Option<String> {
    let tests = root().join("crates/cli/tests/cli").join(subcommand).with_extension("rs");
    let runs = |text: String| {
        text.contains(&format!("\"{subcommand}\"")) || text.contains(&format!("\"{subcommand} "))
    };
    let tested = fs::read_to_string(tests).is_ok_and(runs);
    (!tested).then(|| format!("no test of the command line runs `madang {subcommand}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(command: &str, expected: Option<&str>) {
        let refused = refused(command);
        match (&refused, expected) {
            (None, None) => {}
            (Some(refused), Some(expected)) => assert!(refused.contains(expected), "{command}: {refused}"),
            _ => panic!("{command}: {refused:?}"),
        }
    }

    #[test]
    fn options_of_xtask_are_those_it_has() {
        check("cargo xtask test", None);
        check("cargo xtask check imports # the table", None);
        check("cargo xtask tset", Some("'tset'"));
        check("cargo xtask bench start --frobnicate", Some("--frobnicate"));
        check("rm -rf /", Some("nothing tells"));
    }

    #[test]
    fn commands_of_madang_are_written_as_it_takes_them() {
        check("madang routes shop", None);
        check("cargo run --release -- logs -f -C shop --since 5m users", None);
        check("madang fault add orders --on \"payments POST /charges\" --hang", None);
        check("madang fault add orders --on payments POST --hang", Some("'POST'"));
        check("madang up --frobnicate", Some("--frobnicate"));
        check("cargo run --release -- up shop --own", Some("--own"));
        check("madang logs --lines many", Some("many"));
        check("cargo run --release -p shop -- load --scenario flash-sale --for 10s", None);
        check("cargo run --release -p shop -- load --scenario riot", Some("riot"));
        check("madang describe", Some("not provided"));
        check("madang frobnicate", Some("frobnicate"));
    }

    #[test]
    fn a_subcommand_that_no_test_runs_is_not_shown() {
        check("madang completions bash", Some("no test of the command line runs"));
    }
}

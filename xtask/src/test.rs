//! Every test of the repository, from what they need to one closing line.

use std::{
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    command::{self, cargo},
    count::Count,
    libraries, needs,
};

/// What tests run that is not part of the repository. The C compiler that builds SQLite is not here: the linker
/// that built this program is the same one.
const NEEDS: &[needs::Need] = &[
    needs::POSTGRESQL,
    needs::PYTHON,
    needs::NODE,
    needs::NPM,
    needs::PIP,
    needs::JAVA,
    needs::CHROMIUM,
    needs::PROMETHEUS,
    needs::REDIS,
    needs::PEBBLE,
];

/// The packages whose programs end-to-end tests run, as users run them: optimised.
const PROGRAMS: &[&str] = &[
    "madang-cli",
    "polyglot-rust",
    "shop",
    "shop-catalog",
    "shop-orders",
    "shop-payments",
    "shop-storefront",
    "shop-users",
];

/// The packages whose tests run those programs.
const END_TO_END: &[&str] = &["madang-cli", "madang-testkit"];

/// The packages whose tests run programs that use libraries of other languages.
const WITH_LIBRARIES: &[&str] = &["madang-cli", "madang-gateway", "madang-testkit"];

/// Options of `cargo xtask test`.
#[derive(Args)]
pub struct Options {
    /// Passed to `cargo test`: a filter, `-p PACKAGE`, `--test shop`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs every test, or those that the options choose.
pub fn run(options: &Options) -> Result<()> {
    needs::satisfy(NEEDS)?;
    let packages = packages(&options.arguments);
    if packages.is_empty() || packages.iter().any(|package| END_TO_END.contains(package)) {
        build_programs()?;
    }
    if packages.is_empty() || packages.iter().any(|package| WITH_LIBRARIES.contains(package)) {
        libraries::install()?;
    }
    let (count, success) = test(&options.arguments, packages.is_empty())?;
    for failure in &count.failures {
        println!("\n{failure}");
    }
    println!("\n{count}");
    match (success, count.failed) {
        (true, _) => Ok(()),
        (false, 0) => {
            bail!("tests failed to build, or a test program ended before it could count: see above")
        }
        (false, failed) => bail!("{failed} failed: see above"),
    }
}

/// Builds the programs that end-to-end tests run: in one invocation, so that what they share is built once.
pub fn build_programs() -> Result<()> {
    let packages = PROGRAMS.iter().flat_map(|package| ["--package", package]);
    command::run(cargo().args(["build", "--release"]).args(packages))
}

/// The packages that the options choose; none means all.
fn packages(arguments: &[String]) -> Vec<&str> {
    let mut chosen = Vec::new();
    let mut arguments = arguments.iter().take_while(|argument| *argument != "--");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-p" | "--package" => chosen.extend(arguments.next().map(String::as_str)),
            other => chosen.extend(other.strip_prefix("--package=").or_else(|| other.strip_prefix("-p"))),
        }
    }
    chosen
}

/// Runs cargo's tests, showing each line as it comes. Gives the count and whether cargo was content.
fn test(arguments: &[String], all: bool) -> Result<(Count, bool)> {
    let mut command = cargo();
    command.args(["test", "--no-fail-fast"]);
    if all {
        command.arg("--workspace");
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().context("failed to start cargo test")?;
    let output = child.stdout.take().context("cargo test has no output")?;
    let mut count = Count::default();
    let mut lines = BufReader::new(output);
    let mut line = Vec::new();
    // Bytes, not text: a test may print anything.
    while lines.read_until(b'\n', &mut line).context("failed to read the output of cargo test")? > 0 {
        let mut out = std::io::stdout().lock();
        out.write_all(&line).and_then(|()| out.flush()).context("failed to show the output of cargo test")?;
        count.read(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    let status = child.wait().context("failed to wait for cargo test")?;
    Ok((count, status.success()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_found_however_they_are_written() {
        let check = |arguments: &str, expected: &[&str]| {
            let arguments: Vec<_> = arguments.split_whitespace().map(str::to_owned).collect();
            assert_eq!(packages(&arguments), expected, "{arguments:?}");
        };
        check("", &[]);
        check("router --release", &[]);
        check("-p madang-wire --package madang-calls", &["madang-wire", "madang-calls"]);
        check("--package=shop -pmadang name", &["shop", "madang"]);
        check("name -- -p", &[]);
    }
}

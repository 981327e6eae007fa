//! What a fuzzer makes up, tried on Madang: the workspace `fuzz`, built so that the fuzzer sees which ways code takes.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    command::{self, cargo, program, root},
    needs,
};

/// What the fuzzer itself, which is C++, is built with.
const NEEDS: &[needs::Need] = &[needs::CXX];

/// What the compiler of any channel takes: counters at every branch, which libFuzzer reads, and what is compared with what.
/// The last is how code knows that it is built for this; no other crate does, so that they are what they always are.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=madang_fuzzing",
];

/// Bounds of one input: seconds, MiB of memory, and bytes.
const BOUNDS: &[&str] = &["-timeout=10", "-rss_limit_mb=2048", "-max_len=4096"];

/// Options of `cargo xtask fuzz`.
#[derive(Args)]
pub struct Options {
    /// What to try; everything if absent.
    target: Option<String>,
    /// For how many seconds each.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// The same inputs each time, from this number and the seeds alone, as often as `runs` says: for whoever must not be
    /// stopped by what another happens to find.
    #[arg(long, requires = "runs")]
    seed: Option<u32>,
    /// How many inputs each at most.
    #[arg(long)]
    runs: Option<u32>,
}

/// Builds the targets and tries them one after the other. What breaks one is kept beside its seeds, where the tests find it.
pub fn run(options: &Options) -> Result<()> {
    needs::satisfy(NEEDS)?;
    let all = targets()?;
    let chosen = match &options.target {
        None => all,
        Some(name) if all.contains(name) => vec![name.clone()],
        Some(name) => bail!("there is no target {name}, but there are {}", all.join(", ")),
    };
    let target = command::target()?.join("fuzz");
    let programs = build(&target)?;
    let mut broken = Vec::new();
    for name in chosen {
        println!("\n{name}: {} seconds at most", options.seconds);
        if let Err(error) = fuzz(&name, &programs.join(&name), &target, options) {
            broken.push(format!("{name}: {error:#}"));
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!(
        "what does not hold is kept in fuzz/corpus, and fails `cargo test -p madang-gateway --lib fuzzing` until it does:\n{}",
        broken.join("\n")
    )
}

/// The names of the targets, which are those of their files.
fn targets() -> Result<Vec<String>> {
    let folder = root().join("fuzz/targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("failed to read {}", folder.display()))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Builds them with the versions of the repository's own lock file. Returns the folder of the programs.
fn build(target: &Path) -> Result<PathBuf> {
    let folder = root().join("fuzz");
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).context("failed to copy Cargo.lock")?;
    let host = command::output(program("rustc").args(["-vV"]))?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    // With a target, flags are for what runs there and not for what runs in the build.
    let mut build = cargo();
    build.args(["build", "--quiet", "--release", "--target", host]);
    build.arg("--target-dir").arg(target).current_dir(&folder).env("RUSTFLAGS", FLAGS.join(" "));
    // They are for the build that started this one.
    build.env_remove("CARGO_ENCODED_RUSTFLAGS");
    command::run(&mut build)?;
    Ok(target.join(host).join("release"))
}

fn fuzz(name: &str, built: &Path, target: &Path, options: &Options) -> Result<()> {
    let seeds = root().join("fuzz/corpus").join(name);
    let mut command = program(built);
    command.args(BOUNDS).arg(format!("-max_total_time={}", options.seconds)).arg("-print_final_stats=1");
    command.arg(format!("-artifact_prefix={}/", seeds.display()));
    command.args(options.seed.map(|seed| format!("-seed={seed}")));
    command.args(options.runs.map(|runs| format!("-runs={runs}")));
    // What is found on the way is kept for the next time, on this machine; unless all shall be as it was.
    let kept = target.join("corpus").join(name);
    let new = tempfile::tempdir()?;
    let found = if options.seed.is_some() { new.path() } else { &kept };
    fs::create_dir_all(found).with_context(|| format!("failed to make {}", found.display()))?;
    if env::var_os("RUST_BACKTRACE").is_none() {
        command.env("RUST_BACKTRACE", "1");
    }
    command::run(command.arg(found).arg(&seeds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_has_a_program_and_seeds() {
        let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        let targets = targets().unwrap();
        assert_eq!(manifest.matches("[[bin]]").count(), targets.len());
        for name in targets {
            assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name}");
            assert!(root().join("fuzz/corpus").join(&name).read_dir().unwrap().next().is_some(), "{name}");
        }
    }
}

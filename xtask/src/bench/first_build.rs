//! The README's first command, as a newcomer runs it: a clean clone, an empty target folder, until the first
//! order goes through. The registry's files are already on this machine, so that only building is measured.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use tokio::time::Instant;

use super::running::Running;
use crate::command::{self, cargo, program, root};

/// Where the shop's manifest has its gateway listen.
const GATEWAY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3000);

/// Options of `cargo xtask bench first-build`.
#[derive(Args)]
pub struct Options {
    /// How many of the slowest crates to name.
    #[arg(long, default_value_t = 12)]
    top: usize,
}

/// Measures.
pub fn run(options: &Options) -> Result<()> {
    let taken = TcpListener::bind(GATEWAY).is_err();
    ensure!(!taken, "something listens on {GATEWAY} already, where the shop's gateway would: stop it first");
    let folder = tempfile::tempdir().context("failed to make a temporary folder")?;
    let clone = folder.path().join("clone");
    command::run(program("git").args(["clone", "--quiet"]).arg(root()).arg(&clone))?;
    command::run(&mut in_clone(&clone, &["fetch", "--quiet", "--locked"]))?;

    let began = Instant::now();
    command::run(&mut in_clone(&clone, &["build", "--quiet", "--release", "--timings"]))?;
    let madang = began.elapsed();
    let crates = slowest(&clone.join("target/cargo-timings"))?;
    println!("madang is built: {:.1} s; the slowest of {} steps:", madang.as_secs_f64(), crates.len());
    for (name, seconds) in crates.into_iter().take(options.top) {
        println!("  {seconds:>6.1} s  {name}");
    }

    let mut up = in_clone(&clone, &["run", "--quiet", "--release", "--", "up", "shop"]);
    up.env("XDG_RUNTIME_DIR", folder.path());
    let mut running = Running::start(&mut up, folder.path())?;
    running.first_order(GATEWAY)?;
    println!("the first order, after building the shop too: {:.1} s", began.elapsed().as_secs_f64());
    running.stop()
}

fn in_clone(clone: &Path, arguments: &[&str]) -> std::process::Command {
    let mut command = cargo();
    command.args(arguments).current_dir(clone).env_remove("CARGO_TARGET_DIR");
    command
}

/// The crates by the time that cargo spent on them, from the data inside its report.
fn slowest(folder: &Path) -> Result<Vec<(String, f64)>> {
    let report: PathBuf = folder.join("cargo-timing.html");
    let text = fs::read_to_string(&report).with_context(|| format!("failed to read {}", report.display()))?;
    units(&text).context("the report of cargo --timings has no data that this program knows")
}

fn units(report: &str) -> Option<Vec<(String, f64)>> {
    let (_, data) = report.split_once("const UNIT_DATA = ")?;
    let (data, _) = data.split_once("];")?;
    let units: Vec<serde_json::Value> = serde_json::from_str(&format!("{data}]")).ok()?;
    let mut units: Vec<_> = units
        .iter()
        .filter_map(|unit| {
            let target = unit["target"].as_str().unwrap_or_default();
            Some((format!("{}{target}", unit["name"].as_str()?), unit["duration"].as_f64()?))
        })
        .collect();
    units.sort_by(|a, b| b.1.total_cmp(&a.1));
    Some(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_slowest_first() {
        let report = r#"<script>const UNIT_DATA = [
            {"name": "tokio", "target": "", "duration": 4.5},
            {"name": "libsqlite3-sys", "target": " build script (run)", "duration": 20.1}
        ];</script>"#;
        let units = units(report).unwrap();
        assert_eq!(units[0], ("libsqlite3-sys build script (run)".to_owned(), 20.1));
        assert_eq!(units.len(), 2);
    }
}

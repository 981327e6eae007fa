//! The licences and sources of every dependency, by cargo-deny and `deny.toml`.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::command::{self, cargo, program};

/// The version that is installed where there is none.
const VERSION: &str = "0.20.2";

/// Checks them, after installing cargo-deny into the target folder where there is none.
pub fn run() -> Result<()> {
    let deny = find_or_install()?;
    command::run(program(deny).args(["--all-features", "check", "licenses", "bans", "sources"]))
}

fn find_or_install() -> Result<PathBuf> {
    let on_path = PathBuf::from("cargo-deny");
    if command::succeeds(program(&on_path).arg("--version")) {
        return Ok(on_path);
    }
    let tools = command::target()?.join("tools");
    let installed = tools.join("bin/cargo-deny");
    if !installed.exists() {
        eprintln!("installing cargo-deny {VERSION} into {}", tools.display());
        let mut install = cargo();
        install.args(["install", "cargo-deny", "--version", VERSION, "--locked", "--quiet", "--root"]);
        command::run(install.arg(&tools)).context("cargo-deny is needed and could not be installed")?;
    }
    Ok(installed)
}

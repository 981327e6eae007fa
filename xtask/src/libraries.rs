//! Libraries of other languages that programs of tests use: installed from their registries into the target folder, once
//! for each list of them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::command::{self, program, root};

/// The folders of the lists, and of the programs that use what is on them.
const OTEL: &str = "crates/testkit/tests/programs/otel";
const CACHE: &str = "crates/gateway/tests/programs/cache";

/// Makes sure that what each list names is in the target folder.
pub fn install() -> Result<()> {
    let target = command::target()?.join("libraries");
    let npm = |folder: &Path| {
        let mut npm = program("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--loglevel", "error", "--prefix"]).arg(folder);
        npm
    };
    of_list((OTEL, "package.json"), &target.join("node"), npm)?;
    of_list((CACHE, "package.json"), &target.join("cache"), npm)?;
    of_list((OTEL, "requirements.txt"), &target.join("python"), |folder| {
        let mut pip = program("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", "--target"]);
        pip.arg(folder).arg("--requirement").arg(folder.join("requirements.txt"));
        pip
    })
}

fn of_list((lists, list): (&str, &str), folder: &Path, install: impl Fn(&Path) -> Command) -> Result<()> {
    let wanted = root().join(lists).join(list);
    let wanted =
        fs::read_to_string(&wanted).with_context(|| format!("failed to read {}", wanted.display()))?;
    // Written last, so that what is there is whole.
    let installed: PathBuf = folder.join("installed");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    eprintln!("installing what {lists}/{list} names");
    fs::create_dir_all(folder)?;
    fs::write(folder.join(list), &wanted)?;
    command::run(&mut install(folder))?;
    fs::write(installed, wanted).context("failed to note what is installed")
}

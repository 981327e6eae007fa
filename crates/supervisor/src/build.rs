//! Builds: what can be built together is built by one command, and whoever waits hears how it ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use madang_model::UnitName;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    command,
    family::Family,
    logfile,
    process::{Exit, Process},
    spec::Spec,
};

/// How much of the output of a failed build is told.
const TOLD: u64 = 64 << 10;

/// Words of a `cargo build` that mean something else in another folder, so that it is left as it is.
const BOUND_TO_FOLDER: &[&str] =
    &["-C", "--artifact-dir", "--config", "--manifest-path", "--out-dir", "--target-dir"];

/// One command, and the units that it builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) command: String,
    pub(crate) folder: PathBuf,
    pub(crate) units: BTreeSet<UnitName>,
}

/// A `cargo build` of packages of one workspace; those that differ in nothing but the packages are one.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct CargoBuild {
    workspace: PathBuf,
    flags: Vec<String>,
}

/// The commands that build these units, each of them once.
pub(crate) fn groups<'a>(
    specs: impl IntoIterator<Item = &'a Arc<Spec>>,
    workspace_of: impl Fn(&Path) -> Option<PathBuf>,
) -> Vec<Group> {
    let mut cargo: BTreeMap<CargoBuild, (BTreeSet<String>, BTreeSet<UnitName>)> = BTreeMap::new();
    let mut others: BTreeMap<(String, PathBuf), BTreeSet<UnitName>> = BTreeMap::new();
    for spec in specs {
        let unit = &spec.unit;
        let Some(build) = &unit.build else { continue };
        match cargo_build(build, &unit.folder, &workspace_of) {
            Some((invocation, packages)) => {
                let (all, units) = cargo.entry(invocation).or_default();
                all.extend(packages);
                units.insert(unit.name.clone());
            }
            None => {
                let key = (build.clone(), unit.folder.clone());
                others.entry(key).or_default().insert(unit.name.clone());
            }
        }
    }
    let merged = cargo.into_iter().map(|(CargoBuild { workspace, flags }, (packages, units))| {
        let packages = packages.into_iter().flat_map(|package| ["-p".to_owned(), package]);
        let words: Vec<String> =
            ["cargo".to_owned(), "build".to_owned()].into_iter().chain(flags).chain(packages).collect();
        Group { command: words.join(" "), folder: workspace, units }
    });
    let single = others.into_iter().map(|((command, folder), units)| Group { command, folder, units });
    merged.chain(single).collect()
}

/// Reads a command as `cargo build <flags> -p X …`, if it is one that can be merged.
fn cargo_build(
    build: &str,
    folder: &Path,
    workspace_of: &impl Fn(&Path) -> Option<PathBuf>,
) -> Option<(CargoBuild, Vec<String>)> {
    let words = command::plain_words(build)?;
    let ["cargo", "build", words @ ..] = words.as_slice() else { return None };
    let (mut flags, mut packages) = (Vec::new(), Vec::new());
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        let name = word.split_once('=').map_or(word, |(name, _)| name);
        if BOUND_TO_FOLDER.contains(&name) {
            return None;
        }
        match (word, word.strip_prefix("--package=")) {
            ("-p" | "--package", _) => packages.push((*words.next()?).to_owned()),
            (_, Some(package)) => packages.push(package.to_owned()),
            _ => flags.push(word.to_owned()),
        }
    }
    if packages.is_empty() {
        return None;
    }
    Some((CargoBuild { workspace: workspace_of(folder)?, flags }, packages))
}

/// The nearest folder at or above this one whose `Cargo.toml` begins a workspace.
pub(crate) fn cargo_workspace(folder: &Path) -> Option<PathBuf> {
    let begins = |folder: &&Path| {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        manifest.lines().any(|line| line.trim_end() == "[workspace]")
    };
    folder.ancestors().find(begins).map(Path::to_owned)
}

// === impl Group ===

impl Group {
    /// Runs the command, its output into a file. The error says how it ended, with its output.
    pub(crate) async fn run(&self, log: &Path, cancel: &CancellationToken) -> Result<(), String> {
        let started = Instant::now();
        let failed = |error: io::Error| format!("failed to run `{}`: {error}", self.command);
        let process = Process::spawn(self.process(log).map_err(failed)?).map_err(failed)?;
        let exit = tokio::select! {
            exit = process.exited() => Some(exit),
            () = cancel.cancelled() => None,
        };
        // What it left running goes with it.
        Family::of_group(process.identity()).kill().await;
        process.reap();
        match exit {
            Some(Exit::Code(0)) => Ok(()),
            Some(exit) => {
                let output = logfile::end_of(log, TOLD).unwrap_or_default();
                let after = started.elapsed().as_secs_f64();
                Err(format!("`{}` {exit} after {after:.1} s\n{}", self.command, useful(&output)))
            }
            None => Err(format!("`{}` was cancelled", self.command)),
        }
    }

    fn process(&self, log: &Path) -> io::Result<Command> {
        let output = fresh(log)?;
        let mut process = command::command(&self.command, &self.folder);
        command::without_ours(&mut process, std::env::vars_os().map(|(name, _)| name));
        process.stdout(output.try_clone()?).stderr(output);
        Ok(process)
    }
}

fn fresh(log: &Path) -> io::Result<File> {
    let file = logfile::create(log)?;
    file.set_len(0)?;
    Ok(file)
}

/// The output without the lines by which cargo shows that it is busy.
fn useful(output: &str) -> String {
    const BUSY: &[&str] = &[
        "Adding",
        "Blocking",
        "Building",
        "Checking",
        "Compiling",
        "Downloaded",
        "Downloading",
        "Finished",
        "Fresh",
        "Locking",
        "Updating",
    ];
    let busy = |line: &&str| {
        let word = line.trim_start().split(' ').next().unwrap_or_default();
        line.starts_with(' ') && BUSY.contains(&word)
    };
    output.lines().filter(|line| !busy(line)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::{
        spec::specs,
        testing::{system, unit},
    };

    fn grouped(builds: &[(&str, &str, &str)]) -> String {
        let units = builds.iter().map(|(name, folder, build)| {
            let mut unit = unit(name, "true");
            (unit.folder, unit.build) = (folder.into(), Some((*build).to_owned()));
            unit
        });
        let workspace = |folder: &Path| folder.starts_with("/ws").then(|| PathBuf::from("/ws"));
        let groups = groups(specs(&Arc::new(system(units))).values(), workspace);
        let line = |group: &Group| {
            let units: Vec<_> = group.units.iter().map(ToString::to_string).collect();
            format!("{}: {} [{}]\n", group.folder.display(), group.command, units.join(" "))
        };
        groups.iter().map(line).collect()
    }

    #[test]
    fn one_workspace_with_equal_flags_is_one_invocation() {
        let text = grouped(&[
            ("users", "/ws/users", "cargo build --release -p shop-users"),
            ("orders", "/ws/orders", "cargo build --release --package shop-orders"),
            ("payments", "/ws/payments", "cargo build --release --package=shop-payments -p shop-users"),
        ]);
        expect![[r#"
            /ws: cargo build --release -p shop-orders -p shop-payments -p shop-users [orders payments users]
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn what_differs_in_flags_workspace_or_folder_is_built_apart() {
        let text = grouped(&[
            ("a", "/ws/a", "cargo build --release -p a"),
            ("b", "/ws/b", "cargo build -p b"),
            ("c", "/elsewhere", "cargo build -p c"),
            ("d", "/ws/d", "cargo build --manifest-path ../x/Cargo.toml -p d"),
            ("e", "/ws/e", "cargo build"),
            ("f", "/ws/f", "RUSTFLAGS=-g cargo build -p f"),
        ]);
        expect![[r#"
            /ws: cargo build -p b [b]
            /ws: cargo build --release -p a [a]
            /ws/f: RUSTFLAGS=-g cargo build -p f [f]
            /ws/e: cargo build [e]
            /ws/d: cargo build --manifest-path ../x/Cargo.toml -p d [d]
            /elsewhere: cargo build -p c [c]
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn equal_commands_in_one_folder_run_once() {
        let text = grouped(&[
            ("a", "/site", "npm ci && npm run build"),
            ("b", "/site", "npm ci && npm run build"),
            ("c", "/other", "npm ci && npm run build"),
        ]);
        expect![[r#"
            /other: npm ci && npm run build [c]
            /site: npm ci && npm run build [a b]
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn finds_the_workspace_above() {
        let folder = tempfile::tempdir().unwrap();
        let member = folder.path().join("shop/users");
        fs::create_dir_all(&member).unwrap();
        fs::write(member.join("Cargo.toml"), "[package]\nname = \"users\"\n").unwrap();
        assert_eq!(cargo_workspace(&member), None);
        fs::write(folder.path().join("Cargo.toml"), "[workspace]\nmembers = [\"shop/*\"]\n").unwrap();
        assert_eq!(cargo_workspace(&member).as_deref(), Some(folder.path()));
    }

    #[tokio::test]
    async fn a_failure_is_told_with_its_output() {
        let folder = tempfile::tempdir().unwrap();
        let group = Group {
            command: "echo '   Compiling users v0.1.0'; echo 'error: no such thing' >&2; exit 3".into(),
            folder: folder.path().to_owned(),
            units: ["users".parse().unwrap()].into(),
        };
        let log = folder.path().join("logs/build.log");
        let told = group.run(&log, &CancellationToken::new()).await.unwrap_err();
        assert!(told.contains("exited with code 3 after"), "{told}");
        assert!(told.ends_with(" s\nerror: no such thing"), "{told}");
        assert!(fs::read_to_string(log).unwrap().contains("Compiling users"));
    }

    #[tokio::test]
    async fn a_cancelled_build_leaves_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("pid");
        let group = Group {
            command: format!("sleep 60 & echo $! > {}; wait", pids.display()),
            folder: folder.path().to_owned(),
            units: ["users".parse().unwrap()].into(),
        };
        let cancel = CancellationToken::new();
        let log = folder.path().join("build.log");
        let build = group.run(&log, &cancel);
        let cancelled = async {
            while !fs::read_to_string(&pids).is_ok_and(|text| text.ends_with('\n')) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            cancel.cancel();
        };
        let (outcome, ()) = tokio::join!(build, cancelled);
        assert!(outcome.unwrap_err().ends_with("was cancelled"));
        let pid = fs::read_to_string(&pids).unwrap().trim().parse().unwrap();
        assert!(crate::proc::stat(pid).is_none_or(|stat| stat.zombie));
    }
}

//! Programs from outside the repository that tests and benches run: found, installed when that may be done,
//! or named.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use crate::command::{self, program};

/// A program that something of this repository runs.
pub struct Need {
    /// What is missing when it is not found.
    name: &'static str,
    /// What it is for.
    purpose: &'static str,
    /// The Debian package that brings it.
    package: &'static str,
    found: fn() -> bool,
}

/// Runs a database server of their own for the tests of services on PostgreSQL.
pub const POSTGRESQL: Need = Need {
    name: "PostgreSQL (initdb and postgres)",
    purpose: "tests of services on PostgreSQL",
    package: "postgresql",
    found: postgresql,
};

/// Runs services of the example in several languages.
pub const PYTHON: Need = Need {
    name: "python3",
    purpose: "tests of services in Python",
    package: "python3",
    found: || on_path("python3"),
};

/// Runs a service of the example in several languages.
pub const NODE: Need =
    Need { name: "node", purpose: "tests of services in Node", package: "nodejs", found: || on_path("node") };

/// Installs the libraries of services in Node.
pub const NPM: Need =
    Need { name: "npm", purpose: "libraries of services in Node", package: "npm", found: || on_path("npm") };

/// Installs the libraries of services in Python.
pub const PIP: Need = Need {
    name: "pip of python3",
    purpose: "libraries of services in Python",
    package: "python3-pip",
    found: || command::succeeds(program("python3").args(["-m", "pip", "--version"])),
};

/// Runs a service of the example in several languages, from its source.
pub const JAVA: Need = Need {
    name: "java",
    purpose: "tests of services in Java",
    package: "default-jdk-headless",
    found: || on_path("javac"),
};

/// Looks at the dashboard.
pub const CHROMIUM: Need = Need {
    name: "chromium",
    purpose: "tests of the dashboard in a browser",
    package: "chromium",
    found: || on_path("chromium"),
};

/// Signs certificates for the tests of those that are had over the network.
pub const PEBBLE: Need = Need {
    name: "pebble",
    purpose: "tests of certificates of an authority",
    package: "pebble",
    found: || on_path("pebble") && on_path("pebble-challtestsrv"),
};

/// Scrapes a system, and checks what is exported for it.
pub const PROMETHEUS: Need = Need {
    name: "prometheus and promtool",
    purpose: "tests of metrics",
    package: "prometheus",
    found: || on_path("prometheus") && on_path("promtool"),
};

/// Counts the limits that gateways share.
pub const REDIS: Need = Need {
    name: "redis-server",
    purpose: "tests of shared rate limits",
    package: "redis-server",
    found: || on_path("redis-server"),
};

/// Builds the fuzzer.
pub const CXX: Need = Need { name: "c++", purpose: "fuzz", package: "g++", found: || on_path("c++") };

/// Measured beside Madang.
pub const NGINX: Need =
    Need { name: "nginx", purpose: "bench gateway", package: "nginx-light", found: || on_path("nginx") };

/// Measured beside Madang.
pub const HAPROXY: Need =
    Need { name: "haproxy", purpose: "bench gateway", package: "haproxy", found: || on_path("haproxy") };

/// Counts instructions.
pub const VALGRIND: Need = Need {
    name: "valgrind",
    purpose: "bench gateway --instructions",
    package: "valgrind",
    found: || on_path("valgrind"),
};

/// Makes sure that each need is there: installs what is missing with apt-get where that may be done without
/// asking, and otherwise fails with the name of everything that is missing.
pub fn satisfy(needs: &[Need]) -> Result<()> {
    if missing(needs).is_empty() {
        return Ok(());
    }
    if let Some(installer) = Installer::find() {
        let packages: Vec<_> = missing(needs).iter().map(|need| need.package).collect();
        eprintln!("installing {}", packages.join(", "));
        if let Err(error) = installer.install(&packages) {
            eprintln!("{error:#}");
        }
    }
    refuse(&missing(needs))
}

fn missing(needs: &[Need]) -> Vec<&Need> {
    needs.iter().filter(|need| !(need.found)()).collect()
}

fn refuse(missing: &[&Need]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<_> = missing
        .iter()
        .map(|need| format!("  {}, for: {} (Debian package: {})", need.name, need.purpose, need.package))
        .collect();
    bail!("missing on this machine:\n{}", list.join("\n"))
}

/// Debian keeps the server's programs off the path, in a folder for each version.
fn postgresql() -> bool {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let has = |folder: PathBuf| folder.join("initdb").exists() && folder.join("postgres").exists();
    versions.map(|version| version.path().join("bin")).any(has)
}

fn on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps servers in /usr/sbin, which is not on everybody's path.
    std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]).any(|folder| folder.join(name).exists())
}

/// A way to install Debian packages without asking anybody.
struct Installer {
    /// `sudo -n`, or nothing for root.
    prefix: &'static [&'static str],
}

impl Installer {
    fn find() -> Option<Self> {
        if !Path::new("/usr/bin/apt-get").exists() {
            return None;
        }
        let root = command::output(program("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
        if root {
            return Some(Self { prefix: &[] });
        }
        command::succeeds(program("sudo").args(["-n", "true"])).then_some(Self { prefix: &["sudo", "-n"] })
    }

    fn install(&self, packages: &[&str]) -> Result<()> {
        // A fresh machine has no lists or old ones; a failure to read them shows in the install.
        command::succeeds(&mut self.apt_get(&["update"]));
        command::run(self.apt_get(&["install", "--yes", "--no-install-recommends"]).args(packages))
    }

    fn apt_get(&self, arguments: &[&str]) -> std::process::Command {
        let words: Vec<_> = self
            .prefix
            .iter()
            .chain(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"])
            .chain(arguments)
            .collect();
        let mut command = program(words[0]);
        command.args(&words[1..]);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let absent =
            Need { name: "frobnicator", purpose: "tests of frobs", package: "frob", found: || false };
        let present = Need { name: "sh", purpose: "everything", package: "dash", found: || true };
        let needs = [absent, present];
        let error = refuse(&missing(&needs)).unwrap_err().to_string();
        assert!(error.contains("frobnicator") && error.contains("Debian package: frob"), "{error}");
        assert!(!error.contains("sh,"), "{error}");
    }
}

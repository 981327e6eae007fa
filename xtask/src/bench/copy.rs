//! A copy of the shop's manifests that builds nothing and listens on ports of its own.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
};

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

use crate::command::root;

/// Copies the shop's manifests into a folder; gives the address of its gateway.
pub fn shop(folder: &Path) -> Result<SocketAddr> {
    let shop = root().join("shop");
    let mut ports = FreePorts::default();
    let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.take()?));
    copy(&shop.join("madang.toml"), &folder.join("madang.toml"), |manifest| {
        let listen = [("listen".to_owned(), Value::String(gateway.to_string()))];
        manifest.insert("gateway".to_owned(), Value::Table(listen.into_iter().collect()));
        Ok(())
    })?;
    for entry in fs::read_dir(&shop).context("failed to list the shop")? {
        let service = entry.context("failed to list the shop")?.path();
        let (from, name) = (service.join("service.toml"), service.file_name().unwrap_or_default().to_owned());
        if from.exists() {
            copy(&from, &folder.join(name).join("service.toml"), |manifest| {
                detach(manifest, &service, &mut ports)
            })?;
        }
    }
    Ok(gateway)
}

fn copy(from: &Path, to: &Path, change: impl FnOnce(&mut Table) -> Result<()>) -> Result<()> {
    let text = fs::read_to_string(from).with_context(|| format!("failed to read {}", from.display()))?;
    let mut manifest: Table = text.parse().with_context(|| format!("{} is no TOML", from.display()))?;
    change(&mut manifest).with_context(|| format!("failed to copy {}", from.display()))?;
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    }
    fs::write(to, manifest.to_string()).with_context(|| format!("failed to write {}", to.display()))
}

/// Makes a service's manifest independent of where it is: nothing to build, an absolute program, a free port.
fn detach(manifest: &mut Table, folder: &Path, ports: &mut FreePorts) -> Result<()> {
    manifest.remove("build");
    if let Some(Value::String(run)) = manifest.get_mut("run") {
        let (program, arguments) = run.split_once(' ').unwrap_or((run, ""));
        let program = folder.join(program);
        let program =
            program.canonicalize().with_context(|| format!("{} is not built", program.display()))?;
        *run = format!("{} {arguments}", program.display()).trim_end().to_owned();
    }
    for key in ["listen", "port"] {
        if let Some(Value::Integer(port)) = manifest.get_mut(key) {
            *port = ports.take()?.into();
        }
    }
    Ok(())
}

/// Ports below those that Linux and Madang give out by themselves, so that nobody takes one between the moment
/// it is chosen and the moment it is bound.
#[derive(Default)]
struct FreePorts {
    taken: u16,
}

impl FreePorts {
    const RANGE: std::ops::Range<u16> = 10_000..12_000;

    fn take(&mut self) -> Result<u16> {
        while Self::RANGE.start + self.taken < Self::RANGE.end {
            let port = Self::RANGE.start + self.taken;
            self.taken += 1;
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(port);
            }
        }
        bail!("no port from {} to {} is free", Self::RANGE.start, Self::RANGE.end - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detached_service_builds_nothing_and_runs_from_anywhere() {
        let mut manifest: Table =
            "name = \"a\"\nbuild = \"make\"\nrun = \"./sh -c true\"\nlisten = 3001\n".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("sh"), "").unwrap();
        detach(&mut manifest, folder.path(), &mut FreePorts::default()).unwrap();
        assert!(!manifest.contains_key("build"));
        let run = manifest["run"].as_str().unwrap();
        assert!(run.starts_with('/') && run.ends_with("/sh -c true"), "{run}");
        assert!(FreePorts::RANGE.contains(&u16::try_from(manifest["listen"].as_integer().unwrap()).unwrap()));
    }
}

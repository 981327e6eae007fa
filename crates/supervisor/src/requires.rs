//! What units require of the machine, and which of them are left out because it has not got it.

use std::{collections::BTreeMap, ffi::OsStr, fs, os::unix::fs::PermissionsExt, path::Path};

use madang_model::{System, Unit, UnitName};

/// The units of a system that are not started on this machine, and why: a program that one requires is missing, or
/// it waits for one that is left out.
pub fn left_out(system: &System) -> BTreeMap<UnitName, String> {
    left_out_but(system, &|_| false)
}

/// The same where some units are not looked at, because it is not Madang that starts them.
pub(crate) fn left_out_but(system: &System, but: &dyn Fn(&UnitName) -> bool) -> BTreeMap<UnitName, String> {
    left_out_with(system, but, std::env::var_os("PATH").as_deref())
}

fn left_out_with(
    system: &System,
    but: &dyn Fn(&UnitName) -> bool,
    path: Option<&OsStr>,
) -> BTreeMap<UnitName, String> {
    let units = system.units.iter().filter(|(name, _)| !but(name));
    let mut left: BTreeMap<UnitName, String> =
        units.filter_map(|(name, unit)| Some((name.clone(), missing(unit, path)?))).collect();
    loop {
        let waits = |unit: &Unit| unit.depends_on.iter().find(|on| left.contains_key(*on)).cloned();
        let rest = system.units.iter().filter(|(name, _)| !but(name) && !left.contains_key(*name));
        let more: Vec<(UnitName, UnitName)> =
            rest.filter_map(|(name, unit)| Some((name.clone(), waits(unit)?))).collect();
        if more.is_empty() {
            return left;
        }
        left.extend(
            more.into_iter().map(|(name, on)| (name, format!("it depends on {on}, which is left out"))),
        );
    }
}

/// What a unit requires and is not there, in words.
fn missing(unit: &Unit, path: Option<&OsStr>) -> Option<String> {
    let found = |program: &str| match program.contains('/') {
        true => is_program(&unit.folder.join(program)),
        false => {
            std::env::split_paths(path.unwrap_or_default()).any(|folder| is_program(&folder.join(program)))
        }
    };
    let words = |program: &String| match program.contains('/') {
        true => format!("`{program}` is no program in {}", unit.folder.display()),
        false => format!("`{program}` is not in PATH"),
    };
    let missing: Vec<String> = unit.requires.iter().filter(|program| !found(program)).map(words).collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;
    use crate::testing::{system, unit};

    #[test]
    fn a_unit_without_what_it_requires_is_left_out_and_so_is_who_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, mode| {
            std::fs::write(folder.path().join(name), "").unwrap();
            std::fs::set_permissions(folder.path().join(name), Permissions::from_mode(mode)).unwrap();
        };
        put("java", 0o755);
        put("text", 0o644);
        let requiring = |name: &str, requires: &[&str], depends_on: &[&str]| {
            let mut unit = unit(name, "sleep 1");
            unit.folder = folder.path().to_owned();
            unit.requires = requires.iter().map(|program| (*program).to_owned()).collect();
            unit.depends_on = depends_on.iter().map(|name| name.parse().unwrap()).collect();
            unit
        };
        let system = system([
            requiring("plain", &[], &[]),
            requiring("whole", &["java", "./java"], &["plain"]),
            requiring("node", &["node", "./tool", "java", "text"], &[]),
            requiring("waits", &[], &["node", "plain"]),
            requiring("waits-too", &[], &["waits"]),
        ]);
        let left = left_out_with(&system, &|_| false, Some(folder.path().as_os_str()));
        let left: Vec<_> = left.iter().map(|(unit, why)| (unit.as_str(), why.as_str())).collect();
        let tool = format!("`./tool` is no program in {}, ", folder.path().display());
        let node = format!("{tool}`node` is not in PATH, `text` is not in PATH");
        assert_eq!(
            left,
            [
                ("node", node.as_str()),
                ("waits", "it depends on node, which is left out"),
                ("waits-too", "it depends on waits, which is left out"),
            ]
        );
    }
}

//! What several programs are built of is built once: Cargo compiles a dependency again for each set of features that is
//! asked for, and features differ between `-p madang-cli` and `-p shop-orders` unless they are stated for both.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::command::{self, cargo};

/// What a newcomer builds, one after the other: the node, what `madang up shop` builds, a unit that is edited, the load.
const BUILDS: &[&[&str]] = &[
    &["madang-cli"],
    &["shop-catalog", "shop-orders", "shop-payments", "shop-storefront", "shop-users"],
    &["shop-catalog"],
    &["shop-orders"],
    &["shop-payments"],
    &["shop-storefront"],
    &["shop-users"],
    &["shop"],
];

/// Compiled twice on purpose: for the node with TLS, for services without.
const TWICE: &[&str] = &["madang-calls"];

/// Each package with the sets of features that it is built with: one, or one for programs and one for the compiler.
type Packages = BTreeMap<String, BTreeSet<String>>;

/// Each package that is compiled again, with who asks for what.
pub fn violations() -> Result<Vec<String>> {
    let builds: Vec<Packages> = BUILDS.iter().map(|packages| of_build(packages)).collect::<Result<_>>()?;
    let mut violations = BTreeMap::new();
    for (at, build) in builds.iter().enumerate() {
        for (before, earlier) in builds[..at].iter().enumerate() {
            for (package, (these, those)) in apart(build, earlier) {
                let (name, other) = (BUILDS[at].join(" "), BUILDS[before].join(" "));
                violations.entry(package).or_insert_with(|| {
                    format!(
                        "{package} is compiled twice: its features are\n  {these} for {name}\n  {those} for {other}\n\
                         state them where docs/adr/0020 says"
                    )
                });
            }
        }
    }
    Ok(violations.into_values().collect())
}

fn of_build(packages: &[&str]) -> Result<Packages> {
    let chosen = packages.iter().flat_map(|package| ["--package", package]);
    let arguments =
        ["tree", "--locked", "--edges", "normal,build", "--prefix", "none", "--format", "{p}\t{f}"];
    Ok(read(&command::output(cargo().args(arguments).args(chosen))?))
}

/// From cargo's lines: `name vVERSION[ (place)]`, a tab, and features, which may end in ` (*)`.
fn read(tree: &str) -> Packages {
    let mut packages = Packages::new();
    for line in tree.lines() {
        let Some((package, features)) = line.split_once('\t') else { continue };
        let package = package.split(" (").next().unwrap_or(package);
        let features = features.trim_end_matches(" (*)").trim();
        packages.entry(package.to_owned()).or_default().insert(format!("[{features}]"));
    }
    packages
}

/// The packages of both builds of which neither has all that the other has compiled.
fn apart<'a>(
    one: &'a Packages,
    other: &'a Packages,
) -> impl Iterator<Item = (&'a str, (String, String))> + 'a {
    one.iter().filter_map(|(package, these)| {
        let those = other.get(package)?;
        let name = package.split(' ').next().unwrap_or(package);
        let once = these.is_subset(those) || those.is_subset(these) || TWICE.contains(&name);
        let shown = |sets: &BTreeSet<String>| sets.iter().cloned().collect::<Vec<_>>().join(" and ");
        (!once).then(|| (package.as_str(), (shown(these), shown(those))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compiled_again_is_found() {
        let node = read("either v1.19.0\tstd\nserde v1.0.1 (proc-macro)\tderive\nring v0.17.1\talloc\n");
        let shop = read(
            "either v1.19.0\tserde,std (*)\nserde v1.0.1\tderive\nring v0.17.1\talloc\nring v0.17.1\t\n",
        );
        let found: Vec<_> = apart(&shop, &node).collect();
        assert_eq!(found, [("either v1.19.0", ("[serde,std]".into(), "[std]".into()))]);
    }

    #[test]
    fn nothing_is_compiled_twice() {
        let violations = violations().unwrap();
        assert!(violations.is_empty(), "{}", violations.join("\n\n"));
    }
}

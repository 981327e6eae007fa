//! The manifest: from the files of a folder to a validated [`System`], or to every problem there is.
//!
//! In order: `files` finds and reads, `tree` parses, `check` compares with the list of `keys` and substitutes
//! `variables`, `raw` gives typed parts that know their places, `rules` looks at all of them together,
//! `assemble` makes the system and `explain` says where each value came from. `schema` turns the list of keys
//! into a JSON Schema.

mod assemble;
mod auth;
mod check;
mod composition;
mod edge;
mod error;
mod explain;
mod expression;
mod files;
mod format;
mod front;
mod hint;
mod issuer;
mod keys;
mod pattern;
mod plan;
mod policy;
mod raw;
mod rules;
mod schema;
mod source;
mod telemetry;
#[cfg(test)]
mod tests;
mod tls;
mod tree;
mod variables;

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::{Path, PathBuf},
    sync::Arc,
};

pub use error::{Code, Errors, ManifestError};
pub use explain::{Explained, Origin};
pub use expression::Expression;
pub use files::{find, secrets};
pub use schema::schema;
pub use variables::{NoValue, Placeholder, all_but_secrets, is_secret, placeholders, placeholders_in};

use crate::{System, SystemName, nearest};
use check::Check;
use error::Found;
use files::{Disk, Files};
use format::Format;
use keys::Table;
use raw::RawSystem;
use source::{At, Source};

/// Where the gateway listens unless the manifest says otherwise.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 3000));

/// The table of the file of secrets that has them by name.
pub const SEALED: &str = "sealed";

/// A manifest that was loaded.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The system that it describes.
    pub system: System,
    explained: Vec<Explained>,
}

impl Loaded {
    /// Every value in force, defaults too, each with the place that it came from.
    pub fn explain(&self) -> &[Explained] {
        &self.explained
    }
}

/// Whether a text is the path of a route: `/users/{id}`, `/users/**`.
///
/// # Errors
/// Says what is wrong with it and what to write instead.
pub fn check_path(text: &str) -> Result<(), String> {
    pattern::check(text).map_err(|unfit| format!("{}: {}", unfit.why, unfit.help))
}

/// Whether a text is one scope, as a token or an API key has it.
///
/// # Errors
/// Says what is wrong with it and what to write instead.
pub fn check_scope(text: &str) -> Result<(), String> {
    Format::OauthScope.check(text).map_err(|unfit| format!("{}: {}", unfit.why, unfit.help))
}

/// Loads the manifest that `path` means, a folder or a file; `env` gives the variables of the process.
/// Every problem found is reported, not just the first.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Errors> {
    load_in(path, None, env)
}

/// The same in an environment, such as `production`: over each file is laid the one beside it that is named after
/// the environment, `madang.production.toml` over `madang.toml`. Tables are merged, anything else is replaced.
pub fn load_in(
    path: &Path,
    environment: Option<&str>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Errors> {
    load_from(&find(path)?, environment, env, &Disk)
}

/// Loads the manifest at an absolute path, from anywhere.
fn load_from(
    path: &Path,
    environment: Option<&str>,
    env: &dyn Fn(&str) -> Option<String>,
    files: &dyn Files,
) -> Result<Loaded, Errors> {
    let root = path.parent().unwrap_or(Path::new("/"));
    let mut reader = Reader {
        root,
        environment,
        env,
        files,
        read: Vec::new(),
        others: BTreeSet::new(),
        overlaid: false,
        raw: RawSystem::default(),
        found: Found::default(),
    };
    reader.manifest(path);
    if let Some(environment) = environment.filter(|_| !reader.overlaid) {
        let error = no_environment(environment, path, &reader.others);
        reader.found.push(error);
    }
    let Reader { read, raw, mut found, .. } = reader;
    let name = name(&raw, root, &mut found);
    rules::check(&raw, name.as_ref().map_or("system", |name| name.as_str()), root, &mut found);
    let secrets = files::secrets(root, environment);
    rules::secrets(&raw, environment, &mut found, |found| kept(&secrets, root, files, found));
    match (found.finish(), name) {
        (Err(errors), _) => Err(errors),
        (Ok(()), None) => Err(no_name(root).into()),
        (Ok(()), Some(name)) => {
            let explained = explain::explain(&raw, &name, root);
            Ok(Loaded { system: assemble::system(&raw, &name, root, read, secrets), explained })
        }
    }
}

/// The names in the file of secrets; no file means none. What they are is for whoever has the key.
fn kept(path: &Path, root: &Path, files: &dyn Files, found: &mut Found) -> Option<BTreeSet<String>> {
    let text = match files.read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some(BTreeSet::new()),
        Err(error) => {
            let message = format!("failed to read {}: {error}", path.display());
            found.push(
                ManifestError::new(Code::UNREADABLE, message).hint("`madang secret list` reads it too"),
            );
            return None;
        }
    };
    // Its place in the order of files is after all of the manifest.
    let source = Source::new(usize::MAX, path, root, text);
    let tree = tree::parse(&source, found)?;
    let names = tree.get(SEALED).map(tree::Node::entries).unwrap_or_default();
    Some(names.iter().map(|entry| entry.key.clone()).collect())
}

/// Reads file after file into one raw system.
struct Reader<'a> {
    root: &'a Path,
    environment: Option<&'a str>,
    env: &'a dyn Fn(&str) -> Option<String>,
    files: &'a dyn Files,
    read: Vec<PathBuf>,
    /// The environments that there are.
    others: BTreeSet<String>,
    /// Whether there was a file of the environment.
    overlaid: bool,
    raw: RawSystem,
    found: Found,
}

impl Reader<'_> {
    fn manifest(&mut self, path: &Path) {
        let Some(tree) = self.file(path, &keys::MANIFEST, None) else { return };
        self.raw.manifest(&tree);
        let mut known = BTreeSet::from([path.to_owned()]);
        for pattern in std::mem::take(&mut self.raw.include) {
            for file in self.included(&pattern) {
                if known.insert(file.clone())
                    && let Some(tree) = self.file(&file, &keys::SERVICE_FILE, Some(&pattern))
                {
                    self.raw.service_file(&tree);
                }
            }
            self.raw.include.push(pattern);
        }
    }

    /// Reads a file, lays what the environment changes over it, and checks the whole.
    fn file(
        &mut self,
        path: &Path,
        root: &'static Table,
        because: Option<&At<String>>,
    ) -> Option<tree::Node> {
        let mut tree = self.parsed(path, because)?;
        if let Some(environment) = self.environment {
            let known = files::environments(path, self.files);
            if known.iter().any(|known| known == environment) {
                self.overlaid = true;
                tree.overlay(self.parsed(&files::overlay(path, environment), None)?);
            }
            self.others.extend(known);
        }
        Check::file(&mut tree, root, self.env, &mut self.found);
        Some(tree)
    }

    fn parsed(&mut self, path: &Path, because: Option<&At<String>>) -> Option<tree::Node> {
        let text = match self.files.read(path) {
            Ok(text) => text,
            Err(error) => {
                self.raw.incomplete = true;
                let message = format!("failed to read {}: {error}", path.display());
                let problem = ManifestError::new(Code::UNREADABLE, message).hint(
                    "a manifest's files are UTF-8 text of at most 1 MiB that the user of `madang` may read",
                );
                self.found.push(match because {
                    Some(pattern) => problem.at(&pattern.spot, "included here"),
                    None => problem,
                });
                return None;
            }
        };
        let source: Arc<Source> = Source::new(self.read.len(), path, self.root, text);
        self.read.push(path.to_owned());
        let tree = tree::parse(&source, &mut self.found);
        self.raw.incomplete |= tree.is_none();
        tree
    }

    /// The files that a pattern means.
    fn included(&mut self, pattern: &At<String>) -> Vec<PathBuf> {
        let mut files = files::matching(&pattern.value, self.root, self.files);
        // What is laid over a file is no service of its own.
        let bases = files.clone();
        files.retain(|file| !bases.iter().any(|base| files::is_overlay(file, base)));
        if files.is_empty() {
            self.raw.incomplete = true;
            self.found.push(
                ManifestError::new(Code::INCLUDE_NOTHING, format!("no file matches \"{}\"", pattern.value))
                    .at(&pattern.spot, "matches nothing")
                    .hint(format!(
                        "it is looked for in {}; `*` stands for any part of one name, such as \"*/service.toml\"",
                        self.root.display()
                    )),
            );
        } else if files.len() > files::MOST_FILES {
            self.found.push(
                ManifestError::new(Code::BAD_VALUE, format!("\"{}\" matches too many files", pattern.value))
                    .at(&pattern.spot, format!("more than {}", files::MOST_FILES))
                    .hint("name the folder of the services first, such as \"services/*/service.toml\""),
            );
            return Vec::new();
        }
        files
    }
}

/// The system's name: as the manifest says, or else its folder's.
fn name(raw: &RawSystem, root: &Path, found: &mut Found) -> Option<SystemName> {
    if let Some(name) = &raw.name {
        return Some(name.value.clone());
    }
    let folder = root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = format::slug(&folder).parse().ok();
    if name.is_none() {
        found.push(no_name(root));
    }
    name
}

fn no_environment(name: &str, manifest: &Path, known: &BTreeSet<String>) -> ManifestError {
    let list = known.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let file = files::overlay(manifest, "NAME");
    let file = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let make = format!("the file of an environment stands beside the one that it changes: {file}");
    let help = match (nearest(name, known.iter().map(String::as_str)), list.is_empty()) {
        (_, true) => make,
        (Some(meant), false) => format!("did you mean \"{meant}\"? The environments are {list}"),
        (None, false) => format!("the environments are {list}; {make}"),
    };
    ManifestError::new(Code::NO_ENVIRONMENT, format!("there is no environment {}", check::quoted(name)))
        .hint(help)
}

fn no_name(root: &Path) -> ManifestError {
    ManifestError::new(Code::BAD_NAME, format!("the folder {} gives the system no name", root.display()))
        .hint("add one to the manifest: [system] name = \"shop\"")
}

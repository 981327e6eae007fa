//! A manifest in memory, and what the tests ask of it.

mod auth;
mod edge;
mod environments;
mod errors;
mod examples;
mod issuer;
mod keys;
mod policies;
mod property;
mod tls;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use expect_test::Expect;
use miette::{GraphicalReportHandler, GraphicalTheme};

use super::{Errors, Loaded, files::Files, load_from};

/// The folder in which every manifest of these tests stands.
const ROOT: &str = "/shop";

/// Files that are only in memory, by their paths below [`ROOT`].
#[derive(Default)]
struct Memory(BTreeMap<PathBuf, String>);

impl Memory {
    fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let at_root = |(path, text): (&str, &str)| (Path::new(ROOT).join(path), text.to_owned());
        Self(files.into_iter().map(at_root).collect())
    }

    fn load(&self) -> Result<Loaded, Errors> {
        self.load_in(None)
    }

    fn load_in(&self, environment: Option<&str>) -> Result<Loaded, Errors> {
        load_from(&Path::new(ROOT).join("madang.toml"), environment, &env, self)
    }
}

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let below = self.0.keys().filter_map(|path| path.strip_prefix(folder).ok()?.components().next());
        let names: BTreeSet<_> = below.map(|name| name.as_os_str().to_string_lossy().into_owned()).collect();
        Ok(names.into_iter().collect())
    }
}

/// The environment of these tests.
fn env(name: &str) -> Option<String> {
    match name {
        "PORT_BASE" => Some("40".into()),
        "PASSWORD" => Some("hunter2".into()),
        _ => None,
    }
}

/// Loads a manifest of one file.
#[track_caller]
fn loaded(manifest: &str) -> Loaded {
    match Memory::new([("madang.toml", manifest)]).load() {
        Ok(loaded) => loaded,
        Err(errors) => panic!("{}", rendered(&errors)),
    }
}

/// The report that a person sees, without colour.
fn rendered(errors: &Errors) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(110);
    let mut text = String::new();
    for error in errors {
        handler.render_report(&mut text, error).unwrap();
    }
    // Frames end in spaces that an editor would cut.
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n"
}

/// Checks the whole report on a manifest of one file.
#[track_caller]
fn refused(manifest: &str, expected: Expect) {
    refused_files(&[("madang.toml", manifest)], expected);
}

/// Checks the whole report on a manifest of several files.
#[track_caller]
fn refused_files(files: &[(&str, &str)], expected: Expect) {
    let errors = Memory::new(files.iter().copied()).load().expect_err("this manifest should be refused");
    expected.assert_eq(&rendered(&errors));
}

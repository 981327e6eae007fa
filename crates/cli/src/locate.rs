//! Which system a command is about: the folder of its manifest, from a path that the user gave, and whether it is the
//! one that runs there or one isolated beside it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use madang_node::{Leftovers, Place};

use crate::failure::Failure;

/// A system on this machine, running or not.
pub struct Location {
    given: PathBuf,
    place: Place,
    environment: Option<String>,
}

impl Location {
    /// From a folder with a manifest in it, or a manifest file. Neither is read: what runs may be asked about
    /// and stopped whatever became of its manifest. An isolated one without a name is the only one that there is, or
    /// if it is to be `fresh` a new one.
    pub fn find(
        given: &Path,
        environment: Option<String>,
        isolated: Option<&str>,
        fresh: bool,
    ) -> Result<Self, Failure> {
        let folder = match given.parent() {
            Some(parent) if !given.is_dir() => parent,
            _ => given,
        };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let root = folder.canonicalize().with_context(|| format!("failed to find {}", given.display()))?;
        let isolated = match isolated {
            None => None,
            Some("") if fresh => Some(Place::fresh_name().context("failed to choose a name")?),
            Some("") => Some(only_one(&root)?),
            Some(name) => Some(name.to_owned()),
        };
        Ok(Self { given: given.to_owned(), place: Place::new(&root, isolated.as_deref()), environment })
    }

    /// The environment whose files are laid over those of the manifest.
    pub fn environment(&self) -> Option<&str> {
        self.environment.as_deref()
    }

    /// Its name among those that run isolated, if it does.
    pub fn isolated(&self) -> Option<&str> {
        self.place.isolated()
    }

    /// The path that the user gave.
    pub fn given(&self) -> &Path {
        &self.given
    }

    /// The system in words.
    pub fn shown(&self) -> String {
        let shown = if self.is_here() { "this folder".to_owned() } else { self.given.display().to_string() };
        self.isolated().map_or(shown.clone(), |name| format!("{shown} isolated as {name}"))
    }

    /// A command for this system, as the user would type it here: `madang down shop`.
    pub fn command(&self, words: &str) -> String {
        let words = self.with_isolated(words);
        if self.is_here() {
            format!("madang {words}")
        } else {
            format!("madang {words} {}", self.given.display())
        }
    }

    /// A command about one part of this system: `madang env -C shop orders`.
    pub fn command_with(&self, word: &str, rest: &str) -> String {
        let word = self.with_isolated(word);
        if self.is_here() {
            format!("madang {word} {rest}")
        } else {
            format!("madang {word} -C {} {rest}", self.given.display())
        }
    }

    fn with_isolated(&self, words: &str) -> String {
        match self.isolated() {
            Some(name) => {
                let (word, rest) = words
                    .split_once(' ')
                    .map_or((words, String::new()), |(word, rest)| (word, format!(" {rest}")));
                format!("{word} --isolated={name}{rest}")
            }
            None => words.to_owned(),
        }
    }

    fn is_here(&self) -> bool {
        self.given == Path::new(".")
    }

    /// The folder of the logs.
    pub fn logs(&self) -> PathBuf {
        self.place.data().join("logs")
    }

    /// Whoever a node left running that was killed, where no other runs the system.
    pub async fn leftovers(&self) -> Result<Option<Leftovers>, Failure> {
        let found = Leftovers::find(&self.place).await;
        found.context("failed to look for what an earlier node left").map_err(Failure::from)
    }

    /// Forgets what an isolated node kept that is gone.
    pub fn clear(&self) {
        self.place.clear();
    }

    /// Where a node that runs the system listens.
    pub fn socket(&self) -> PathBuf {
        self.place.socket()
    }
}

fn only_one(root: &Path) -> Result<String, Failure> {
    match Place::isolated_in(root).as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Failure::NotRunning {
            place: format!("{} isolated", root.display()),
            up: "madang up --isolated".to_owned(),
        }),
        several => Err(Failure::message(format!(
            "several run isolated from {}: say which, as --isolated={}, of {}",
            root.display(),
            several[0],
            several.join(", ")
        ))),
    }
}

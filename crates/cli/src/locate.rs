//! Which system a command is about: the folder of its manifest, from a path that the user gave.

use std::path::{Path, PathBuf};

use anyhow::Context;
use madang_node::Leftovers;

use crate::failure::Failure;

/// A system on this machine, running or not.
pub struct Location {
    given: PathBuf,
    root: PathBuf,
    environment: Option<String>,
}

impl Location {
    /// From a folder with a manifest in it, or a manifest file. Neither is read: what runs may be asked about
    /// and stopped whatever became of its manifest.
    pub fn find(given: &Path, environment: Option<String>) -> Result<Self, Failure> {
        let folder = match given.parent() {
            Some(parent) if !given.is_dir() => parent,
            _ => given,
        };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let root = folder.canonicalize().with_context(|| format!("failed to find {}", given.display()))?;
        Ok(Self { given: given.to_owned(), root, environment })
    }

    /// The environment whose files are laid over those of the manifest.
    pub fn environment(&self) -> Option<&str> {
        self.environment.as_deref()
    }

    /// The path that the user gave.
    pub fn given(&self) -> &Path {
        &self.given
    }

    /// The system in words.
    pub fn shown(&self) -> String {
        if self.is_here() { "this folder".to_owned() } else { self.given.display().to_string() }
    }

    /// A command for this system, as the user would type it here: `madang down shop`.
    pub fn command(&self, words: &str) -> String {
        if self.is_here() {
            format!("madang {words}")
        } else {
            format!("madang {words} {}", self.given.display())
        }
    }

    /// A command about one part of this system: `madang env -C shop orders`.
    pub fn command_with(&self, word: &str, rest: &str) -> String {
        if self.is_here() {
            format!("madang {word} {rest}")
        } else {
            format!("madang {word} -C {} {rest}", self.given.display())
        }
    }

    fn is_here(&self) -> bool {
        self.given == Path::new(".")
    }

    /// The folder of the logs.
    pub fn logs(&self) -> PathBuf {
        self.root.join(".madang/logs")
    }

    /// Whoever a node left running that was killed, where no other runs the system.
    pub async fn leftovers(&self) -> Result<Option<Leftovers>, Failure> {
        let found = Leftovers::find(&self.root).await;
        found.context("failed to look for what an earlier node left").map_err(Failure::from)
    }

    /// Where a node that runs the system listens.
    pub fn socket(&self) -> PathBuf {
        madang_node::socket::path(&self.root)
    }
}

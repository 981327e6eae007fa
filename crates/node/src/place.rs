//! Where a node keeps what is its own: with its system, or, isolated, in a folder beside that.

use std::path::{Path, PathBuf};

use crate::socket;

/// The folder below a system's root in which nodes keep what is their own.
const DATA: &str = ".madang";

/// The folder below that with one for each isolated node.
const ISOLATED: &str = "isolated";

/// A system on this machine, as one node runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    root: PathBuf,
    isolated: Option<String>,
}

// === impl Place ===

impl Place {
    /// The system in this folder (absolute): itself, or the isolated one of this name beside it.
    pub fn new(root: &Path, isolated: Option<&str>) -> Self {
        Self { root: root.to_owned(), isolated: isolated.map(str::to_owned) }
    }

    /// A name for an isolated one that nobody chose a name for: a letter and five letters or digits.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn fresh_name() -> std::io::Result<String> {
        const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let mut random = [0u8; 6];
        getrandom::fill(&mut random).map_err(std::io::Error::other)?;
        let character = |(at, byte): (usize, &u8)| {
            let choice = if at == 0 { 26 } else { ALPHABET.len() };
            char::from(ALPHABET[usize::from(*byte) % choice])
        };
        Ok(random.iter().enumerate().map(character).collect())
    }

    /// The names of those that run isolated in this folder, or left something there.
    pub fn isolated_in(root: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(root.join(DATA).join(ISOLATED)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// The folder of the manifest.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its name among those that run isolated, if it does.
    pub fn isolated(&self) -> Option<&str> {
        self.isolated.as_deref()
    }

    /// The folder of what the node keeps.
    pub fn data(&self) -> PathBuf {
        let data = self.shared_data();
        match &self.isolated {
            Some(name) => data.join(ISOLATED).join(name),
            None => data,
        }
    }

    /// The folder of the system itself, isolated or not.
    pub(crate) fn shared_data(&self) -> PathBuf {
        self.root.join(DATA)
    }

    /// Where the node listens for its owner.
    pub fn socket(&self) -> PathBuf {
        match &self.isolated {
            Some(_) => socket::path(&self.data()),
            None => socket::path(&self.root),
        }
    }

    /// Forgets all that an isolated node kept, once it is gone; what a system itself keeps stays.
    pub fn clear(&self) {
        if self.isolated.is_some()
            && let Err(error) = std::fs::remove_dir_all(self.data())
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, folder = %self.data().display(), "failed to remove what an isolated node kept");
        }
        // The folder of them all goes with the last one.
        let _ = std::fs::remove_dir(self.shared_data().join(ISOLATED));
    }
}

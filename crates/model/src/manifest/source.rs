//! Where a value was written: the file, its text and the span in it.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::Place;

/// One file of a manifest.
pub(super) struct Source {
    /// Its number in the order of reading, the manifest first.
    pub index: usize,
    /// Its absolute path.
    pub path: PathBuf,
    /// The path as it is shown: relative to the system's root where it is below it.
    pub shown: PathBuf,
    /// What it holds.
    pub text: Arc<str>,
    /// Where each of its lines ends.
    ends: Vec<usize>,
}

impl Source {
    pub fn new(index: usize, path: &Path, root: &Path, text: String) -> Arc<Self> {
        let shown = path.strip_prefix(root).unwrap_or(path).to_owned();
        let ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Arc::new(Self { index, path: path.to_owned(), shown, text: text.into(), ends })
    }

    /// The folder of the file: what relative paths in it are relative to.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

/// A span of a file.
#[derive(Clone)]
pub(super) struct Spot {
    pub source: Arc<Source>,
    pub range: Range<usize>,
}

impl Spot {
    /// The line of its first character, from 1.
    pub fn line(&self) -> usize {
        1 + self.source.ends.partition_point(|&end| end < self.range.start)
    }

    pub fn place(&self) -> Place {
        Place { file: self.source.shown.clone(), line: self.line() }
    }

    /// What the file says there.
    pub fn written(&self) -> &str {
        self.source.text.get(self.range.clone()).unwrap_or_default()
    }

    /// The first occurrence of `part` inside, or else the whole.
    pub fn narrowed(&self, part: &str) -> Self {
        let Some(at) = self.written().find(part) else { return self.clone() };
        let start = self.range.start + at;
        Self { source: self.source.clone(), range: start..start + part.len() }
    }

    /// Orders the spots of one load: file by file, each from top to bottom.
    pub fn order(&self) -> (usize, usize) {
        (self.source.index, self.range.start)
    }
}

impl fmt::Debug for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place())
    }
}

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub value: T,
    pub spot: Spot,
}

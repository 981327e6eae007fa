//! Which log files there are, and how far each was read.

use std::{
    collections::BTreeMap,
    fs::{self, DirEntry, File, Metadata},
    io,
    ops::ControlFlow,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use madang_wire::admin::LogLine;

use super::{LogQuery, Sink, date, follow::Watch, lines::Lines, send, window::first_data};
use crate::Error;

/// How many files one query reads: those that were written last.
const MOST: usize = 512;

/// The files of a query, open.
pub(super) struct Files {
    folder: Arc<PathBuf>,
    pub(super) query: LogQuery,
    watch: Option<Arc<Watch>>,
    pub(super) open: BTreeMap<PathBuf, LogFile>,
}

/// The log of one instance.
pub(super) struct LogFile {
    pub(super) unit: String,
    pub(super) instance: String,
    pub(super) lines: Lines,
    /// The device and inode: a path may come to name another file.
    identity: (u64, u64),
}

// === impl Files ===

impl Files {
    pub(super) fn new(folder: Arc<PathBuf>, query: LogQuery, watch: Option<Arc<Watch>>) -> Self {
        Self { folder, query, watch, open: BTreeMap::new() }
    }

    /// Looks which files there are: opens what is new, at its beginning, and closes what is gone, read to its end.
    pub(super) fn survey(&mut self, sink: &Sink) -> ControlFlow<()> {
        let found = match self.list() {
            Ok(found) => found,
            Err(error) => return send(sink, Err(error)),
        };
        let known = std::mem::take(&mut self.open);
        for (path, mut file) in known {
            if found.get(&path) == Some(&file.identity) {
                self.open.insert(path, file);
            } else {
                file.send_new(&path, self.query.since, sink)?;
            }
        }
        for path in found.into_keys() {
            if self.open.contains_key(&path) {
                continue;
            }
            match LogFile::open(&path) {
                Ok(file) => drop(self.open.insert(path, file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => send(sink, Err(Error::read(path)(error)))?,
            }
        }
        ControlFlow::Continue(())
    }

    /// Sends what was written since the last look.
    pub(super) fn send_new(&mut self, sink: &Sink) -> ControlFlow<()> {
        self.open.iter_mut().try_for_each(|(path, file)| file.send_new(path, self.query.since, sink))
    }

    /// The logs that there are, with their identity. A folder is watched before it is listed.
    fn list(&self) -> Result<BTreeMap<PathBuf, (u64, u64)>, Error> {
        let mut logs = Vec::new();
        for folder in self.unit_folders()? {
            if let Some(watch) = &self.watch {
                watch.add(&folder)?;
            }
            let entries = list_folder(&folder).map_err(Error::read(&folder))?;
            let paths = entries.into_iter().map(|entry| entry.path());
            let names = paths.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
            logs.extend(names.filter_map(|path| Some((path.metadata().ok()?, path))));
        }
        logs.retain(|(found, _)| found.is_file());
        logs.sort_by_key(|(found, _)| std::cmp::Reverse(found.modified().ok()));
        logs.truncate(MOST);
        Ok(logs.into_iter().map(|(found, path)| (path, identity(&found))).collect())
    }

    fn unit_folders(&self) -> Result<Vec<PathBuf>, Error> {
        if !self.query.units.is_empty() {
            let folders = self.query.units.iter().map(|unit| self.folder.join(unit.as_str()));
            return Ok(folders.filter(|folder| folder.is_dir()).collect());
        }
        let entries = list_folder(&self.folder).map_err(Error::read(&*self.folder))?;
        let folders = entries.into_iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        Ok(folders.map(|entry| entry.path()).collect())
    }
}

// === impl LogFile ===

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let found = file.metadata()?;
        let mut lines = Lines::new(file);
        lines.seek(first_data(lines.file(), found.len())?);
        let name = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self {
            unit: name(path.parent().and_then(Path::file_name)),
            instance: name(path.file_stem()),
            lines,
            identity: identity(&found),
        })
    }

    /// When the file last changed, in milliseconds since 1970.
    pub(super) fn changed(&self) -> io::Result<u64> {
        Ok(millis(self.lines.file().metadata()?.modified()?))
    }

    /// Sends the lines that were ended since the last look, up to the size that the file has now: a file that
    /// grows all the time does not keep the others waiting.
    fn send_new(&mut self, path: &Path, since: Option<u64>, sink: &Sink) -> ControlFlow<()> {
        let outcome = self.lines.file().metadata().and_then(|found| {
            if found.len() < self.lines.offset() {
                self.lines.seek(0); // truncated by somebody: what is there now is new
            }
            while let Some(line) = self.lines.next(found.len())? {
                let at = date::of(&line).unwrap_or_else(|| millis(SystemTime::now()));
                if since.is_none_or(|since| at >= since) && send(sink, Ok(self.line(at, line))).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        });
        outcome.unwrap_or_else(|error| send(sink, Err(Error::read(path)(error))))
    }

    pub(super) fn line(&self, at: u64, line: String) -> LogLine {
        LogLine { at, unit: self.unit.clone(), instance: self.instance.clone(), line }
    }
}

fn list_folder(folder: &Path) -> io::Result<Vec<DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().try_into().unwrap_or(u64::MAX)
}

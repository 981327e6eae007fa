//! What the instances wrote since it was last read, as lines to be kept, with how far each file is read then.
//!
//! Nothing is taken from a file for good before it is in the archive: what could not be written is read again.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    budget::Budget,
    entry::{Entry, believed, micros, now},
    hole::first_data,
    join::{Joined, PATIENCE},
    lines::Lines,
    listing::{self, Identity},
    watch::Watch,
};
use crate::Error;

/// How many lines are taken at once, each of which changes some pages: the write-ahead log has its bound.
pub(super) const MOST: usize = 500;

/// How many lines of one file are taken before it is the next one's turn.
const TURN: usize = 100;

/// What follows within this time, in microseconds, is of the time of the line before it.
const AT_ONCE: u64 = 1_000_000;

/// How far a file is read, as the archive keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) identity: Identity,
    pub(super) offset: u64,
    /// When, in microseconds since 1970.
    pub(super) read_at: u64,
}

/// The files, open.
pub(super) struct Collector {
    folder: Arc<PathBuf>,
    per_second: u32,
    files: BTreeMap<PathBuf, Followed>,
    /// Whose turn is next.
    next: Option<PathBuf>,
}

/// What was read.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    /// How far the files are read with that; none for one that is gone.
    pub(super) positions: BTreeMap<PathBuf, Option<Position>>,
    /// How many lines of each unit were too many.
    pub(super) too_many: BTreeMap<String, u64>,
    /// Whether there is more to be read.
    pub(super) more: bool,
    /// Why a file could not be read, if one could not: the others were.
    pub(super) error: Option<Error>,
}

/// The log of one instance.
struct Followed {
    unit: String,
    instance: String,
    lines: Lines,
    identity: Identity,
    /// The last line, while others may continue it.
    held: Option<Held>,
    budget: Budget,
    /// The time of the last line that had one.
    last: Option<u64>,
    /// Up to where the archive has it.
    kept: u64,
    /// Up to where it was written before it was opened, and when that was: microseconds since 1970.
    backlog: (u64, u64),
    /// Whether its name is gone, so that nothing more comes.
    gone: bool,
}

struct Held {
    joined: Joined,
    /// Where it began in the file.
    start: u64,
    /// When it was read, in microseconds since 1970.
    at: u64,
    since: Instant,
}

// === impl Collector ===

impl Collector {
    pub(super) fn new(folder: Arc<PathBuf>, per_second: u32) -> Self {
        Self { folder, per_second, files: BTreeMap::new(), next: None }
    }

    /// Looks which files there are. One that is new is read from where it was read to before, or from its beginning.
    pub(super) fn survey(
        &mut self,
        watch: Option<&Watch>,
        kept: &HashMap<PathBuf, Position>,
        first: bool,
    ) -> Result<(), Error> {
        let mut failed = Ok(());
        let found = listing::list(&self.folder, &[], watch)?;
        for (path, file) in &mut self.files {
            let there = path.metadata().is_ok_and(|found| listing::identity(&found) == file.identity);
            file.gone |= !there;
        }
        for (path, identity) in found {
            // What is gone is read to its end first.
            if self.files.contains_key(&path) || self.files.len() >= 2 * listing::MOST {
                continue;
            }
            let before = kept.get(&path).filter(|position| position.identity == identity);
            match Followed::open(&path, before, self.per_second, first) {
                Ok(file) => drop(self.files.insert(path, file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => failed = Err(Error::read(path)(error)),
            }
        }
        failed
    }

    /// Whether something waits that no change of a file will tell of.
    pub(super) fn holds(&self) -> bool {
        self.files.values().any(|file| file.held.is_some() || file.gone)
    }

    /// Reads on, each file in its turn.
    pub(super) fn read(&mut self) -> Batch {
        let mut batch = Batch::default();
        let paths: Vec<PathBuf> = match self.next.take() {
            Some(next) => {
                let later = self.files.range(next.clone()..).map(|(path, _)| path.clone());
                later.chain(self.files.range(..next).map(|(path, _)| path.clone())).collect()
            }
            None => self.files.keys().cloned().collect(),
        };
        for path in paths {
            if batch.entries.len() >= MOST {
                (self.next, batch.more) = (Some(path), true);
                break;
            }
            let Some(file) = self.files.get_mut(&path) else { continue };
            let most = TURN.min(MOST - batch.entries.len());
            let before = batch.entries.len();
            match file.read(most, &mut batch) {
                Ok(more) => batch.more |= more,
                Err(error) => {
                    batch.entries.truncate(before);
                    file.rewind();
                    batch.error = Some(Error::read(path)(error));
                    continue;
                }
            }
            let at = file.settled();
            let done = file.gone && file.held.is_none() && at == file.lines.ended();
            if at != file.kept || done {
                let position = Position { identity: file.identity, offset: at, read_at: now() };
                batch.positions.insert(path, (!done).then_some(position));
            }
        }
        batch
    }

    /// The archive has what was read.
    pub(super) fn keep(&mut self, positions: &BTreeMap<PathBuf, Option<Position>>) {
        for (path, position) in positions {
            match (position, self.files.get_mut(path)) {
                (Some(position), Some(file)) => file.kept = position.offset,
                (None, _) => drop(self.files.remove(path)),
                (Some(_), None) => {}
            }
        }
    }

    /// The archive does not have it: it is read again.
    pub(super) fn rewind(&mut self) {
        self.files.values_mut().for_each(Followed::rewind);
    }

    /// How far each file is read, lines that others may continue included.
    pub(super) fn positions(&self) -> BTreeMap<PathBuf, (Identity, u64)> {
        self.files.iter().map(|(path, file)| (path.clone(), (file.identity, file.lines.ended()))).collect()
    }

    /// The lines that are read and yet to be kept, because others may continue them.
    pub(super) fn held(&self) -> Vec<Entry> {
        let held = self.files.values().filter_map(|file| {
            let Held { joined, at, .. } = file.held.as_ref()?;
            Some(file.entry(joined.text().to_owned(), *at))
        });
        held.collect()
    }

    /// The lines that have no end yet.
    pub(super) fn unended(&self) -> Vec<Entry> {
        let unended = self.files.values().filter_map(|file| {
            let text = file.lines.held()?;
            Some(file.entry(text, file.time_at(file.lines.ended())))
        });
        unended.collect()
    }
}

// === impl Followed ===

impl Followed {
    fn open(path: &Path, before: Option<&Position>, per_second: u32, first: bool) -> io::Result<Self> {
        let file = File::open(path)?;
        let found = file.metadata()?;
        let (unit, instance) = listing::names(path);
        let mut lines = Lines::new(file);
        let beginning = first_data(lines.file(), found.len())?;
        let read = before.map(|position| position.offset).filter(|offset| *offset <= found.len());
        let start = read.unwrap_or(0).max(beginning);
        lines.seek(start);
        let (at, year) = (now(), Duration::from_secs(365 * 24 * 60 * 60));
        // While no node ran nobody read: what was written meanwhile came in its time.
        let missed = match before {
            Some(position) => Duration::from_micros(at.saturating_sub(position.read_at)),
            None if first => year,
            None => Duration::ZERO,
        };
        Ok(Self {
            unit,
            instance,
            lines,
            identity: listing::identity(&found),
            held: None,
            budget: Budget::new(per_second, at, missed),
            last: None,
            kept: start,
            backlog: (found.len(), found.modified().map_or(at, micros).min(at)),
            gone: false,
        })
    }

    /// Reads so many lines at most; whether there may be more.
    fn read(&mut self, most: usize, batch: &mut Batch) -> io::Result<bool> {
        let size = self.lines.file().metadata()?.len();
        if size < self.lines.ended() {
            // Truncated by somebody: what is there now is new. None of it is kept, not even that there is nothing.
            self.flush(batch);
            self.lines.seek(0);
            self.kept = u64::MAX;
        }
        let before = batch.entries.len();
        let mut read = 0;
        while batch.entries.len() < before + most && read < most * 20 {
            let start = self.lines.ended();
            let Some(line) = self.lines.next(size)? else {
                let waited = self.held.as_ref().is_some_and(|held| held.since.elapsed() >= PATIENCE);
                if self.gone {
                    if let Some(rest) = self.lines.rest() {
                        self.take(rest, start, batch);
                    }
                    self.flush(batch);
                } else if waited {
                    self.flush(batch);
                }
                return Ok(false);
            };
            read += 1;
            self.take(line, start, batch);
        }
        Ok(true)
    }

    /// Takes a line in: it continues the one before, or ends it.
    fn take(&mut self, line: String, start: u64, batch: &mut Batch) {
        match &mut self.held {
            Some(held) if held.joined.continues(&line) => {
                held.joined.add(&line);
                held.since = Instant::now();
            }
            _ => {
                self.flush(batch);
                if !line.trim().is_empty() {
                    let (at, since) = (self.time_at(start), Instant::now());
                    self.held = Some(Held { joined: Joined::new(line), start, at, since });
                }
            }
        }
    }

    /// Ends the line that is held.
    fn flush(&mut self, batch: &mut Batch) {
        let Some(held) = self.held.take() else { return };
        let entry = self.entry(held.joined.into_text(), held.at);
        self.last = Some(entry.micros);
        if self.budget.allows(entry.line.level, now()) {
            batch.entries.push(entry);
        } else {
            *batch.too_many.entry(self.unit.clone()).or_default() += 1;
        }
    }

    /// The time of a line that says none: that of the line before if it follows at once, and otherwise now; of what was
    /// written before the file was opened, when it last was.
    fn time_at(&self, start: u64) -> u64 {
        let (end, written) = self.backlog;
        let now = now();
        match self.last {
            Some(last) if start < end || now.saturating_sub(last) < AT_ONCE => last,
            None if start < end => written,
            _ => now,
        }
    }

    /// A line as it is kept, at this time if it says none that may be believed.
    fn entry(&self, text: String, otherwise: u64) -> Entry {
        let mut entry = Entry::of_file(&self.unit, &self.instance, text, otherwise);
        entry.micros = believed(entry.micros).unwrap_or(otherwise);
        entry.line.at = entry.micros / 1000;
        entry
    }

    fn rewind(&mut self) {
        self.lines.seek(if self.kept == u64::MAX { 0 } else { self.kept });
        self.held = None;
    }

    /// Up to where all of it is taken.
    fn settled(&self) -> u64 {
        self.held.as_ref().map_or(self.lines.ended(), |held| held.start)
    }
}

//! What is said from now on, at once: each line as soon as it has an end, and those that continue it after it.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use madang_wire::log::LogLine;
use tokio::{sync::broadcast, task};
use tracing::warn;

use super::{
    Sink,
    entry::{Entry, believed, now},
    hole::first_data,
    join::Joined,
    keeper::Settled,
    kept::filter::Wanted,
    lines::Lines,
    listing::{self, Identity},
    pushed::Pushed,
    watch::Watch,
};
use crate::Error;

/// A follower: the files and what is sent by OTLP.
pub(super) struct Follow {
    files: Files,
    watch: Arc<Watch>,
    live: broadcast::Receiver<(u64, LogLine)>,
}

/// The files, open.
struct Files {
    folder: Arc<PathBuf>,
    wanted: Arc<Wanted>,
    watch: Arc<Watch>,
    /// From where each is followed that was there at first.
    starts: BTreeMap<PathBuf, (Identity, u64)>,
    open: BTreeMap<PathBuf, LogFile>,
}

/// The log of one instance.
struct LogFile {
    unit: String,
    instance: String,
    lines: Lines,
    identity: Identity,
    /// The line that others may continue.
    head: Option<(Joined, LogLine)>,
}

// === impl Follow ===

impl Follow {
    /// Listens from now on.
    pub(super) fn new(
        folder: &Arc<PathBuf>,
        wanted: Arc<Wanted>,
        pushed: &mut Pushed,
    ) -> Result<Self, Error> {
        let watch = Arc::new(Watch::new(folder)?);
        let live = pushed.follow();
        let files = Files {
            folder: folder.clone(),
            wanted,
            watch: watch.clone(),
            starts: BTreeMap::new(),
            open: BTreeMap::new(),
        };
        Ok(Self { files, watch, live })
    }

    /// Hands out what comes after what is kept, until the reader leaves.
    pub(super) async fn run(mut self, settled: Settled, sink: &Sink) -> Result<(), Error> {
        let (wanted, mut live) = (self.files.wanted.clone(), self.live);
        self.files.starts = settled.files;
        let mut files = self.files;
        let mut names = true;
        loop {
            let read = blocking(files, sink, move |files, sink| {
                if names {
                    files.survey(sink)?;
                }
                files.send_new(sink)
            });
            let Some(still_read) = read.await else { return Ok(()) };
            files = still_read;
            loop {
                tokio::select! {
                    () = sink.closed() => return Ok(()),
                    changes = self.watch.changes() => {
                        names = changes.names;
                        break;
                    }
                    sent = live.recv() => match sent {
                        Ok((number, line)) if number > settled.pushed && wanted.lets(&line) => {
                            if sink.send(Ok(line)).await.is_err() {
                                return Ok(());
                            }
                        }
                        Ok(_) => {}
                        Err(broadcast::error::RecvError::Lagged(missed)) => {
                            warn!(missed, "a reader of lines by OTLP was too slow");
                        }
                        Err(broadcast::error::RecvError::Closed) => return Ok(()),
                    },
                }
            }
        }
    }
}

/// Runs a step where it may block on a disk or on a slow reader; nothing comes back once the reader has left.
async fn blocking(
    mut files: Files,
    sink: &Sink,
    step: impl FnOnce(&mut Files, &Sink) -> ControlFlow<()> + Send + 'static,
) -> Option<Files> {
    let sink = sink.clone();
    let step = task::spawn_blocking(move || step(&mut files, &sink).is_continue().then_some(files));
    step.await.ok().flatten()
}

/// Hands a line or an error to the reader, waiting for room; breaks off once the reader has left.
fn send(sink: &Sink, found: Result<LogLine, Error>) -> ControlFlow<()> {
    sink.blocking_send(found).map_or(ControlFlow::Break(()), ControlFlow::Continue)
}

// === impl Files ===

impl Files {
    /// Looks which files there are: opens what is new, at its beginning, and closes what is gone, read to its end.
    fn survey(&mut self, sink: &Sink) -> ControlFlow<()> {
        let units = &self.wanted.filter.units;
        let found = match listing::list(&self.folder, units, Some(&self.watch)) {
            Ok(found) => found,
            Err(error) => return send(sink, Err(error)),
        };
        for (path, mut file) in std::mem::take(&mut self.open) {
            if found.get(&path) == Some(&file.identity) {
                self.open.insert(path, file);
            } else {
                file.send_new(&path, &self.wanted, sink)?;
            }
        }
        for (path, identity) in found {
            if self.open.contains_key(&path) {
                continue;
            }
            let start = self.starts.get(&path).filter(|(known, _)| *known == identity);
            match LogFile::open(&path, start.map_or(0, |(_, offset)| *offset)) {
                Ok(file) => drop(self.open.insert(path, file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => send(sink, Err(Error::read(path)(error)))?,
            }
        }
        ControlFlow::Continue(())
    }

    /// Sends what was written since the last look.
    fn send_new(&mut self, sink: &Sink) -> ControlFlow<()> {
        let wanted = &self.wanted;
        self.open.iter_mut().try_for_each(|(path, file)| file.send_new(path, wanted, sink))
    }
}

// === impl LogFile ===

impl LogFile {
    fn open(path: &Path, start: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let found = file.metadata()?;
        let mut lines = Lines::new(file);
        let first = first_data(lines.file(), found.len())?;
        // One that is shorter was truncated meanwhile: what is there now is new.
        lines.seek(first.max(if start > found.len() { 0 } else { start }));
        let (unit, instance) = listing::names(path);
        Ok(Self { unit, instance, lines, identity: listing::identity(&found), head: None })
    }

    /// Sends the lines that were ended since the last look, up to the size that the file has now: a file that
    /// grows all the time does not keep the others waiting.
    fn send_new(&mut self, path: &Path, wanted: &Wanted, sink: &Sink) -> ControlFlow<()> {
        let outcome = self.lines.file().metadata().and_then(|found| {
            if found.len() < self.lines.ended() {
                self.lines.seek(0); // truncated by somebody: what is there now is new
            }
            while let Some(text) = self.lines.next(found.len())? {
                let line = self.line(text);
                if self.lets(wanted, &line) && send(sink, Ok(line)).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        });
        outcome.unwrap_or_else(|error| send(sink, Err(Error::read(path)(error))))
    }

    /// A line; one that continues another is of its time, as bad, and of the same trace.
    fn line(&mut self, text: String) -> LogLine {
        if let Some((joined, head)) = &mut self.head
            && joined.continues(&text)
        {
            joined.add(&text);
            let (message, fields) = (None, serde_json::Map::new());
            return LogLine { line: text, message, fields, ..head.clone() };
        }
        let Entry { micros, mut line } = Entry::of_file(&self.unit, &self.instance, text.clone(), now());
        line.at = believed(micros).unwrap_or_else(now) / 1000;
        self.head = Some((Joined::new(text), line.clone()));
        line
    }

    /// Whether a line is wanted, or the one that it continues.
    fn lets(&self, wanted: &Wanted, line: &LogLine) -> bool {
        wanted.lets(line) || self.head.as_ref().is_some_and(|(_, head)| wanted.lets(head))
    }
}

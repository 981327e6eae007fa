//! What the instances say: kept over restarts in the [archive](crate::archive), searched, and followed as it is said.
//!
//! It comes in two ways. Services write it to files, `{folder}/{unit}/{instance}.log`, from which it is read; or send it
//! by OTLP, which whoever receives that hands in with [`Logs::push`]. A line is never waited for by who writes it: what
//! is too much stays in the file, and is counted ([`budget`]).
//!
//! - [`listing`]: which files there are; [`watch`]: what changes, as the kernel tells of it; [`hole`]: where a file has
//!   content;
//! - [`lines`]: one file, forwards, line by line, within fixed memory;
//! - [`join`]: lines that belong to the one before; [`recognise`]: what a line says of itself; [`entry`]: both together;
//! - [`collect`]: what was written since it was last read; [`pushed`]: what was sent; [`keeper`]: the task that keeps it;
//! - [`kept`]: the tables, and what is found in them; [`history`]: the lines that are kept, asked for;
//! - [`follow`]: what comes after, at once.

mod budget;
mod collect;
mod entry;
mod follow;
mod history;
mod hole;
mod join;
mod keeper;
mod kept;
mod lines;
mod listing;
mod pushed;
mod recognise;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{Stream, stream};
use madang_wire::log::LogLine;
use tokio::{
    sync::{mpsc, oneshot},
    task,
    time::timeout,
};

use crate::{Error, archive::Archive, forward::Forward};
use follow::Follow;
use history::History;
use keeper::{Ask, Keeper, Settled};
use kept::filter::Wanted;
use pushed::Pushed;

pub use entry::LogRecord;
pub use kept::filter::LogFilter;
pub(crate) use kept::schema::PART;

/// How many lines wait for a reader who is slow; the files are not read further meanwhile.
const AHEAD: usize = 256;

/// The most lines of which the last are found; more means all.
const MOST: usize = 10_000;

/// How long whoever asks waits for the task that keeps the lines.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where a query's lines go.
type Sink = mpsc::Sender<Result<LogLine, Error>>;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// How many lines a second of each instance; as many again that tell of trouble.
    pub lines_per_second: u32,
    /// The size of the archive in bytes, by which the index is cut into pieces.
    pub largest: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { lines_per_second: 1000, largest: 512 << 20 }
    }
}

/// The logs of a system. Clones share them.
#[derive(Clone)]
pub struct Logs {
    folder: Arc<PathBuf>,
    archive: Archive,
    config: LogConfig,
    pushed: Arc<Mutex<Pushed>>,
    too_many: Arc<Mutex<BTreeMap<String, u64>>>,
    /// Who gets the lines of files too.
    forward: Option<Forward>,
    ask: mpsc::Sender<Ask>,
    /// Until the task runs that answers.
    asks: Arc<Mutex<Option<mpsc::Receiver<Ask>>>>,
}

/// Which lines to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogQuery {
    /// Which of them.
    pub filter: LogFilter,
    /// How many of the last lines to begin with, over all instances together; more than 10,000 means all.
    pub last: usize,
    /// Go on with lines as they come, also of instances that appear later.
    pub follow: bool,
}

impl Default for LogQuery {
    fn default() -> Self {
        Self { filter: LogFilter::default(), last: 100, follow: false }
    }
}

// === impl Logs ===

impl Logs {
    /// Those in files below a folder, which need not exist yet, and what is kept of them in an archive.
    pub fn new(folder: impl Into<PathBuf>, archive: &Archive, config: LogConfig) -> Self {
        let (ask, asks) = mpsc::channel(64);
        Self {
            folder: Arc::new(folder.into()),
            archive: archive.clone(),
            config,
            pushed: Arc::new(Mutex::new(Pushed::new(config.lines_per_second))),
            too_many: Arc::default(),
            forward: None,
            ask,
            asks: Arc::new(Mutex::new(Some(asks))),
        }
    }

    /// Forwards the lines of files too, once they are kept.
    pub fn forwarding(self, forward: Option<Forward>) -> Self {
        Self { forward, ..self }
    }

    /// Keeps what comes, until `shutdown` ends; what came by then is kept. Only the first call does.
    ///
    /// # Errors
    /// If the archive cannot be read at first.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), madang_store::Error> {
        let asks = self.asks.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(asks) = asks else { return Ok(()) };
        Keeper::open(self).await?.run(asks, shutdown).await;
        Ok(())
    }

    /// Takes in lines that an instance sent by OTLP, and gives how many of them were too many and are not kept. Never
    /// waits.
    pub fn push(&self, records: Vec<LogRecord>) -> usize {
        let units = self.pushed().push(records);
        let too_many = units.len();
        let mut counted = BTreeMap::new();
        units.into_iter().for_each(|unit| *counted.entry(unit).or_default() += 1);
        self.count(&counted);
        too_many
    }

    /// Has what came by OTLP by now kept, and says whether it is: what cannot be written waits. What is in files is there
    /// in any case.
    pub async fn flush(&self) -> bool {
        let last = self.pushed().last();
        if self.pushed().settled() >= last {
            return true;
        }
        self.settled().await.is_some_and(|settled| settled.pushed >= last)
    }

    /// How many lines of each unit were too many, and not kept, since the node started.
    pub fn too_many(&self) -> BTreeMap<String, u64> {
        self.too_many.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last lines in the order of time, then, if they are followed, new ones as they come.
    ///
    /// The time of a line is the one it carries, or that of the line before it if it follows at once, or when it was
    /// read. A line of more than 64 KiB is cut and says so. Lines that continue another come with it, and while they
    /// are followed after it. Must be called on a tokio runtime; a file that cannot be read gives an error and the
    /// others go on.
    pub fn query(&self, query: LogQuery) -> impl Stream<Item = Result<LogLine, Error>> + Send + use<> {
        let (sink, mut lines) = mpsc::channel(AHEAD);
        let logs = self.clone();
        task::spawn(async move {
            if let Err(Ended::Failed(error)) = logs.answer(query, &sink).await {
                let _ = sink.send(Err(error)).await;
            }
        });
        stream::poll_fn(move |context| lines.poll_recv(context))
    }

    /// Ends when the reader leaves, or with the last line if nothing is followed.
    async fn answer(&self, query: LogQuery, sink: &Sink) -> Result<(), Ended> {
        let wanted = Arc::new(Wanted::new(query.filter));
        // Watched and listened for before the first look, so that nothing falls between the two.
        let follow = match query.follow {
            true => Some(Follow::new(&self.folder, wanted.clone(), &mut self.pushed())?),
            false => None,
        };
        let settled = self.settled().await;
        let up_to = settled.as_ref().map_or(i64::MAX, |settled| settled.row);
        let history = History { archive: &self.archive, wanted: wanted.clone(), up_to };
        let held = settled.iter().flat_map(|settled| &settled.held);
        // What has no end yet comes once it has one, where it is followed.
        let unended = settled.iter().filter(|_| !query.follow).flat_map(|settled| &settled.unended);
        let mut held: Vec<LogLine> = held.chain(unended).map(|entry| entry.line.clone()).collect();
        held.retain(|line| wanted.lets(line));
        held.sort_by_key(|line| line.at);
        held.drain(..held.len().saturating_sub(query.last));
        let rest = query.last - held.len();
        let mut merged = Merged { held: held.into(), sink };
        if query.last > MOST && wanted.trace().is_none() {
            let mut cursor = Some(history.begin().await?);
            while let Some(from) = cursor {
                let (lines, next) = history.next(from).await?;
                merged.send(lines).await?;
                cursor = next;
            }
        } else if rest > 0 {
            for some in history.last(rest.min(MOST)).await?.chunks(AHEAD) {
                merged.send(history.lines(some).await?).await?;
            }
        }
        merged.send_rest().await?;
        match follow {
            Some(follow) => Ok(follow.run(settled.unwrap_or_default(), sink).await?),
            None => Ok(()),
        }
    }

    /// Has what came by now kept, and says where that ends. None if nobody answers.
    async fn settled(&self) -> Option<Settled> {
        let (ask, answer) = oneshot::channel();
        timeout(PATIENCE, async {
            self.ask.send(ask).await.ok()?;
            answer.await.ok()
        })
        .await
        .ok()?
    }

    fn pushed(&self) -> MutexGuard<'_, Pushed> {
        self.pushed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, too_many: &BTreeMap<String, u64>) {
        let mut counted = self.too_many.lock().unwrap_or_else(PoisonError::into_inner);
        for (unit, more) in too_many {
            *counted.entry(unit.clone()).or_default() += more;
        }
    }
}

// === impl LogConfig ===

impl LogConfig {
    /// How many lines a shelf of the index has: each is a small part of the whole, since it is dropped whole.
    fn shelf(&self) -> i64 {
        i64::try_from(self.largest >> 14).unwrap_or(i64::MAX).clamp(2_000, 500_000)
    }
}

/// Why a query ends before its time.
enum Ended {
    /// The reader has left.
    Left,
    /// It cannot be answered.
    Failed(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<madang_store::Error> for Ended {
    fn from(error: madang_store::Error) -> Self {
        Self::Failed(Error::Keep(error))
    }
}

/// Lines of the archive, among which come those that are not yet in it, in the order of time.
struct Merged<'a> {
    held: VecDeque<LogLine>,
    sink: &'a Sink,
}

// === impl Merged ===

impl Merged<'_> {
    async fn send(&mut self, lines: Vec<LogLine>) -> Result<(), Ended> {
        for line in lines {
            while let Some(held) = self.held.pop_front_if(|held| held.at < line.at) {
                self.sink.send(Ok(held)).await.map_err(|_| Ended::Left)?;
            }
            self.sink.send(Ok(line)).await.map_err(|_| Ended::Left)?;
        }
        Ok(())
    }

    async fn send_rest(&mut self) -> Result<(), Ended> {
        for held in self.held.drain(..) {
            self.sink.send(Ok(held)).await.map_err(|_| Ended::Left)?;
        }
        Ok(())
    }
}

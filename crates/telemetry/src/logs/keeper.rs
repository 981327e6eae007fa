//! The task that keeps the lines: four times a second what came is written, with how far the files are read then.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use futures_util::FutureExt;
use madang_store::Error;
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::{info, warn};

use crate::forward::{Item, lines};

use super::{
    Logs,
    collect::{Batch, Collector},
    entry::Entry,
    kept::write,
    listing::Identity,
    watch::Watch,
};

/// How often it is written: this much is read again after the node was killed.
const FLUSH: Duration = Duration::from_millis(250);

/// How long whoever asks is kept waiting for what came by then to be written.
const SETTLED: Duration = Duration::from_secs(1);

/// Where the archive ends and the files go on.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// The last row.
    pub(super) row: i64,
    /// How far each file is read.
    pub(super) files: BTreeMap<PathBuf, (Identity, u64)>,
    /// The lines that are read and not in the archive, because others may continue them.
    pub(super) held: Vec<Entry>,
    /// The lines that have no end yet.
    pub(super) unended: Vec<Entry>,
    /// The number of the last line by OTLP that is in the archive.
    pub(super) pushed: u64,
}

/// Whoever wants to know.
pub(super) type Ask = oneshot::Sender<Settled>;

/// The task's state.
pub(super) struct Keeper {
    logs: Logs,
    collector: Option<Collector>,
    watch: Option<Watch>,
    /// The row of the last line.
    last: i64,
    /// Whether files may have come or gone.
    names: bool,
    first: bool,
    failing: bool,
}

// === impl Keeper ===

impl Keeper {
    pub(super) async fn open(logs: Logs) -> Result<Self, Error> {
        let last = logs.archive.read(write::last).await?;
        let watch = Watch::new(&logs.folder)
            .inspect_err(|error| warn!(%error, "the kernel does not tell of new lines: they are looked for"))
            .ok();
        let collector = Some(Collector::new(logs.folder.clone(), logs.config.lines_per_second));
        Ok(Self { logs, collector, watch, last, names: true, first: true, failing: false })
    }

    /// Until `shutdown` ends; what came by then is written.
    pub(super) async fn run(mut self, mut asks: mpsc::Receiver<Ask>, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut ticks = interval(FLUSH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (ended, ask) = tokio::select! {
                () = &mut shutdown => (true, None),
                ask = asks.recv() => (false, ask),
                _ = ticks.tick() => (false, None),
            };
            if ended || ask.is_some() || self.is_due() {
                // The kernel may not have told yet of what was written just before.
                self.names |= ask.is_some() || ended;
                let limit = (ask.is_some() || ended).then(|| Instant::now() + SETTLED);
                let outcome = self.keep(limit).await;
                self.tell(outcome.as_ref().err());
            }
            if let Some(ask) = ask {
                // Whoever asked may have left.
                let _ = ask.send(self.settled());
            }
            if ended {
                return;
            }
        }
    }

    /// Whether there may be something to write.
    fn is_due(&mut self) -> bool {
        let changes = match &self.watch {
            Some(watch) => watch.changes().now_or_never(),
            None => Some(super::watch::Changes { names: true }),
        };
        self.names |= changes.is_some_and(|changes| changes.names);
        let waits = self.failing || self.collector.as_ref().is_none_or(Collector::holds);
        changes.is_some() || self.names || waits || !self.logs.pushed().is_empty()
    }

    /// Writes until there is no more, or for so long.
    async fn keep(&mut self, limit: Option<Instant>) -> Result<(), crate::Error> {
        loop {
            let mut batch = self.read().await?;
            let (more, error) = (batch.more, batch.error.take());
            let (number, pushed) = self.logs.pushed().next(batch.entries.len());
            self.logs.count(&batch.too_many);
            let written = self.write(batch, pushed).await;
            if let Err(error) = written {
                if let Some(collector) = &mut self.collector {
                    collector.rewind();
                }
                return Err(crate::Error::Keep(error));
            }
            self.logs.pushed().written(number);
            let late = limit.is_some_and(|limit| Instant::now() >= limit);
            if (!more && self.logs.pushed().is_empty()) || late || error.is_some() {
                return error.map_or(Ok(()), Err);
            }
        }
    }

    /// Reads on where it may block on a disk.
    async fn read(&mut self) -> Result<Batch, crate::Error> {
        let known = match self.first {
            true => self.logs.archive.read(write::positions).await.map_err(crate::Error::Keep)?,
            false => std::collections::HashMap::new(),
        };
        let (names, first) = (self.names, self.first);
        let Some(mut collector) = self.collector.take() else { return Ok(Batch::default()) };
        let watch = self.watch.take();
        let read = spawn_blocking(move || {
            let surveyed = if names { collector.survey(watch.as_ref(), &known, first) } else { Ok(()) };
            let mut batch = collector.read();
            batch.error = surveyed.err().or(batch.error);
            let gone: Vec<PathBuf> = known.into_keys().filter(|path| !path.exists()).collect();
            (collector, watch, batch, gone)
        });
        let Ok((collector, watch, mut batch, gone)) = read.await else {
            // A panic took it along: it begins anew from what the archive knows.
            self.collector =
                Some(Collector::new(self.logs.folder.clone(), self.logs.config.lines_per_second));
            (self.names, self.first) = (true, true);
            return Ok(Batch::default());
        };
        (self.collector, self.watch) = (Some(collector), watch);
        (self.names, self.first) = (batch.error.is_some(), false);
        // Where a file's name is gone another may have come to have it.
        self.names |= batch.positions.values().any(Option::is_none);
        batch.positions.extend(gone.into_iter().map(|path| (path, None)));
        Ok(batch)
    }

    async fn write(&mut self, batch: Batch, pushed: Vec<Entry>) -> Result<(), Error> {
        let Batch { mut entries, positions, .. } = batch;
        let of_files = entries.len();
        entries.extend(pushed);
        if entries.is_empty() && positions.is_empty() {
            return Ok(());
        }
        let (last, size) = (self.last, self.logs.config.shelf());
        let next = last + i64::try_from(entries.len()).unwrap_or(i64::MAX);
        let forwarded = self.logs.forward.as_ref().map(|forward| {
            let own = entries.iter().take(of_files).map(|entry| (entry.micros, &entry.line));
            (forward, lines::records(own))
        });
        let positions = Arc::new(positions);
        let written = positions.clone();
        self.logs.archive.write(move |tx| write::insert(tx, last, &entries, &written, size)).await?;
        self.last = next;
        // Only what is kept: what could not be written is read again, and would go on twice.
        if let Some((forward, records)) = forwarded {
            forward.push(records.into_iter().map(Item::Logs));
        }
        if let Some(collector) = &mut self.collector {
            collector.keep(&positions);
        }
        Ok(())
    }

    fn settled(&self) -> Settled {
        let (row, pushed) = (self.last, self.logs.pushed().settled());
        match &self.collector {
            Some(collector) => Settled {
                row,
                files: collector.positions(),
                held: collector.held(),
                unended: collector.unended(),
                pushed,
            },
            None => Settled { row, pushed, ..Settled::default() },
        }
    }

    fn tell(&mut self, error: Option<&crate::Error>) {
        match (error, self.failing) {
            (Some(error), false) => {
                warn!(%error, source = ?std::error::Error::source(error), "lines of logs wait in their files");
            }
            (None, true) => info!("lines of logs are kept again"),
            _ => {}
        }
        self.failing = error.is_some();
    }
}

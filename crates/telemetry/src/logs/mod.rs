//! The log files of instances: `{folder}/{unit}/{instance}.log`, written by the services themselves.
//!
//! - [`lines`]: one file, forwards, line by line, within fixed memory;
//! - [`window`]: where the last lines of a file begin, found from its end;
//! - [`date`]: when a line says that it was written;
//! - [`tail`]: the last lines of many files in the order of time;
//! - [`files`]: which files there are, and what was read of each;
//! - [`follow`]: what comes after, as the kernel tells of it.

mod date;
mod files;
mod follow;
mod lines;
mod tail;
#[cfg(test)]
mod tests;
mod window;

use std::{ops::ControlFlow, path::PathBuf, sync::Arc};

use futures_util::{Stream, stream};
use madang_model::UnitName;
use madang_wire::admin::LogLine;
use tokio::{sync::mpsc, task};

use crate::Error;
use files::Files;
use follow::Watch;

/// How many lines wait for a reader who is slow; the files are not read further meanwhile.
const AHEAD: usize = 256;

/// Where a query's lines go.
type Sink = mpsc::Sender<Result<LogLine, Error>>;

/// The logs below one folder.
#[derive(Debug, Clone)]
pub struct Logs {
    folder: Arc<PathBuf>,
}

/// Which lines to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogQuery {
    /// Only the instances of these units; of all if empty.
    pub units: Vec<UnitName>,
    /// How many of the last lines to begin with, over all files together.
    pub last: usize,
    /// Only lines written since then: milliseconds since 1970.
    pub since: Option<u64>,
    /// Go on with lines as they come, also from files that appear later.
    pub follow: bool,
}

impl Default for LogQuery {
    fn default() -> Self {
        Self { units: Vec::new(), last: 100, since: None, follow: false }
    }
}

// === impl Logs ===

impl Logs {
    /// The logs below a folder, which need not exist yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Arc::new(folder.into()) }
    }

    /// The last lines in the order of time, then, if they are followed, new ones as they come.
    ///
    /// The time of a line is the one it carries, or that of the line before it, or when its file last changed;
    /// for a line that came while following, when it was read. A line of more than 64 KiB is cut and says so.
    /// Must be called on a tokio runtime; a file that cannot be read gives an error and the others go on.
    pub fn query(&self, query: LogQuery) -> impl Stream<Item = Result<LogLine, Error>> + Send + use<> {
        let (sink, mut lines) = mpsc::channel(AHEAD);
        let folder = self.folder.clone();
        task::spawn(async move {
            if let Err(error) = answer(folder, query, &sink).await {
                let _ = sink.send(Err(error)).await;
            }
        });
        stream::poll_fn(move |context| lines.poll_recv(context))
    }
}

/// Ends when the reader leaves, or with the last line if nothing is followed.
async fn answer(folder: Arc<PathBuf>, query: LogQuery, sink: &Sink) -> Result<(), Error> {
    // Watched before the first look, so that nothing falls between the two.
    let watch = if query.follow { Some(Arc::new(Watch::new(&folder)?)) } else { None };
    let files = Files::new(folder, query, watch.clone());
    let Some(mut files) = blocking(files, sink, |files, sink| {
        files.survey(sink)?;
        tail::send_last(files, sink)
    })
    .await
    else {
        return Ok(());
    };
    let Some(watch) = watch else { return Ok(()) };
    loop {
        let changes = tokio::select! {
            () = sink.closed() => return Ok(()),
            changes = watch.changes() => changes,
        };
        let read = blocking(files, sink, move |files, sink| {
            if changes.names {
                files.survey(sink)?;
            }
            files.send_new(sink)
        });
        let Some(still_read) = read.await else { return Ok(()) };
        files = still_read;
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

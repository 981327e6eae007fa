//! Logs of real files, in a real archive.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
};

use futures_util::{Stream, StreamExt};
use madang_wire::log::{LogLevel, LogSource};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

use super::*;
use crate::ArchiveConfig;

mod bounds;
mod following;
mod keeping;
mod searching;

/// A system's folder, and the task that keeps its logs.
struct Folder {
    dir: TempDir,
    config: LogConfig,
    archive: ArchiveConfig,
    running: Option<Running>,
}

struct Running {
    logs: Logs,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

// === impl Folder ===

impl Folder {
    async fn new() -> Self {
        Self::with(LogConfig { lines_per_second: 1_000_000, ..LogConfig::default() }).await
    }

    async fn with(config: LogConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Self { dir, config, archive: ArchiveConfig::default(), running: None };
        folder.start().await;
        folder
    }

    async fn start(&mut self) {
        let archive = Archive::open(&self.dir.path().join("telemetry.db"), self.archive).await.unwrap();
        let logs = Logs::new(self.dir.path().join("logs"), &archive, self.config);
        let (stop, stopped) = oneshot::channel();
        let running = logs.clone();
        let task = tokio::spawn(async move {
            running.run(async { drop(stopped.await) }).await.unwrap();
        });
        self.running = Some(Running { logs, stop, task });
    }

    /// Ends as a node does that is told to.
    async fn stop(&mut self) {
        let Running { stop, task, .. } = self.running.take().unwrap();
        let _ = stop.send(());
        task.await.unwrap();
    }

    /// Ends as a node does that is killed.
    async fn kill(&mut self) {
        let Running { task, .. } = self.running.take().unwrap();
        task.abort();
        let _ = task.await;
    }

    fn logs(&self) -> &Logs {
        &self.running.as_ref().unwrap().logs
    }

    /// Appends as a service does.
    fn write(&self, unit: &str, instance: &str, text: &str) {
        let path = self.path(unit, instance);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn path(&self, unit: &str, instance: &str) -> PathBuf {
        self.dir.path().join("logs").join(unit).join(format!("{instance}.log"))
    }

    fn query(&self, query: LogQuery) -> impl Stream<Item = Result<LogLine, Error>> + Unpin + use<> {
        Box::pin(self.logs().query(query))
    }

    async fn found(&self, query: LogQuery) -> Vec<LogLine> {
        self.query(query).map(Result::unwrap).collect().await
    }

    /// All lines of a query that ends.
    async fn lines(&self, query: LogQuery) -> Vec<String> {
        self.found(query).await.into_iter().map(|line| line.line).collect()
    }
}

/// The next lines of a query that follows.
async fn next(lines: &mut (impl Stream<Item = Result<LogLine, Error>> + Unpin), n: usize) -> Vec<String> {
    let mut found = Vec::new();
    for _ in 0..n {
        let line = timeout(Duration::from_secs(10), lines.next()).await;
        found.push(line.unwrap_or_else(|_| panic!("only {found:?} came")).unwrap().unwrap().line);
    }
    found
}

/// A moment of today, so that nothing is too old to be kept.
fn json(second: u32, message: &str) -> String {
    let at = jiff::Timestamp::now().as_second() - 3600;
    let at = jiff::Timestamp::from_second(at - at % 3600 + i64::from(second)).unwrap();
    format!("{{\"timestamp\":\"{at}\",\"message\":\"{message}\"}}\n")
}

fn last(n: usize) -> LogQuery {
    LogQuery { last: n, ..LogQuery::default() }
}

fn follow(n: usize) -> LogQuery {
    LogQuery { last: n, follow: true, ..LogQuery::default() }
}

fn only(filter: LogFilter) -> LogQuery {
    LogQuery { filter, ..LogQuery::default() }
}

fn messages(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| line.split("message\":\"").nth(1).map_or(&**line, |rest| &rest[..1])).collect()
}

fn free_head(path: &Path, bytes: u64) {
    use rustix::fs::{FallocateFlags, fallocate};
    let file = OpenOptions::new().write(true).open(path).unwrap();
    fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, bytes).unwrap();
}

//! Spans and log lines of one day, kept by the ways that a node takes, and metrics of a month.

use std::{
    error::Error,
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::StreamExt;
use madang_store::rusqlite::Connection;
use madang_telemetry::{
    Archive, External, LogConfig, LogQuery, Logs, MetricConfig, Metrics, TraceConfig, Traces,
    otlp::{Encoding, Receiver, Signal, Stores},
};
use tokio::sync::oneshot;

use crate::{
    LARGEST, config, figure, machine,
    shop::{SERVICES, SPANS, Shop, exports},
    words,
};

/// The time that all of it is of.
const DAY_US: u64 = 24 * 60 * 60 * 1_000_000;

/// How many traces are written at once: about what a quarter of a second brings at ten times the budget.
const TRACES: u64 = 250;

/// How many lines are written into the files at once.
const LINES: u64 = 12_000;

pub async fn run(folder: &Path, count: u64) -> Result<(), Box<dyn Error>> {
    let archive = Archive::open(&folder.join("telemetry.db"), config()).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as u64;
    let begin = now - DAY_US;
    let (before, used) = (machine::size(folder)?, spans(&archive, folder, count, begin).await?);
    figure("spans_per_cpu_second", count as f64 / used.as_secs_f64(), "1/s");
    let after = settled(folder)?;
    figure("bytes_per_span", (after - before) as f64 / count as f64, "B");
    let used = lines(&archive, folder, count, begin).await?;
    figure("lines_per_cpu_second", count as f64 / used.as_secs_f64(), "1/s");
    figure("bytes_per_line", (settled(folder)? - after) as f64 / count as f64, "B");
    metrics(&archive, folder, now).await
}

/// The size of the file with all in it that is written.
fn settled(folder: &Path) -> Result<u64, Box<dyn Error>> {
    Connection::open(folder.join("telemetry.db"))?.query_row(
        "PRAGMA wal_checkpoint(FULL)",
        [],
        |_| Ok(()),
    )?;
    Ok(machine::size(folder)?)
}

async fn spans(archive: &Archive, folder: &Path, count: u64, begin: u64) -> Result<Duration, Box<dyn Error>> {
    let config = TraceConfig { sampled_per_second: u32::MAX, waiting: 1 << 20, ..TraceConfig::default() };
    let traces = Traces::new(archive, config);
    let logs = Logs::new(folder.join("logs"), archive, LogConfig::default());
    let stores = Stores { traces: traces.clone(), logs, external: External::default() };
    let (receiver, shop) = (Receiver::new(stores, None), Shop::new());
    let requests = count / SPANS;
    let mut used = Duration::ZERO;
    for batch in 0..requests.div_ceil(TRACES) {
        let range = batch * TRACES..requests.min((batch + 1) * TRACES);
        let (mut records, mut told) = (Vec::new(), Vec::new());
        for n in range {
            let request = shop.request(n, begin + n * DAY_US / requests);
            records.extend(request.records);
            told.extend(request.told);
        }
        let exports = exports(told);
        let began = machine::cpu();
        traces.record(records);
        for (service, bytes) in exports {
            let partial =
                receiver.receive(shop.sender(service), Signal::Traces, Encoding::Protobuf, &bytes)?;
            assert_eq!(partial.rejected, 0, "{}", partial.why);
        }
        traces.flush().await?;
        used += machine::cpu() - began;
    }
    assert_eq!(traces.not_kept(), Default::default());
    Ok(used)
}

/// Writes lines as services do, into their files, and has them kept.
async fn lines(archive: &Archive, folder: &Path, count: u64, begin: u64) -> Result<Duration, Box<dyn Error>> {
    let config = LogConfig { lines_per_second: u32::MAX, largest: LARGEST };
    let logs = Logs::new(folder.join("logs"), archive, config);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(logs.clone().run(async { drop(stopped.await) }));
    let kept = Connection::open(folder.join("telemetry.db"))?;
    let files = SERVICES.iter().map(|name| file(folder, name)).collect::<std::io::Result<Vec<File>>>()?;
    let began = machine::cpu();
    let mut making = Duration::ZERO;
    for batch in 0..count.div_ceil(LINES) {
        let made = machine::own_cpu();
        let mut texts = vec![String::new(); SERVICES.len()];
        let range = batch * LINES..count.min((batch + 1) * LINES);
        for n in range.clone() {
            let text = &mut texts[words::service(n)];
            words::write(text, n, begin + n * (DAY_US / 1000) / count * 1000, n / SPANS);
        }
        for (mut file, text) in files.iter().zip(&texts) {
            file.write_all(text.as_bytes())?;
        }
        making += machine::own_cpu() - made;
        // The last line of each file is held for those that may continue it.
        let wanted = if range.end == count { count } else { range.end - SERVICES.len() as u64 };
        let last = "SELECT coalesce(max(row), 0) FROM log_lines";
        while kept.query_row(last, [], |row| row.get::<_, i64>(0))?.unsigned_abs() < wanted {
            // Whoever asks has what came written first.
            logs.query(LogQuery { last: 1, ..LogQuery::default() }).for_each(async |_| ()).await;
        }
    }
    let used = machine::cpu() - began - making;
    assert!(logs.too_many().is_empty());
    let _ = stop.send(());
    task.await??;
    Ok(used)
}

fn file(folder: &Path, service: &str) -> std::io::Result<File> {
    let folder = folder.join("logs").join(service);
    std::fs::create_dir_all(&folder)?;
    OpenOptions::new().create(true).append(true).open(folder.join(format!("{service}-a.log")))
}

/// Points of a month for each pair of services: what one request adds up to, at each moment the same.
async fn metrics(archive: &Archive, folder: &Path, now_us: u64) -> Result<(), Box<dyn Error>> {
    let metrics = Metrics::open(archive, MetricConfig::default()).await?;
    let shop = Shop::new();
    let records: Vec<_> = (0..2000).flat_map(|n| shop.request(n, now_us).records).collect();
    metrics.record(&records);
    metrics.flush().await?;
    // Nobody can be told of the past, so that what is there is copied to earlier moments.
    Connection::open(folder.join("telemetry.db"))?.execute_batch(
        "WITH RECURSIVE ago (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM ago WHERE n < 8640)
             INSERT INTO metric_points SELECT 10, series, at - n * 10, point
             FROM (SELECT series, min(at) AS at, point FROM metric_points WHERE step = 10 GROUP BY series), ago;
         WITH RECURSIVE ago (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM ago WHERE n < 8928)
             INSERT INTO metric_points SELECT 300, series, at / 300 * 300 - n * 300, point
             FROM (SELECT series, min(at) AS at, point FROM metric_points WHERE step = 10 GROUP BY series), ago;",
    )?;
    Ok(())
}

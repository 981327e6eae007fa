//! Ten times what is kept: of spans by records and by OTLP, and of lines by files and by OTLP.

use std::{
    error::Error,
    fs::OpenOptions,
    io::Write,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use madang_telemetry::{
    Archive, ArchiveConfig, External, LogConfig, LogRecord, Logs, MetricConfig, Metrics, TraceConfig, Traces,
    otlp::{Encoding, Receiver, Signal, Stores},
};
use tokio::{sync::oneshot, time::interval};

use crate::{
    figure, machine,
    shop::{SPANS, Shop, exports},
    words,
};

/// How often a second what came is told.
const TURNS: u64 = 4;

/// Tells for so many seconds, of which the first quarter fills what is there to be filled.
pub async fn run(folder: &Path, seconds: u64) -> Result<(), Box<dyn Error>> {
    let archive = Archive::open(&folder.join("telemetry.db"), ArchiveConfig::default()).await?;
    let (config, log_config) = (TraceConfig::default(), LogConfig::default());
    let requests = u64::from(config.sampled_per_second) * 10 / SPANS / TURNS;
    let lines = u64::from(log_config.lines_per_second) * 10 / TURNS;
    let traces = Traces::new(&archive, config);
    let metrics = Metrics::open(&archive, MetricConfig::default()).await?;
    let logs = Logs::new(folder.join("logs"), &archive, log_config);
    let stores = Stores { traces: traces.clone(), logs: logs.clone(), external: External::default() };
    let receiver = Receiver::new(stores, None);
    let (stop, stopped) = oneshot::channel::<()>();
    let keeping = tokio::spawn(logs.clone().run(async { drop(stopped.await) }));
    let unit = folder.join("logs/orders");
    std::fs::create_dir_all(&unit)?;
    let mut file = OpenOptions::new().create(true).append(true).open(unit.join("orders-a.log"))?;
    let shop = Shop::new();
    let mut before = 0;
    let mut ticks = interval(Duration::from_secs(1) / TURNS as u32);
    for turn in 0..seconds * TURNS {
        ticks.tick().await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as u64;
        let (mut records, mut spans) = (Vec::new(), Vec::new());
        for n in turn * requests..(turn + 1) * requests {
            let request = shop.request(n, now);
            records.extend(request.records);
            spans.extend(request.told);
        }
        let exports = exports(spans);
        let mut text = String::new();
        (0..lines).for_each(|n| words::write(&mut text, turn * lines + n, now, turn));
        let pushed: Vec<LogRecord> = (0..lines).map(|n| line(turn * lines + n, now)).collect();
        file.write_all(text.as_bytes())?;
        metrics.record(&records);
        traces.record(records);
        for (service, bytes) in exports {
            receiver.receive(shop.sender(service), Signal::Traces, Encoding::Protobuf, &bytes)?;
        }
        traces.flush().await?;
        metrics.flush().await?;
        logs.push(pushed);
        if turn == seconds * TURNS / 4 {
            before = machine::resident()?;
        }
        if (turn + 1) % (TURNS * 5) == 0 {
            figure(
                &format!("resident_after_{}_s", (turn + 1) / TURNS),
                machine::resident()? as f64 / 1e6,
                "MB",
            );
        }
    }
    figure("memory_growth_in_flood", (machine::resident()? as f64 - before as f64) / 1e6, "MB");
    let dropped = traces.not_kept();
    figure("spans_dropped_in_flood", (dropped.sampled + dropped.overflow) as f64, "spans");
    figure("lines_dropped_in_flood", logs.too_many().values().sum::<u64>() as f64, "lines");
    let _ = stop.send(());
    keeping.await??;
    Ok(())
}

fn line(n: u64, at: u64) -> LogRecord {
    LogRecord {
        at,
        unit: "mail".to_owned(),
        instance: "mail-a".to_owned(),
        release: None,
        level: None,
        trace_id: None,
        span_id: None,
        body: format!("message {n} handed to mail server"),
        fields: serde_json::Map::new(),
    }
}

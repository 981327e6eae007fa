//! What it costs to keep telemetry and to ask for it: fills an archive and asks what people ask, for
//! `cargo xtask bench telemetry`, which reads what it prints.
//!
//! `archive FOLDER SPANS`: a line `name value unit` for each thing that was measured.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use madang_telemetry::{Archive, ArchiveConfig, MetricConfig, Metrics, TraceConfig, TraceFilter, Traces};
use madang_wire::{Fallback, Hop, RequestRecord, SpanId, TraceId};
use tokio::time::Instant;

/// How many spans each trace has: a request, what its service called, and what these called.
const SPANS: u64 = 8;

/// How often a query is asked; the slowest answer counts.
const TIMES: u32 = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder: PathBuf = arguments.next().ok_or("the folder of the archive")?.into();
    let spans: u64 = arguments.next().ok_or("how many spans")?.parse()?;
    let config = ArchiveConfig { largest: u64::MAX >> 8, ..ArchiveConfig::default() };
    let archive = Archive::open(&folder.join("telemetry.db"), config).await?;
    let traces = Traces::new(
        &archive,
        TraceConfig { sampled_per_second: u32::MAX, waiting: 1 << 20, ..TraceConfig::default() },
    );
    fill(&traces, &folder, spans).await?;
    flood(&archive).await?;
    ask(&traces, spans / SPANS).await
}

/// Writes so many spans of the last day.
async fn fill(traces: &Traces, folder: &Path, spans: u64) -> Result<(), Box<dyn std::error::Error>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    let count = spans / SPANS;
    let step = (24 * 60 * 60 * 1000) as f64 / count as f64;
    let names = Names::new();
    let began = cpu();
    for batch in 0..count.div_ceil(1000) {
        for trace in batch * 1000..count.min((batch + 1) * 1000) {
            let at = now - 24 * 60 * 60 * 1000 + (trace as f64 * step) as u64;
            traces.record(&names.trace(trace, at));
        }
        traces.flush().await?;
    }
    let used = (cpu() - began).as_secs_f64();
    println!("spans_per_cpu_second {:.0} 1/s", spans as f64 / used);
    println!("bytes_per_span {:.0} B", size(folder)? as f64 / spans as f64);
    Ok(())
}

/// Ten times the budget for some seconds, as the node takes it in: what a request costs beyond its own record, and what
/// memory that takes.
async fn flood(archive: &Archive) -> Result<(), Box<dyn std::error::Error>> {
    let config = TraceConfig::default();
    let rate = u64::from(config.sampled_per_second) * 10 / SPANS;
    let (traces, names) = (Traces::new(archive, config), Names::new());
    let metrics = Metrics::open(archive, MetricConfig::default()).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    let batches: Vec<Vec<RequestRecord>> = (0..40)
        .map(|batch| (0..rate / 4).flat_map(|n| names.trace(batch * rate + n + 1, now)).collect())
        .collect();
    let records: usize = batches.iter().map(Vec::len).sum();
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    let (mut began, mut before) = (cpu(), resident()?);
    for (n, batch) in batches.iter().enumerate() {
        ticks.tick().await;
        traces.record(batch);
        metrics.record(batch);
        traces.flush().await?;
        if n == batches.len() / 4 {
            (began, before) = (cpu(), resident()?);
        }
    }
    let counted = records * 3 / 4;
    println!("us_per_request {:.2} us", (cpu() - began).as_secs_f64() * 1e6 / counted as f64);
    println!("memory_growth_in_flood {:.1} MB", (resident()? as f64 - before as f64) / 1e6);
    Ok(())
}

/// Asks what people ask, of an archive with so many traces.
async fn ask(traces: &Traces, count: u64) -> Result<(), Box<dyn std::error::Error>> {
    let all = TraceFilter::default;
    let lists = [
        ("list", all()),
        ("list_errors", TraceFilter { error: true, ..all() }),
        ("list_slow", TraceFilter { slow: Some(Duration::from_secs(2)), ..all() }),
        ("list_very_slow", TraceFilter { slow: Some(Duration::from_secs(60)), ..all() }),
        ("list_service", TraceFilter { service: Some("orders".to_owned()), ..all() }),
        ("list_rare_service", TraceFilter { service: Some("rare".to_owned()), ..all() }),
        ("list_rare_errors", TraceFilter { service: Some("rare".to_owned()), error: true, ..all() }),
        ("list_no_service", TraceFilter { service: Some("absent".to_owned()), ..all() }),
    ];
    for (name, filter) in lists {
        let mut slowest = Duration::ZERO;
        for _ in 0..TIMES {
            let asked = Instant::now();
            traces.list(filter.clone()).await?;
            slowest = slowest.max(asked.elapsed());
        }
        println!("{name} {:.1} ms", slowest.as_secs_f64() * 1e3);
    }
    let mut slowest = Duration::ZERO;
    for n in 0..TIMES {
        let asked = Instant::now();
        let id = mixed(u64::from(n) * count / u64::from(TIMES) + 1);
        let found = traces.get(id).await?.ok_or("the trace is not there")?;
        assert_eq!(found.spans.len() as u64, SPANS);
        slowest = slowest.max(asked.elapsed());
    }
    println!("trace_by_id {:.1} ms", slowest.as_secs_f64() * 1e3);
    Ok(())
}

/// The id of the nth trace: clients choose theirs at random.
fn mixed(n: u64) -> TraceId {
    let mut mixed = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    TraceId((u128::from(mixed) << 64) | u128::from(n))
}

/// What records share.
struct Names {
    services: Vec<Arc<str>>,
    method: Arc<str>,
    route: Arc<str>,
    release: Arc<str>,
}

impl Names {
    fn new() -> Self {
        let services = ["orders", "users", "catalog", "payments", "mail", "rare"];
        Self {
            services: services.into_iter().map(Arc::from).collect(),
            method: "POST".into(),
            route: "/orders/{id}/**".into(),
            release: "5f1e0c2a9b7d".into(),
        }
    }

    /// The spans of the nth trace: one in a hundred failed, one in a thousand was slow, and one in a hundred thousand very
    /// slow; one in a hundred thousand met a service that others do not.
    fn trace(&self, n: u64, at: u64) -> Vec<RequestRecord> {
        let failed = n.is_multiple_of(100);
        let duration_us = match n {
            _ if n.is_multiple_of(100_000) => 70_000_000,
            _ if n.is_multiple_of(1000) => 3_000_000,
            _ => 8_000 + n % 4_000,
        };
        let rare = n % 100_000 == 7;
        let span = |place: u64| RequestRecord {
            at,
            at_us: (place * 10) as u16,
            hop: if place == 0 { Hop::Gateway } else { Hop::Sdk },
            request_id: format!("{n:016x}").parse().unwrap_or_else(|_| n.into()),
            trace_id: mixed(n),
            span_id: SpanId(n * SPANS + place + 1),
            parent_span_id: (place > 0).then(|| SpanId(n * SPANS + 1)),
            route: (place == 0).then(|| self.route.clone()),
            caller: (place > 0).then(|| self.services[0].clone()),
            service: Some(self.services[if rare && place == 3 { 5 } else { place as usize % 5 }].clone()),
            instance: Some(format!("orders-{}", n % 3).into()),
            release: Some(self.release.clone()),
            method: self.method.clone(),
            status: if failed { 503 } else { 200 },
            grpc_status: None,
            code: failed.then(|| "MDG-CALL-001".into()),
            fault: None,
            fallback: None::<Fallback>,
            attempts: 1,
            duration_us: if place == 0 { duration_us } else { 900 },
            upstream_us: 700,
            parked_us: 0,
        };
        (0..SPANS).map(span).collect()
    }
}

/// Processor time of this process.
fn cpu() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), used.tv_nsec.unsigned_abs() as u32)
}

/// Resident memory of this process, in bytes.
fn resident() -> Result<u64, Box<dyn std::error::Error>> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = pages.split(' ').nth(1).ok_or("no such number")?.parse()?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// What the archive takes on the disk.
fn size(folder: &Path) -> std::io::Result<u64> {
    std::fs::read_dir(folder)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

//! What it costs to add a request's record up: `cargo run --release -p madang-telemetry --example metrics`.

use std::sync::Arc;

use madang_telemetry::{Archive, ArchiveConfig, MetricConfig, Metrics};
use madang_wire::{Hop, RequestRecord, SpanId, TraceId};
use tokio::time::Instant;

/// How many records come at once, as a node at 20 000 requests a second takes them from its workers.
const BATCH: u64 = 5000;
const BATCHES: u64 = 400;
/// How many series they are of.
const SERIES: u64 = 40;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file =
        std::env::temp_dir().join(format!("madang-metrics-{}", std::process::id())).join("telemetry.db");
    let archive = Archive::open(&file, ArchiveConfig::default()).await?;
    let metrics = Metrics::open(&archive, MetricConfig::default()).await?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis() as u64;
    let names: Vec<(Arc<str>, Arc<str>)> =
        (0..SERIES).map(|n| (format!("service-{n}").into(), format!("/service-{n}/{{id}}").into())).collect();
    let record = |n: u64| {
        let (service, route) = &names[(n % SERIES) as usize];
        RequestRecord {
            at: now,
            at_us: 0,
            hop: Hop::Gateway,
            request_id: n.into(),
            trace_id: TraceId(u128::from(n) << 64 | u128::from(n)),
            span_id: SpanId(n),
            parent_span_id: None,
            route: Some(route.clone()),
            caller: None,
            service: Some(service.clone()),
            instance: None,
            release: Some("a1b2c3d4e5f6".into()),
            method: "GET".into(),
            status: if n.is_multiple_of(100) { 503 } else { 200 },
            grpc_status: None,
            code: None,
            fault: None,
            fallback: None,
            cache: None,
            attempts: 1,
            duration_us: 300 + n.wrapping_mul(2_654_435_761) % 20_000,
            upstream_us: 250,
            parked_us: 0,
        }
    };
    let records: Vec<_> = (0..BATCH).map(record).collect();
    let began = Instant::now();
    for _ in 0..BATCHES {
        metrics.record(&records);
    }
    let took = began.elapsed();
    println!("{} ns per record", took.as_nanos() / u128::from(BATCH * BATCHES));
    let began = Instant::now();
    metrics.flush().await?;
    println!("{:.1} ms to write {SERIES} series", began.elapsed().as_secs_f64() * 1000.0);
    drop((metrics, archive));
    std::fs::remove_dir_all(file.parent().unwrap_or(&file))?;
    Ok(())
}

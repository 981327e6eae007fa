//! A gateway with or without what a node keeps of its requests: what `cargo xtask bench tracing` measures.
//!
//! `traced LISTEN UPSTREAM nothing|traces|all FOLDER` routes as `proxy` of the gateway does, and takes the records of
//! requests as a node takes them. Of these it keeps in an archive in FOLDER nothing, or traces, or besides what a node
//! has of metrics and of the latest requests.

#[path = "../../gateway/examples/proxy/gateway.rs"]
mod gateway;

use std::{
    error::Error,
    future::pending,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use madang_gateway::Identity;
use madang_telemetry::{Archive, ArchiveConfig, MetricConfig, Metrics, Records, TraceConfig, Traces};
use mimalloc::MiMalloc;
use tracing::subscriber::NoSubscriber;

/// As in a node.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// What keeps records.
#[derive(Default)]
struct Kept {
    traces: Option<Traces>,
    metrics: Option<(Metrics, Records)>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // As in a node, somebody listens to what libraries say, and wants none of it.
    tracing::subscriber::set_global_default(NoSubscriber::new())?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, upstream, what, folder] = &arguments[..] else {
        return Err("usage: traced LISTEN UPSTREAM nothing|traces|all FOLDER".into());
    };
    let (listen, upstream): (SocketAddr, SocketAddr) = (listen.parse()?, upstream.parse()?);
    let kept = Kept::open(what, &PathBuf::from(folder)).await?;
    let system = gateway::system(listen, "{}", (None, false))?;
    let (_gateway, handle, _directory) =
        gateway::start(&system, upstream, &Identity::new(&[1; 32]), None).await?;
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    loop {
        ticks.tick().await;
        let records = handle.records();
        if let Some((metrics, latest)) = &kept.metrics {
            metrics.record(&records);
            latest.push_many(&records);
        }
        if let Some(traces) = &kept.traces {
            traces.record(records);
        }
    }
}

impl Kept {
    async fn open(what: &str, folder: &Path) -> Result<Self, Box<dyn Error>> {
        let (traces, metrics) = match what {
            "nothing" => return Ok(Self::default()),
            "traces" => (true, false),
            "all" => (true, true),
            other => return Err(format!("\"{other}\" is neither nothing nor traces nor all").into()),
        };
        let archive = Archive::open(&folder.join("telemetry.db"), ArchiveConfig::default()).await?;
        tokio::spawn(archive.clone().run(pending()));
        let mut kept = Self::default();
        if traces {
            let traces = Traces::new(&archive, TraceConfig::default());
            tokio::spawn(traces.clone().run(pending()));
            kept.traces = Some(traces);
        }
        if metrics {
            let metrics = Metrics::open(&archive, MetricConfig::default()).await?;
            tokio::spawn(metrics.clone().run(pending()));
            kept.metrics = Some((metrics, Records::default()));
        }
        Ok(kept)
    }
}

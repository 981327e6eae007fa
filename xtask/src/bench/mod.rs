//! Measurements: what they are of is in each file; targets are printed beside what was measured.

mod bare;
mod cache;
mod copy;
mod doors;
mod first_build;
mod gateway;
mod process;
mod running;
mod start;
mod telemetry;
mod tls;
mod tracing;

use anyhow::Result;
use clap::Subcommand;

/// One measurement.
#[derive(Subcommand)]
pub enum Bench {
    /// From `madang up shop` to the first order, and the memory of each process.
    Start(start::Options),
    /// The first command of the README in a clean clone with an empty target folder.
    FirstBuild(first_build::Options),
    /// What a request costs at the gateway, beside a bare hyper proxy, nginx and HAProxy.
    Gateway(gateway::Options),
    /// What TLS costs at the gateway, beside nginx: beginning connections, and requests on those that are open.
    Tls(tls::Options),
    /// What an answer costs that the gateway keeps, beside nginx's cache.
    Cache(cache::Options),
    /// What a call costs through the SDK and through a door, beside a direct one.
    Doors(doors::Options),
    /// What it costs to keep spans and log lines, and how long it takes to ask for them.
    Telemetry(telemetry::Options),
    /// What it costs to trace a request, at the gateway and in a service.
    Tracing(tracing::Options),
    /// Runs the bare hyper proxy.
    #[command(hide = true)]
    BareProxy(bare::Options),
    /// Runs the service behind the proxies.
    #[command(hide = true)]
    Upstream(gateway::upstream::Options),
}

impl Bench {
    /// Measures.
    pub fn run(self) -> Result<()> {
        match self {
            Self::Start(options) => start::run(&options),
            Self::FirstBuild(options) => first_build::run(&options),
            Self::Gateway(options) => gateway::run(&options),
            Self::Tls(options) => tls::run(&options),
            Self::Cache(options) => cache::run(&options),
            Self::Doors(options) => doors::run(&options),
            Self::Telemetry(options) => telemetry::run(&options),
            Self::Tracing(options) => tracing::run(&options),
            Self::BareProxy(options) => bare::run(&options),
            Self::Upstream(options) => gateway::upstream::run(&options),
        }
    }
}

//! Everything that is measured, for Prometheus: [`render`].
//!
//! - [`text`]: the formats;
//! - [`calls`]: what calls add up to;
//! - [`state`]: what is measured of services, instances and the node;
//! - [`sent`]: what services measure themselves.
//!
//! Names of routes are their templates, never paths. Each family of calls leaves out what another one tells, so that
//! there are no more series than there are routes, pairs of caller and callee, and releases.

mod calls;
mod sent;
mod state;
mod text;

use madang_wire::metrics::{ExternalMetric, InstanceGauges, MetricsDropped, ServiceFlow};

use crate::SeriesTotals;
use text::Writer;

pub use text::Exposition;

/// What there is to tell.
#[derive(Debug, Clone, Default)]
pub struct Scrape {
    /// What calls add up to.
    pub calls: Vec<SeriesTotals>,
    /// What is measured of services; their calls are not read.
    pub services: Vec<ServiceFlow>,
    /// What is measured of instances.
    pub instances: Vec<InstanceGauges>,
    /// What services measure themselves.
    pub external: Vec<ExternalMetric>,
    /// What is known of the node.
    pub node: NodeGauges,
    /// What is missing in what is counted.
    pub dropped: MetricsDropped,
    /// What else was dropped, as kind, reason and number.
    pub lost: Vec<(&'static str, &'static str, u64)>,
}

/// What is measured of the node.
#[derive(Debug, Clone, Default)]
pub struct NodeGauges {
    /// The system.
    pub system: String,
    /// The version of the program.
    pub version: String,
    /// When it started, in milliseconds since 1970.
    pub started_at: u64,
    /// Whether every unit is ready.
    pub ready: bool,
    /// Whether the manifest as it is on disk is in force.
    pub manifest_in_force: bool,
    /// Connections of the gateway and of listeners that are open.
    pub connections: u64,
}

/// All of it, in a format.
pub fn render(scrape: &Scrape, exposition: Exposition) -> String {
    let mut writer = Writer::new(exposition);
    calls::write(&mut writer, &scrape.calls);
    state::services(&mut writer, &scrape.services);
    state::instances(&mut writer, &scrape.instances);
    state::node(&mut writer, &scrape.node);
    state::dropped(&mut writer, &scrape.dropped, &scrape.lost);
    sent::write(&mut writer, &scrape.external);
    writer.end()
}

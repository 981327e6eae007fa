//! Everything that is measured: for Prometheus with [`render`], and for a back end that gets all telemetry with [`points`].
//!
//! - [`writer`]: families of values, in whichever form: [`text`] in Prometheus' formats, and [`points`](mod@points);
//! - [`calls`]: what calls add up to;
//! - [`state`]: what is measured of services, instances and the node;
//! - [`sent`]: what services measure themselves.
//!
//! Names of routes are their templates, never paths. Each family of calls leaves out what another one tells, so that
//! there are no more series than there are routes, pairs of caller and callee, and releases.

mod calls;
mod points;
mod sent;
mod state;
mod text;
mod writer;

use madang_wire::{
    cache::CacheView,
    metrics::{ExternalMetric, InstanceGauges, ServiceFlow},
    otlp::{
        attribute,
        common::v1::InstrumentationScope,
        metrics::v1::{ResourceMetrics, ScopeMetrics},
        resource::v1::Resource,
    },
    telemetry::Missing,
};

use crate::SeriesTotals;
use writer::Writer;

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
    /// What is missing in telemetry.
    pub missing: Vec<Missing>,
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
    /// Requests that have become tunnels and are open, that asked to, that found no room, and that ended for silence.
    pub tunnels: [u64; 4],
    /// Connections on which TLS was agreed, those on which it was not, and how many of these gave way to others.
    pub handshakes: [u64; 3],
    /// The certificates of the gateway: a host of each, and when it has ended, in seconds since 1970.
    pub certificates: Vec<(String, u64)>,
    /// How often their files were read again and are in force, and how often what was in force stayed.
    pub certificate_reloads: [u64; 2],
    /// How often an authority was asked for a certificate and gave one, and how often it did not.
    pub certificate_orders: [u64; 2],
    /// What its rate limits did, by their scope and name: requests refused, counted together with others', and refused
    /// because the limit could not be shared.
    pub limits: Vec<(String, [u64; 3])>,
    /// How the store of shared limits does, if limits are shared.
    pub limit_store: Option<LimitStoreGauges>,
    /// What became of copies of requests, by the service that gets them: sent, and left out.
    pub mirrors: Vec<(String, [u64; 2])>,
    /// What the cache did; of the size 0 where there is none.
    pub cache: CacheView,
    /// Requests that were not let in, by the code of the answer.
    pub refused: Vec<(&'static str, u64)>,
    /// Fetches of issuers' keys that gave some, and that did not.
    pub keys_fetched: [u64; 2],
}

/// How the store of shared rate limits does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitStoreGauges {
    /// Whether it answers.
    pub up: bool,
    /// How often it answered, and how often it did not.
    pub exchanged: [u64; 2],
    /// Requests that it could not be told of.
    pub untold: u64,
}

/// All of it, in a format.
pub fn render(scrape: &Scrape, exposition: Exposition) -> String {
    let mut writer = Writer::text(exposition);
    own(&mut writer, scrape);
    sent::write(&mut writer, &scrape.external);
    writer.into_text()
}

/// All that Madang measures itself, at a moment in milliseconds since 1970. What services send goes on as they send it.
pub(crate) fn points(scrape: &Scrape, at: u64) -> ResourceMetrics {
    let NodeGauges { system, version, started_at, .. } = &scrape.node;
    let mut writer = Writer::points(*started_at, at);
    own(&mut writer, scrape);
    let told = [("service.name", "madang"), ("service.version", version), ("service.namespace", system)];
    let attributes = told.iter().map(|(key, value)| attribute(key, value)).collect();
    let scope =
        InstrumentationScope { name: "madang".to_owned(), version: version.clone(), ..Default::default() };
    ResourceMetrics {
        resource: Some(Resource { attributes, ..Default::default() }),
        scope_metrics: vec![ScopeMetrics {
            scope: Some(scope),
            metrics: writer.into_metrics(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn own(writer: &mut Writer, scrape: &Scrape) {
    calls::write(writer, &scrape.calls);
    state::services(writer, &scrape.services);
    state::instances(writer, &scrape.instances);
    state::node(writer, &scrape.node);
    state::missing(writer, &scrape.missing);
}

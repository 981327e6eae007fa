//! What a service tells of its work without a line of its own: a span of each request, of each query and of each span
//! that its author makes with `tracing`, sent over OTLP to whom the environment names.
//!
//! Calls are told by their records ([`crate::records`]), and lines by the log ([`crate::logs`]).
//!
//! - [`settings`], [`sampler`]: what the environment says;
//! - [`server`]: the span of a request; [`layer`]: those below it, from what `tracing` is told;
//! - [`place`]: where in a trace the running code is; [`part`]: what one request did in this process;
//! - [`queue`]: what waits to be sent, and the rule by which it is dropped;
//! - [`export`], [`encode`] with [`protobuf`], [`send`]: on their way out;
//! - [`measure`], [`metrics`]: what is counted, and its way out.

mod encode;
mod export;
mod layer;
mod measure;
mod metrics;
mod part;
mod place;
mod protobuf;
mod queue;
mod sampler;
mod send;
mod server;
mod settings;
mod source;
mod span;
mod statement;

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::measure::Counter;
use self::{
    export::{Exporter, Losses},
    measure::Measured,
    metrics::Reporter,
    queue::Queue,
    source::Spans,
};
pub(crate) use self::{
    layer::layer,
    place::{Place, begin, here, waited},
    server::{Failed, Outcome, Route, ServerSpan},
    settings::Settings,
    source::Source,
};

/// The telemetry of one process.
pub(crate) struct Telemetry {
    settings: Settings,
    queue: Arc<Queue>,
    losses: Arc<Losses>,
}

// === impl Telemetry ===

impl Telemetry {
    /// What these settings say.
    pub(crate) fn new(settings: &Settings) -> Self {
        let queue = Arc::new(Queue::new(settings.limits.waiting));
        Self { settings: settings.clone(), queue, losses: Arc::default() }
    }

    /// One service of the process, which may be the only one.
    pub(crate) fn source(&self, service: &str, alone: bool) -> Arc<Source> {
        let name = self.settings.service_name.as_deref().filter(|_| alone).unwrap_or(service);
        let spans = Spans { queue: self.queue.clone(), sampler: self.settings.sampler };
        let measured = self.settings.metrics.as_ref().map(|_| Measured::default());
        Source::new(name, self.settings.traces.as_ref().map(|_| spans), measured)
    }

    /// Begins to send what there is of these services, in tasks that end once this is `over` and all is sent.
    pub(crate) fn start(&self, sources: Vec<Arc<Source>>, tasks: &TaskTracker, over: &CancellationToken) {
        for complaint in &self.settings.complaints {
            tracing::warn!(complaint, "telemetry is not as the environment asks");
        }
        if let Some(exporter) = Exporter::new(&self.settings, self.queue.clone(), self.losses.clone()) {
            tasks.spawn(exporter.run(over.clone()));
        }
        if let Some(reporter) = Reporter::new(&self.settings, sources, self.losses.clone()) {
            tasks.spawn(reporter.run(over.clone()));
        }
    }
}

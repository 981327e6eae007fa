//! What services tell by OpenTelemetry's protocol (OTLP), whatever carried it here.
//!
//! - `read`: from bytes to messages, unpacked within a bound;
//! - `sender`: whose it is, which whoever tells it is not asked;
//! - `spans`, `logs`, `metrics`: what is kept of each;
//! - `value`: attributes, as much of them as is kept.
//!
//! Nothing here waits: what there is no room for is dropped by the rule of the store that it is for, and counted there.

mod logs;
mod metrics;
mod read;
mod sender;
mod spans;
#[cfg(test)]
mod tests;
mod value;

use madang_wire::otlp::{
    Message,
    collector::{
        logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse},
        metrics::v1::{
            ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        },
        trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse},
    },
};
use serde_json::json;

use crate::{
    External, Logs, Traces,
    forward::{Forward, Item},
    writing::now,
};

pub use read::{Encoding, Unreadable, gunzip};
pub use sender::Sender;

/// The kinds of telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Log records.
    Logs,
    /// Data points.
    Metrics,
}

/// Keeps what services tell. Clones share it.
#[derive(Clone)]
pub struct Receiver {
    stores: Stores,
    forward: Option<Forward>,
}

/// Where it is kept.
#[derive(Clone)]
pub struct Stores {
    /// Spans.
    pub traces: Traces,
    /// Log records.
    pub logs: Logs,
    /// Metrics.
    pub external: External,
}

/// What became of one export: all is kept, or this much is not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Partial {
    /// How many spans, records or data points are not.
    pub rejected: u64,
    /// Why the first of them is not.
    pub why: String,
}

// === impl Receiver ===

impl Receiver {
    /// Keeps what comes in these stores, and has it forwarded.
    pub fn new(stores: Stores, forward: Option<Forward>) -> Self {
        Self { stores, forward }
    }

    /// Takes an export of this sender.
    ///
    /// # Errors
    /// If it cannot be read; nothing of it is kept then.
    pub fn receive(
        &self,
        sender: &Sender,
        signal: Signal,
        encoding: Encoding,
        body: &[u8],
    ) -> Result<Partial, Unreadable> {
        match signal {
            Signal::Traces => Ok(self.traces(sender, read::message(encoding, body)?)),
            Signal::Logs => Ok(self.logs(sender, read::message(encoding, body)?)),
            Signal::Metrics => Ok(self.metrics(sender, read::message(encoding, body)?)),
        }
    }

    fn traces(&self, sender: &Sender, export: ExportTraceServiceRequest) -> Partial {
        let mut partial = Partial::default();
        let mut told = Vec::new();
        for (at, mut of_resource) in export.resource_spans.into_iter().enumerate() {
            let origin = sender.stamp(of_resource.resource.get_or_insert_default());
            self.forward(|| Item::Spans(of_resource.clone()));
            spans::read(at, &origin, of_resource, &mut told, &mut partial);
        }
        match self.stores.traces.told(told) {
            0 => {}
            dropped => partial.reject(dropped, || "too many spans wait to be written".to_owned()),
        }
        partial
    }

    fn logs(&self, sender: &Sender, export: ExportLogsServiceRequest) -> Partial {
        let (mut partial, now) = (Partial::default(), now().saturating_mul(1000));
        for mut of_resource in export.resource_logs {
            let origin = sender.stamp(of_resource.resource.get_or_insert_default());
            self.forward(|| Item::Logs(of_resource.clone()));
            match self.stores.logs.push(logs::read(sender, &origin, of_resource, now)) {
                0 => {}
                refused => partial.reject(refused as u64, || {
                    "more lines than are kept of one instance each second, or than can wait to be written"
                        .to_owned()
                }),
            }
        }
        partial
    }

    fn metrics(&self, sender: &Sender, export: ExportMetricsServiceRequest) -> Partial {
        let mut partial = Partial::default();
        for mut of_resource in export.resource_metrics {
            let origin = sender.stamp(of_resource.resource.get_or_insert_default());
            self.forward(|| Item::Metrics(of_resource.clone()));
            let mut points = Vec::new();
            metrics::read(&origin, of_resource, &mut points);
            match self.stores.external.push(&origin.service, points, now()) {
                0 => {}
                refused => partial.reject(refused as u64, || {
                    "more series than are kept of one service, or values that make no sense".to_owned()
                }),
            }
        }
        partial
    }

    fn forward(&self, item: impl FnOnce() -> Item) {
        if let Some(forward) = &self.forward {
            forward.push([item()]);
        }
    }
}

/// How much of an export a back end did not take, by its answer in protobuf, and why; an answer that cannot be read says
/// nothing.
pub fn rejected(signal: Signal, answer: &[u8]) -> (u64, String) {
    let partial = match signal {
        Signal::Traces => ExportTraceServiceResponse::decode(answer)
            .ok()
            .and_then(|answer| answer.partial_success)
            .map(|partial| (partial.rejected_spans, partial.error_message)),
        Signal::Logs => ExportLogsServiceResponse::decode(answer)
            .ok()
            .and_then(|answer| answer.partial_success)
            .map(|partial| (partial.rejected_log_records, partial.error_message)),
        Signal::Metrics => ExportMetricsServiceResponse::decode(answer)
            .ok()
            .and_then(|answer| answer.partial_success)
            .map(|partial| (partial.rejected_data_points, partial.error_message)),
    };
    let (rejected, why) = partial.unwrap_or_default();
    (rejected.try_into().unwrap_or(0), why)
}

// === impl Partial ===

impl Partial {
    fn reject(&mut self, count: u64, why: impl FnOnce() -> String) {
        if self.rejected == 0 {
            self.why = why();
        }
        self.rejected = self.rejected.saturating_add(count);
    }

    /// The answer to an export.
    pub fn answer(self, signal: Signal, encoding: Encoding) -> Vec<u8> {
        let Self { rejected, why } = self;
        match (encoding, signal) {
            (Encoding::Json, _) if rejected == 0 => b"{}".to_vec(),
            (Encoding::Json, _) => {
                let of = match signal {
                    Signal::Traces => "rejectedSpans",
                    Signal::Logs => "rejectedLogRecords",
                    Signal::Metrics => "rejectedDataPoints",
                };
                json!({ "partialSuccess": { of: rejected.to_string(), "errorMessage": why } })
                    .to_string()
                    .into_bytes()
            }
            (Encoding::Protobuf, _) if rejected == 0 => Vec::new(),
            (Encoding::Protobuf, signal) => {
                let rejected = rejected.try_into().unwrap_or(i64::MAX);
                match signal {
                    Signal::Traces => ExportTraceServiceResponse {
                        partial_success: Some(ExportTracePartialSuccess {
                            rejected_spans: rejected,
                            error_message: why,
                        }),
                    }
                    .encode_to_vec(),
                    Signal::Logs => ExportLogsServiceResponse {
                        partial_success: Some(ExportLogsPartialSuccess {
                            rejected_log_records: rejected,
                            error_message: why,
                        }),
                    }
                    .encode_to_vec(),
                    Signal::Metrics => ExportMetricsServiceResponse {
                        partial_success: Some(ExportMetricsPartialSuccess {
                            rejected_data_points: rejected,
                            error_message: why,
                        }),
                    }
                    .encode_to_vec(),
                }
            }
        }
    }
}

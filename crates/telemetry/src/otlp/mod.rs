//! What services tell by OpenTelemetry's protocol (OTLP), whatever carried it here.
//!
//! - [`read`]: from bytes to messages, unpacked within a bound;
//! - [`sender`]: whose it is, which whoever tells it is not asked;
//! - [`spans`]: what is kept of a span;
//! - [`value`]: attributes, as much of them as is kept.
//!
//! Nothing here waits: what there is no room for is dropped by the rule of the store that it is for, and counted there.

mod not_kept;
mod read;
mod sender;
mod spans;
#[cfg(test)]
mod tests;
mod value;

use madang_wire::otlp::{
    Message,
    collector::{
        logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse},
        metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceResponse},
        trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse},
    },
};
use serde_json::json;

use crate::Traces;

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
    traces: Traces,
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
    /// Keeps what comes with a span's worth and more in these stores.
    pub fn new(traces: Traces) -> Self {
        Self { traces }
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
            Signal::Logs => Ok(not_kept::logs(&read::message(encoding, body)?)),
            Signal::Metrics => Ok(not_kept::metrics(&read::message(encoding, body)?)),
        }
    }

    fn traces(&self, sender: &Sender, export: ExportTraceServiceRequest) -> Partial {
        let mut partial = Partial::default();
        let mut told = Vec::new();
        for (at, mut of_resource) in export.resource_spans.into_iter().enumerate() {
            let origin = sender.stamp(of_resource.resource.get_or_insert_default());
            spans::read(at, &origin, of_resource, &mut told, &mut partial);
        }
        match self.traces.told(told) {
            0 => {}
            dropped => partial.reject(dropped, || "too many spans wait to be written".to_owned()),
        }
        partial
    }
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

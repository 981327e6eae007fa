//! What is kept of what services say and of their requests.

use std::time::Duration;

use serde::Serialize;

/// How much is kept, and for how long: `[telemetry]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Telemetry {
    /// How long traces, log lines and events are kept at most.
    pub keep: Duration,
    /// The size on disk in bytes that what is kept never exceeds.
    pub size: u64,
    /// How many spans a second are kept of those that neither failed nor were slow.
    pub spans_per_second: u32,
    /// From which duration on a request is slow.
    pub slow: Duration,
    /// How many log lines a second are kept of each instance; as many again that tell of trouble.
    pub log_lines_per_second: u32,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(7 * 24 * 60 * 60),
            size: 512 << 20,
            spans_per_second: 1000,
            slow: Duration::from_secs(1),
            log_lines_per_second: 1000,
        }
    }
}

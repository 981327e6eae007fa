//! What `[telemetry]` says.

use std::time::Duration;

use super::{
    raw::{at, text, whole},
    source::At,
    tree::Node,
};
use crate::{Telemetry, parse_duration, parse_size};

/// The table, with the place of each value.
#[derive(Debug, Default)]
pub(super) struct RawTelemetry {
    pub keep: Option<At<Duration>>,
    pub size: Option<At<u64>>,
    pub spans_per_second: Option<At<u32>>,
    pub slow: Option<At<Duration>>,
    pub log_lines_per_second: Option<At<u32>>,
}

impl RawTelemetry {
    pub fn of(node: &Node) -> Self {
        let time = |key| node.get(key).and_then(|node| at(node, parse_duration(&text(node)?.value).ok()?));
        let size = |node| at(node, parse_size(&text(node)?.value).ok()?);
        Self {
            keep: time("keep"),
            size: node.get("size").and_then(size),
            spans_per_second: node.get("spans_per_second").and_then(whole),
            slow: time("slow"),
            log_lines_per_second: node.get("log_lines_per_second").and_then(whole),
        }
    }

    pub fn in_force(&self) -> Telemetry {
        fn or<T: Copy>(said: &Option<At<T>>, default: T) -> T {
            said.as_ref().map_or(default, |said| said.value)
        }
        let default = Telemetry::default();
        Telemetry {
            keep: or(&self.keep, default.keep),
            size: or(&self.size, default.size),
            spans_per_second: or(&self.spans_per_second, default.spans_per_second),
            slow: or(&self.slow, default.slow),
            log_lines_per_second: or(&self.log_lines_per_second, default.log_lines_per_second),
        }
    }
}

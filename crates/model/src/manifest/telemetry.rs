//! What `[telemetry]` says.

use std::{net::SocketAddr, time::Duration};

use super::{
    raw::{address, at, text, whole},
    source::At,
    tree::Node,
};
use crate::{BaseUrl, Forward, ForwardProtocol, Telemetry, parse_duration, parse_size};

/// The table, with the place of each value.
#[derive(Debug, Default)]
pub(super) struct RawTelemetry {
    pub keep: Option<At<Duration>>,
    pub size: Option<At<u64>>,
    pub spans_per_second: Option<At<u32>>,
    pub slow: Option<At<Duration>>,
    pub log_lines_per_second: Option<At<u32>>,
    pub metrics: Option<At<SocketAddr>>,
    pub forward: Option<RawForward>,
}

/// `[telemetry.forward]`.
#[derive(Debug)]
pub(super) struct RawForward {
    pub url: At<BaseUrl>,
    pub protocol: Option<At<ForwardProtocol>>,
    pub headers: Vec<(String, At<String>)>,
}

impl RawForward {
    fn of(node: &Node) -> Option<Self> {
        let protocol = |node: &Node| {
            let grpc = text(node)?.value == ForwardProtocol::Grpc.as_str();
            at(node, if grpc { ForwardProtocol::Grpc } else { ForwardProtocol::Http })
        };
        let headers = node.get("headers").map(Node::entries).unwrap_or_default();
        Some(Self {
            url: node.get("url").and_then(|node| at(node, text(node)?.value.parse().ok()?))?,
            protocol: node.get("protocol").and_then(protocol),
            headers: headers
                .iter()
                .filter_map(|entry| Some((entry.key.to_ascii_lowercase(), text(&entry.node)?)))
                .collect(),
        })
    }

    fn in_force(&self) -> Forward {
        Forward {
            url: self.url.value.clone(),
            protocol: self.protocol.as_ref().map(|at| at.value).unwrap_or_default(),
            headers: self.headers.iter().map(|(name, at)| (name.clone(), at.value.clone())).collect(),
        }
    }
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
            metrics: node.get("metrics").and_then(address),
            forward: node.get("forward").and_then(RawForward::of),
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
            metrics: self.metrics.as_ref().map(|said| said.value),
            forward: self.forward.as_ref().map(RawForward::in_force),
        }
    }
}

//! What is kept of what services say and of their requests.

use std::{collections::BTreeMap, fmt, net::SocketAddr, time::Duration};

use serde::{Serialize, Serializer};

use crate::BaseUrl;

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
    /// Where Prometheus reads metrics without asking for leave; nowhere if absent.
    pub metrics: Option<SocketAddr>,
    /// The back end that gets all of it besides.
    pub forward: Option<Forward>,
}

/// A back end that gets all telemetry by OTLP: `[telemetry.forward]`.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Forward {
    /// Where it takes OTLP.
    pub url: BaseUrl,
    /// How it is spoken to.
    pub protocol: ForwardProtocol,
    /// What each export carries, by the names in lower case. There may be secrets among the values.
    #[serde(serialize_with = "names")]
    pub headers: BTreeMap<String, String>,
}

/// How a back end is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum ForwardProtocol {
    /// OTLP over HTTP, as protobuf.
    #[default]
    #[serde(rename = "http/protobuf")]
    Http,
    /// OTLP over gRPC.
    #[serde(rename = "grpc")]
    Grpc,
}

impl ForwardProtocol {
    /// As the manifest has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http/protobuf",
            Self::Grpc => "grpc",
        }
    }
}

fn names<S: Serializer>(headers: &BTreeMap<String, String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(headers.keys())
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.keys().collect();
        let mut shown = f.debug_struct("Forward");
        shown.field("url", &self.url).field("protocol", &self.protocol).field("headers", &headers).finish()
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(7 * 24 * 60 * 60),
            size: 512 << 20,
            spans_per_second: 1000,
            slow: Duration::from_secs(1),
            log_lines_per_second: 1000,
            metrics: None,
            forward: None,
        }
    }
}

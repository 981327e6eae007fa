//! What a hop saw of a request, as it is kept: the values without their names, which take two thirds of the room.

use std::sync::Arc;

use madang_wire::{CacheUse, Fallback, Hop};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What is kept of it beside what each span has. In the order in which [`Seen::text`] writes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Seen {
    pub(super) method: Arc<str>,
    pub(super) route: Option<Arc<str>>,
    pub(super) status: u16,
    pub(super) grpc_status: Option<u16>,
    pub(super) instance: Option<Arc<str>>,
    pub(super) release: Option<Arc<str>>,
    pub(super) hop: Hop,
    /// The id of the request from outside.
    pub(super) request_id: Option<String>,
    pub(super) code: Option<Arc<str>>,
    pub(super) fault: Option<Arc<str>>,
    pub(super) fallback: Option<Fallback>,
    pub(super) attempts: u32,
    pub(super) upstream_us: u64,
    pub(super) parked_us: u64,
    /// At the end, since what older versions wrote has none.
    #[serde(default)]
    pub(super) cache: Option<CacheUse>,
}

// === impl Seen ===

impl Seen {
    /// What was seen, if that is what a text is of.
    pub(super) fn read(text: &str) -> Option<serde_json::Result<Self>> {
        text.starts_with('[').then(|| serde_json::from_str(text))
    }

    /// A document of JSON: a list, unlike what services tell.
    pub(super) fn text(&self) -> String {
        let values = (
            &*self.method,
            self.route.as_deref(),
            self.status,
            self.grpc_status,
            self.instance.as_deref(),
            self.release.as_deref(),
            self.hop,
            self.request_id.as_deref(),
            self.code.as_deref(),
            self.fault.as_deref(),
            self.fallback,
            self.attempts,
            self.upstream_us,
            self.parked_us,
            self.cache,
        );
        serde_json::to_string(&values).unwrap_or_default()
    }

    /// Under the names of OpenTelemetry's conventions or under `madang.`.
    pub(super) fn attributes(self) -> Map<String, Value> {
        let hop = match self.hop {
            Hop::Gateway => "gateway",
            Hop::Door => "door",
            Hop::Sdk => "sdk",
        };
        let fallback = self.fallback.map(|fallback| match fallback {
            Fallback::Static => "static",
            Fallback::LastGood => "last-good",
            Fallback::Stale => "stale",
        });
        let text = |text: Option<Arc<str>>| text.map(|text| Value::from(&*text));
        let waited = |time: u64| (time > 0).then(|| Value::from(time));
        [
            ("http.request.method", text(Some(self.method))),
            ("http.route", text(self.route)),
            ("http.response.status_code", (self.status > 0).then(|| self.status.into())),
            ("rpc.grpc.status_code", self.grpc_status.map(Value::from)),
            ("service.instance.id", text(self.instance)),
            ("madang.release", text(self.release)),
            ("madang.hop", Some(hop.into())),
            ("madang.request_id", self.request_id.map(Value::from)),
            ("madang.code", text(self.code)),
            ("madang.fault", text(self.fault)),
            ("madang.fallback", fallback.map(Value::from)),
            ("madang.attempts", Some(self.attempts.into())),
            ("madang.upstream_us", waited(self.upstream_us)),
            ("madang.parked_us", waited(self.parked_us)),
            ("madang.cache", self.cache.map(|cache| cache.as_str().into())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    }
}

//! What requests add up to, as the admin API tells of it: `GET /v1/metrics/summary`, `GET /v1/metrics/series` and
//! `GET /v1/metrics/external`.
//!
//! A *call* is one request at one hop: at the gateway, at a door or listener, or in the process of a service with the
//! SDK. Latencies are taken from histograms whose buckets are at most 6.25 % wide, so that a quantile is at most
//! 3.2 % away from the exact one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    TraceId,
    admin::{BreakerState, State},
    telemetry::Missing,
};

/// The caller of requests that come from outside, through the gateway.
pub const GATEWAY: &str = "gateway";
/// The caller of requests that come to Madang's own listener for a service.
pub const LISTENER: &str = "listener";
/// The name under which series are added up that are too many to be kept apart.
pub const OTHER: &str = "other";

/// What the calls of the last seconds add up to: `GET /v1/metrics/summary?window=60s`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MetricsSummary {
    /// When it was read, in milliseconds since 1970.
    pub at: u64,
    /// The length of the window in milliseconds: what was asked for, or less if the node has not run for so long.
    pub window_ms: u64,
    /// What came from outside through the gateway.
    pub total: Flow,
    /// Each service of the system, by name, over all who call it.
    pub services: Vec<ServiceFlow>,
    /// Each route with traffic, by service and template.
    pub routes: Vec<RouteFlow>,
    /// Each pair of caller and callee with traffic, by their names.
    pub edges: Vec<EdgeFlow>,
    /// Each release with traffic, by service.
    pub releases: Vec<ReleaseFlow>,
    /// Each instance.
    pub instances: Vec<InstanceGauges>,
    /// What is missing in all these numbers.
    pub dropped: MetricsDropped,
    /// What is missing in any telemetry since the node started, as far as anything is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
}

/// What some calls add up to. Latencies are in microseconds and absent without calls.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Flow {
    /// How many calls ended.
    pub requests: u64,
    /// Those that failed: answered 5xx, not at all, or with something in place of a failure.
    pub errors: u64,
    /// Of these, the ones whose caller left before the answer.
    pub abandoned: u64,
    /// Calls a second.
    pub rate: f64,
    /// The share that failed, from 0 to 1.
    pub error_ratio: f64,
    /// Half of the calls took no longer.
    pub p50_us: Option<u64>,
    /// 95 of 100 calls took no longer.
    pub p95_us: Option<u64>,
    /// 99 of 100 calls took no longer.
    pub p99_us: Option<u64>,
    /// The mean of the whole time.
    pub mean_us: Option<u64>,
    /// The mean of the part that the service took.
    pub upstream_us: Option<u64>,
    /// The mean of the part spent waiting for an instance, or for other calls to end.
    pub parked_us: Option<u64>,
    /// Attempts beyond the first of each call.
    pub retries: u64,
}

/// A service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceFlow {
    /// Its name.
    pub service: String,
    /// The calls to it.
    pub flow: Flow,
    /// Its instances that are in rotation.
    pub ready: u32,
    /// Its instances.
    pub instances: u32,
    /// Calls that an instance has not answered to the end, as far as this node sees them.
    pub in_flight: u32,
    /// Calls that wait for an instance.
    pub parked: u32,
    /// The worst state among its breakers; absent if it has none that counted something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerState>,
    /// Processor time of its instances, in cores; absent before it was measured twice. Those that host several services
    /// count for each.
    pub cpu: Option<f64>,
    /// Resident memory of its instances in bytes.
    pub memory: Option<u64>,
    /// How often its instances were started again after they exited.
    pub restarts: u64,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouteFlow {
    /// The service that it led to; absent where none was called.
    pub service: Option<String>,
    /// The route's template; absent where no route matched.
    pub route: Option<String>,
    /// The calls over it.
    pub flow: Flow,
}

/// A pair of caller and callee.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EdgeFlow {
    /// The service that called; `gateway` for requests from outside, `listener` for those that came to Madang's own
    /// listener for the service.
    pub caller: String,
    /// The service that was called.
    pub callee: String,
    /// The calls.
    pub flow: Flow,
}

/// A release of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseFlow {
    /// The service.
    pub service: String,
    /// Its release; absent for calls that no instance of a release answered.
    pub release: Option<String>,
    /// The calls that it answered, or was the last to be tried for.
    pub flow: Flow,
}

/// What is measured of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InstanceGauges {
    /// Its id.
    pub instance: String,
    /// Its unit.
    pub unit: String,
    /// The services it hosts.
    pub services: Vec<String>,
    /// Its release.
    pub release: Option<String>,
    /// What it does.
    pub state: State,
    /// Processor time that its processes used, in microseconds.
    pub cpu_us: Option<u64>,
    /// The same since it was measured before, in cores: 1 if it kept one core busy.
    pub cpu: Option<f64>,
    /// Resident memory in bytes.
    pub memory: Option<u64>,
    /// How often it was started again after it exited.
    pub restarts: u32,
    /// Calls that it has not answered to the end, as far as this node sees them.
    pub in_flight: u32,
    /// Whether it is out of use because of its answers.
    pub ejected: bool,
}

/// What was measured of an instance over the last minutes: `GET /v1/metrics/instances`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InstanceSeries {
    /// Its id.
    pub instance: String,
    /// The measurements, the oldest first.
    pub points: Vec<InstancePoint>,
}

/// What was measured of an instance at a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InstancePoint {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Processor time since the measurement before, in cores.
    pub cpu: Option<f64>,
    /// Resident memory in bytes.
    pub memory: Option<u64>,
    /// Calls that it had not answered to the end.
    pub in_flight: u32,
}

/// What was not counted, or not apart, since the node started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MetricsDropped {
    /// Requests of which no record was left, because nobody took the records in time: in no number here.
    pub records: u64,
    /// Requests that are counted under `other`, because there were too many series.
    pub other: u64,
    /// Points that could not be written: in no number of more than ten minutes ago.
    pub unwritten: u64,
    /// Seconds that were forgotten before ten minutes were over, to keep memory within its bound.
    pub seconds: u64,
    /// Series of metrics that services sent, beyond the number that is kept of one service.
    pub external_series: u64,
    /// Points of metrics that services sent and that could not be understood or were of such series.
    pub external_points: u64,
}

/// What calls added up to over time: `GET /v1/metrics/series`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MetricsSeries {
    /// The start of the first point, in milliseconds since 1970.
    pub from: u64,
    /// The end of the last.
    pub until: u64,
    /// The length of each point, in milliseconds.
    pub step_ms: u64,
    /// The points with calls, in order.
    pub points: Vec<MetricPoint>,
    /// What is missing in all these numbers.
    pub dropped: MetricsDropped,
}

/// What the calls of some time add up to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MetricPoint {
    /// When it begins, in milliseconds since 1970.
    pub at: u64,
    /// The calls that ended in it.
    pub flow: Flow,
    /// How many took how long, the shortest first; on request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<Bucket>,
    /// Some of them by their traces: of each range of latencies one, rather one that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exemplars: Vec<Exemplar>,
}

/// How many calls took how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Bucket {
    /// They took less than this, in microseconds, and no less than the bucket before says.
    pub below_us: u64,
    /// How many.
    pub count: u64,
}

/// One call, by its trace, of which spans may be kept or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Exemplar {
    /// The trace's id: 32 hexadecimal digits.
    #[schema(value_type = String)]
    pub trace_id: TraceId,
    /// When it ended, in milliseconds since 1970.
    pub at: u64,
    /// How long it took, in microseconds.
    pub value_us: u64,
    /// Whether it failed.
    pub failed: bool,
}

/// What a service measures itself and sends: `GET /v1/metrics/external`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExternalMetric {
    /// The service.
    pub service: String,
    /// Its name, as the service says it.
    pub name: String,
    /// What it is, as the service says it.
    pub description: String,
    /// Its unit, as the service says it: `s`, `By`, `{request}`.
    pub unit: String,
    /// What its values are.
    pub kind: ExternalKind,
    /// Its series.
    pub series: Vec<ExternalSeries>,
}

/// What the values of a metric are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExternalKind {
    /// A value that is measured.
    Gauge,
    /// A sum that only grows.
    Counter,
    /// A sum that may shrink.
    Sum,
    /// How often values were how large.
    Histogram,
}

/// One series of a metric that a service sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExternalSeries {
    /// What sets it apart.
    #[schema(value_type = Object)]
    pub attributes: std::collections::BTreeMap<String, String>,
    /// When it was sent last, in milliseconds since 1970.
    pub at: u64,
    /// Its value; the sum of the values for a histogram.
    pub value: f64,
    /// How many values there were; for a histogram.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// How many values were how large, each bucket for itself; for a histogram.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<ExternalBucket>,
    /// Its values over time, the oldest first; on request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<ExternalPoint>,
}

/// How many values of a histogram were how large.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExternalBucket {
    /// They were no larger than this; absent for the last bucket.
    pub le: Option<f64>,
    /// How many.
    pub count: u64,
}

/// A value at a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExternalPoint {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// The value; for a histogram the mean of what came since the point before.
    pub value: f64,
    /// How many values came since the point before; for a histogram.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

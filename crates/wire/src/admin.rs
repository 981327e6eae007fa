//! The admin API: what the command line, a dashboard or a script asks of a node, over its unix socket.
//!
//! Collections are JSON arrays; whatever follows (`?follow=true`) is one JSON document a line.

mod event;
mod fault;

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::{
    event::{Event, EventKind},
    fault::{FaultSpec, FaultView},
};

/// The node and the system that it runs: `GET /v1/system`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SystemView {
    /// The system's name.
    pub name: String,
    /// The manifest file, absolute.
    pub manifest: String,
    /// Its name among those that run isolated beside the system, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolated: Option<String>,
    /// The gateway's URL.
    pub gateway: String,
    /// The file with the authority that signs the gateway's certificate for development, if it shows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// The file with the authorities of clients, if the gateway lets nobody in without a certificate that they sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_authorities: Option<String>,
    /// The dashboard's URL; absent where it is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dashboard: Option<String>,
    /// The process id of the node.
    pub pid: u32,
    /// The node's version.
    pub version: String,
    /// When the node started, in milliseconds since 1970.
    pub started_at: u64,
    /// Whether every unit is ready.
    pub ready: bool,
    /// Why the manifest as it is on disk is not in force; absent if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_error: Option<String>,
    /// What Madang needs for itself and cannot have now, and what goes on without; absent if there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<String>,
    /// How telemetry is forwarded, if the manifest names a back end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<ForwardView>,
    /// Requests that the gateway and the listeners of services finished since the node started.
    pub requests: u64,
    /// Request records dropped because nobody drained them in time.
    pub records_dropped: u64,
}

impl SystemView {
    /// The folder of its manifest.
    pub fn folder(&self) -> &Path {
        Path::new(&self.manifest).parent().unwrap_or(Path::new("/"))
    }
}

/// What an instance does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Waits for its build, for what it depends on, or for a port.
    Waiting,
    /// Its build command runs.
    Building,
    /// Its process runs and is not yet ready.
    Starting,
    /// It is in rotation.
    Ready,
    /// It exited and waits to be started again.
    Backoff,
    /// It is being stopped.
    Stopping,
    /// It is not started again: it failed too often, or its build did.
    Failed,
    /// It stopped as it was told to.
    Stopped,
    /// It is not started, because something that it requires is not on the machine.
    LeftOut,
}

/// How telemetry is forwarded to a back end. What is counted is spans, log records and data points together, since the
/// node started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct ForwardView {
    /// The back end.
    pub to: String,
    /// How many wait to be sent.
    pub waiting: u64,
    /// How many it has.
    pub sent: u64,
    /// How many were dropped, the oldest first, as more waited than there is room for.
    pub dropped: u64,
    /// How many it refused, or did not take in five minutes.
    pub refused: u64,
    /// Why it refused the last of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// Why it takes nothing now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// One instance: `GET /v1/instances`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InstanceView {
    /// The instance's id; before its first start, the unit's name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// The services it hosts.
    pub services: Vec<String>,
    /// Its release.
    pub release: Option<String>,
    /// What it does.
    pub state: State,
    /// In words: `ready`, `GET /healthz: 503`, `port 3001 refuses`, `waits for users (3 s)`.
    pub health: String,
    /// How often it was started again after it exited.
    pub restarts: u32,
    /// Its process.
    pub pid: Option<u32>,
    /// Resident memory in bytes, of its process and of those in its process group.
    pub memory: Option<u64>,
    /// Processor time that they and their children used so far, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<u64>,
    /// Where it listens.
    pub url: Option<String>,
    /// Since when it is in this state, in milliseconds since 1970.
    pub since: u64,
    /// Why it is in this state, where there is more to say: the exit, the last lines of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The file that its output goes to.
    pub log: Option<String>,
    /// If it joined, so that others start and stop it: when its lease ends, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ends: Option<u64>,
    /// Whether a person runs it, in the place of Madang: `madang up --except`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_hand: bool,
}

/// How a unit is run by hand: `GET /v1/units/{name}/environment`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnvironmentView {
    /// The unit.
    pub unit: String,
    /// The folder that it runs in.
    pub folder: String,
    /// The command that Madang would run there.
    pub run: String,
    /// Whether what listens on its port is in rotation, since Madang does not run the unit itself.
    pub by_hand: bool,
    /// What its environment tells it, by name. `PORT` and `MADANG_*` are inherited from nobody.
    pub variables: BTreeMap<String, String>,
    /// The variables that hold secrets, with `${secret.NAME}` where each stands and `$$` for a dollar sign: whoever has the
    /// key fills them in, the node tells none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sealed: BTreeMap<String, String>,
    /// The file of the secrets, if there is a variable that holds one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<String>,
}

/// A token for programs that others start: `POST /v1/tokens?service=NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// The service that its bearer may join, and as which it may ask where those are that it calls.
    pub service: String,
    /// The URL of the service API: `MADANG_URL`.
    pub url: String,
    /// The token: `MADANG_TOKEN`.
    pub token: String,
    /// The keys by which it verifies for whom a request is made: `MADANG_PRINCIPAL_KEYS`.
    #[serde(default)]
    pub principal_keys: String,
}

/// One service with all that is known of it: `GET /v1/services/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// Its owner.
    pub owner: Option<String>,
    /// The part of the business that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Where it answers, if it runs elsewhere; then it has no unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its unit.
    pub unit: Option<String>,
    /// The command that runs it.
    pub run: Option<String>,
    /// The folder that it runs in.
    pub folder: Option<String>,
    /// Madang's own listener for it.
    pub listen: Option<String>,
    /// The services it may call.
    pub calls: Vec<String>,
    /// How its instances speak: `http`, `h2c` or `grpc`.
    #[serde(default)]
    pub protocol: String,
    /// Its database's URL, without a password.
    pub database: Option<String>,
    /// Its routes.
    pub routes: Vec<RouteView>,
    /// Its instances.
    pub instances: Vec<InstanceView>,
    /// How it answers.
    #[serde(default)]
    pub health: HealthView,
}

/// How a service answers those who call it through this node: `GET /v1/health`. Counts are those of the last ten
/// seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthView {
    /// The service.
    pub service: String,
    /// Its breakers, if it has any that counted something.
    pub breakers: Vec<BreakerView>,
    /// Its limits of calls at once, if it has any that were asked.
    #[serde(default)]
    pub limits: Vec<LimitView>,
    /// Calls that wait for an instance.
    #[serde(default)]
    pub parked: u32,
    /// Its instances in rotation.
    pub instances: Vec<AnswersView>,
}

/// A breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BreakerView {
    /// The caller or the route for which it is; absent for that of all who call the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// What it does.
    pub state: BreakerState,
    /// Since when, in milliseconds since 1970.
    pub since: u64,
    /// When the next call is let through, in milliseconds since 1970; absent if any is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Failures in a row.
    pub failures_in_a_row: u32,
    /// Answers.
    pub answers: u32,
    /// Those that were failures.
    pub failed: u32,
    /// Those that were slow.
    pub slow: u32,
}

/// What a breaker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerState {
    /// Calls pass.
    Closed,
    /// Calls are refused.
    Open,
    /// One call at a time finds out whether the service is well again.
    HalfOpen,
}

/// A limit of calls at once. Counts of refused calls are those since the node started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitView {
    /// The caller or the route for which it is; absent for that of all who call the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The most calls at once, now.
    pub limit: u32,
    /// Calls under way.
    pub in_use: u32,
    /// Calls that wait.
    pub queued: u32,
    /// Refused calls of the priority `best-effort`.
    pub shed_best_effort: u64,
    /// Refused calls of the priority `normal`.
    pub shed_normal: u64,
    /// Refused calls of the priority `critical`.
    pub shed_critical: u64,
}

/// How an instance answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnswersView {
    /// The instance's id.
    pub instance: String,
    /// Until when it is out of use because of its answers, in milliseconds since 1970; absent if it is in use. From
    /// then on the next request finds out whether it is well again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ejected_until: Option<u64>,
    /// How often it was taken out of use lately.
    pub ejections: u32,
    /// Failures in a row.
    pub failures_in_a_row: u32,
    /// Answers.
    pub answers: u32,
    /// Those that were failures.
    pub failed: u32,
    /// Those that were slow.
    pub slow: u32,
    /// Calls that it has not answered to the end.
    #[serde(default)]
    pub in_flight: u32,
}

/// One route, in order of precedence: `GET /v1/routes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteView {
    /// The host it is for; any if absent.
    pub host: Option<String>,
    /// The path's template.
    pub path: String,
    /// The methods; any if empty.
    pub methods: Vec<String>,
    /// Headers it asks for, as `name: value`.
    pub headers: Vec<String>,
    /// Where it leads: service and weight.
    pub to: Vec<TargetView>,
    /// Where the gateway sends whoever asks, in place of asking a service: `308 /new/{rest}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<String>,
    /// What the gateway itself does with its requests, by the keys of the manifest: `cors`, `rate_limit`, `sticky`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edge: Vec<String>,
    /// What it asks of whoever makes a request: `principal`, `optional`, or what must hold; absent if nobody is asked.
    #[serde(default)]
    pub require: Option<String>,
    /// The file and line that declare it.
    pub place: String,
}

/// One target of a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TargetView {
    /// The service.
    pub service: String,
    /// Its share relative to the others.
    pub weight: u32,
}

/// What the requests of one route to one service, answered with one class of status, add up to:
/// `GET /v1/traffic`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrafficView {
    /// The route's template; absent where no route matched.
    pub route: Option<String>,
    /// The service; absent where none was called.
    pub service: Option<String>,
    /// The first digit of the status; 0 if the client left before the answer.
    pub class: u8,
    /// How many requests.
    pub requests: u64,
    /// The time that they took together, in microseconds.
    pub duration_us: u64,
}

//! Why a request went as it did, and who is to blame: `GET /v1/why/{id}`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{SpanId, TraceId, admin::Event, log::LogLine};

/// What is known of why a request went as it did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhyView {
    /// The trace's id: 32 hexadecimal digits.
    #[schema(value_type = String)]
    pub trace_id: TraceId,
    /// The id of the request from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The name of its first span: the method and the route's template.
    pub name: String,
    /// When it began, in microseconds since 1970.
    pub start_us: u64,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// The status that was answered; 0 if the client left before.
    pub status: u16,
    /// The code of the problem, if Madang answered itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Who or what is to blame.
    pub blame: Blame,
    /// How sure that is.
    pub certainty: Certainty,
    /// The verdict in a sentence.
    pub summary: String,
    /// The calls from outside to the one that failed first, or that took the time.
    pub path: Vec<Step>,
    /// What the verdict rests on.
    pub evidence: Vec<Evidence>,
    /// Where the time went, the most first.
    pub shares: Vec<Share>,
    /// What was logged in the request by whoever is to blame, or in its last moments if nothing was in the request.
    pub logs: Vec<LogLine>,
    /// What changed before: of whoever is to blame, and of the system.
    pub changes: Vec<Event>,
    /// How the releases of whoever is to blame behave, the latest first.
    pub releases: Vec<ReleaseView>,
    /// What could not be seen, and may change the verdict.
    pub unseen: Vec<String>,
    /// What to do next.
    pub next: Vec<Suggestion>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was answered well, in time.
    Well,
    /// It was answered well, but took long.
    Slow,
    /// It was refused: 4xx.
    Refused,
    /// It failed, or was answered with something in place of a failure.
    Failed,
    /// The client left before the answer.
    Abandoned,
}

/// Who or what is to blame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Blame {
    /// A service.
    Service {
        /// Its name.
        service: String,
        /// The instance that was asked last, if one was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
        /// Its release, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        release: Option<String>,
    },
    /// A fault that was made on purpose.
    Fault {
        /// What it is known by; `manifest` for one of the manifest's.
        id: String,
        /// Whose calls meet it.
        caller: String,
        /// The service that they call.
        callee: String,
    },
    /// The manifest, in which a service does not declare what it calls.
    Declaration {
        /// The service that calls.
        caller: String,
        /// The service that it called.
        callee: String,
    },
    /// The request itself, which nobody could answer otherwise.
    Request,
    /// Nobody: it went well.
    Nobody,
    /// It cannot be told: it may be any of these.
    Unknown {
        /// The services that it may be.
        suspects: Vec<String>,
    },
}

/// How sure a verdict is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// It cannot be told.
    None,
    /// The evidence speaks for it, and none against.
    Likely,
    /// There is no other explanation of what was seen.
    Certain,
}

/// One call on the way to whoever is to blame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// The span of the call.
    #[schema(value_type = String)]
    pub span_id: SpanId,
    /// Who called; `gateway` for the request from outside.
    pub caller: String,
    /// Who was called, if anybody was.
    pub callee: Option<String>,
    /// The method and the route's template or the service.
    pub name: String,
    /// The status answered; 0 if the caller left before.
    pub status: u16,
    /// The code of the problem that Madang answered in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// How often an instance was tried.
    pub attempts: u64,
    /// How long it took, in microseconds.
    pub duration_us: u64,
}

/// Something that speaks for the verdict, or that one should know beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Evidence {
    /// When, in microseconds since 1970.
    pub at_us: u64,
    /// The span that shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub span_id: Option<SpanId>,
    /// In a sentence.
    pub text: String,
}

/// The time that a request spent at one place, and not in calls from there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Share {
    /// The service; `gateway` for what is neither.
    pub service: String,
    /// How long, in microseconds.
    pub self_us: u64,
    /// The part of it that calls waited for an instance of it, or for a place among its calls.
    pub parked_us: u64,
}

/// How one release of a service behaved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseView {
    /// The release.
    pub release: String,
    /// From when to when its requests are counted, in milliseconds since 1970.
    pub from: u64,
    /// See `from`.
    pub until: u64,
    /// How many requests it answered.
    pub requests: u64,
    /// How many of them failed.
    pub errors: u64,
    /// The median of their durations, in microseconds.
    pub p50_us: u64,
    /// The 99th percentile.
    pub p99_us: u64,
}

/// A command to try next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Suggestion {
    /// The command.
    pub command: String,
    /// What it shows or does.
    pub why: String,
}

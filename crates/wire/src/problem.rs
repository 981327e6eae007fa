//! One form for every error that Madang answers itself: RFC 9457, `application/problem+json`.

use std::borrow::Cow;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of a [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A kind of problem: a stable code with a page under `docs/errors/`, the status that it answers and its title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The stable code, such as `MDG-GW-001`.
    pub id: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What happened, the same for every occurrence.
    pub title: &'static str,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $status:literal, $title:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Code = Code { id: $id, status: $status, title: $title };)*

            /// Every code there is.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];
        }
    };
}

codes! {
    /// No route of the gateway matches.
    NO_ROUTE = "MDG-GW-001", 404, "No route matches this request";
    /// A route matches the path but not the method.
    METHOD_NOT_ALLOWED = "MDG-GW-002", 405, "The route does not take this method";
    /// The request is malformed or ambiguous.
    BAD_REQUEST = "MDG-GW-003", 400, "The request is malformed";
    /// The request asks for something that the gateway does not do: a tunnel to anywhere.
    NOT_SERVED = "MDG-GW-005", 501, "The gateway does not serve this kind of request";
    /// The client did not send the body of its request in time.
    STALLED = "MDG-GW-006", 408, "The body of the request did not come in time";
    /// As many connections as may have become tunnels.
    TOO_MANY_TUNNELS = "MDG-GW-010", 503, "Too many connections speak another protocol than HTTP";
    /// A rate limit of the gateway has nothing left for whoever asks.
    RATE_LIMITED = "MDG-GW-020", 429, "Too many requests";
    /// The body is larger than the gateway takes.
    BODY_TOO_LARGE = "MDG-GW-021", 413, "The body of the request is too large";
    /// A page of another origin asks whether it may ask.
    FOREIGN_ORIGIN = "MDG-GW-022", 403, "Pages of this origin may not ask";
    /// A request takes only what the cache has, which has nothing.
    NOT_CACHED = "MDG-GW-040", 504, "Nothing is kept that answers the request";
    /// A service answered with an error that is not a problem yet.
    SERVICE_ERROR = "MDG-GW-023", 502, "The service answered with an error";
    /// A limit must be counted together with other gateways, and cannot be.
    LIMIT_NOT_COUNTED = "MDG-GW-024", 503, "A shared limit cannot be counted";
    /// A route asks for whom the request is made, and it does not say.
    NO_CREDENTIAL = "MDG-AUTH-001", 401, "The request does not say for whom it is made";
    /// An answer is made of those of several services, and one of them is missing.
    PART_MISSING = "MDG-GW-030", 502, "A part of the answer is missing";
    /// An answer cannot be made of those of several services.
    NOT_COMPOSED = "MDG-GW-031", 500, "The answer cannot be composed";
    /// The request came by a connection that is for another host.
    MISDIRECTED = "MDG-GW-032", 421, "The request came by the connection of another host";
    /// The node has no certificate of a client with which to send a request through its own gateway.
    NO_CLIENT_CERTIFICATE = "MDG-GW-050", 409, "The gateway lets nobody in without a certificate";
    /// The token or key of a request is not good.
    BAD_CREDENTIAL = "MDG-AUTH-002", 401, "The token or key is not valid";
    /// Whoever the request is made for may not do this.
    NOT_ALLOWED = "MDG-AUTH-003", 403, "The principal may not do this";
    /// Too many tokens of one client were not good.
    TOO_MANY_BAD_TOKENS = "MDG-AUTH-004", 429, "Too many tokens of this client were not valid";
    /// The keys of an issuer cannot be had, so that its tokens cannot be verified.
    NO_KEYS = "MDG-AUTH-005", 503, "The issuer's keys cannot be had";
    /// A request that changes something, made by a session, does not come from a page of the site.
    FORGED = "MDG-AUTH-006", 403, "The request comes from another site";
    /// Somebody's log-in at the gateway went wrong.
    NOT_LOGGED_IN = "MDG-AUTH-007", 400, "The log-in did not succeed";
    /// The issuer that logs people in cannot be asked.
    NO_ISSUER = "MDG-AUTH-008", 503, "The issuer cannot be reached";
    /// No instance became ready in time.
    NO_INSTANCE = "MDG-CALL-001", 503, "No instance of the service is ready";
    /// The connection to an instance could not be made.
    CONNECT = "MDG-CALL-002", 502, "The service could not be reached";
    /// The time for the request ran out.
    TIMEOUT = "MDG-CALL-003", 504, "The service did not answer in time";
    /// The connection broke before the answer came.
    BROKEN = "MDG-CALL-004", 502, "The connection to the service broke";
    /// Too many requests wait for an instance.
    PARKING_FULL = "MDG-CALL-005", 503, "Too many requests wait for the service";
    /// The caller does not declare the service that it calls.
    UNDECLARED = "MDG-CALL-006", 403, "The call is not declared in the manifest";
    /// The service hosted in this process panicked.
    PANIC = "MDG-CALL-007", 500, "The service failed while answering";
    /// Too many calls of the service failed or were slow, so that it is not called for a while.
    OPEN = "MDG-CALL-008", 503, "The service is not called for a while";
    /// A fault answered in place of the service, because somebody asked for it.
    FAULT = "MDG-FLT-001", 503, "A fault was injected";
    /// As many calls as are allowed are under way.
    OVERLOADED = "MDG-CALL-009", 503, "The service has as many calls as it is allowed";
    /// Nobody starts an instance of the service, because something that it requires is not on the machine.
    LEFT_OUT = "MDG-CALL-010", 503, "The service is left out";
    /// A request's field has a bad value.
    INVALID = "MDG-SVC-001", 422, "The request is not valid";
    /// The thing asked for does not exist.
    NOT_FOUND = "MDG-SVC-002", 404, "Not found";
    /// The request conflicts with the state of the thing it is for.
    CONFLICT = "MDG-SVC-003", 409, "Conflict";
    /// The service failed.
    INTERNAL = "MDG-SVC-004", 500, "The service failed";
    /// A process that hosts several services got a request that names none of them.
    WHICH_SERVICE = "MDG-SVC-005", 421, "The request does not name a service of this process";
    /// The body is too large.
    TOO_LARGE = "MDG-SVC-006", 413, "The request is too large";
    /// The body is not of a media type that the service reads.
    UNSUPPORTED_MEDIA = "MDG-SVC-007", 415, "The media type is not supported";
    /// The admin or service API does not know the thing named.
    UNKNOWN_NAME = "MDG-ADM-001", 404, "No such name in this system";
    /// The token of the service API is missing or wrong.
    TOKEN = "MDG-ADM-002", 401, "The token is missing or not known";
    /// The token of the admin API or the session of the dashboard is missing or wrong.
    ADMIN_TOKEN = "MDG-ADM-005", 401, "The admin API does not know who asks";
    /// A request to the dashboard or the admin API comes from a page of somebody else.
    FOREIGN_PAGE = "MDG-ADM-006", 403, "The request comes from somewhere else";
    /// As many pages of the dashboard follow what happens as may.
    TOO_MANY_FOLLOW = "MDG-ADM-007", 503, "Too many pages follow at once";
    /// The token of the service API is another service's.
    FOREIGN_TOKEN = "MDG-JOIN-001", 403, "The token is for another service";
    /// An instance may not join under this id, or not this service.
    NOT_JOINED = "MDG-JOIN-002", 409, "The instance cannot join";
    /// As many instances have joined a service as may.
    TOO_MANY_JOINED = "MDG-JOIN-003", 409, "Too many instances have joined the service";
    /// Telemetry cannot be read as what it says that it is.
    UNREADABLE_TELEMETRY = "MDG-OTLP-001", 400, "The telemetry cannot be read";
    /// An export of telemetry is larger than is read at once.
    TELEMETRY_TOO_LARGE = "MDG-OTLP-002", 413, "The export is too large";
    /// More exports of telemetry come at once than are read.
    TOO_MUCH_TELEMETRY = "MDG-OTLP-003", 503, "Too many exports come at once";
    /// Telemetry is written or packed in a way that is not read.
    TELEMETRY_MEDIA = "MDG-OTLP-004", 415, "The telemetry is in a form that is not read";
    /// An export of telemetry did not come to its end.
    TELEMETRY_STALLED = "MDG-OTLP-005", 408, "The export did not come in time";
    /// The admin API refuses a bad parameter.
    BAD_PARAMETER = "MDG-ADM-004", 400, "A parameter is not valid";
}

/// One bad field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// The field, as a path: `lines[0].quantity`.
    pub field: String,
    /// What is wrong and what was expected.
    pub message: String,
}

/// An error answer (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A URI for the kind of problem.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// What happened, the same for every occurrence of the kind.
    pub title: Cow<'static, str>,
    /// The HTTP status.
    pub status: u16,
    /// A stable code.
    pub code: Cow<'static, str>,
    /// What happened this time and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The path of the thing that the problem is about: an order that was made but not paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The id of the request from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The id of the trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The bad fields of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// A problem of a kind.
    pub fn new(code: Code) -> Self {
        Self {
            kind: format!("urn:madang:error:{}", code.id).into(),
            title: code.title.into(),
            status: code.status,
            code: code.id.into(),
            detail: None,
            instance: None,
            request_id: None,
            trace_id: None,
            errors: Vec::new(),
        }
    }

    /// Says what happened this time.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Says which thing it is about, by its path.
    #[must_use]
    pub fn instance(mut self, path: impl Into<String>) -> Self {
        self.instance = Some(path.into());
        self
    }

    /// Answers another status than the kind's own.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status.as_u16();
        self
    }

    /// Names a bad field.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        self.errors.push(FieldError { field: field.into(), message: message.into() });
        self
    }

    /// The status to answer.
    pub fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The problem as JSON bytes.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    #[test]
    fn every_code_is_unique_and_has_its_page() {
        let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        let mut seen = BTreeSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.id), "{} is used twice", code.id);
            assert!(StatusCode::from_u16(code.status).is_ok());
            let page = pages.join(format!("{}.md", code.id));
            assert!(page.exists(), "{} has no page {}", code.id, page.display());
        }
    }

    #[test]
    fn reads_what_it_writes_and_leaves_out_what_is_absent() {
        let problem = Problem::new(Code::INVALID).detail("one field").field("user", "must be positive");
        let json = problem.to_json();
        assert_eq!(serde_json::from_slice::<Problem>(&json).unwrap(), problem);
        assert!(!String::from_utf8(json).unwrap().contains("trace_id"));
    }
}

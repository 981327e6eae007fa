//! What the admin API has for whoever looks at the system in a browser: where to log in, and requests that are made
//! from there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where the dashboard is, and what opens it: `GET /v1/login`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoginView {
    /// The dashboard's URL; the admin API is below it, at `/v1`.
    pub url: String,
    /// The URL that logs a browser in. Whoever has it rules the system until the node is started anew.
    pub login: String,
    /// The file with the token, which its owner alone may read: send it as `authorization: Bearer`.
    pub token_file: String,
}

/// A request that the node makes through its gateway, as a client from outside would: `POST /v1/requests`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TryRequest {
    /// The method; `GET` if absent.
    #[serde(default)]
    pub method: Option<String>,
    /// The path with its query: `/users/1?full=true`.
    pub path: String,
    /// Headers by name.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, as text.
    #[serde(default)]
    pub body: String,
}

/// What the gateway answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TryAnswer {
    /// The status.
    pub status: u16,
    /// The headers in their order, as name and value.
    pub headers: Vec<(String, String)>,
    /// The body as text; what is no UTF-8 is replaced.
    pub body: String,
    /// Whether there was more of the body than is shown.
    pub cut: bool,
    /// How long it took until the body's end, in microseconds.
    pub duration_us: u64,
    /// Its trace: 32 hexadecimal digits.
    pub trace_id: String,
}

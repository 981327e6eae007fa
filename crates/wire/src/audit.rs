//! Who did what: `GET /v1/audit`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that somebody asked the node to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Who, as the socket or the token says.
    pub by: String,
    /// What, in words: `restart users`.
    pub what: String,
    /// The request: `POST /v1/restart/users`.
    pub request: String,
    /// The status that was answered: from 400 on nothing was done.
    pub status: u16,
}

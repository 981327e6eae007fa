//! API keys: `/v1/keys` of the admin API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A key that is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeySpec {
    /// What people call it, and services see as the subject `key:NAME`.
    pub name: String,
    /// The scopes that it has.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// How long it is good: `90d`; until it is revoked if absent.
    #[serde(default)]
    pub lasts: Option<String>,
}

/// A key, without what it is used by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyView {
    /// What people call it.
    pub name: String,
    /// What its text has after `mk_`.
    pub id: String,
    /// The scopes that it has.
    pub scopes: Vec<String>,
    /// When it was made, in milliseconds since 1970.
    pub created_at: u64,
    /// Who made it, as the socket or the token says.
    pub by: String,
    /// When it ends, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

/// A key by which the built-in issuer signs tokens from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SigningKey {
    /// Its id, which tokens have in their head as `kid`.
    pub kid: String,
    /// The issuer's name.
    pub issuer: String,
}

/// A key that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewKey {
    /// Its text, which is told here and never again.
    pub key: String,
    /// What is kept of it.
    pub view: KeyView,
    /// Whether the gateway takes keys, as the manifest says.
    pub taken: bool,
}

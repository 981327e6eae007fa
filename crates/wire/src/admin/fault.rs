//! Failures made on purpose.

use madang_model::policy::FaultEffect;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A failure to be made on purpose: `POST /v1/faults`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// Whose calls meet it: a service, or `gateway` for requests from outside.
    pub caller: String,
    /// The service that they call, which the caller declares or a route leads to.
    pub callee: String,
    /// The method that it is for; any if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The path that it is for, as a route's: `/charges/**`; any if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What happens: `delay 2s`, `status 503`, `hang`, `lose-reply` or `kill`.
    #[schema(value_type = String)]
    pub effect: FaultEffect,
    /// How many of the calls meet it, in percent: 1 to 100; all if absent.
    #[serde(default = "all")]
    pub percent: u8,
    /// How long until it ends by itself, up to a day: `5m`; ten minutes if absent.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<String>,
}

fn all() -> u8 {
    100
}

/// A fault in force: `GET /v1/faults`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FaultView {
    /// What it is known by.
    pub id: String,
    /// Whose calls meet it: a service, or `gateway`.
    pub caller: String,
    /// The service that they call.
    pub callee: String,
    /// The method that it is for; any if absent.
    pub method: Option<String>,
    /// The path that it is for, as a route's; any if absent.
    pub path: Option<String>,
    /// What happens.
    #[schema(value_type = String)]
    pub effect: FaultEffect,
    /// How many of the calls meet it, in percent.
    pub percent: u8,
    /// When it was added, in milliseconds since 1970.
    pub since: u64,
    /// When it ends by itself, in milliseconds since 1970.
    pub until: u64,
    /// Who added it, as the socket says.
    pub by: String,
}

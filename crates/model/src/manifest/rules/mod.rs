//! The rules that span more than one value: each looks at the whole system and reports all that breaks it.

mod auth;
mod compositions;
mod databases;
mod edge;
mod elsewhere;
mod env;
mod issuer;
mod order;
mod policies;
mod ports;
mod routes;
mod secrets;
mod services;
mod telemetry;
mod tls;
mod urls;

use super::{error::Found, raw::RawSystem};
pub(super) use databases::{database, masked};
pub(super) use secrets::check as secrets;

/// Applies every rule.
pub(super) fn check(raw: &RawSystem, system: &str, root: &std::path::Path, found: &mut Found) {
    services::names(raw, found);
    services::placement(raw, found);
    elsewhere::check(raw, found);
    ports::check(raw, found);
    policies::check(raw, found);
    order::check(raw, found);
    routes::check(raw, found);
    env::check(raw, found);
    urls::check(raw, found);
    telemetry::check(raw, found);
    auth::check(raw, found);
    tls::check(raw, found);
    compositions::check(raw, found);
    edge::check(raw, found);
    issuer::check(raw, found);
    databases::check(raw, system, root, found);
}

//! Every key that a manifest may hold: its name, what it is for and what it takes.
//!
//! This is the only list of them. The checks, the hints for a misspelt or misplaced key and the JSON Schema
//! are all made from it.

mod auth;
mod composition;
mod edge;
mod gateway;
mod issuer;
mod policy;
mod route;
mod service;
mod system;
mod telemetry;
mod tls;

pub(super) use self::{
    auth::*, composition::*, edge::*, gateway::*, issuer::*, policy::*, route::*, service::*, system::*,
    telemetry::*, tls::*,
};
use super::format::Format;

/// A table of the manifest.
#[derive(Debug)]
pub(super) struct Table {
    /// What it is called in a message: "a service".
    pub noun: &'static str,
    /// Its definition in the JSON Schema.
    pub schema: &'static str,
    /// Its keys, in groups that several tables share.
    pub groups: &'static [&'static [Key]],
    /// Its forms, if it has several: the key that each must have, which no other has, and all that it may have.
    pub forms: &'static [(&'static str, &'static [&'static str])],
}

impl Table {
    pub fn keys(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.groups.iter().copied().flatten()
    }

    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name)
    }
}

/// A key of a table.
#[derive(Debug)]
pub(super) struct Key {
    pub name: &'static str,
    pub doc: &'static str,
    pub shape: Shape,
    pub required: bool,
}

/// What a key takes.
#[derive(Debug)]
pub(super) enum Shape {
    /// A text of some form.
    Text(Format),
    /// A whole number within bounds, both included.
    Whole(i64, i64),
    /// The value `false`.
    False,
    /// The value `true`.
    True,
    /// One of these words.
    Choice(&'static [&'static str]),
    List(&'static Shape),
    /// A table from names of some form to values.
    Map(Format, &'static Shape),
    Table(&'static Table),
    /// Whichever of these has the value's type.
    AnyOf(&'static [Shape]),
}

const fn key(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, doc, shape, required: false }
}

const fn required(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, doc, shape, required: true }
}

const TIMEOUT: Shape = Shape::Text(Format::Duration);
const LISTEN: Shape = Shape::AnyOf(&[Shape::Whole(0, 65_535), Shape::Text(Format::Address)]);

/// Every table there is.
pub(super) static TABLES: &[&Table] = &[
    &MANIFEST,
    &SYSTEM,
    &GATEWAY,
    &AUTH,
    &ISSUER,
    &API_KEYS,
    &TLS,
    &CERTIFICATE,
    &ACME,
    &EXTERNAL_ACCOUNT,
    &LOGIN,
    &OWN_ISSUER,
    &OAUTH_CLIENT,
    &REQUIRE,
    &TELEMETRY,
    &FORWARD,
    &ADMIN,
    &SERVICE,
    &SERVICE_FILE,
    &UNIT,
    &ROUTE,
    &POLICY,
    &ROUTE_POLICY,
    &CALL,
    &BACKOFF,
    &RETRY_BUDGET,
    &EJECTION,
    &BREAKER,
    &CONCURRENCY,
    &FALLBACK,
    &FAULT,
    &EDGE,
    &RATE_LIMIT,
    &SHARED,
    &LIMIT_STORE,
    &PROXIES,
    &CORS,
    &PATH_EDIT,
    &HEADER_EDITS,
    &MIRROR,
    &COMPRESS,
    &CACHE,
    &PROBLEMS,
    &REDIRECT,
    &STICKY,
    &COMPOSITION,
    &PART,
    &ANSWER,
];

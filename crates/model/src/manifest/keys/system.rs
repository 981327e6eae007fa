//! The keys of a manifest as a whole: its tables, `[system]` and `[admin]`.

use super::{
    COMPOSITION, Format, GATEWAY, OWN_ISSUER, POLICY, ROUTES, SERVICE, Shape, TELEMETRY, Table, UNIT, key,
};

/// `madang.toml` itself.
pub(in crate::manifest) static MANIFEST: Table = Table {
    noun: "a manifest",
    schema: "manifest",
    groups: &[&[
        key("system", Shape::Table(&SYSTEM), "The system as a whole."),
        key(
            "policy",
            Shape::Table(&POLICY),
            "What holds for every call unless a service, a route or a call says otherwise.",
        ),
        key("gateway", Shape::Table(&GATEWAY), "The front door."),
        key(
            "issuer",
            Shape::Table(&OWN_ISSUER),
            "An issuer of tokens for development (OAuth 2.1, OpenID Connect), which Madang runs itself. Any other is named in [gateway.auth].",
        ),
        key(
            "telemetry",
            Shape::Table(&TELEMETRY),
            "What is kept of what services say and of their requests. Read when a node starts.",
        ),
        key("admin", Shape::Table(&ADMIN), "The dashboard and the admin API."),
        key("services", Shape::Map(Format::Name, &Shape::Table(&SERVICE)), "The services by name."),
        key(
            "units",
            Shape::Map(Format::Name, &Shape::Table(&UNIT)),
            "Which services share a process, by the unit's name.",
        ),
        key("routes", ROUTES, "Routes that belong to no service alone."),
        key(
            "compositions",
            Shape::List(&Shape::Table(&COMPOSITION)),
            "Endpoints that the gateway answers from several services.",
        ),
    ]],
    forms: &[],
};

pub(in crate::manifest) static SYSTEM: Table = Table {
    noun: "[system]",
    schema: "system",
    groups: &[&[
        key("name", Shape::Text(Format::Name), "The system's name; that of the manifest's folder if absent."),
        key(
            "include",
            Shape::List(&Shape::Text(Format::Glob)),
            "Files of services, as `*/service.toml`, relative to the manifest.",
        ),
        key(
            "postgres",
            Shape::Text(Format::PostgresServer),
            "The server on which `database = \"postgres\"` has its databases: `postgres://user@host`.",
        ),
    ]],
    forms: &[],
};

pub(in crate::manifest) static ADMIN: Table = Table {
    noun: "[admin]",
    schema: "admin",
    groups: &[&[key(
        "listen",
        Shape::AnyOf(&[Shape::Whole(0, 65_535), Shape::Text(Format::Loopback), Shape::False]),
        "Where the dashboard and the admin API listen, on loopback alone: a port on 127.0.0.1, an address with a port, or `false` for nowhere but the unix socket. Default 127.0.0.1:3900, or another port where that one is taken.",
    )]],
    forms: &[],
};

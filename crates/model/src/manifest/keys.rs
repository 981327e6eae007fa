//! Every key that a manifest may hold: its name, what it is for and what it takes.
//!
//! This is the only list of them. The checks, the hints for a misspelt or misplaced key and the JSON Schema
//! are all made from it.

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
const SERVICES: Shape = Shape::List(&Shape::Text(Format::Name));
const LISTEN: Shape = Shape::AnyOf(&[Shape::Whole(0, 65_535), Shape::Text(Format::Address)]);
const CALLS: Shape = Shape::AnyOf(&[SERVICES, Shape::Map(Format::Name, &Shape::Table(&CALL))]);
const OWN_ROUTES: Shape = Shape::List(&Shape::AnyOf(&[Shape::Text(Format::Path), Shape::Table(&ROUTE)]));
const ROUTES: Shape = Shape::List(&Shape::Table(&ROUTE));

/// `madang.toml` itself.
pub(super) static MANIFEST: Table = Table {
    noun: "a manifest",
    schema: "manifest",
    groups: &[&[
        key("system", Shape::Table(&SYSTEM), "The system as a whole."),
        key("gateway", Shape::Table(&GATEWAY), "The front door."),
        key("services", Shape::Map(Format::Name, &Shape::Table(&SERVICE)), "The services by name."),
        key(
            "units",
            Shape::Map(Format::Name, &Shape::Table(&UNIT)),
            "Which services share a process, by the unit's name.",
        ),
        key("routes", ROUTES, "Routes that belong to no service alone."),
    ]],
};

pub(super) static SYSTEM: Table = Table {
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
};

pub(super) static GATEWAY: Table = Table {
    noun: "[gateway]",
    schema: "gateway",
    groups: &[&[
        key(
            "listen",
            LISTEN,
            "Where requests from outside arrive: an address with a port, or a port on 127.0.0.1. Default 127.0.0.1:3000.",
        ),
        key(
            "timeout",
            TIMEOUT,
            "The total time of a request unless its service or route says otherwise. Default 15s.",
        ),
    ]],
};

/// `[services.NAME]`.
pub(super) static SERVICE: Table =
    Table { noun: "a service", schema: "service", groups: &[SERVICE_KEYS, SERVICE_RUN, PROGRAM_KEYS] };

/// A `service.toml`: the keys of `[services.NAME]`, and the name.
pub(super) static SERVICE_FILE: Table = Table {
    noun: "a service's file",
    schema: "service-file",
    groups: &[
        &[required("name", Shape::Text(Format::Name), "The service's name.")],
        SERVICE_KEYS,
        SERVICE_RUN,
        PROGRAM_KEYS,
    ],
};

const SERVICE_KEYS: &[Key] = &[
    key("owner", Shape::Text(Format::Free), "The team that owns it."),
    key(
        "url",
        Shape::Text(Format::Url),
        "Where it answers if it runs elsewhere, as `https://mail.example`: it is called like any other, and neither started nor stopped.",
    ),
    key(
        "listen",
        LISTEN,
        "Where Madang itself listens for this service and balances over its instances: a port on 127.0.0.1, or an address with a port.",
    ),
    key(
        "protocol",
        Shape::Choice(&["http", "h2c", "grpc"]),
        "How its instances speak: HTTP/1.1 (http), HTTP/2 without TLS (h2c), or gRPC over the latter (grpc), which also answers grpc.health.v1. Default http.",
    ),
    key("timeout", TIMEOUT, "The total time of a call to it unless the caller or the route says otherwise."),
    key(
        "calls",
        CALLS,
        "The services it may call: names, or a table from names to limits. It says nothing about the order of starting.",
    ),
    key(
        "database",
        Shape::Text(Format::Database),
        "Its own database: \"sqlite\" (a file that Madang keeps), \"postgres\" (a database on [system] postgres), \"sqlite:PATH\" or \"postgres://…\".",
    ),
    key("routes", OWN_ROUTES, "The requests from outside that are its own: paths, or tables."),
];

const SERVICE_RUN: &[Key] = &[key(
    "run",
    Shape::AnyOf(&[Shape::Text(Format::Deferred), Shape::False]),
    "The command that runs it, in the folder of this file, or `false` if others start it and its instances join. `${self.port}` and the like are filled in when an instance starts.",
)];

const UNIT_RUN: &[Key] = &[key(
    "run",
    Shape::Text(Format::Deferred),
    "The command that runs it, in the folder of this file. `${self.port}` and the like are filled in when an instance starts.",
)];

/// The rest of what is run, for a unit and for a service that is its own unit.
const PROGRAM_KEYS: &[Key] = &[
    key("build", Shape::Text(Format::Free), "The command that builds it; equal commands run once."),
    key(
        "health",
        Shape::Text(Format::Health),
        "The path that answers 2xx once an instance is ready; if absent, it is ready when its port accepts.",
    ),
    key(
        "port",
        Shape::AnyOf(&[Shape::Whole(1, 65_535), Shape::False]),
        "The port that the program insists on (one instance), or `false` for a worker that listens nowhere. Default: each instance is told one in PORT.",
    ),
    key("replicas", Shape::Whole(1, 1_000), "How many instances run at once. Default 1."),
    key(
        "env",
        Shape::Map(Format::Variable, &Shape::Text(Format::Deferred)),
        "Environment of its own. `${self.port}` and the like are filled in when an instance starts.",
    ),
    key("depends_on", SERVICES, "The services that must be ready before it starts."),
];

/// `[units.NAME]`.
pub(super) static UNIT: Table = Table {
    noun: "a unit",
    schema: "unit",
    groups: &[
        &[required("services", SERVICES, "The services that share this unit's process.")],
        UNIT_RUN,
        PROGRAM_KEYS,
    ],
};

pub(super) static ROUTE: Table = Table {
    noun: "a route",
    schema: "route",
    groups: &[&[
        required(
            "path",
            Shape::Text(Format::Path),
            "The path: `/users/{id}`, `/users/*/orders`; `/users/**` matches `/users` and all below it.",
        ),
        key(
            "host",
            Shape::Text(Format::Host),
            "The host it is for, as `shop.example` or `*.shop.example`; any if absent.",
        ),
        key("methods", Shape::List(&Shape::Text(Format::Method)), "The methods it is for; any if absent."),
        key(
            "headers",
            Shape::Map(Format::Header, &Shape::Text(Format::HeaderValue)),
            "Headers that the request must carry, with their exact values.",
        ),
        key(
            "to",
            Shape::AnyOf(&[Shape::Text(Format::Name), Shape::Map(Format::Name, &Shape::Whole(0, 1_000_000))]),
            "Where it leads: a service, or a table from services to weights. Within a service it leads to that service if absent.",
        ),
        key("timeout", TIMEOUT, "The total time of a request over this route."),
    ]],
};

/// The limits of the calls to one service.
pub(super) static CALL: Table = Table {
    noun: "the limits of a call",
    schema: "call",
    groups: &[&[key("timeout", TIMEOUT, "The total time of a call, retries included.")]],
};

//! The keys of a service and of a unit: what it is, and the program that runs it.

use super::{
    CALL, COMPOSITION, EDGE, Format, Key, LISTEN, OWN_ROUTES, POLICY, REQUIRED, Shape, TIMEOUT, Table, key,
    required,
};

/// `[services.NAME]`.
pub(in crate::manifest) static SERVICE: Table = Table {
    noun: "a service",
    schema: "service",
    groups: &[SERVICE_KEYS, SERVICE_RUN, PROGRAM_KEYS],
    forms: &[],
};

/// A `service.toml`: the keys of `[services.NAME]`, and the name.
pub(in crate::manifest) static SERVICE_FILE: Table = Table {
    noun: "a service's file",
    schema: "service-file",
    groups: &[
        &[
            required("name", Shape::Text(Format::Name), "The service's name."),
            key(
                "compositions",
                Shape::List(&Shape::Table(&COMPOSITION)),
                "Endpoints that the gateway answers from this service and others.",
            ),
        ],
        SERVICE_KEYS,
        SERVICE_RUN,
        PROGRAM_KEYS,
    ],
    forms: &[],
};

/// `[units.NAME]`.
pub(in crate::manifest) static UNIT: Table = Table {
    noun: "a unit",
    schema: "unit",
    groups: &[
        &[required("services", SERVICES, "The services that share this unit's process.")],
        UNIT_RUN,
        PROGRAM_KEYS,
    ],
    forms: &[],
};

const SERVICE_KEYS: &[Key] = &[
    key("owner", Shape::Text(Format::Free), "The team that owns it."),
    key(
        "domain",
        Shape::Text(Format::Name),
        "The part of the business that it is about, as `sales`: services of one domain stand together on the map.",
    ),
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
    key(
        "timeout",
        TIMEOUT,
        "The total time of a call to it unless the caller or the route says otherwise; short for that of `policy`.",
    ),
    key(
        "policy",
        Shape::Table(&POLICY),
        "What holds for calls to it, whoever makes them, unless the caller or the route says otherwise.",
    ),
    key(
        "edge",
        Shape::Table(&EDGE),
        "What the gateway itself does with requests for it, unless the route says otherwise; calls of other services pass none of it.",
    ),
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
    key(
        "require",
        REQUIRED,
        "What is asked of whoever calls it from outside, unless the route says otherwise: \"none\", \"optional\", \"principal\" for whoever is known, or what must hold of them. Default: \"principal\" if there is a [gateway.auth].",
    ),
    key("routes", OWN_ROUTES, "The requests from outside that are its own: paths, or tables."),
];

const CALLS: Shape = Shape::AnyOf(&[SERVICES, Shape::Map(Format::Name, &Shape::Table(&CALL))]);

const SERVICES: Shape = Shape::List(&Shape::Text(Format::Name));

const SERVICE_RUN: &[Key] = &[key(
    "run",
    Shape::AnyOf(&[Shape::Text(Format::Deferred), Shape::False]),
    "The command that runs it, in the folder of this file, or `false` if others start it and its instances join. `${self.port}`, `${services.NAME.url}` and the like are filled in when an instance starts.",
)];

const UNIT_RUN: &[Key] = &[key(
    "run",
    Shape::Text(Format::Deferred),
    "The command that runs it, in the folder of this file. `${self.port}`, `${services.NAME.url}` and the like are filled in when an instance starts.",
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
        "Environment of its own. `${self.port}`, `${services.NAME.url}` and the like are filled in when an instance starts.",
    ),
    key("depends_on", SERVICES, "The services that must be ready before it starts."),
    key(
        "requires",
        Shape::List(&Shape::Text(Format::Program)),
        "The programs that must be on the machine, each looked up in PATH or a path from the folder of this file: where one is not, this unit is left out, and the rest of the system starts. Default: nothing, and the system does not start without it.",
    ),
];

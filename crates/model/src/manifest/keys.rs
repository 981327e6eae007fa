//! Every key that a manifest may hold: its name, what it is for and what it takes.
//!
//! This is the only list of them. The checks, the hints for a misspelt or misplaced key and the JSON Schema
//! are all made from it.

mod composition;
mod edge;

pub(super) use composition::*;
pub(super) use edge::*;

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
const SERVICES: Shape = Shape::List(&Shape::Text(Format::Name));
const LISTEN: Shape = Shape::AnyOf(&[Shape::Whole(0, 65_535), Shape::Text(Format::Address)]);
const CALLS: Shape = Shape::AnyOf(&[SERVICES, Shape::Map(Format::Name, &Shape::Table(&CALL))]);
const OWN_ROUTES: Shape = Shape::List(&Shape::AnyOf(&[Shape::Text(Format::Path), Shape::Table(&ROUTE)]));
const ROUTES: Shape = Shape::List(&Shape::Table(&ROUTE));

/// Every table there is.
pub(super) static TABLES: [&Table; 47] = [
    &MANIFEST,
    &SYSTEM,
    &GATEWAY,
    &AUTH,
    &ISSUER,
    &API_KEYS,
    &TLS,
    &CERTIFICATE,
    &ACME,
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

/// `madang.toml` itself.
pub(super) static MANIFEST: Table = Table {
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
    forms: &[],
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
            "The total time of a request unless its service or route says otherwise. Default: that of [policy].",
        ),
        key(
            "edge",
            Shape::Table(&EDGE),
            "What the gateway itself does with requests unless their service or route says otherwise.",
        ),
        key(
            "cache_size",
            Shape::Text(Format::Bytes),
            "How much memory the answers may take that `edge.cache` keeps, all together. Default 64MiB.",
        ),
        key(
            "auth",
            Shape::Table(&AUTH),
            "Who can say who a client is. With it, each route asks, unless it or its service says otherwise by `require`.",
        ),
        key("tls", Shape::Table(&TLS), "With it, the gateway speaks TLS and nothing else."),
        key(
            "login",
            Shape::Table(&LOGIN),
            "Browsers log in at the gateway: whoever opens a page that asks is sent to the issuer and comes back with a session.",
        ),
        key(
            "trusted_proxies",
            TRUSTED,
            "Who stands before the gateway and is believed about whom it speaks for: networks, as \"10.0.0.0/8\". Default: nobody.",
        ),
        key(
            "limit_store",
            Shape::Table(&LIMIT_STORE),
            "Where rate limits with `shared` are counted together with the other gateways of the system.",
        ),
    ]],
    forms: &[],
};

pub(super) static AUTH: Table = Table {
    noun: "[gateway.auth]",
    schema: "auth",
    groups: &[&[
        key(
            "issuers",
            Shape::List(&Shape::Table(&ISSUER)),
            "Whose tokens are taken: JSON Web Tokens (RFC 7519) of any OpenID Connect provider, such as Keycloak.",
        ),
        key(
            "keys",
            Shape::AnyOf(&[Shape::True, Shape::False, Shape::Table(&API_KEYS)]),
            "Whether the API keys that `madang key create` makes are taken. Default false.",
        ),
        key(
            "certificates",
            Shape::AnyOf(&[Shape::True, Shape::False]),
            "Whether a client's certificate says who it is, where the request has no token and no key. Default false.",
        ),
        key(
            "built_in",
            Shape::AnyOf(&[Shape::True, Shape::False]),
            "Whether the tokens of [issuer] are taken. Default false.",
        ),
        key(
            "leeway",
            Shape::Text(Format::Leeway),
            "By how much the clocks of issuers and of this machine may differ, 60s at most. Default 60s.",
        ),
    ]],
    forms: &[],
};

pub(super) static ISSUER: Table = Table {
    noun: "an issuer",
    schema: "issuer",
    groups: &[&[
        required(
            "issuer",
            Shape::Text(Format::Issuer),
            "Its URL, as its tokens have it in `iss`, to the letter: `https://id.example/realms/shop`.",
        ),
        required("audience", WORDS, "What its tokens have in `aud`: one of these."),
        key(
            "jwks",
            Shape::Text(Format::Keys),
            "Where its keys are. Default: where its document of discovery says, /.well-known/openid-configuration below `issuer`.",
        ),
        key(
            "roles",
            Shape::Text(Format::Claim),
            "The claim that names roles, with dots on the way to it: Keycloak's is `realm_access.roles`. Default roles.",
        ),
        key(
            "claims",
            Shape::List(&Shape::Text(Format::Claim)),
            "The claims that services are told of, besides subject, scopes and roles. Default: none.",
        ),
    ]],
    forms: &[],
};

pub(super) static LOGIN: Table = Table {
    noun: "[gateway.login]",
    schema: "login",
    groups: &[&[
        key(
            "issuer",
            Shape::Text(Format::Issuer),
            "Who is asked: one of those whose tokens [gateway.auth] takes. Default: the only one.",
        ),
        key(
            "client",
            Shape::Text(Format::Free),
            "The name under which the issuer knows the gateway. The built-in one needs none.",
        ),
        key(
            "secret",
            Shape::Text(Format::Secret),
            "By which the gateway proves that: `${secret.NAME}`. A public client has none.",
        ),
        key(
            "url",
            Shape::Text(Format::Url),
            "Where browsers see the gateway. Default: the address at which it listens.",
        ),
        key("scope", SCOPES, "The scopes that are asked for, besides `openid`. Default: none."),
        key("session", TIMEOUT, "How long a session lasts at most. Default 12h."),
    ]],
    forms: &[],
};

pub(super) static OWN_ISSUER: Table = Table {
    noun: "[issuer]",
    schema: "own-issuer",
    groups: &[&[
        key(
            "listen",
            Shape::AnyOf(&[Shape::Whole(0, 65_535), Shape::Text(Format::Loopback)]),
            "Where it listens, on loopback alone: a port on 127.0.0.1, or an address with a port. Default 127.0.0.1:3010.",
        ),
        key(
            "url",
            Shape::Text(Format::Url),
            "Its name, where browsers reach it through something that ends TLS. Default: http:// and the address at which it listens.",
        ),
        key(
            "users",
            Shape::Text(Format::Name),
            "The service that knows people and their passwords: it answers POST /madang/login.",
        ),
        key("lifetime", TIMEOUT, "How long a token is good. Default 10m."),
        key(
            "origins",
            Shape::List(&Shape::Text(Format::Origin)),
            "The origins of pages whose programs ask for tokens themselves, as \"https://app.example\". Default: none.",
        ),
        key(
            "clients",
            Shape::Map(Format::Name, &Shape::Table(&OAUTH_CLIENT)),
            "Who may ask for tokens, by name. The gateway is known without.",
        ),
    ]],
    forms: &[],
};

pub(super) static OAUTH_CLIENT: Table = Table {
    noun: "a client of the issuer",
    schema: "oauth-client",
    groups: &[&[
        key(
            "secret",
            Shape::Text(Format::Secret),
            "By which it proves who it is: `${secret.NAME}`. A public client has none.",
        ),
        key(
            "redirects",
            Shape::List(&Shape::Text(Format::Redirect)),
            "Where a browser may be sent back to, to the letter.",
        ),
        key(
            "after_logout",
            Shape::List(&Shape::Text(Format::Redirect)),
            "Where a browser may be sent once logged out, to the letter.",
        ),
        key("scopes", Shape::List(&Shape::Text(Format::OauthScope)), "The scopes that it may ask for."),
        key(
            "grants",
            Shape::List(&Shape::Choice(&["authorization_code", "client_credentials", "refresh_token"])),
            "How it gets tokens. Default authorization_code and refresh_token.",
        ),
    ]],
    forms: &[],
};

pub(super) static API_KEYS: Table = Table {
    noun: "`keys`",
    schema: "api-keys",
    groups: &[&[key(
        "header",
        Shape::Text(Format::Header),
        "The header that may carry a key, besides `authorization: Bearer`. Default x-api-key.",
    )]],
    forms: &[],
};

pub(super) static TLS: Table = Table {
    noun: "[gateway.tls]",
    schema: "tls",
    groups: &[&[
        key(
            "certificates",
            Shape::List(&Shape::Table(&CERTIFICATE)),
            "What it shows: to each client the one for the host that it names, or else the first. Read again when a file changes.",
        ),
        key(
            "development",
            Shape::AnyOf(&[Shape::True, Shape::False]),
            "Whether it shows a certificate that Madang makes for this machine, by an authority of its own. Default false.",
        ),
        key(
            "min_version",
            Shape::Choice(&["1.2", "1.3"]),
            "The oldest version of TLS that is spoken. Default 1.2.",
        ),
        key(
            "redirect",
            LISTEN,
            "Where requests without TLS are sent on to https: an address with a port, or a port on 127.0.0.1.",
        ),
        key(
            "client_ca",
            Shape::Text(Format::Free),
            "The file with the authorities that sign the certificates of clients, as PEM, relative to the manifest.",
        ),
        key(
            "clients",
            Shape::Choice(&["optional", "required"]),
            "Whether nobody is let in without a certificate of these authorities. Default required.",
        ),
        key(
            "client_crl",
            Shape::Text(Format::Free),
            "The file with the authorities' lists of certificates that they have taken back, as PEM, relative to the manifest. Read again when it changes.",
        ),
        key(
            "acme",
            Shape::Table(&ACME),
            "An authority on the network (ACME) that signs a certificate, and signs it anew at half its life.",
        ),
    ]],
    forms: &[],
};

pub(super) static ACME: Table = Table {
    noun: "[gateway.tls.acme]",
    schema: "acme",
    groups: &[&[
        required(
            "domains",
            Shape::List(&Shape::Text(Format::Domain)),
            "The hosts that the certificate is for: names that lead to this gateway wherever it is asked.",
        ),
        required(
            "terms",
            Shape::Choice(&["agreed"]),
            "That you have read the terms of the authority and agree to them: \"agreed\".",
        ),
        key("contact", Shape::Text(Format::Mail), "The mail address to which the authority may write."),
        key(
            "directory",
            Shape::Text(Format::Directory),
            "The authority. Default https://acme-v02.api.letsencrypt.org/directory, which is Let's Encrypt.",
        ),
        key(
            "challenge",
            Shape::Choice(&["tls-alpn-01", "http-01"]),
            "How the authority sees that a host is this gateway's: over TLS on port 443, or in plain on port 80, where `redirect` answers. Default tls-alpn-01.",
        ),
        key(
            "ca",
            Shape::Text(Format::Free),
            "The file with who signs the authority's own server, as PEM, relative to the manifest. Default: those whom this machine trusts.",
        ),
    ]],
    forms: &[],
};

pub(super) static CERTIFICATE: Table = Table {
    noun: "a certificate",
    schema: "certificate",
    groups: &[&[
        required(
            "certificate",
            Shape::Text(Format::Free),
            "The file with the certificate and those that signed it, as PEM, relative to the manifest.",
        ),
        required(
            "key",
            Shape::Text(Format::Free),
            "The file with its private key, as PEM, relative to the manifest.",
        ),
    ]],
    forms: &[],
};

/// What must hold of whoever a request is made for.
pub(super) static REQUIRE: Table = Table {
    noun: "`require`",
    schema: "require",
    groups: &[&[
        key("scope", SCOPES, "The scopes that must have been granted: each of them."),
        key("role", WORDS, "The roles of which there must be one."),
        key(
            "claim",
            Shape::Map(Format::Claim, &WORDS),
            "Claims with the values of which each must have one; of a claim that is a list, one of its entries.",
        ),
    ]],
    forms: &[],
};

/// What may be one word or several.
const WORDS: Shape = Shape::AnyOf(&[Shape::Text(Format::Free), Shape::List(&Shape::Text(Format::Free))]);
const SCOPES: Shape =
    Shape::AnyOf(&[Shape::Text(Format::OauthScope), Shape::List(&Shape::Text(Format::OauthScope))]);
const REQUIRED: Shape =
    Shape::AnyOf(&[Shape::Choice(&["none", "optional", "principal"]), Shape::Table(&REQUIRE)]);

pub(super) static TELEMETRY: Table = Table {
    noun: "[telemetry]",
    schema: "telemetry",
    groups: &[&[
        key("keep", TIMEOUT, "How long traces, log lines and events are kept at most. Default 7d."),
        key(
            "size",
            Shape::Text(Format::Size),
            "The size on disk that what is kept never exceeds: before that the oldest is deleted. Default 512MiB.",
        ),
        key(
            "spans_per_second",
            Shape::Whole(0, 1_000_000),
            "How many spans a second are kept of those that neither failed nor were slow. Default 1000.",
        ),
        key("slow", TIMEOUT, "From which duration on a request is slow, and kept before others. Default 1s."),
        key(
            "log_lines_per_second",
            Shape::Whole(1, 1_000_000),
            "How many log lines a second are kept of each instance, and as many again of its warnings and errors. Default 1000.",
        ),
        key(
            "metrics",
            LISTEN,
            "Where Prometheus reads /metrics, without a token: a port on 127.0.0.1, or an address with a port. Default: nowhere but at the admin socket.",
        ),
        key(
            "forward",
            Shape::Table(&FORWARD),
            "A back end that gets all telemetry by OTLP, beside what is kept here.",
        ),
    ]],
    forms: &[],
};

pub(super) static FORWARD: Table = Table {
    noun: "[telemetry.forward]",
    schema: "forward",
    groups: &[&[
        required(
            "url",
            Shape::Text(Format::BaseUrl),
            "Where it takes OTLP, as `http://collector.example:4318`; over HTTP `/v1/traces` and its like follow.",
        ),
        key(
            "protocol",
            Shape::Choice(&["http/protobuf", "grpc"]),
            "How it is spoken to. Default http/protobuf.",
        ),
        key(
            "headers",
            Shape::Map(Format::Header, &Shape::Text(Format::HeaderValue)),
            "What each export carries, as `authorization = \"Bearer ${TOKEN}\"`; the values are shown nowhere.",
        ),
    ]],
    forms: &[],
};

pub(super) static ADMIN: Table = Table {
    noun: "[admin]",
    schema: "admin",
    groups: &[&[key(
        "listen",
        Shape::AnyOf(&[Shape::Whole(0, 65_535), Shape::Text(Format::Loopback), Shape::False]),
        "Where the dashboard and the admin API listen, on loopback alone: a port on 127.0.0.1, an address with a port, or `false` for nowhere but the unix socket. Default 127.0.0.1:3900, or another port where that one is taken.",
    )]],
    forms: &[],
};

/// `[services.NAME]`.
pub(super) static SERVICE: Table = Table {
    noun: "a service",
    schema: "service",
    groups: &[SERVICE_KEYS, SERVICE_RUN, PROGRAM_KEYS],
    forms: &[],
};

/// A `service.toml`: the keys of `[services.NAME]`, and the name.
pub(super) static SERVICE_FILE: Table = Table {
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

/// `[units.NAME]`.
pub(super) static UNIT: Table = Table {
    noun: "a unit",
    schema: "unit",
    groups: &[
        &[required("services", SERVICES, "The services that share this unit's process.")],
        UNIT_RUN,
        PROGRAM_KEYS,
    ],
    forms: &[],
};

pub(super) static ROUTE: Table = Table {
    noun: "a route",
    schema: "route",
    groups: &[
        &[
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
            key(
                "methods",
                Shape::List(&Shape::Text(Format::Method)),
                "The methods it is for; any if absent.",
            ),
            key(
                "headers",
                Shape::Map(Format::Header, &Shape::Text(Format::HeaderValue)),
                "Headers that the request must carry, with their exact values.",
            ),
            key(
                "to",
                Shape::AnyOf(&[
                    Shape::Text(Format::Name),
                    Shape::Map(Format::Name, &Shape::Whole(0, 1_000_000)),
                ]),
                "Where it leads: a service, or a table from services to weights. Within a service it leads to that service if absent.",
            ),
            key(
                "timeout",
                TIMEOUT,
                "The total time of a request over this route; short for that of `policy`.",
            ),
            key("policy", Shape::Table(&ROUTE_POLICY), "What holds for requests over this route."),
            key(
                "require",
                REQUIRED,
                "What is asked of whoever makes the requests: \"none\", \"optional\", \"principal\" for whoever is known, or what must hold of them. Default: what their service says.",
            ),
        ],
        edge::OF_ROUTE,
    ],
    forms: &[],
};

/// What holds for the calls of one service to another.
pub(super) static CALL: Table =
    Table { noun: "the policy of a call", schema: "call", groups: &[LIMITS], forms: &[] };

/// What holds for the requests over a route.
pub(super) static ROUTE_POLICY: Table =
    Table { noun: "the policy of a route", schema: "route-policy", groups: &[LIMITS], forms: &[] };

/// What holds for all calls, or for all calls to a service.
pub(super) static POLICY: Table = Table {
    noun: "a policy",
    schema: "policy",
    groups: &[
        LIMITS,
        &[key(
            "per_caller",
            CONCURRENT,
            "How many calls each caller may make at once, in the forms of `concurrency`. Default false.",
        )],
    ],
    forms: &[],
};

const PERCENT: Shape = Shape::Whole(1, 100);
const COUNT: Shape = Shape::Whole(1, 100_000);
const CONCURRENT: Shape =
    Shape::AnyOf(&[COUNT, Shape::Choice(&["adaptive"]), Shape::False, Shape::Table(&CONCURRENCY)]);
const EJECTED: Shape = Shape::AnyOf(&[Shape::False, Shape::True, Shape::Table(&EJECTION)]);
const BROKEN: Shape = Shape::AnyOf(&[Shape::False, Shape::True, Shape::Table(&BREAKER)]);
const ANSWERED: Shape = Shape::AnyOf(&[Shape::False, Shape::Table(&FALLBACK)]);
const FAULTS: Shape = Shape::List(&Shape::Table(&FAULT));

const LIMITS: &[Key] = &[
    key("timeout", TIMEOUT, "The total time of a call, retries and waiting included. Default 15s."),
    key("attempt_timeout", TIMEOUT, "The time of one attempt. Default: as much as is left of `timeout`."),
    key("connect_timeout", TIMEOUT, "The time to connect, over all attempts at it. Default 5s."),
    key(
        "idle_timeout",
        TIMEOUT,
        "The time without a byte after which a stream, or a WebSocket, is given up. Default 5m.",
    ),
    key(
        "retries",
        Shape::Whole(0, 10),
        "How often a call is tried again at most, if it may be: because of its method, or an `Idempotency-Key`. Default 2.",
    ),
    key("backoff", Shape::Table(&BACKOFF), "The pauses before retries, which are random up to a bound."),
    key("retry_budget", Shape::Table(&RETRY_BUDGET), "How many retries a service has to bear."),
    key(
        "parked",
        Shape::Whole(0, 100_000),
        "How many calls may wait at once for a service of which no instance is ready. Default 1024.",
    ),
    key(
        "hedge",
        Shape::AnyOf(&[Shape::Text(Format::Hedge), Shape::False]),
        "After how long a second attempt at a read goes to another instance, the first answer counting: a time, or what a share of recent calls took, as \"p95\". Default false.",
    ),
    key("ejection", EJECTED, "When an instance is taken out of use because of its answers. Default true."),
    key(
        "breaker",
        BROKEN,
        "When a service as a whole is not called for a while. Given for a route or a call, the state is that route's or caller's own. Default false.",
    ),
    key(
        "concurrency",
        CONCURRENT,
        "How many calls a service gets at once: a number, \"adaptive\" (as its latency shows that it can bear), or a table. Given for a route or a call, how many that route or caller may make. Default false.",
    ),
    key(
        "priority",
        Shape::Choice(&["critical", "normal", "best-effort"]),
        "What is shed last, or first, under overload. It travels with what is called on its behalf. Default normal.",
    ),
    key("fallback", ANSWERED, "What is answered in place of a failure. Default false."),
    key("faults", FAULTS, "Failures made on purpose, to see what they do."),
];

pub(super) static BACKOFF: Table = Table {
    noun: "`backoff`",
    schema: "backoff",
    groups: &[&[
        key("base", TIMEOUT, "The longest first pause; it doubles with each retry. Default 25ms."),
        key("cap", TIMEOUT, "The longest pause. Default 250ms."),
    ]],
    forms: &[],
};

pub(super) static RETRY_BUDGET: Table = Table {
    noun: "`retry_budget`",
    schema: "retry-budget",
    groups: &[&[
        key(
            "percent",
            Shape::Whole(0, 100),
            "Retries for each hundred requests of the last ten seconds. Default 20.",
        ),
        key("floor", Shape::Whole(0, 100_000), "Retries per second that are always allowed. Default 10."),
    ]],
    forms: &[],
};

pub(super) static EJECTION: Table = Table {
    noun: "`ejection`",
    schema: "ejection",
    groups: &[
        &[
            key("failures", COUNT, "Failures in a row after which an instance is out of use. Default 5."),
            key("success_rate", PERCENT, "The least share of good answers, in percent. Default 80."),
        ],
        RATES,
        &[
            key("base", TIMEOUT, "The first time out of use; it doubles with each in a row. Default 1s."),
            key("cap", TIMEOUT, "The longest time out of use. Default 1m."),
            key(
                "at_most",
                PERCENT,
                "The most of a service's instances that are out of use at once, in percent; one always stays. Default 50.",
            ),
            key(
                "panic",
                Shape::Whole(0, 100),
                "The share of usable instances below which all are used again, in percent. Default 50.",
            ),
        ],
    ],
    forms: &[],
};

pub(super) static BREAKER: Table = Table {
    noun: "`breaker`",
    schema: "breaker",
    groups: &[
        &[
            key("failures", COUNT, "Failures in a row after which it opens. Default 5."),
            key("failure_rate", PERCENT, "The most failed calls, in percent. Default 50."),
        ],
        RATES,
        &[
            key(
                "open",
                TIMEOUT,
                "How long it stays open; it doubles with each probe that fails. Default 1s.",
            ),
            key("cap", TIMEOUT, "The longest that it stays open. Default 1m."),
            key("probes", COUNT, "How many probes in a row must go well before it closes. Default 1."),
        ],
    ],
    forms: &[],
};

/// What rates are counted of, for an instance as for a service.
const RATES: &[Key] = &[
    key("slow", TIMEOUT, "What is slow; with `slow_rate`."),
    key(
        "slow_rate",
        PERCENT,
        "The most slow answers, in percent; with `slow`. Nobody is judged by it if absent.",
    ),
    key("window", TIMEOUT, "The time over which rates are counted. Default 10s."),
    key("minimum", COUNT, "The answers within the window below which rates say nothing."),
];

pub(super) static CONCURRENCY: Table = Table {
    noun: "`concurrency`",
    schema: "concurrency",
    groups: &[&[
        key(
            "limit",
            Shape::AnyOf(&[COUNT, Shape::Choice(&["adaptive"])]),
            "The limit: a number, or \"adaptive\".",
        ),
        key("least", COUNT, "The least that an adaptive limit is. Default 4."),
        key("most", COUNT, "The most that an adaptive limit is. Default 1024."),
        key("queue", Shape::Whole(0, 100_000), "How many more may wait for a place. Default 64."),
        key("wait", TIMEOUT, "How long one may wait for a place. Default 1s."),
    ]],
    forms: &[],
};

pub(super) static FALLBACK: Table = Table {
    noun: "a fallback",
    schema: "fallback",
    groups: &[&[
        key("body", Shape::Text(Format::Free), "What is answered."),
        key("content_type", Shape::Text(Format::MediaType), "What it is. Default text/plain; charset=utf-8."),
        key("json", Shape::Text(Format::Json), "What is answered, as JSON."),
        key("status", Shape::Whole(200, 599), "The status. Default 200."),
        key(
            "last_good",
            TIMEOUT,
            "The last good answer to the same GET is answered again if it is not older than this.",
        ),
    ]],
    forms: &[
        ("body", &["body", "content_type", "status"]),
        ("json", &["json", "status"]),
        ("last_good", &["last_good"]),
    ],
};

pub(super) static FAULT: Table = Table {
    noun: "a fault",
    schema: "fault",
    groups: &[&[
        key(
            "on",
            Shape::Text(Format::Requests),
            "Which requests: \"POST /charges\", \"/charges/**\"; all if absent.",
        ),
        key("percent", PERCENT, "How many of them, in percent. Default 100."),
        key("delay", TIMEOUT, "They reach the service so much later."),
        key("status", Shape::Whole(200, 599), "This is answered, and the service hears nothing."),
        key("hang", Shape::True, "Nothing is ever answered, and the service hears nothing."),
        key(
            "lose_reply",
            Shape::True,
            "The service answers, and the connection breaks before the answer arrives.",
        ),
        key("kill", Shape::True, "The instance is killed as soon as the request is on its way to it."),
    ]],
    forms: &[
        ("delay", &["on", "percent", "delay"]),
        ("status", &["on", "percent", "status"]),
        ("hang", &["on", "percent", "hang"]),
        ("lose_reply", &["on", "percent", "lose_reply"]),
        ("kill", &["on", "percent", "kill"]),
    ],
};

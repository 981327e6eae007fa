//! The keys of what the gateway itself does: `edge` of the gateway, a service or a route, and what a route says beside it.

use super::{Format, Key, Shape, Table, key, required};

pub(in crate::manifest) static EDGE: Table = Table {
    noun: "`edge`",
    schema: "edge",
    groups: &[&[
        key(
            "rate_limit",
            LIMITED,
            "How many requests are taken of whom: \"100/m\" of each address, a table, or a list of which all hold. Default false.",
        ),
        key(
            "max_body",
            Shape::AnyOf(&[Shape::False, BYTES]),
            "The largest body of a request, as \"1MiB\". Default false: what the service takes.",
        ),
        key(
            "cors",
            Shape::AnyOf(&[Shape::False, Shape::Table(&CORS)]),
            "Whose pages may read the answers: browsers keep them from all others. Default false.",
        ),
        key(
            "path",
            Shape::AnyOf(&[Shape::False, Shape::Table(&PATH_EDIT)]),
            "What the service is asked for in place of the path. Default false: the path itself.",
        ),
        key("request_headers", EDITS, "What changes in the headers of requests. Default false."),
        key("answer_headers", EDITS, "What changes in the headers of answers. Default false."),
        key(
            "mirror",
            Shape::AnyOf(&[Shape::False, Shape::Table(&MIRROR)]),
            "Who gets a copy of requests; what is answered to it nobody sees. Default false.",
        ),
        key(
            "compress",
            Shape::AnyOf(&[Shape::False, Shape::True, Shape::Table(&COMPRESS)]),
            "Which answers are compressed for clients that take it. Default false.",
        ),
        key(
            "problems",
            Shape::AnyOf(&[Shape::False, Shape::True, Shape::Table(&PROBLEMS)]),
            "Whether a service's errors are answered as application/problem+json, with the same status. Default false.",
        ),
        key(
            "cache",
            Shape::AnyOf(&[Shape::False, Shape::True, Shape::Table(&CACHE)]),
            "Which answers are kept for whoever asks the same: those of which HTTP says that they may. Default false.",
        ),
    ]],
    forms: &[],
};

const BYTES: Shape = Shape::Text(Format::Bytes);
const LIMITED: Shape = Shape::AnyOf(&[
    Shape::False,
    Shape::Text(Format::Rate),
    Shape::Table(&RATE_LIMIT),
    Shape::List(&Shape::AnyOf(&[Shape::Text(Format::Rate), Shape::Table(&RATE_LIMIT)])),
]);
const EDITS: Shape = Shape::AnyOf(&[Shape::False, Shape::Table(&HEADER_EDITS)]);
const MEDIA: Shape = Shape::List(&Shape::Text(Format::MediaRange));
const METHODS: Shape = Shape::List(&Shape::Text(Format::Method));
const FIELDS: Shape = Shape::List(&Shape::Text(Format::Header));

pub(in crate::manifest) static RATE_LIMIT: Table = Table {
    noun: "a rate limit",
    schema: "rate-limit",
    groups: &[&[
        required("rate", Shape::Text(Format::Rate), "How many in how long: \"100/m\", \"5/s\", \"20/10s\"."),
        key(
            "burst",
            Shape::Whole(1, 1_000_000),
            "How many may come at once. Default: as many as `rate` says.",
        ),
        key(
            "per",
            Shape::Text(Format::Per),
            "Of whom they are counted: \"address\", \"principal\", \"key\", \"header:NAME\" or \"all\" together. Default address.",
        ),
        key(
            "name",
            Shape::Text(Format::Name),
            "What clients are told it is called. Default: what `per` says.",
        ),
        key(
            "shared",
            Shape::AnyOf(&[Shape::False, Shape::Table(&SHARED)]),
            "With it, all gateways of the system count together, at [gateway.limit_store]. Default false: each counts alone.",
        ),
    ]],
    forms: &[],
};

pub(in crate::manifest) static SHARED: Table = Table {
    noun: "`shared`",
    schema: "shared-limit",
    groups: &[&[required(
        "when_down",
        Shape::Choice(&["local", "refuse"]),
        "What holds while the store cannot be asked: each gateway counts alone, or refuses what it cannot count.",
    )]],
    forms: &[],
};

pub(in crate::manifest) static CORS: Table = Table {
    noun: "`cors`",
    schema: "cors",
    groups: &[&[
        required(
            "origins",
            Shape::AnyOf(&[Shape::Choice(&["*"]), Shape::List(&Shape::Text(Format::Origin))]),
            "The origins of the pages, as \"https://shop.example\", or \"*\" for all.",
        ),
        key("methods", METHODS, "The methods that they may use. Default: those of the route."),
        key("headers", FIELDS, "The headers that they may send. Default: those that the browser asks for."),
        key("expose", FIELDS, "The headers of answers that they may read, besides the usual ones."),
        key(
            "credentials",
            Shape::AnyOf(&[Shape::True, Shape::False]),
            "Whether they may send cookies, and read what is answered then. Default false.",
        ),
        key(
            "max_age",
            Shape::Text(Format::Duration),
            "How long a browser remembers what it may. Default 10m.",
        ),
    ]],
    forms: &[],
};

pub(in crate::manifest) static PATH_EDIT: Table = Table {
    noun: "`path`",
    schema: "path-edit",
    groups: &[&[
        key(
            "strip",
            Shape::Text(Format::Prefix),
            "Taken off the beginning, in whole segments: \"/api\" makes /api/users into /users.",
        ),
        key("add", Shape::Text(Format::Prefix), "Put before what is left: \"/v2\"."),
    ]],
    forms: &[],
};

pub(in crate::manifest) static HEADER_EDITS: Table = Table {
    noun: "a change of headers",
    schema: "header-edits",
    groups: &[&[
        key("remove", Shape::List(&Shape::Text(Format::EditName)), "Headers that go."),
        key(
            "set",
            Shape::Map(Format::EditName, &Shape::Text(Format::EditValue)),
            "Headers that there are once, whatever there was. In a value {address}, {request_id}, {host} and {route} are filled in.",
        ),
        key(
            "add",
            Shape::Map(Format::EditName, &Shape::Text(Format::EditValue)),
            "Headers that there are besides, with values as in `set`.",
        ),
    ]],
    forms: &[],
};

pub(in crate::manifest) static MIRROR: Table = Table {
    noun: "`mirror`",
    schema: "mirror",
    groups: &[&[
        required("to", Shape::Text(Format::Name), "The service that gets the copies."),
        key("percent", Shape::Whole(1, 100), "How many of the requests are copied, in percent. Default 100."),
        key(
            "methods",
            METHODS,
            "The methods of the requests that are copied. Others than GET and HEAD may have their effect twice. Default [\"GET\", \"HEAD\"].",
        ),
        key("max_body", BYTES, "The largest body that is copied. Default 64KiB."),
        key(
            "at_once",
            Shape::Whole(1, 10_000),
            "How many copies are under way at once; more are left out. Default 32.",
        ),
    ]],
    forms: &[],
};

pub(in crate::manifest) static COMPRESS: Table = Table {
    noun: "`compress`",
    schema: "compress",
    groups: &[&[
        key(
            "with",
            Shape::List(&Shape::Choice(&["zstd", "br", "gzip"])),
            "How, the best first. Default [\"zstd\", \"br\", \"gzip\"].",
        ),
        key(
            "types",
            MEDIA,
            "Media types that are worth it, as \"text/*\". Default: text, JSON, XML, JavaScript, SVG, WebAssembly.",
        ),
        key("min", BYTES, "The least length that is worth it. Default 1KiB."),
        key(
            "beside_secrets",
            Shape::AnyOf(&[Shape::True, Shape::False]),
            "Whether also where a cookie or a credential is: then the length can tell secrets to whoever chooses what stands beside them (BREACH). Default false.",
        ),
    ]],
    forms: &[],
};

pub(in crate::manifest) static CACHE: Table = Table {
    noun: "`cache`",
    schema: "cache",
    groups: &[&[
        key(
            "ttl",
            Shape::Text(Format::Duration),
            "How long an answer is fresh that says nothing of it, where HTTP lets a cache decide. Default: a tenth of the time since its Last-Modified.",
        ),
        key(
            "max_ttl",
            Shape::Text(Format::Duration),
            "How long any answer is fresh at most. Default: as long as it says.",
        ),
        key(
            "stale_while_revalidate",
            Shape::Text(Format::Duration),
            "How long after that it is given while a new one is fetched, unless it says so itself. Default 0s.",
        ),
        key(
            "stale_if_error",
            Shape::Text(Format::Duration),
            "How long after that it is given in place of a failure, unless it says so itself. Default 0s.",
        ),
        key(
            "vary",
            FIELDS,
            "Headers of requests that tell answers apart even where Vary does not name them.",
        ),
        key(
            "tags",
            Shape::List(&Shape::Text(Format::Name)),
            "By what all answers over the route can be purged together, besides what they say in Cache-Groups.",
        ),
        key("max_body", BYTES, "The longest body that is kept. Default 1MiB."),
    ]],
    forms: &[],
};

pub(in crate::manifest) static PROBLEMS: Table = Table {
    noun: "`problems`",
    schema: "problems",
    groups: &[&[
        key("statuses", Shape::List(&Shape::Whole(400, 599)), "Which statuses. Default: all from 400 on."),
        key(
            "detail",
            Shape::AnyOf(&[Shape::True, Shape::False]),
            "Whether a short text that the service answers is told as `detail`. Default false.",
        ),
    ]],
    forms: &[],
};

pub(in crate::manifest) static REDIRECT: Table = Table {
    noun: "`redirect`",
    schema: "redirect",
    groups: &[&[
        required(
            "to",
            Shape::Text(Format::RedirectTo),
            "Where to: a path, or a URL that names its host. {path}, {rest} (what `**` stands for) and {query} are filled in.",
        ),
        key(
            "status",
            Shape::Whole(301, 308),
            "301, 302, 307 or 308. Default 308: for good, with the same method.",
        ),
    ]],
    forms: &[],
};

pub(in crate::manifest) static STICKY: Table = Table {
    noun: "`sticky`",
    schema: "sticky",
    groups: &[&[
        key("cookie", Shape::Text(Format::CookieName), "The name of a cookie that the client is given."),
        key(
            "max_age",
            Shape::Text(Format::Duration),
            "How long the client keeps it. Default: as long as it runs.",
        ),
        key("header", Shape::Text(Format::Header), "A header that tells clients apart."),
    ]],
    forms: &[("cookie", &["cookie", "max_age"]), ("header", &["header"])],
};

const REDIRECTED: Shape = Shape::AnyOf(&[Shape::Text(Format::RedirectTo), Shape::Table(&REDIRECT)]);
const STUCK: Shape = Shape::AnyOf(&[Shape::Choice(&["address"]), Shape::Table(&STICKY)]);

/// What a route says beside its `edge`.
pub(super) const OF_ROUTE: &[Key] = &[
    key(
        "redirect",
        REDIRECTED,
        "Where the gateway sends whoever asks, in place of asking a service: a path, a URL, or a table.",
    ),
    key(
        "sticky",
        STUCK,
        "By what a client gets the same of several targets again: \"address\", a cookie or a header. Default: it may change with each request.",
    ),
    key("edge", Shape::Table(&EDGE), "What the gateway itself does with requests over this route."),
];

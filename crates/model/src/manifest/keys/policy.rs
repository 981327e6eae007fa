//! The keys of limits: those of a call, of a route and of all calls to a service.

use super::{Format, Key, Shape, TIMEOUT, Table, key};

/// What holds for all calls, or for all calls to a service.
pub(in crate::manifest) static POLICY: Table = Table {
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

/// What holds for the requests over a route.
pub(in crate::manifest) static ROUTE_POLICY: Table =
    Table { noun: "the policy of a route", schema: "route-policy", groups: &[LIMITS], forms: &[] };

/// What holds for the calls of one service to another.
pub(in crate::manifest) static CALL: Table =
    Table { noun: "the policy of a call", schema: "call", groups: &[LIMITS], forms: &[] };

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

pub(in crate::manifest) static BACKOFF: Table = Table {
    noun: "`backoff`",
    schema: "backoff",
    groups: &[&[
        key("base", TIMEOUT, "The longest first pause; it doubles with each retry. Default 25ms."),
        key("cap", TIMEOUT, "The longest pause. Default 250ms."),
    ]],
    forms: &[],
};

pub(in crate::manifest) static RETRY_BUDGET: Table = Table {
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

pub(in crate::manifest) static EJECTION: Table = Table {
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

pub(in crate::manifest) static BREAKER: Table = Table {
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

pub(in crate::manifest) static CONCURRENCY: Table = Table {
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

pub(in crate::manifest) static FALLBACK: Table = Table {
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

pub(in crate::manifest) static FAULT: Table = Table {
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

const PERCENT: Shape = Shape::Whole(1, 100);
const COUNT: Shape = Shape::Whole(1, 100_000);
const CONCURRENT: Shape =
    Shape::AnyOf(&[COUNT, Shape::Choice(&["adaptive"]), Shape::False, Shape::Table(&CONCURRENCY)]);
const EJECTED: Shape = Shape::AnyOf(&[Shape::False, Shape::True, Shape::Table(&EJECTION)]);
const BROKEN: Shape = Shape::AnyOf(&[Shape::False, Shape::True, Shape::Table(&BREAKER)]);
const ANSWERED: Shape = Shape::AnyOf(&[Shape::False, Shape::Table(&FALLBACK)]);
const FAULTS: Shape = Shape::List(&Shape::Table(&FAULT));

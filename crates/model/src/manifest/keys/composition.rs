//! The keys of endpoints that are answered from several services.

use super::{EDGE, Format, REQUIRED, Shape, TIMEOUT, Table, key, required};

const EXPRESSION: Shape = Shape::Text(Format::Expression);

pub(in crate::manifest) static COMPOSITION: Table = Table {
    noun: "a composition",
    schema: "composition",
    groups: &[&[
        required(
            "name",
            Shape::Text(Format::Name),
            "Its name, as that of a service: in traces, on the map and in `edge` it is one.",
        ),
        required(
            "path",
            Shape::Text(Format::Path),
            "The path of its route; its parameters, as in `/pages/orders/{id}`, are variables of the expressions.",
        ),
        key(
            "host",
            Shape::Text(Format::Host),
            "The host it is for, as `shop.example` or `*.shop.example`; any if absent.",
        ),
        key(
            "headers",
            Shape::Map(Format::Header, &Shape::Text(Format::HeaderValue)),
            "Headers that the request must carry, with their exact values.",
        ),
        key(
            "timeout",
            TIMEOUT,
            "The total time of an answer, which all calls share; what came until then is answered. Default: that of [gateway] and [policy].",
        ),
        key(
            "require",
            REQUIRED,
            "What is asked of whoever makes the requests: \"none\", \"principal\" for whoever is known, or what must hold of them.",
        ),
        key(
            "pass",
            Shape::List(&Shape::Text(Format::Header)),
            "The headers of the request that the services get too. Default: accept-language.",
        ),
        required(
            "calls",
            Shape::Map(Format::Variable, &Shape::Table(&PART)),
            "The calls that it may make, by the names that their answers have in expressions. Those are made that the answer needs, at once where they do not need each other.",
        ),
        required(
            "answer",
            Shape::AnyOf(&[EXPRESSION, Shape::List(&Shape::Table(&ANSWER))]),
            "What is answered, as an expression in CEL: `{\"order\": order, \"customer\": user.name}`; or a list of such for different clients.",
        ),
        key("edge", Shape::Table(&EDGE), "What the gateway itself does with requests over its route."),
    ]],
    forms: &[],
};

pub(in crate::manifest) static PART: Table = Table {
    noun: "a call of a composition",
    schema: "composition-call",
    groups: &[&[
        key(
            "to",
            Shape::Text(Format::Name),
            "The service that is asked. Default: the one of the call's name.",
        ),
        required(
            "path",
            Shape::Text(Format::CallPath),
            "What it is asked for by GET: a path with expressions in braces, as `/users/{order.user}`.",
        ),
        key(
            "query",
            Shape::Map(Format::Free, &EXPRESSION),
            "Parameters of the query with the expressions of their values; a list is one parameter for each, null is none.",
        ),
        key(
            "optional",
            Shape::AnyOf(&[Shape::True, Shape::False]),
            "Whether there is an answer without it: it is null then, and the answer says in `problems` what failed. Default false.",
        ),
        key("timeout", TIMEOUT, "How long it may take, if that is less than the whole may."),
    ]],
    forms: &[],
};

pub(in crate::manifest) static ANSWER: Table = Table {
    noun: "an answer of a composition",
    schema: "composition-answer",
    groups: &[&[
        key(
            "headers",
            Shape::Map(Format::Header, &Shape::Text(Format::HeaderValue)),
            "The headers, with their exact values, of the requests that it is for. The last answer has none, and is for all others.",
        ),
        required("shape", EXPRESSION, "What is answered, as an expression in CEL."),
    ]],
    forms: &[],
};

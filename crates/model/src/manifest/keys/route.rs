//! The keys of a route.

use super::{Format, REQUIRED, ROUTE_POLICY, Shape, TIMEOUT, Table, edge, key, required};

pub(in crate::manifest) static ROUTE: Table = Table {
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

pub(super) const ROUTES: Shape = Shape::List(&Shape::Table(&ROUTE));

pub(super) const OWN_ROUTES: Shape =
    Shape::List(&Shape::AnyOf(&[Shape::Text(Format::Path), Shape::Table(&ROUTE)]));

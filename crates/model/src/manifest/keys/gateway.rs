//! The keys of `[gateway]`: where it listens, and whom it works with.

use super::{AUTH, EDGE, Format, LISTEN, LOGIN, Shape, TIMEOUT, TLS, Table, key, required};

pub(in crate::manifest) static GATEWAY: Table = Table {
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

/// What stands before the gateway.
const TRUSTED: Shape = Shape::AnyOf(&[NETWORKS, Shape::Table(&PROXIES)]);
const NETWORKS: Shape = Shape::List(&Shape::Text(Format::Network));

pub(in crate::manifest) static PROXIES: Table = Table {
    noun: "`trusted_proxies`",
    schema: "trusted-proxies",
    groups: &[&[
        required("networks", NETWORKS, "Where they are: `10.0.0.0/8`, or an address."),
        key(
            "header",
            Shape::Choice(&["x-forwarded-for", "forwarded"]),
            "By which headers they speak: X-Forwarded-For, -Proto and -Host, or Forwarded (RFC 7239). The others are taken for the client's. Default x-forwarded-for.",
        ),
    ]],
    forms: &[],
};

pub(in crate::manifest) static LIMIT_STORE: Table = Table {
    noun: "[gateway.limit_store]",
    schema: "limit-store",
    groups: &[&[
        required(
            "url",
            Shape::Text(Format::Redis),
            "Where it answers: `redis://HOST:PORT/DATABASE`, over TLS `rediss://`. A Redis from 5 on, or what speaks as it does.",
        ),
        key(
            "user",
            Shape::Text(Format::Free),
            "As whom the gateway logs in there. Default: the default user.",
        ),
        key(
            "password",
            Shape::Text(Format::Secret),
            "What proves it: `${secret.NAME}`. Default: none is asked for.",
        ),
    ]],
    forms: &[],
};

//! The keys of `[issuer]`: the issuer of tokens for development.

use super::{Format, Shape, TIMEOUT, Table, key};

pub(in crate::manifest) static OWN_ISSUER: Table = Table {
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

pub(in crate::manifest) static OAUTH_CLIENT: Table = Table {
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

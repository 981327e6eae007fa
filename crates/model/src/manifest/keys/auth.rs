//! The keys that say who clients are, and what is asked of them.

use super::{Format, Shape, TIMEOUT, Table, key, required};

pub(in crate::manifest) static AUTH: Table = Table {
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

pub(in crate::manifest) static ISSUER: Table = Table {
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

pub(in crate::manifest) static API_KEYS: Table = Table {
    noun: "`keys`",
    schema: "api-keys",
    groups: &[&[key(
        "header",
        Shape::Text(Format::Header),
        "The header that may carry a key, besides `authorization: Bearer`. Default x-api-key.",
    )]],
    forms: &[],
};

pub(in crate::manifest) static LOGIN: Table = Table {
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

/// What must hold of whoever a request is made for.
pub(in crate::manifest) static REQUIRE: Table = Table {
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

pub(super) const REQUIRED: Shape =
    Shape::AnyOf(&[Shape::Choice(&["none", "optional", "principal"]), Shape::Table(&REQUIRE)]);

/// What may be one word or several.
const WORDS: Shape = Shape::AnyOf(&[Shape::Text(Format::Free), Shape::List(&Shape::Text(Format::Free))]);

pub(super) const SCOPES: Shape =
    Shape::AnyOf(&[Shape::Text(Format::OauthScope), Shape::List(&Shape::Text(Format::OauthScope))]);

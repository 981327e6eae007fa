//! The forms that a text of the manifest can have, and what to say of one that has it not.

mod amount;
mod edge;
mod identity;
mod name;
mod place;
mod request;

pub(super) use self::{
    name::slug,
    place::{address, loopback, postgres_rest, sqlite_path},
    request::{METHODS, split_requests},
};
use super::{error::Code, pattern};

/// A form of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Any text.
    Free,
    /// Any text, in which `${self.…}` stays until a unit starts.
    Deferred,
    /// `${secret.NAME}`, and nothing else.
    Secret,
    /// `https://app.example/callback`: where a browser is sent.
    Redirect,
    /// The name of a system, service or unit.
    Name,
    /// `250ms`, `3s`.
    Duration,
    /// `512MiB`, of a file.
    Size,
    /// `127.0.0.1:3000`, or a port.
    Address,
    /// The same, of this machine alone.
    Loopback,
    /// A path pattern of a route.
    Path,
    /// A path without patterns.
    Health,
    Method,
    Host,
    /// The name of a header.
    Header,
    HeaderValue,
    /// The name of an environment variable.
    Variable,
    Database,
    PostgresServer,
    /// `https://mail.example`.
    Url,
    /// `https://telemetry.example/otlp`.
    BaseUrl,
    /// `https://id.example/realms/shop`: how an issuer of tokens is named.
    Issuer,
    /// `https://id.example/keys`.
    Keys,
    /// `60s` at most.
    Leeway,
    /// `realm_access.roles`.
    Claim,
    /// `orders:write`.
    OauthScope,
    /// `50ms`, or `p95`.
    Hedge,
    /// `POST /charges`, or either of them.
    Requests,
    /// `text/plain; charset=utf-8`.
    MediaType,
    Json,
    /// An expression in CEL.
    Expression,
    /// `/users/{order.user}`.
    CallPath,
    /// A path with `*` in it.
    Glob,
    /// `java`, `./bin/tool`.
    Program,
    /// `100/m`.
    Rate,
    /// `address`, `header:x-tenant`.
    Per,
    /// `64KiB`, of a body.
    Bytes,
    /// `https://shop.example`, of a page.
    Origin,
    /// `/api`.
    Prefix,
    /// The name of a header that a manifest may change.
    EditName,
    /// `{address}`, and text around it.
    EditValue,
    /// `/new/{rest}`, `https://new.example{path}`.
    RedirectTo,
    CookieName,
    /// `10.0.0.0/8`.
    Network,
    /// `redis://limits.internal:6379/0`.
    Redis,
    /// `ops@shop.example`.
    Mail,
    /// `shop.example`, of which an authority on the network can see whose it is.
    Domain,
    /// `https://acme.example/directory`.
    Directory,
    /// `text/*`.
    MediaRange,
}

/// Why a text does not have its form.
pub(super) struct Unfit {
    pub code: Code,
    /// The rule that it breaks: "a path starts with `/`".
    pub why: String,
    /// What to write instead.
    pub help: String,
}

pub(super) fn unfit<T>(code: Code, why: impl Into<String>, help: impl Into<String>) -> Result<T, Unfit> {
    Err(Unfit { code, why: why.into(), help: help.into() })
}

impl Format {
    /// Whether a text has this form.
    pub fn check(self, text: &str) -> Result<(), Unfit> {
        match self {
            Self::Free | Self::Deferred => printable(text),
            Self::Secret => identity::secret(text),
            Self::Redirect => identity::redirect(text),
            Self::Name => name::name(text),
            Self::Duration => amount::duration(text),
            Self::Size => amount::size(text),
            Self::Address => place::address(text).map(drop),
            Self::Loopback => place::of_loopback(text),
            Self::Path => pattern::check(text),
            Self::Health => request::health(text),
            Self::Method => request::method(text),
            Self::Host => request::host(text),
            Self::Header => request::header(text),
            Self::HeaderValue => request::header_value(text),
            Self::Variable => name::variable(text),
            Self::Database => place::database(text),
            Self::PostgresServer => place::postgres_server(text),
            Self::Url => place::url(text),
            Self::BaseUrl => place::base_url(text),
            Self::Issuer => identity::issuer(text),
            Self::Keys => identity::keys(text).map(drop),
            Self::Leeway => amount::leeway(text),
            Self::Claim => identity::claim(text),
            Self::OauthScope => identity::oauth_scope(text),
            Self::Hedge => amount::hedge(text),
            Self::Requests => request::requests(text),
            Self::MediaType => request::media_type(text),
            Self::Json => request::json(text),
            Self::Glob => name::glob(text),
            Self::Program => name::program(text),
            Self::Expression => request::expression(text),
            Self::CallPath => request::call_path(text),
            Self::Rate => edge::rate(text),
            Self::Per => edge::per(text),
            Self::Bytes => edge::bytes(text),
            Self::Origin => edge::origin(text),
            Self::Prefix => edge::prefix(text),
            Self::EditName => edge::edit_name(text),
            Self::EditValue => edge::edit_value(text),
            Self::RedirectTo => edge::redirect_to(text),
            Self::CookieName => edge::cookie_name(text),
            Self::Network => edge::network(text),
            Self::Redis => edge::redis(text),
            Self::Mail => identity::mail(text),
            Self::Domain => identity::domain(text),
            Self::Directory => identity::directory(text),
            Self::MediaRange => edge::media_range(text),
        }
    }

    /// Whether a text may hold a password once variables are substituted: it is shown only as it is written.
    pub fn may_be_secret(self) -> bool {
        matches!(
            self,
            Self::Free
                | Self::Deferred
                | Self::Secret
                | Self::Database
                | Self::PostgresServer
                | Self::Url
                | Self::BaseUrl
                | Self::Redis
                | Self::Issuer
                | Self::Keys
                | Self::Directory
                | Self::HeaderValue
                | Self::EditValue
        )
    }

    /// Whether placeholders stay in it until somebody may know what they stand for.
    pub fn is_deferred(self) -> bool {
        matches!(self, Self::Deferred | Self::Secret)
    }

    /// A regular expression for editors: at least as wide as the form.
    pub fn pattern(self) -> Option<&'static str> {
        Some(match self {
            Self::Name => "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$",
            Self::Duration | Self::Leeway => "^[0-9]+(ms|s|m|h|d)$",
            Self::Size | Self::Bytes => "^[0-9]+(KiB|MiB|GiB|TiB)$",
            Self::Rate => "^[0-9]+/[0-9]*(s|m|h|d)$",
            Self::Per => "^(address|principal|key|all|header:.+)$",
            Self::Origin => "^[a-z][a-z0-9+.-]*://",
            Self::Prefix => "^/",
            Self::Mail => "^[^@ ]+@[^@ ]+$",
            Self::MediaRange => "^[^/]+/[^/]+$",
            Self::Network => "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$",
            Self::Redis => "^rediss?://[^/@]+(/[0-9]*)?$",
            Self::Hedge => "^([0-9]+(ms|s|m|h|d)|p[5-9][0-9])$",
            Self::Requests => "^([A-Z]+( /.*)?|/.*)$",
            Self::Path | Self::Health | Self::CallPath => "^/",
            Self::Variable => "^[A-Za-z_][A-Za-z0-9_]*$",
            Self::Header | Self::EditName | Self::CookieName => "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
            Self::Database => "^(sqlite|postgres|sqlite:.+|postgres(ql)?://.+)$",
            Self::PostgresServer => "^postgres(ql)?://",
            Self::Program => "^[^ \\t]+$",
            Self::BaseUrl => "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+(/[^?#]*)?$",
            Self::Issuer | Self::Keys | Self::Directory => "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+(/[^#]*)?$",
            Self::Secret => "^\\$\\{secret\\.[A-Za-z0-9_-]{1,64}\\}$",
            Self::Redirect => "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+(/[^#]*)?$",
            Self::Claim => "^[!-~]{1,200}$",
            Self::OauthScope => "^[!#-\\[\\]-~]+$",
            Self::Url => "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+/?$",
            _ => return None,
        })
    }
}

/// A command, an owner or a value of the environment: no process takes a NUL.
fn printable(text: &str) -> Result<(), Unfit> {
    if text.trim().is_empty() && !text.is_empty() || text.contains('\0') {
        return unfit(Code::BAD_VALUE, "it is blank or holds a NUL character", "write a text");
    }
    Ok(())
}

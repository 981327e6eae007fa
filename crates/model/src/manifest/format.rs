//! The forms that a text of the manifest can have, and what to say of one that has it not.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use http::{HeaderName, HeaderValue};

mod edge;

use super::{error::Code, pattern, variables};
use crate::{
    Auth, BaseUrl, ParseUrlError, ServiceName, Url, WebUrl, nearest, parse_duration, parse_size,
    policy::HedgeAfter, url::is_host,
};

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

/// The methods that a route can be for.
pub(super) const METHODS: [&str; 18] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "QUERY",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "REPORT",
    "SEARCH",
];

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
            Self::Secret => secret(text),
            Self::Redirect => redirect(text),
            Self::Name => name(text),
            Self::Duration => duration(text),
            Self::Size => size(text),
            Self::Address => address(text).map(drop),
            Self::Loopback => of_loopback(text),
            Self::Path => pattern::check(text),
            Self::Health => health(text),
            Self::Method => method(text),
            Self::Host => host(text),
            Self::Header => header(text),
            Self::HeaderValue => header_value(text),
            Self::Variable => variable(text),
            Self::Database => database(text),
            Self::PostgresServer => postgres_server(text),
            Self::Url => url(text),
            Self::BaseUrl => base_url(text),
            Self::Issuer => issuer(text),
            Self::Keys => keys(text).map(drop),
            Self::Leeway => leeway(text),
            Self::Claim => claim(text),
            Self::OauthScope => oauth_scope(text),
            Self::Hedge => hedge(text),
            Self::Requests => requests(text),
            Self::MediaType => media_type(text),
            Self::Json => json(text),
            Self::Glob => glob(text),
            Self::Program => program(text),
            Self::Expression => expression(text),
            Self::CallPath => call_path(text),
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
            Self::Mail => mail(text),
            Self::Domain => domain(text),
            Self::Directory => directory(text),
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

fn directory(text: &str) -> Result<(), Unfit> {
    let help = "write https:// and all of it, such as \"https://acme-v02.api.letsencrypt.org/directory\"; http:// is for this machine alone";
    match text.parse::<WebUrl>() {
        Ok(url) if url.server.is_private() => Ok(()),
        Ok(_) => unfit(Code::BAD_VALUE, "whoever is on the way could be the authority", help),
        Err(error) => unfit(Code::BAD_VALUE, error.to_string(), help),
    }
}

fn domain(text: &str) -> Result<(), Unfit> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    if !is_host(name) || name.parse::<std::net::Ipv4Addr>().is_ok() {
        let help = "write a name without a scheme and without a port, such as \"shop.example\"";
        return unfit(Code::BAD_DOMAIN, "it is not the name of a host", help);
    }
    if name != text {
        let help =
            "name each host, or have a program that can change your DNS write the files of `certificates`";
        return unfit(
            Code::BAD_DOMAIN,
            "only who can change the DNS is given a certificate for all names",
            help,
        );
    }
    Ok(())
}

/// What an authority takes as a contact (RFC 8555, section 7.3): one address, without a name or parameters.
fn mail(text: &str) -> Result<(), Unfit> {
    let graphic = |c: char| c.is_ascii_graphic() && !matches!(c, ',' | ';' | '?' | ':' | '<' | '>' | '%');
    let fits = |(local, host): (&str, &str)| !local.is_empty() && host.contains('.') && !host.contains('@');
    if text.len() <= 254 && text.chars().all(graphic) && text.split_once('@').is_some_and(fits) {
        return Ok(());
    }
    unfit(Code::BAD_VALUE, "it is no mail address", "write one address, such as \"ops@shop.example\"")
}

/// The longest expression, in bytes: what a person can still read, and a parser can do in no time.
const LONGEST_EXPRESSION: usize = 8 * 1024;

fn expression(text: &str) -> Result<(), Unfit> {
    let help = "write an expression in CEL, such as `{\"order\": order, \"customer\": user.name}`";
    match text.len() {
        _ if text.trim().is_empty() => unfit(Code::BAD_EXPRESSION, "it is empty", help),
        LONGEST_EXPRESSION.. => unfit(Code::BAD_EXPRESSION, "it is longer than 8 KiB", help),
        _ => Ok(()),
    }
}

fn call_path(text: &str) -> Result<(), Unfit> {
    let help =
        "write a path with expressions in braces, as \"/users/{order.user}\"; parameters are in `query`";
    if !text.starts_with('/') {
        return unfit(Code::BAD_PATH, "a path starts with `/`", format!("write \"/{text}\""));
    }
    let mut outside = text.split('{').enumerate().map(|(at, part)| match at {
        0 => part,
        _ => part.split_once('}').map_or("", |(_, after)| after),
    });
    let unfit_there = |part: &str| {
        part.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '?' | '#' | '\\' | '}'))
    };
    if text.len() >= LONGEST_EXPRESSION || outside.any(unfit_there) {
        return unfit(
            Code::BAD_PATH,
            "it holds a space, `?`, `#`, a backslash or a brace that is not opened",
            help,
        );
    }
    if text.matches('{').count() != text.matches('}').count() {
        return unfit(Code::BAD_PATH, "a brace in it is not closed", help);
    }
    Ok(())
}

fn name(text: &str) -> Result<(), Unfit> {
    let Err(error) = text.parse::<ServiceName>() else { return Ok(()) };
    let slug = slug(text);
    let help = match slug.parse::<ServiceName>() {
        Ok(name) => format!("write \"{name}\": 1 to 63 of a to z, 0 to 9 and `-`, a letter first"),
        Err(_) => "write 1 to 63 of a to z, 0 to 9 and `-`, a letter first".into(),
    };
    unfit(Code::BAD_NAME, error.to_string().split_once(": ").map_or("", |(_, rule)| rule), help)
}

/// The nearest text that follows the rule for names, if any does.
pub(super) fn slug(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let text: String = text.chars().take(63).map(plain).collect();
    text.trim_matches('-').to_owned()
}

/// The longest time a manifest can give: added to any clock, it stays in range.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

fn duration(text: &str) -> Result<(), Unfit> {
    let help = "write a whole number and a unit, such as \"250ms\", \"3s\", \"5m\" or \"1h\"";
    match parse_duration(text) {
        Ok(time) if time.is_zero() => {
            unfit(Code::BAD_VALUE, "no time at all is no limit that can be met", help)
        }
        Ok(time) if time > LONGEST => unfit(Code::BAD_VALUE, "it is longer than 30 days", help),
        Ok(_) => Ok(()),
        Err(_) => unfit(Code::BAD_VALUE, "it is not a duration", help),
    }
}

/// The least and the most that a file of telemetry may have.
const SIZES: std::ops::RangeInclusive<u64> = 64 << 20..=16 << 40;

fn size(text: &str) -> Result<(), Unfit> {
    let help = "write a whole number and a unit, such as \"512MiB\" or \"2GiB\"";
    match parse_size(text) {
        Ok(size) if size < *SIZES.start() => unfit(Code::BAD_VALUE, "it is less than 64MiB", help),
        Ok(size) if size > *SIZES.end() => unfit(Code::BAD_VALUE, "it is more than 16TiB", help),
        Ok(_) => Ok(()),
        Err(_) => unfit(Code::BAD_VALUE, "it is not a size", help),
    }
}

/// Reads an address with a port, or a port on the loopback address.
pub(super) fn address(text: &str) -> Result<SocketAddr, Unfit> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(loopback(port));
    }
    text.parse().or_else(|_| {
        unfit(
            Code::BAD_VALUE,
            "it is not an address with a port",
            "write a port for this machine alone (3000), or an address and a port: \"127.0.0.1:3000\", \"[::1]:3000\"; \"0.0.0.0:3000\" is open to the network",
        )
    })
}

/// An address that nobody reaches from another machine.
fn of_loopback(text: &str) -> Result<(), Unfit> {
    match address(text)?.ip().is_loopback() {
        true => Ok(()),
        false => unfit(
            Code::BAD_VALUE,
            "whoever reaches it over the network could try to rule the system",
            "write an address of this machine alone (\"127.0.0.1:3900\", \"[::1]:3900\"), a port, or false; from elsewhere reach it through SSH: `ssh -L 3900:127.0.0.1:3900 HOST`",
        ),
    }
}

/// A port that only this machine reaches.
pub(super) fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn health(text: &str) -> Result<(), Unfit> {
    let plain = |c: char| c.is_ascii_graphic() && c != '#';
    if text.starts_with('/') && text.chars().all(plain) {
        return Ok(());
    }
    unfit(
        Code::BAD_VALUE,
        "it is not a path of a URL",
        "write the path that answers 2xx when ready, such as \"/healthz\"",
    )
}

/// A path of unreserved characters (RFC 3986, section 2.3) in its one form: what it means cannot change on the way.
fn is_plain_path(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    let dots = |segment: &str| matches!(segment, "." | "..");
    text.starts_with('/') && text.bytes().all(plain) && !text.split('/').any(dots)
}

fn method(text: &str) -> Result<(), Unfit> {
    if METHODS.contains(&text) {
        return Ok(());
    }
    let help = match nearest(text, METHODS) {
        Some(method) => format!("write \"{method}\""),
        None => format!("a route can be for {}", METHODS.join(", ")),
    };
    unfit(Code::BAD_MATCH, "it is not a method that a route can be for", help)
}

fn host(text: &str) -> Result<(), Unfit> {
    if is_host(text.strip_prefix("*.").unwrap_or(text)) {
        return Ok(());
    }
    unfit(
        Code::BAD_MATCH,
        "it is not a host name",
        "write a name without a scheme and without a port: \"shop.example\", or \"*.shop.example\" for every name below it",
    )
}

fn header(text: &str) -> Result<(), Unfit> {
    match HeaderName::from_bytes(text.as_bytes()) {
        Ok(name) if name == http::header::HOST => unfit(
            Code::BAD_MATCH,
            "the host has a key of its own",
            "write host = \"shop.example\" in the route",
        ),
        Ok(_) => Ok(()),
        Err(_) => unfit(
            Code::BAD_MATCH,
            "it is not the name of a header",
            "write letters, digits and `-`, such as \"x-beta\"",
        ),
    }
}

fn header_value(text: &str) -> Result<(), Unfit> {
    if HeaderValue::from_str(text).is_ok() && text.trim() == text {
        return Ok(());
    }
    unfit(
        Code::BAD_MATCH,
        "it is not a value that a header can have",
        "write visible characters without spaces around them: the value is compared as a whole",
    )
}

fn variable(text: &str) -> Result<(), Unfit> {
    if variables::is_variable(text) {
        return Ok(());
    }
    unfit(
        Code::BAD_NAME,
        "a variable's name has letters, digits and `_`, and no digit first",
        "write a name such as \"SERVER_PORT\"",
    )
}

fn database(text: &str) -> Result<(), Unfit> {
    let help = "write \"sqlite\", \"postgres\", \"sqlite:path/to.db\" or \"postgres://user@host/database\"";
    let why = match text {
        "sqlite" | "postgres" => return Ok(()),
        _ => match (sqlite_path(text), postgres_rest(text)) {
            (Some(""), _) => "it names no file",
            (Some(":memory:"), _) => {
                "a database in memory is gone with its process, and each connection has another"
            }
            (Some(_), _) => return Ok(()),
            (None, Some(rest)) => match rest.split_once('/') {
                Some((server, name))
                    if !server.is_empty() && !name.split('?').next().unwrap_or("").is_empty() =>
                {
                    return Ok(());
                }
                _ => "it names no server or no database",
            },
            (None, None) => "it is not a database that Madang knows",
        },
    };
    let help = match nearest(text, ["sqlite", "postgres"]) {
        Some(word) => format!("did you mean \"{word}\"? Otherwise {help}"),
        None => help.into(),
    };
    unfit(Code::BAD_VALUE, why, help)
}

/// The path in `sqlite:path` and `sqlite://path`.
pub(super) fn sqlite_path(text: &str) -> Option<&str> {
    text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:"))
}

/// What follows the scheme in `postgres://…`.
pub(super) fn postgres_rest(text: &str) -> Option<&str> {
    text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"))
}

fn postgres_server(text: &str) -> Result<(), Unfit> {
    match postgres_rest(text).map(|rest| rest.trim_end_matches('/')) {
        Some(server) if !server.is_empty() && !server.contains(['/', '?', '#']) => Ok(()),
        _ => unfit(
            Code::BAD_VALUE,
            "it is not the URL of a PostgreSQL server",
            "write a URL without a database, such as \"postgres://user@127.0.0.1:5432\": each service gets its own database there",
        ),
    }
}

fn url(text: &str) -> Result<(), Unfit> {
    let Err(error) = text.parse::<Url>() else { return Ok(()) };
    let help = match error {
        ParseUrlError::Rest => {
            "name the server alone, such as \"https://mail.example\": each call brings its own path"
        }
        ParseUrlError::Credentials => {
            "leave them out, such as \"https://mail.example\": the caller sends what the service asks for, in a header"
        }
        _ => "write the scheme and the host, such as \"https://mail.example\" or \"http://10.0.0.7:8080\"",
    };
    unfit(Code::BAD_VALUE, error.to_string(), help)
}

fn base_url(text: &str) -> Result<(), Unfit> {
    let Err(error) = text.parse::<BaseUrl>() else { return Ok(()) };
    let help = match error {
        ParseUrlError::Rest => "leave out the query, such as \"https://telemetry.example/otlp\"",
        ParseUrlError::Credentials => {
            "leave them out and write a header, such as headers = { authorization = \"Bearer ${TOKEN}\" }"
        }
        _ => "write the scheme and the host, such as \"http://collector.example:4318\"",
    };
    unfit(Code::BAD_VALUE, error.to_string(), help)
}

fn issuer(text: &str) -> Result<(), Unfit> {
    let url = keys(text)?;
    if url.target.contains('?') {
        return unfit(
            Code::BAD_VALUE,
            "it has a query",
            "write the issuer as its tokens have it in `iss`, such as \"https://id.example/realms/shop\"",
        );
    }
    Ok(())
}

/// Keys that somebody could change on the way would let anybody in.
fn keys(text: &str) -> Result<WebUrl, Unfit> {
    let url: WebUrl = match text.parse() {
        Ok(url) => url,
        Err(error) => {
            let help = "write the scheme and the host, such as \"https://id.example/realms/shop\"";
            return unfit(Code::BAD_VALUE, ParseUrlError::to_string(&error), help);
        }
    };
    match url.server.is_private() {
        true => Ok(url),
        false => unfit(
            Code::BAD_VALUE,
            "whoever is on the way could put keys of their own in",
            "write https://; http:// is for this machine alone, such as \"http://127.0.0.1:8080\"",
        ),
    }
}

/// A secret in the manifest would be read by whoever reads the code.
fn secret(text: &str) -> Result<(), Unfit> {
    match super::issuer::secret(text) {
        Some(_) => Ok(()),
        None => unfit(
            Code::BAD_VALUE,
            "it is not the name of a kept secret",
            "write \"${secret.NAME}\", and keep it with `madang secret set NAME`",
        ),
    }
}

/// What is sent there lets somebody in: nobody may read it on the way.
fn redirect(text: &str) -> Result<(), Unfit> {
    let help = "write the whole URL to the letter, such as \"https://app.example/callback\"; http:// is for this machine alone";
    match text.parse::<WebUrl>() {
        Ok(url) if url.server.is_private() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') => {
            Ok(())
        }
        Ok(_) => unfit(Code::BAD_VALUE, "whoever is on the way could read what is sent there", help),
        Err(error) => unfit(Code::BAD_VALUE, ParseUrlError::to_string(&error), help),
    }
}

fn leeway(text: &str) -> Result<(), Unfit> {
    let help = "write at most \"60s\": clocks that differ by more are to be set right";
    match parse_duration(text) {
        Ok(time) if time > Auth::MOST_LEEWAY => unfit(Code::BAD_VALUE, "it is longer than a minute", help),
        Ok(_) => Ok(()),
        Err(_) => unfit(Code::BAD_VALUE, "it is not a duration", help),
    }
}

fn claim(text: &str) -> Result<(), Unfit> {
    let plain = (1..=200).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if plain && !text.starts_with('.') && !text.ends_with('.') {
        return Ok(());
    }
    unfit(
        Code::BAD_VALUE,
        "it is not the name of a claim",
        "write a name, or the names on the way to it with dots between them, such as \"realm_access.roles\"",
    )
}

/// RFC 6749, section 3.3.
fn oauth_scope(text: &str) -> Result<(), Unfit> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\')) {
        return Ok(());
    }
    unfit(
        Code::BAD_VALUE,
        "it is not one scope",
        "write one without blanks, such as \"orders:write\"; several are a list: scope = [\"orders:read\", \"orders:write\"]",
    )
}

fn hedge(text: &str) -> Result<(), Unfit> {
    match text.parse() {
        Ok(HedgeAfter::Percentile(_)) => Ok(()),
        Ok(HedgeAfter::Time(_)) => duration(text),
        Err(_) => unfit(
            Code::BAD_VALUE,
            "neither a duration nor a percentile",
            "write how long the first attempt is given, such as \"50ms\", or the share of recent calls that took less, from \"p50\" to \"p99\"",
        ),
    }
}

/// The method and the path in `POST /charges`, either of which may be missing.
pub(super) fn split_requests(text: &str) -> (Option<&str>, Option<&str>) {
    match text.split_once(' ') {
        Some((method, path)) => (Some(method), Some(path.trim_start())),
        None if text.contains('/') => (None, Some(text)),
        None => (Some(text), None),
    }
}

fn requests(text: &str) -> Result<(), Unfit> {
    let (given, path) = split_requests(text);
    given.map_or(Ok(()), method)?;
    path.map_or(Ok(()), pattern::check)
}

fn media_type(text: &str) -> Result<(), Unfit> {
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let halves = essence.split_once('/').is_some_and(|(main, sub)| token(main) && token(sub));
    if halves && HeaderValue::from_str(text).is_ok() {
        return Ok(());
    }
    unfit(Code::BAD_VALUE, "it is not a media type", "write one such as \"text/html; charset=utf-8\"")
}

fn json(text: &str) -> Result<(), Unfit> {
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => unfit(
            Code::BAD_VALUE,
            format!("it is not JSON: {error}"),
            "write a JSON document as a text, in single quotes: json = '{ \"items\": [] }'",
        ),
    }
}

fn glob(text: &str) -> Result<(), Unfit> {
    if !text.is_empty() && !text.contains("**") && !text.contains(['\0', '[', '{']) {
        return Ok(());
    }
    unfit(
        Code::BAD_VALUE,
        "it is not a pattern of files",
        "write a path in which `*` stands for any part of one name, such as \"*/service.toml\"",
    )
}

fn program(text: &str) -> Result<(), Unfit> {
    if !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '\0') && !text.ends_with('/') {
        return Ok(());
    }
    unfit(
        Code::BAD_VALUE,
        "it is not the name of one program",
        "write a name that is looked up in PATH, such as \"java\", or a path from the folder of this file, each without arguments",
    )
}

//! The forms that say where something listens, answers or is kept.

use std::net::{Ipv4Addr, SocketAddr};

use crate::{
    BaseUrl, ParseUrlError, Url,
    manifest::{
        error::Code,
        format::{Unfit, unfit},
    },
    nearest,
};

/// Reads an address with a port, or a port on the loopback address.
pub(in crate::manifest) fn address(text: &str) -> Result<SocketAddr, Unfit> {
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
pub(super) fn of_loopback(text: &str) -> Result<(), Unfit> {
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
pub(in crate::manifest) fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

pub(super) fn url(text: &str) -> Result<(), Unfit> {
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

pub(super) fn base_url(text: &str) -> Result<(), Unfit> {
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

pub(super) fn database(text: &str) -> Result<(), Unfit> {
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
pub(in crate::manifest) fn sqlite_path(text: &str) -> Option<&str> {
    text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:"))
}

/// What follows the scheme in `postgres://…`.
pub(in crate::manifest) fn postgres_rest(text: &str) -> Option<&str> {
    text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"))
}

pub(super) fn postgres_server(text: &str) -> Result<(), Unfit> {
    match postgres_rest(text).map(|rest| rest.trim_end_matches('/')) {
        Some(server) if !server.is_empty() && !server.contains(['/', '?', '#']) => Ok(()),
        _ => unfit(
            Code::BAD_VALUE,
            "it is not the URL of a PostgreSQL server",
            "write a URL without a database, such as \"postgres://user@127.0.0.1:5432\": each service gets its own database there",
        ),
    }
}
